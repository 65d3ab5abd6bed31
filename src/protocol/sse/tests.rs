use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;

type Owned = (String, Vec<u8>);

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Owned> {
    let mut decoder = Decoder::default();
    let mut events = Vec::new();
    let mut on_event = |event: Event<'_>| -> Result<(), SseError> {
        events.push((String::from_utf8_lossy(event.name).into_owned(), event.data.to_vec()));
        Ok(())
    };
    for piece in pieces {
        decoder.feed(piece, &mut on_event).unwrap();
    }
    decoder.finish(&mut on_event).unwrap();
    events
}

fn events(wire: &str) -> Vec<(String, String)> {
    decode([wire.as_bytes()]).into_iter().map(|(name, data)| (name, String::from_utf8(data).unwrap())).collect()
}

fn event(name: &str, data: &str) -> (String, String) {
    (name.into(), data.into())
}

fn random_cuts<'a>(wire: &'a [u8], rng: &mut StdRng) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = wire;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rng.random_range(0..=rest.len().min(9)));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

#[test]
fn lines_end_with_line_feed_return_or_both() {
    for end in ["\n", "\r", "\r\n"] {
        let wire = format!("event: a{end}data: 1{end}{end}data: 2{end}{end}");
        assert_eq!(events(&wire), [event("a", "1"), event("", "2")], "{end:?}");
    }
}

#[test]
fn unicode_line_separators_end_no_line() {
    let data = "a\u{2028}b\u{85}c\u{2029}\u{b}\u{c}d";
    assert_eq!(events(&format!("data: {data}\n\n")), [event("", data)]);
}

#[test]
fn a_byte_order_mark_is_skipped_at_the_start_only() {
    assert_eq!(events("\u{feff}data: 1\n\ndata: \u{feff}2\n\n"), [event("", "1"), event("", "\u{feff}2")]);
    assert_eq!(decode("\u{feff}data: 1\n\n".as_bytes().chunks(1)), decode(["data: 1\n\n".as_bytes()]));
}

#[test]
fn the_space_after_the_colon_is_optional_and_only_one_is_taken() {
    assert_eq!(events("data:1\n\ndata:  2\n\n"), [event("", "1"), event("", " 2")]);
}

#[test]
fn several_data_lines_become_one_event() {
    assert_eq!(events("data: a\ndata:\ndata: b\n\n"), [event("", "a\n\nb")]);
}

#[test]
fn the_last_event_may_lack_its_blank_line_and_its_line_end() {
    assert_eq!(events("event: x\ndata: 1\n\nevent: y\ndata: 2"), [event("x", "1"), event("y", "2")]);
    assert_eq!(events("data: 2\n"), [event("", "2")]);
}

#[test]
fn comments_unknown_fields_and_events_without_data_are_skipped() {
    let wire = ": ping\n\nid: 7\nretry: 5\nevent: lonely\n\nfoo\ndata: 1\n\n";
    assert_eq!(events(wire), [event("", "1")]);
}

#[test]
fn an_empty_data_line_is_an_event() {
    assert_eq!(events("data\n\ndata:\n\n"), [event("", ""), event("", "")]);
}

#[test]
fn a_line_beyond_the_limit_is_an_error_and_not_memory() {
    let mut decoder = Decoder::default();
    let mut ignore = |_: Event<'_>| -> Result<(), SseError> { Ok(()) };
    let piece = vec![b'x'; 1024 * 1024];
    let fed = (0..9).map(|_| decoder.feed(&piece, &mut ignore)).find(Result::is_err);
    assert_eq!(fed, Some(Err(SseError::TooLong)));

    let mut decoder = Decoder::default();
    let line = [b"data:".as_slice(), &piece, b"\n"].concat();
    let fed = (0..9).map(|_| decoder.feed(&line, &mut ignore)).find(Result::is_err);
    assert_eq!(fed, Some(Err(SseError::TooLong)));
}

#[test]
fn an_error_of_the_reader_ends_the_call() {
    let mut seen = 0;
    let mut on_event = |_: Event<'_>| -> Result<(), SseError> {
        seen += 1;
        Err(SseError::TooLong)
    };
    assert!(Decoder::default().feed(b"data: 1\n\ndata: 2\n\n", &mut on_event).is_err());
    assert_eq!(seen, 1);
}

#[test]
fn events_do_not_depend_on_where_the_network_cuts_the_bytes() {
    let wire = "\u{feff}: hi\r\nevent: a\r\ndata: caf\u{e9} \u{1f980}\r\n\r\ndata:1\rdata: 2\r\r\n\ndata: x\nevent: b\n\ndata: end";
    let whole = decode([wire.as_bytes()]);
    assert_eq!(whole.len(), 4);
    for seed in 0..500 {
        let pieces = random_cuts(wire.as_bytes(), &mut StdRng::seed_from_u64(seed));
        assert_eq!(decode(pieces), whole, "seed {seed}");
    }
}

proptest! {
    #[test]
    fn any_bytes_decode_the_same_however_they_are_cut(wire in "(data: ?|event:|:|[ab\u{e9}]{0,3}|\r\n|\n|\r){0,40}", seed: u64) {
        let pieces = random_cuts(wire.as_bytes(), &mut StdRng::seed_from_u64(seed));
        prop_assert_eq!(decode(pieces), decode([wire.as_bytes()]));
    }

    #[test]
    fn what_is_encoded_is_decoded_again(name in "[a-z_.]{0,12}", data in "[^\r]{0,60}") {
        let mut wire = Vec::new();
        write_event(&mut wire, (!name.is_empty()).then_some(&name), data.as_bytes());
        prop_assert_eq!(decode([&wire[..]]), [(name, data.into_bytes())]);
    }
}
