use super::*;

#[test]
fn effort_is_what_the_model_has_a_word_for() {
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let (old, new) = (list(&["minimal", "low", "medium", "high"]), list(&["none", "low", "medium", "high", "xhigh"]));
    for (wanted, of_unknown, of_old, of_new) in [
        (Effort::None, "low", "minimal", "none"),
        (Effort::Minimal, "low", "minimal", "low"),
        (Effort::Low, "low", "low", "low"),
        (Effort::High, "high", "high", "high"),
        (Effort::ExtraHigh, "high", "high", "xhigh"),
        (Effort::Max, "high", "high", "xhigh"),
    ] {
        assert_eq!(
            [word(wanted, &[]), word(wanted, &old), word(wanted, &new)],
            [of_unknown, of_old, of_new],
            "{wanted:?}"
        );
    }
}

#[test]
fn a_text_that_is_too_long_for_its_place_becomes_a_digest() {
    assert_eq!(short("u-1"), "u-1");
    assert_eq!((short(&"x".repeat(65)).len(), short(&"\u{e9}".repeat(64)).len()), (64, 128));
    assert_ne!(short(&"x".repeat(65)), short(&"x".repeat(66)));
}
