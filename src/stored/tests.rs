use proptest::prelude::*;

use super::*;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);
const MINE: usize = 0;

fn texts(list: &[&str]) -> Vec<Arc<str>> {
    list.iter().map(|text| Arc::from(*text)).collect()
}

fn answer(id: &str, previous: Option<&str>, input: &[&str], output: &[(&str, &str)]) -> Answer {
    Answer {
        id: id.to_owned(),
        previous: previous.map(str::to_owned),
        input: texts(input),
        output: output.iter().map(|(id, text)| Item { id: (*id).to_owned(), text: Arc::from(*text) }).collect(),
        conversation: Some(Conversation::named(id.as_bytes())),
    }
}

fn previous(stored: &Stored, client: usize, id: &str, now: Timestamp) -> Option<Vec<String>> {
    let wish = Wish { previous: Some(id), items: &[] };
    let texts = stored.recall(client, wish, usize::MAX, now).unwrap().previous?;
    Some(texts.iter().map(ToString::to_string).collect())
}

fn item(stored: &Stored, client: usize, id: &str, now: Timestamp) -> Option<String> {
    let wish = Wish { previous: None, items: &[id.to_owned()] };
    stored.recall(client, wish, usize::MAX, now).unwrap().items.get(id).map(ToString::to_string)
}

fn counted(stored: &Stored) -> usize {
    let shelf = stored.shelf();
    assert_eq!(shelf.size().1, shelf.recount());
    shelf.size().1
}

#[test]
fn a_chain_is_everything_that_was_said_in_order() {
    let stored = Stored::default();
    stored.keep(MINE, answer("r1", None, &["a", "b"], &[("m1", "c")]), START);
    stored.keep(MINE, answer("r2", Some("r1"), &["d"], &[("m2", "e"), ("f2", "f")]), START);
    stored.keep(MINE, answer("r3", Some("r2"), &["g"], &[("m3", "h")]), START);
    let all: Vec<String> = ["a", "b", "c", "d", "e", "f", "g", "h"].map(str::to_owned).to_vec();
    assert_eq!(previous(&stored, MINE, "r3", START).as_ref(), Some(&all));
    assert_eq!(previous(&stored, MINE, "r1", START), Some(all[..3].to_vec()));
    assert_eq!(previous(&stored, MINE, "r4", START), None);
    assert_eq!(item(&stored, MINE, "f2", START).as_deref(), Some("f"));
    assert_eq!(item(&stored, MINE, "r2", START), None);
    let conversation = stored.conversation(MINE, "r2", START);
    assert_eq!(conversation, Some(Conversation::named(b"r2")));
}

#[test]
fn nobody_else_finds_it() {
    let stored = Stored::default();
    stored.keep(MINE, answer("r1", None, &["a"], &[("m1", "secret")]), START);
    assert_eq!(previous(&stored, 1, "r1", START), None);
    assert_eq!(item(&stored, 1, "m1", START), None);
    assert_eq!(stored.conversation(1, "r1", START), None);
    stored.keep(1, answer("r1", None, &[], &[("m1", "theirs")]), START);
    assert_eq!(item(&stored, MINE, "m1", START).as_deref(), Some("secret"));
    assert_eq!(item(&stored, 1, "m1", START).as_deref(), Some("theirs"));
    assert!(!format!("{stored:?}").contains("secret"));
}

#[test]
fn an_hour_after_its_last_use_it_is_gone() {
    let stored = Stored::default();
    let almost = Duration::from_mins(59);
    stored.keep(MINE, answer("r1", None, &["a"], &[("m1", "b")]), START);
    stored.keep(MINE, answer("r2", Some("r1"), &["c"], &[("m2", "d")]), START);
    stored.keep(MINE, answer("r3", None, &["e"], &[("m3", "f")]), START);
    let then = START + almost;
    assert!(previous(&stored, MINE, "r2", then).is_some() && item(&stored, MINE, "m3", then).is_some());
    // Using the second has kept the first, which it stands on.
    let later = then + almost;
    assert_eq!(previous(&stored, MINE, "r2", later).map(|texts| texts.len()), Some(4));
    assert_eq!(item(&stored, MINE, "m3", then + KEPT_FOR), None);
    stored.expire(later + KEPT_FOR);
    assert_eq!(counted(&stored), 0);
}

#[test]
fn a_clock_that_is_set_back_forgets_nothing() {
    let stored = Stored::default();
    stored.keep(MINE, answer("r1", None, &[], &[("m1", "a")]), START);
    assert!(item(&stored, MINE, "m1", START - Duration::from_hours(5)).is_some());
}

