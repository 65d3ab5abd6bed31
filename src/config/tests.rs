use super::*;

fn environment(pairs: &[(&str, &str)]) -> Result<Layer, ConfigError> {
    layer::from_environment(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, text)| (*text).to_owned()))
}

fn with_data_dir(layer: Layer) -> Layer {
    layer.or(Layer { data_dir: Some("/tmp/x".into()), ..Layer::default() })
}

#[test]
fn flags_come_before_the_environment_and_that_before_the_file() {
    let layer = |listen: &str| Layer { listen: Some(listen.to_owned()), ..Layer::default() };
    let merged = layer("127.0.0.1:1").or(layer("127.0.0.1:2")).or(layer("127.0.0.1:3"));
    assert_eq!(merged.listen.as_deref(), Some("127.0.0.1:1"));
    assert_eq!(Layer::default().or(layer("127.0.0.1:3")).listen.as_deref(), Some("127.0.0.1:3"));
}

#[test]
fn the_environment_sets_texts_numbers_switches_and_lists() {
    let layer = environment(&[
        ("DUOPOOL_LISTEN", "127.0.0.1:9"),
        ("DUOPOOL_DRAIN_S", "7"),
        ("DUOPOOL_ADMIN_REMOTE", "true"),
        ("DUOPOOL_ALLOWED_HOSTS", "a.example.com, b.example.com"),
        ("GITLAB_BASE_URL", "https://git.example.com/gitlab/"),
        ("DUOPOOL_MODEL", ""),
    ]);
    let config = Config::check(&with_data_dir(layer.unwrap())).unwrap();
    assert_eq!((config.limits.drain, config.admin_remote), (Duration::from_secs(7), true));
    assert_eq!(config.hosts, ["127.0.0.1", "a.example.com", "b.example.com"]);
    assert_eq!(config.gitlab.base_url.as_str(), "https://git.example.com/gitlab");
    assert_eq!(config.model, None);
}

#[test]
fn operators_may_name_the_address_that_is_theirs() {
    let layer = Layer { admin_listen: Some("192.0.2.7:9000".to_owned()), ..Layer::default() };
    assert_eq!(Config::check(&with_data_dir(layer)).unwrap().hosts, ["127.0.0.1", "192.0.2.7"]);
}

#[test]
fn a_server_that_others_can_reach_needs_a_client_key() {
    let open = Layer { listen: Some("0.0.0.0:8080".to_owned()), ..Layer::default() };
    let error = Config::check(&with_data_dir(open.clone())).unwrap_err();
    assert!(error.to_string().contains("client key"), "{error}");
    let key = Secret::new("a-long-enough-key".to_owned());
    assert!(Config::check(&with_data_dir(Layer { client_keys: Some(vec![key]), ..open })).is_ok());
}

#[test]
fn a_wrong_value_is_named_and_a_secret_is_not_shown() {
    let cases = [
        (environment(&[("DUOPOOL_WORKERS", "none")]), "invalid type"),
        (environment(&[("DUOPOOL_DRAIN_S", "0")]), "drain_s"),
        (environment(&[("DUOPOOL_LISTEN", "here")]), "listen"),
        (environment(&[("DUOPOOL_MODEL_FALLBACK", "maybe")]), "model_fallback"),
        (environment(&[("GITLAB_BASE_URL", "http://gitlab.com")]), "https"),
        (environment(&[("DUOPOOL_CLIENT_KEYS", "short-secret")]), "at least 16"),
    ];
    for (layer, words) in cases {
        let error = layer.and_then(|layer| Config::check(&with_data_dir(layer))).unwrap_err().to_string();
        assert!(error.contains(words), "{error} should say {words}");
        assert!(!error.contains("short-secret"), "{error}");
    }
}

#[test]
fn a_file_with_an_unknown_setting_is_refused_by_line_without_its_text() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("duopool.toml");
    std::fs::write(&path, "listen = \"127.0.0.1:1\"\nadmin_kee = \"very-secret-value\"\n").unwrap();
    let error = layer::from_file(Some(&path)).unwrap_err().to_string();
    assert!(error.contains("line 2") && error.contains("admin_kee"), "{error}");
    assert!(!error.contains("very-secret-value"), "{error}");
}

