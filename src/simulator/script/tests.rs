use super::*;

const NOW: Timestamp = Timestamp::from_secs(1);

#[test]
fn the_oldest_rule_that_fits_applies_until_it_is_used_up() {
    let mut script = Script::default();
    script.add(Rule::always(Effect::Hang).on(Call::Messages).by("ada").times(2), NOW);
    script.add(Rule::once(Effect::Close), NOW);
    let effects: Vec<_> = (0..4).map(|_| script.take(Some("ada"), Call::Messages, None, NOW).effect).collect();
    assert_eq!(effects, [Some(Effect::Hang), Some(Effect::Hang), Some(Effect::Close), None]);
}

#[test]
fn a_rule_applies_to_its_own_account_call_and_model_only() {
    let mut script = Script::default();
    script.add(Rule::always(Effect::Hang).on(Call::Messages).by("ada").for_model("claude-opus-5"), NOW);
    assert!(script.asks_for_model());
    for (account, call, model) in [
        (Some("grace"), Call::Messages, Some("claude-opus-5")),
        (None, Call::Messages, Some("claude-opus-5")),
        (Some("ada"), Call::Responses, Some("claude-opus-5")),
        (Some("ada"), Call::Messages, Some("claude-sonnet-5")),
        (Some("ada"), Call::Messages, None),
    ] {
        assert_eq!(script.take(account, call, model, NOW).effect, None, "{account:?} {call:?} {model:?}");
    }
    assert_eq!(script.take(Some("ada"), Call::Messages, Some("claude-opus-5"), NOW).effect, Some(Effect::Hang));
}

#[test]
fn a_delay_works_together_with_another_effect() {
    let mut script = Script::default();
    script.add(Rule::always(Effect::delay(Duration::from_millis(5), Duration::ZERO)), NOW);
    script.add(Rule::always(Effect::Cut { after: 1 }), NOW);
    let plan = script.take(None, Call::Responses, None, NOW);
    assert_eq!(plan.pace.first_byte, Duration::from_millis(5));
    assert_eq!(plan.effect, Some(Effect::Cut { after: 1 }));
}