#[test]
fn what_was_not_used_for_the_longest_time_makes_room() {
    let stored = Stored::default();
    let large = |number: usize| format!("{number:08}{}", "x".repeat(4 * 1024 * 1024));
    let fits = BYTES_MAX / large(0).len();
    for number in 0..fits {
        let text = large(number);
        stored.keep(MINE, answer(&format!("r{number}"), None, &[], &[(&format!("m{number}"), &text)]), START);
        assert!(item(&stored, MINE, "m0", START).is_some(), "{number}");
    }
    stored.keep(1, answer("other", None, &[&large(fits)], &[]), START);
    assert!(item(&stored, MINE, "m0", START).is_some(), "it was used");
    assert_eq!(item(&stored, MINE, "m1", START), None);
    assert!(item(&stored, MINE, "m2", START).is_some());
    assert!((BYTES_MAX / 2..=BYTES_MAX).contains(&counted(&stored)));
}

#[test]
fn what_is_too_large_is_not_kept_and_pushes_nothing_out() {
    let stored = Stored::default();
    stored.keep(MINE, answer("r1", None, &[], &[("m1", "a")]), START);
    let huge = "x".repeat(ANSWER_BYTES_MAX);
    stored.keep(MINE, answer("r2", None, &[&huge], &[("m2", "b")]), START);
    assert_eq!(item(&stored, MINE, "m2", START), None);
    assert!(item(&stored, MINE, "m1", START).is_some());
}

#[test]
fn a_past_that_is_sent_again_and_again_is_kept_once() {
    let stored = Stored::default();
    let past: Vec<String> = (0..50).map(|number| format!("{number}{}", "x".repeat(100_000))).collect();
    for turn in 1..=50 {
        let input: Vec<&str> = past[..turn].iter().map(String::as_str).collect();
        stored.keep(MINE, answer(&format!("r{turn}"), None, &input, &[]), START);
    }
    let bytes = counted(&stored);
    assert!((5_000_000..6_000_000).contains(&bytes), "{bytes}");
}

#[test]
fn references_that_make_a_request_too_long_are_refused() {
    let stored = Stored::default();
    stored.keep(MINE, answer("r1", None, &["12345"], &[("m1", "12345")]), START);
    let ask = |previous, items: &[String], most| stored.recall(MINE, Wish { previous, items }, most, START).is_ok();
    let twice = ["m1".to_owned(), "m1".to_owned()];
    assert!(ask(Some("r1"), &[], 10) && !ask(Some("r1"), &[], 9));
    assert!(ask(None, &twice, 10) && !ask(None, &twice, 9));
    assert!(ask(Some("r1"), &twice, 20) && !ask(Some("r1"), &twice, 19));
}

#[test]
fn an_answer_that_comes_twice_or_continues_itself_does_no_harm() {
    let stored = Stored::default();
    stored.keep(MINE, answer("r1", None, &["a"], &[("m1", "b"), ("m2", "c")]), START);
    stored.keep(MINE, answer("r1", Some("r1"), &["d"], &[("m1", "e")]), START);
    assert_eq!(previous(&stored, MINE, "r1", START), None);
    assert_eq!(item(&stored, MINE, "m1", START).as_deref(), Some("e"));
    assert_eq!(item(&stored, MINE, "m2", START), None);
    stored.keep(MINE, answer("r2", None, &[], &[("m1", "f")]), START);
    stored.keep(MINE, answer("r1", None, &[], &[]), START);
    assert_eq!(item(&stored, MINE, "m1", START).as_deref(), Some("f"));
    counted(&stored);
}

proptest! {
    #[test]
    fn what_is_counted_is_what_is_there(
        steps in prop::collection::vec((0_usize..2, 0_u8..6, prop::option::of(0_u8..6), 0_u8..4, 0_u64..3_000), 1..60)
    ) {
        let stored = Stored::default();
        let mut now = START;
        for (client, id, continued, text, wait) in steps {
            now = now + Duration::from_secs(wait);
            let (id, continued) = (format!("r{id}"), continued.map(|id| format!("r{id}")));
            let text = format!("text {text}");
            let kept = answer(&id, continued.as_deref(), &[&text, "same"], &[(&format!("m{id}"), &text)]);
            stored.keep(client, kept, now);
            counted(&stored);
            previous(&stored, client, &id, now);
            counted(&stored);
        }
        stored.expire(now + KEPT_FOR);
        prop_assert_eq!(counted(&stored), 0);
    }
}