#[test]
fn logins_come_back_to_this_machine_at_the_port_and_path_that_were_registered() {
    let plain = Config::check(&with_data_dir(Layer::default())).unwrap();
    assert_eq!(plain.gitlab.oauth.redirect_uri(), "http://127.0.0.1:17171/callback");
    assert_eq!((plain.gitlab.oauth.scopes, plain.gitlab.oauth.client_id), (vec!["api".to_owned()], None));
    let layer = environment(&[
        ("GITLAB_OAUTH_CLIENT_ID", " app "),
        ("GITLAB_OAUTH_REDIRECT_PORT", "9000"),
        ("GITLAB_OAUTH_REDIRECT_PATH", "/auth/callback"),
        ("GITLAB_OAUTH_SCOPES", "ai_features  read_user"),
        ("DUOPOOL_PUBLIC_URL", "https://Pool.example.com/duopool/"),
    ]);
    let config = Config::check(&with_data_dir(layer.unwrap())).unwrap();
    assert_eq!(config.gitlab.oauth.redirect_uri(), "http://127.0.0.1:9000/auth/callback");
    assert_eq!(config.gitlab.oauth.scopes, ["ai_features", "read_user"]);
    assert_eq!(config.gitlab.oauth.client_id.as_deref(), Some("app"));
    assert_eq!(config.public_url.as_deref(), Some("https://pool.example.com/duopool"));
    for (name, text, words) in [
        ("GITLAB_OAUTH_REDIRECT_PORT", "0", "gitlab_oauth_redirect_port"),
        ("GITLAB_OAUTH_REDIRECT_PORT", "65536", "gitlab_oauth_redirect_port"),
        ("GITLAB_OAUTH_REDIRECT_PATH", "callback", "gitlab_oauth_redirect_path"),
        ("GITLAB_OAUTH_REDIRECT_PATH", "/a?b", "gitlab_oauth_redirect_path"),
        ("GITLAB_OAUTH_SCOPES", "api&x", "gitlab_oauth_scopes"),
        ("GITLAB_OAUTH_CLIENT_SECRET", "two words", "gitlab_oauth_client_secret"),
        ("DUOPOOL_PUBLIC_URL", "https://user@pool.example.com", "public_url"),
        ("DUOPOOL_PUBLIC_URL", "javascript:x", "public_url"),
    ] {
        let error = Config::check(&with_data_dir(environment(&[(name, text)]).unwrap())).unwrap_err().to_string();
        assert!(error.contains(words) && !error.contains("two words"), "{error} should say {words}");
    }
}

#[test]
fn effective_settings_mask_what_is_secret() {
    let secret = || Some(Secret::new("very-secret-value".to_owned()));
    let layer = Layer {
        admin_key: secret(),
        master_key: secret(),
        gitlab_personal_access_token: secret(),
        gitlab_oauth_client_secret: secret(),
        proxy: Some(Secret::new("http://very-secret-value:very-secret-value@proxy.corp".to_owned())),
        client_keys: secret().map(|key| vec![key]),
        ..Layer::default()
    };
    let config = Config::check(&with_data_dir(layer)).unwrap();
    let shown = format!("{} {config:?}", config.effective);
    assert!(!shown.contains("very-secret-value"), "{shown}");
}

#[test]
fn rules_for_names_come_as_tables_or_from_the_environment() {
    let text = "list_as_claude = true\n[[alias]]\npattern = \"claude-*haiku*\"\nmodel = \"gpt-5.4-mini\"\n\
                [[alias]]\npattern = \"fast\"\nmodel = \"gpt-5.5-low\"\n";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("duopool.toml");
    std::fs::write(&path, text).unwrap();
    let variables =
        [("DUOPOOL_ALIAS", "claude-*haiku*=gpt-5.4-mini, fast = gpt-5.5-low"), ("DUOPOOL_LIST_AS_CLAUDE", "true")];
    for layer in [layer::from_file(Some(&path)), environment(&variables)] {
        let config = Config::check(&with_data_dir(layer.unwrap())).unwrap();
        let rules: Vec<_> = config.aliases.iter().map(|rule| (rule.pattern.as_str(), rule.model.as_str())).collect();
        assert_eq!(rules, [("claude-*haiku*", "gpt-5.4-mini"), ("fast", "gpt-5.5-low")]);
        assert!(config.list_as_claude);
        assert_eq!(config.effective["alias"][1]["pattern"], "fast");
    }
    let plain = Config::check(&with_data_dir(Layer::default())).unwrap();
    assert!(plain.aliases.is_empty() && !plain.list_as_claude);
}

