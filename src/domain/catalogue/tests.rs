use super::*;

fn catalogue() -> Catalogue {
    Catalogue::builtin().unwrap()
}

fn name(text: &str) -> ModelName {
    ModelName::parse(text).unwrap()
}

fn known(text: &str) -> Wanted {
    Wanted::Known(name(text))
}

fn table(name: &str, aliases: &str) -> String {
    format!(
        "[[model]]\nname = {name:?}\ndisplay_name = \"New\"\nprovider = \"anthropic\"\ndialects = [\"messages\"]\n\
         family = \"claude-sonnet\"\ncontext_tokens = 1_000\noutput_tokens = 100\nthinking = \"adaptive\"\n\
         accepts_sampling = false\naliases = [{aliases}]\n"
    )
}

#[test]
fn every_builtin_name_and_alias_leads_to_its_own_model() {
    let catalogue = catalogue();
    assert_eq!(catalogue.entries().count(), 25);
    for entry in catalogue.entries() {
        assert_eq!(catalogue.entry(&entry.name), Some(entry));
        for text in entry.aliases.iter().map(String::as_str).chain([entry.name.as_str()]) {
            assert_eq!(catalogue.resolve(text), Some(Wanted::Known(entry.name.clone())), "{text}");
        }
        for reference in &entry.gitlab {
            assert_eq!(catalogue.by_gitlab_ref(reference), Some(entry), "{reference}");
        }
    }
}

#[test]
fn names_people_use_lead_to_names_the_gateway_accepts() {
    let cases = [
        ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
        ("claude-sonnet-4.5", "claude-sonnet-4-5-20250929"),
        ("claude-opus-4-5", "claude-opus-4-5-20251101"),
        ("claude-opus-4.6", "claude-opus-4-6"),
        ("claude-haiku-4-5", "claude-haiku-4-5-20251001"),
        ("claude-sonnet-4-6[1m]", "claude-sonnet-4-6"),
        ("duo-chat-sonnet-4-5", "claude-sonnet-4-5-20250929"),
        ("duo-chat-opus-4-6", "claude-opus-4-6"),
        ("duo-chat-gpt-5-1", "gpt-5.1-2025-11-13"),
        ("gpt-5.1", "gpt-5.1"),
        ("gpt-5.1-2025-11-13", "gpt-5.1-2025-11-13"),
        ("gpt-5.5", "gpt-5.5-2026-04-23"),
        ("gpt-5.4", "gpt-5.4-2026-03-05"),
        ("gpt-5.2", "gpt-5.2-2025-12-11"),
        ("gpt-5-mini", "gpt-5-mini-2025-08-07"),
    ];
    let catalogue = catalogue();
    for (asked, accepted) in cases {
        assert_eq!(catalogue.resolve(asked), Some(known(accepted)), "{asked}");
    }
}

#[test]
fn an_unknown_name_is_a_guess_if_it_says_whose_it_is_and_nobodys_otherwise() {
    let catalogue = catalogue();
    let guess = |text: &str, provider| Some(Wanted::Guess { name: name(text), provider });
    assert_eq!(catalogue.resolve("claude-opus-9"), guess("claude-opus-9", Provider::Anthropic));
    assert_eq!(catalogue.resolve("claude-opus-9[1m]"), guess("claude-opus-9", Provider::Anthropic));
    assert_eq!(catalogue.resolve("gpt-5.1-codex"), guess("gpt-5.1-codex", Provider::OpenAi));
    for nobodys in ["gemini-3-pro", "", "[1m]", "claude_sonnet_4_6", "claude-with space", "GPT-5"] {
        assert_eq!(catalogue.resolve(nobodys), None, "{nobodys:?}");
    }
}

#[test]
fn gitlab_duo_means_the_accounts_current_model() {
    let catalogue = catalogue();
    assert_eq!(catalogue.resolve(CURRENT_MODEL), Some(Wanted::Current));
    let default = catalogue.entry(catalogue.default_model()).unwrap();
    assert!(!default.deprecated);
    assert_eq!(default.provider, Provider::Anthropic);
}

#[test]
fn an_alias_is_no_name() {
    assert_eq!(catalogue().entry(&name("claude-sonnet-4-5")), None);
}

#[test]
fn gitlab_refs_map_only_where_the_gateway_has_a_proxy() {
    let catalogue = catalogue();
    let cases = [
        ("claude_sonnet_4_6", Some("claude-sonnet-4-6")),
        ("claude_sonnet_4_5_20250929", Some("claude-sonnet-4-5-20250929")),
        ("anthropic/claude-sonnet-4-5-20250929", Some("claude-sonnet-4-5-20250929")),
        ("claude_haiku_4_5_20251001", Some("claude-haiku-4-5-20251001")),
        ("gpt_5_6_sol", Some("gpt-5.6-sol")),
        ("gpt_5", Some("gpt-5.1-2025-11-13")),
        ("claude_sonnet_4_6_vertex", None),
        ("codestral_2501_fireworks", None),
    ];
    for (reference, expected) in cases {
        let found = catalogue.by_gitlab_ref(reference).map(|entry| entry.name.as_str());
        assert_eq!(found, expected, "{reference}");
    }
}

