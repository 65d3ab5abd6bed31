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