#[test]
fn rules_that_are_none_are_refused() {
    assert!(environment(&[("DUOPOOL_ALIAS", "fast")]).is_err());
    let rule = |pattern: &str| AliasTable { pattern: pattern.to_owned(), model: "gpt-5.5".to_owned() };
    for (alias, words) in [
        (vec![rule("two words")], "`two words` is no pattern"),
        (vec![rule("")], "`` is no pattern"),
        (vec![rule("x"); RULES_MAX + 1], "257 rules are more than 256"),
    ] {
        let error = Config::check(&with_data_dir(Layer { alias: Some(alias), ..Layer::default() })).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("duopool.toml");
    std::fs::write(&path, "[[alias]]\npattern = \"x\"\nmodel = \"y\"\ntarget = \"z\"\n").unwrap();
    let error = layer::from_file(Some(&path)).unwrap_err().to_string();
    assert!(error.contains("line 4") && error.contains("target"), "{error}");
}

const CERTIFICATE: &str = include_str!("../../tests/fixtures/authority.pem");

fn read_file(text: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), CERTIFICATE).unwrap();
    let path = dir.path().join("duopool.toml");
    std::fs::write(&path, text.replace("CA_FILE", &dir.path().join("ca.pem").display().to_string())).unwrap();
    Config::check(&with_data_dir(layer::from_file(Some(&path))?))
}

#[test]
fn an_instance_has_a_way_of_its_own_and_what_it_leaves_open_is_as_for_all() {
    let config = read_file(
        r#"
        connect_timeout_s = 7
        proxy = "http://proxy.corp:3128"
        no_proxy = "example.com"

        [[instance]]
        url = "https://Gitlab.corp/"
        ca_file = "CA_FILE"
        gateway_url = "https://gateway.corp"
        idle_timeout_s = 5

        [[instance]]
        url = "https://git.example.com"
        proxy = "none"
        "#,
    )
    .unwrap();
    let instance = |url| InstanceUrl::parse(url).unwrap();
    let corp = config.routes.of(&instance("https://gitlab.corp"));
    let secs = Duration::from_secs;
    assert_eq!((corp.timeouts.connect, corp.timeouts.idle, corp.timeouts.head_stream), (secs(7), secs(5), secs(60)));
    assert_eq!((corp.authorities.len(), &corp.detour), (1, &config.routes.usual.detour));
    assert_eq!(config.gateways[&instance("https://gitlab.corp")].as_str(), "https://gateway.corp");
    assert_eq!(config.routes.of(&instance("https://git.example.com")).detour, None);
    let usual = config.routes.of(&instance("https://elsewhere.example"));
    let detour = usual.detour.as_ref().unwrap();
    assert!(detour.proxy_for("gitlab.com", 443).is_some() && usual.authorities.is_empty());
    assert!(detour.proxy_for("gitlab.example.com", 443).is_none() && detour.proxy_for("127.0.0.1", 1).is_none());
    assert_eq!(config.effective["instance"][1]["certificates"], 1, "{}", config.effective);
}

#[test]
fn what_the_environment_says_of_its_instance_comes_before_that_ones_table() {
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, CERTIFICATE).unwrap();
    let table = InstanceTable {
        url: "https://gitlab.corp".to_owned(),
        gateway_url: Some("https://table.corp".to_owned()),
        idle_timeout_s: Some(5),
        ..InstanceTable::default()
    };
    let layer = environment(&[
        ("GITLAB_BASE_URL", "https://gitlab.corp"),
        ("GITLAB_CA_FILE", ca_file.to_str().unwrap()),
        ("GITLAB_AI_GATEWAY_URL", "https://environment.corp"),
        // No setting of its own in the environment, whatever it holds.
        ("DUOPOOL_INSTANCE", "x"),
    ]);
    let layer = layer.unwrap().or(Layer { instance: Some(vec![table]), ..Layer::default() });
    let config = Config::check(&with_data_dir(layer)).unwrap();
    let (base, route) = (&config.gitlab.base_url, config.routes.of(&config.gitlab.base_url));
    assert_eq!((route.authorities.len(), route.timeouts.idle), (1, Duration::from_secs(5)));
    assert_eq!(config.gateways[base].as_str(), "https://environment.corp");
    assert!(config.routes.usual.authorities.is_empty());
}