#[test]
fn a_refused_model_falls_back_to_the_newest_supported_one_of_its_family() {
    let cases = [
        ("claude-sonnet-5-5", Some("claude-sonnet-5")),
        ("claude-sonnet-5", Some("claude-sonnet-4-6")),
        ("claude-3-5-haiku-latest", Some("claude-haiku-4-5-20251001")),
        ("claude-haiku-4-5-20251001", None),
        ("gpt-5.1-codex", Some("gpt-5.3-codex")),
        ("gpt-5.1-codex-mini", Some("gpt-5.3-codex")),
        ("gpt-6-sol", Some("gpt-5.6-sol")),
        ("gpt-9", Some("gpt-5.5-2026-04-23")),
        ("gpt-4o", Some("gpt-5.5-2026-04-23")),
        ("gpt-5-chat-latest", Some("gpt-5.5-2026-04-23")),
        ("gpt-4o-mini", Some("gpt-5.4-mini")),
        ("gpt-image-1", None),
        ("claude-foo-9", None),
        ("claude-2.1", None),
        ("gemini-pro", None),
    ];
    let catalogue = catalogue();
    for (refused, expected) in cases {
        let found = catalogue.fallback(&name(refused), |_| false).map(|entry| entry.name.as_str());
        assert_eq!(found, expected, "{refused}");
    }
    let sonnet_5 = name("claude-sonnet-5");
    let next = catalogue.fallback(&name("claude-sonnet-5-5"), |model| *model == sonnet_5).unwrap();
    assert_eq!(next.name.as_str(), "claude-sonnet-4-6");
    assert!(catalogue.fallback(&name("gpt-9"), |_| true).is_none());
}

#[test]
fn each_family_is_listed_newest_first_and_has_one_provider() {
    let catalogue = catalogue();
    for newer in catalogue.entries() {
        let rest = catalogue.entries().skip_while(|entry| *entry != newer).skip(1);
        for older in rest.filter(|entry| entry.family == newer.family) {
            assert!(newer.created() >= older.created(), "{} before {}", newer.name, older.name);
            assert_eq!(newer.provider, older.provider);
        }
    }
}

#[test]
fn a_models_own_name_tells_the_same_family_as_the_table() {
    let catalogue = catalogue();
    for entry in catalogue.entries() {
        assert_eq!(catalogue.family_of(entry.name.as_str()), Some(entry.family.as_str()), "{}", entry.name);
    }
}

#[test]
fn the_wire_form_follows_the_model() {
    let catalogue = catalogue();
    let entry = |text| catalogue.entry(&name(text)).unwrap();
    assert_eq!(entry("claude-opus-4-8").thinking, Thinking::Adaptive);
    assert_eq!(entry("claude-opus-4-6").thinking, Thinking::Both);
    assert_eq!(entry("claude-haiku-4-5-20251001").thinking, Thinking::Manual);
    assert!(!entry("claude-opus-4-7").accepts_sampling);
    assert_eq!(entry("gpt-5.6-sol").dialects, [Dialect::Responses]);
    assert_eq!(entry("gpt-5.3-codex").dialects, [Dialect::Responses]);
    assert!(entry("gpt-5.4-mini").dialects.contains(&Dialect::ChatCompletions));
    assert_eq!(entry("claude-opus-5").created().to_string(), "2026-07-24T00:00:00Z");
    assert_eq!(entry("gpt-6-astra").created().to_string(), "2026-09-07T00:00:00Z");
}

#[test]
fn an_operators_file_adds_replaces_removes_and_sets_the_default() {
    let file = format!(
        "default = \"claude-sonnet-7\"\nremove = [\"gpt-5\", \"claude-sonnet-5\"]\n{}{}",
        table("claude-sonnet-7", r#""sonnet""#),
        table("claude-sonnet-4-6", "")
    );
    let catalogue = catalogue().with_overrides(&file).unwrap();
    assert_eq!(catalogue.default_model().as_str(), "claude-sonnet-7");
    assert_eq!(catalogue.resolve("sonnet"), Some(known("claude-sonnet-7")));
    assert_eq!(catalogue.entry(&name("claude-sonnet-4-6")).unwrap().context_tokens, 1_000);
    assert!(matches!(catalogue.resolve("gpt-5"), Some(Wanted::Guess { .. })), "a removed model is a guess");
    let newest = catalogue.fallback(&name("claude-sonnet-9"), |_| false).unwrap();
    assert_eq!(newest.name.as_str(), "claude-sonnet-7", "an added model is the newest of its family");
}

#[test]
fn an_empty_file_of_an_operator_changes_nothing() {
    let same = catalogue().with_overrides("").unwrap();
    assert!(same.entries().eq(catalogue().entries()));
    assert_eq!(same.default_model(), catalogue().default_model());
}

#[test]
fn a_file_that_cannot_be_meant_is_refused_and_says_why() {
    let replaced = |from: &str, to: &str| table("claude-new", "").replace(from, to);
    let cases = [
        (
            table("claude-new", "\"claude-opus-4-5\""),
            "`claude-opus-4-5` is claimed by both `claude-new` and `claude-opus-4-5-20251101`",
        ),
        (table("claude-new", "\"a\", \"a\""), "`a` is claimed by both `claude-new` and `claude-new`"),
        (format!("{0}{0}", table("claude-new", "")), "`claude-new` is claimed by both"),
        (table("claude-new", "\"gitlab-duo\""), "means an account's current model"),
        ("remove = [\"gpt-0\"]".to_owned(), "`remove` in the model catalogue names `gpt-0`"),
        ("default = \"gpt-0\"".to_owned(), "`default` in the model catalogue names `gpt-0`"),
        ("remove = [\"claude-sonnet-4-6\"]".to_owned(), "`default` in the model catalogue names `claude-sonnet-4-6`"),
        ("modell = 1".to_owned(), "does not parse"),
        (replaced("[\"messages\"]", "[]"), "no dialect"),
        (replaced("output_tokens = 100", "output_tokens = 1_001"), "above its context"),
        (replaced("aliases", "released = \"May\"\naliases"), "YYYY-MM-DD"),
    ];
    for (file, reason) in cases {
        let error = catalogue().with_overrides(&file).unwrap_err().to_string();
        assert!(error.contains(reason), "{error} lacks {reason}");
    }
}
