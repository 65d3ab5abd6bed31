use super::*;

fn catalogue() -> Catalogue {
    Catalogue::builtin().unwrap()
}

fn rule(pattern: &str, model: &str) -> AliasRule {
    AliasRule { pattern: Pattern::parse(pattern).unwrap(), model: model.to_owned() }
}

fn with(rules: &[(&str, &str)]) -> Catalogue {
    let rules: Vec<_> = rules.iter().map(|(pattern, model)| rule(pattern, model)).collect();
    catalogue().with_rules(&rules).unwrap()
}

/// Returns what a name means in short: the model, and the effort behind a blank.
fn meant(catalogue: &Catalogue, name: &str) -> Option<String> {
    let Meaning { wanted, effort, .. } = catalogue.meaning(name)?;
    let model = match &wanted {
        Wanted::Current => CURRENT_MODEL.to_owned(),
        Wanted::Known(name) => name.to_string(),
        Wanted::Guess { name, .. } => format!("{name}?"),
    };
    Some(effort.map_or(model.clone(), |effort| format!("{model} {}", effort.as_str())))
}

#[test]
fn exact_names_win_over_patterns_and_the_first_pattern_over_the_second() {
    let ours = with(&[
        ("claude-*haiku*", "gpt-5.4-mini"),
        ("claude-*", "gitlab-duo"),
        ("claude-opus-4.6", "claude-opus-5"),
        ("fast", "gpt-5.4-nano"),
        ("*-thinking", "claude-opus-5-high"),
        ("gpt-9*", "gpt-10"),
    ]);
    for (name, model) in [
        ("claude-haiku-9", "gpt-5.4-mini"),
        ("claude-3-5-haiku-latest[1m]", "gpt-5.4-mini"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5-20251001"),
        ("claude-haiku-4-5", "claude-haiku-4-5-20251001"),
        ("claude-haiku-4-5-high", "claude-haiku-4-5-20251001 high"),
        ("claude-nobody-knows", "gitlab-duo"),
        ("claude-opus-4.6", "claude-opus-5"),
        ("claude-opus-4.6-low", "claude-opus-5 low"),
        ("claude-opus-4-6", "claude-opus-4-6"),
        ("claude-gpt-5.5", "gpt-5.5-2026-04-23"),
        ("fast", "gpt-5.4-nano"),
        ("fast[1m]", "gpt-5.4-nano"),
        ("fast(high)", "gpt-5.4-nano high"),
        ("gpt-9", "gpt-10?"),
        ("gpt-9-low", "gpt-10? low"),
        ("gpt-5.5-thinking", "claude-opus-5 high"),
        ("gpt-5.5", "gpt-5.5-2026-04-23"),
    ] {
        assert_eq!(meant(&ours, name).as_deref(), Some(model), "{name}");
    }
    assert_eq!(meant(&ours, "slow"), None);
    assert_eq!(ours.meaning("claude-haiku-9").unwrap().rule.unwrap().pattern.as_str(), "claude-*haiku*");
    assert_eq!(ours.meaning("claude-haiku-4-5").unwrap().rule, None);
    assert_eq!(ours.given_names().map(|(name, _)| name).collect::<Vec<_>>(), ["claude-opus-4.6", "fast"]);
}

#[test]
fn a_pattern_about_the_effort_takes_it() {
    let ours = with(&[("quick-high", "gpt-5.5"), ("deep-*-high", "claude-opus-5"), ("deep-*", "gpt-5.5-low")]);
    for (name, model) in [
        ("quick-high", "gpt-5.5-2026-04-23"),
        ("deep-x-high", "claude-opus-5"),
        ("deep-x", "gpt-5.5-2026-04-23 low"),
        ("deep-x-medium", "gpt-5.5-2026-04-23 medium"),
    ] {
        assert_eq!(meant(&ours, name).as_deref(), Some(model), "{name}");
    }
}

#[test]
fn an_effort_behind_a_known_name_is_asked_for() {
    let catalogue = catalogue();
    for (name, model) in [
        ("gpt-5.5-high", "gpt-5.5-2026-04-23 high"),
        ("gpt-5.5(high)", "gpt-5.5-2026-04-23 high"),
        ("gpt-5.5:xhigh", "gpt-5.5-2026-04-23 xhigh"),
        ("gpt-5-minimal", "gpt-5 minimal"),
        ("claude-sonnet-4-6-max", "claude-sonnet-4-6 max"),
        ("claude-sonnet-4.6:none", "claude-sonnet-4-6 none"),
        ("claude-sonnet-4-6-high[1m]", "claude-sonnet-4-6 high"),
        ("claude-sonnet-4-6[1m]-high", "claude-sonnet-4-6 high"),
        ("claude-sonnet-4-6[1m](high)", "claude-sonnet-4-6 high"),
        ("gitlab-duo-low", "gitlab-duo low"),
        ("claude-gitlab-duo-low", "gitlab-duo low"),
        ("claude-gpt-5.5-high", "gpt-5.5-2026-04-23 high"),
        // What the model has no word for may be the name of a newer one; nothing else can end like the others.
        ("gpt-5.3-codex-max", "gpt-5.3-codex-max?"),
        ("gpt-5.3-codex(max)", "gpt-5.3-codex max"),
        ("gpt-9-high", "gpt-9-high?"),
        ("gpt-9(high)", "gpt-9? high"),
        ("claude-opus-9:low", "claude-opus-9? low"),
        ("gpt-5.4-mini", "gpt-5.4-mini"),
    ] {
        assert_eq!(meant(&catalogue, name).as_deref(), Some(model), "{name}");
    }
    for nobodys in ["llama-high", "-high", "(high)", ":high", "high", "gpt-5.5-HIGH ", "gpt-5.5()"] {
        let guessed = meant(&catalogue, nobodys);
        assert!(guessed.as_deref().is_none_or(|guess| guess.ends_with('?')), "{nobodys}: {guessed:?}");
    }
}

#[test]
fn gpt_models_have_names_among_claudes() {
    let catalogue = catalogue();
    for entry in catalogue.entries() {
        let Some(name) = Catalogue::name_as_claude(entry) else {
            assert_eq!(entry.provider, Provider::Anthropic);
            continue;
        };
        assert_eq!(meant(&catalogue, &name).as_deref(), Some(entry.name.as_str()), "{name}");
    }
    for (name, model) in [
        ("claude-gpt-5.5", "gpt-5.5-2026-04-23"),
        ("claude-gpt-5.5-2026-04-23", "gpt-5.5-2026-04-23"),
        ("claude-gpt-99", "gpt-99?"),
        ("claude-claude-sonnet-4-6", "claude-claude-sonnet-4-6?"),
    ] {
        assert_eq!(meant(&catalogue, name).as_deref(), Some(model), "{name}");
    }
    assert_eq!(meant(&catalogue, &Catalogue::current_as_claude()).as_deref(), Some(CURRENT_MODEL));
}

#[test]
fn a_rule_that_cannot_be_meant_is_refused_and_says_why() {
    for (rules, reason) in [
        (&[("x*", "llama")][..], "the rule for `x*` leads to `llama`, which is no model"),
        (&[("a", "gpt-5.5"), ("b", "a")], "the rule for `b` leads to `a`"),
        (&[("claude-haiku-4-5-20251001", "gpt-5.5")], "is a model's own name"),
        (&[("gitlab-duo", "gpt-5.5")], "is a model's own name"),
        (&[("x*", "gpt-5.5"), ("x*", "gpt-5")], "two rules for `x*`"),
        (&[("x*[1m]", "gpt-5.5")], "ends with `[1m]`"),
    ] {
        let rules: Vec<_> = rules.iter().map(|(pattern, model)| rule(pattern, model)).collect();
        let error = catalogue().with_rules(&rules).unwrap_err().to_string();
        assert!(error.contains(reason), "{error} lacks {reason}");
    }
}

#[test]
fn a_name_of_absurd_length_is_nobodys() {
    let ours = with(&[("*", "gpt-5.5")]);
    assert_eq!(meant(&ours, &"x".repeat(ASKED_BYTES_MAX)).as_deref(), Some("gpt-5.5-2026-04-23"));
    assert_eq!(meant(&ours, &"x".repeat(ASKED_BYTES_MAX + 1)), None);
}