#[test]
fn what_cannot_be_used_of_an_instance_is_named_and_no_password_is_shown() {
    let long = format!("url = \"https://{}\"", "x".repeat(3_000));
    for (table, words) in [
        ("url = \"gitlab.corp\"", "`url`"),
        (long.as_str(), "`url`"),
        ("url = \"http://gitlab.corp\"", "https"),
        ("url = \"https://me:hidden@gitlab.corp\"", "***@gitlab.corp"),
        ("", "url"),
        ("url = \"https://gitlab.corp\"\nca_fil = \"x\"", "unknown field `ca_fil`"),
        ("url = \"https://gitlab.corp\"\nca_file = \"/nowhere/ca.pem\"", "/nowhere/ca.pem: No such file"),
        ("url = \"https://gitlab.corp\"\nca_file = \"/dev/null\"", "no certificate in it"),
        ("url = \"https://gitlab.corp\"\ngateway_url = \"http://gateway.corp\"", "`gateway_url`"),
        ("url = \"https://gitlab.corp\"\nproxy = \"socks5://me:hidden@p\"", "not socks"),
        ("url = \"https://gitlab.corp\"\nproxy = \"http://me:hidden@p:port\"", "`proxy`"),
        ("url = \"https://gitlab.corp\"\nidle_timeout_s = 0", "`idle_timeout_s`"),
        ("url = \"https://gitlab.corp\"\n[[instance]]\nurl = \"https://GITLAB.corp/\"", "a table already"),
    ] {
        let error = read_file(&format!("[[instance]]\n{table}\n")).unwrap_err().to_string();
        assert!(error.contains(words) && !error.contains("hidden"), "{error} should say {words}");
    }
    let broken = CERTIFICATE.replace('M', "?");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broken.pem");
    std::fs::write(&path, broken).unwrap();
    let layer = Layer { ca_file: Some(path), ..Layer::default() };
    let error = Config::check(&with_data_dir(layer)).unwrap_err().to_string();
    assert!(error.contains("`ca_file`") && error.contains("PEM"), "{error}");
}

#[test]
fn what_is_set_for_all_programs_counts_where_duopools_own_settings_are_silent() {
    let around = |pairs: &'static [(&str, &str)]| {
        merged(Layer::default(), |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, text)| (*text).to_owned()))
    };
    let shown = |layer: Layer| Config::check(&with_data_dir(layer)).unwrap().effective["proxy"].clone();
    for (pairs, proxy) in [
        (&[][..], None),
        (&[("HTTPS_PROXY", "http://upper:1")], Some("http://upper:1")),
        (&[("https_proxy", "lower:1"), ("HTTPS_PROXY", "http://upper:1")], Some("http://lower:1")),
        (&[("https_proxy", ""), ("HTTPS_PROXY", "http://upper:1")], Some("http://upper:1")),
        (&[("ALL_PROXY", "http://all:1"), ("HTTPS_PROXY", "http://upper:1")], Some("http://upper:1")),
        (&[("ALL_PROXY", "http://all:1")], Some("http://all:1")),
        (&[("HTTP_PROXY", "http://plain:1"), ("http_proxy", "http://plain:1")], None),
    ] {
        assert_eq!(shown(around(pairs).unwrap()).as_str(), proxy, "{pairs:?}");
    }
    let pairs = &[("HTTPS_PROXY", "http://upper:1"), ("NO_PROXY", ".corp"), ("no_proxy", "*.lower")];
    let around_all = around(pairs).unwrap();
    assert_eq!(around_all.no_proxy.as_deref(), Some("*.lower"));
    let error = around(&[("ALL_PROXY", "socks5://me:hidden@p")]).unwrap_err().to_string();
    assert!(error.contains("ALL_PROXY") && error.contains("DUOPOOL_PROXY") && !error.contains("hidden"), "{error}");
    let missing = around(&[("SSL_CERT_FILE", "/nowhere.pem")]).unwrap();
    assert!(Config::check(&with_data_dir(missing)).unwrap_err().to_string().contains("/nowhere.pem"));
}

#[test]
fn what_is_wrong_around_does_no_harm_where_duopools_own_settings_come_first() {
    let dir = tempfile::tempdir().unwrap();
    let (path, authority) = (dir.path().join("duopool.toml"), dir.path().join("ca.pem"));
    std::fs::write(&authority, CERTIFICATE).unwrap();
    let own_authority = format!("ca_file = {authority:?}\n");
    for (text, own, wrong) in [
        ("", ("DUOPOOL_PROXY", "none"), ("ALL_PROXY", "socks5://p:1080")),
        ("proxy = \"none\"", ("", ""), ("ALL_PROXY", "socks5://p:1080")),
        ("proxy = \"none\"", ("", ""), ("https_proxy", "http://p/path")),
        (&own_authority, ("", ""), ("SSL_CERT_FILE", "/nowhere.pem")),
    ] {
        std::fs::write(&path, text).unwrap();
        let variable = |name: &str| {
            let found = [own, wrong].into_iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.to_owned())
        };
        let flags = Layer { config: Some(path.clone()), ..Layer::default() };
        let config = merged(flags, variable).and_then(|layer| Config::check(&with_data_dir(layer)));
        let config = config.unwrap_or_else(|error| panic!("{own:?} {text}: {error}"));
        assert!(config.effective["proxy"].is_null(), "{own:?} {text}");
    }
}
