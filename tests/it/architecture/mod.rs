//! The floors of the house: which room may know which, which files stay free of the runtime, and how large a file is.
//!
//! The table below describes what is, as narrowly as it can be said. A change of the plan changes it in the same commit.

mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use source::{Source, Use};

/// Longest file, in lines, tests and all.
const LINES_MAX: usize = 500;
/// Longest file of tests: sentences and tables of cases, of which one is read at a time.
const TEST_LINES_MAX: usize = 700;
/// The one file that may read a clock of the standard library or a calendar.
const CLOCK_FILE: &str = "domain/time.rs";

/// A room and what it may import, as paths from the crate's root; what a path leads to includes all below it.
struct Room {
    name: &'static str,
    may: &'static [&'static str],
}

const fn room(name: &'static str, may: &'static [&'static str]) -> Room {
    Room { name, may }
}

/// Top floor first: a room may only import what comes after it.
const FLOORS: &[Room] = &[
    // There for the tests alone.
    room("simulation", &["router", "account", "gitlab", "store", "trace", "domain"]),
    room("main", &["cli"]),
    room(
        "bench",
        &[
            "router",
            "account::api",
            "account::shared_health",
            "gitlab::direct_access",
            "gitlab::gateway",
            "trace",
            "domain",
        ],
    ),
    room(
        "cli",
        &[
            "app",
            "config",
            "http::admin",
            "http::page",
            "account::doctor::view",
            "account::login::view",
            "account::view",
            "gitlab::rest",
            "gitlab::upstream",
            "setup",
            "telemetry",
            "simulator",
            "domain",
        ],
    ),
    room("setup", &["protocol::sse", "domain"]),
    room(
        "app",
        &[
            "config",
            "http",
            "router",
            "account::login",
            "account::registry",
            "access",
            "gitlab::upstream",
            "store",
            "stored",
            "domain",
        ],
    ),
    room("config", &["domain"]),
    room(
        "http",
        &[
            "router",
            "account::api",
            "account::doctor::view",
            "account::lease",
            "account::login",
            "account::registry",
            "account::view",
            "access",
            "gitlab::error",
            "gitlab::gateway",
            "gitlab::upstream",
            "protocol",
            "store::backup",
            "stored",
            "trace",
            "domain",
        ],
    ),
    room(
        "router",
        &["account::api", "account::lease", "account::registry", "account::shared_health", "trace", "domain"],
    ),
    room("account", &["gitlab", "store", "domain"]),
    room("access", &["domain"]),
    room("stored", &["domain"]),
    room("trace", &["domain"]),
    room("gitlab", &["domain"]),
    room("protocol", &["domain"]),
    room("store", &["domain"]),
    room("telemetry", &[]),
    room("simulator", &["domain"]),
    room("domain", &[]),
];

/// Files and folders of decisions and words: values in, values out.
const PURE: &[&str] = &[
    "access/",
    "account/blocks.rs",
    "account/credentials/",
    "account/exchange/",
    "account/shared_health/",
    "account/state/",
    "account/turns/",
    "domain/",
    "gitlab/error/",
    "gitlab/oauth/outcome.rs",
    "gitlab/oauth/reply.rs",
    "protocol/",
    "router/policy/",
    "router/queue.rs",
    "router/retry.rs",
    "setup/",
    "stored/",
    "trace/sheet.rs",
];

/// What no pure file may say.
const IMPURE: &[&str] = &["async", "await", "actix", "actix_rt", "actix_web", "awc", "futures", "reqwest", "tokio"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every Rust file below `folder`, with its path from there.
fn files(folder: &str) -> Vec<(String, String)> {
    let top = root().join(folder);
    let (mut found, mut open) = (Vec::new(), vec![top.clone()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                found.push((path.strip_prefix(&top).expect("below the top").display().to_string(), text));
            }
        }
    }
    found.sort();
    found
}

fn room_of(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

fn covers(permission: &str, path: &[String]) -> bool {
    let mut path = path.iter();
    permission.split("::").all(|part| path.next().is_some_and(|name| name == part))
}

/// Returns the permission under which `room` makes an import; `None` if it has none.
fn permission<'a>(room: &'a Room, import: &Use) -> Option<&'a str> {
    room.may.iter().copied().find(|permission| covers(permission, &import.path))
}

/// Returns what `file` may not import, one line each.
fn trespasses(file: &str, text: &str) -> Vec<String> {
    let name = room_of(file);
    let Some(room) = FLOORS.iter().find(|room| room.name == name) else {
        return vec![format!("{file}: room `{name}` is not in the table")];
    };
    let foreign = Source::parse(file, text)
        .of_crate()
        .into_iter()
        .filter(|import| import.path.first().map(String::as_str) != Some(name));
    foreign
        .filter(|import| permission(room, import).is_none())
        .map(|import| format!("{file}:{}: `{name}` may not import `{}`", import.line, import.path.join("::")))
        .collect()
}

/// Returns the impure words of `file`, if it is a pure one.
fn impurities(file: &str, text: &str) -> Vec<String> {
    if !PURE.iter().any(|pure| file.starts_with(pure)) {
        return Vec::new();
    }
    let words = Source::parse(file, text).words().into_iter().filter(|(word, _)| IMPURE.contains(&word.as_str()));
    words.map(|(word, line)| format!("{file}:{line}: `{word}` in a pure file")).collect()
}

/// Returns the clocks that `file` reads on its own.
fn clocks(file: &str, text: &str) -> Vec<String> {
    if file == CLOCK_FILE {
        return Vec::new();
    }
    let source = Source::parse(file, text);
    let std_time = source.of("std").into_iter().filter(|import| {
        let path: Vec<&str> = import.path.iter().map(String::as_str).collect();
        // `use std::time;` would open the way to what may not be named.
        matches!(path.as_slice(), ["time" | "*"] | ["time", "Instant" | "SystemTime" | "UNIX_EPOCH" | "*", ..])
    });
    let calendar = source.of("jiff");
    std_time
        .chain(calendar)
        .map(|import| format!("{file}:{}: a clock outside of {CLOCK_FILE}: `{}`", import.line, import.path.join("::")))
        .collect()
}

/// Returns exceptions to lints that do not say why.
fn unexplained(file: &str, text: &str) -> Vec<String> {
    let attributes =
        Source::parse(file, text).lint_exceptions().into_iter().filter(|(said, _)| !said.contains("reason"));
    attributes.map(|(said, line)| format!("{file}:{line}: an exception without a reason: {said}")).collect()
}

fn everywhere(folder: &str, look: impl Fn(&str, &str) -> Vec<String>) {
    let found: Vec<String> = files(folder).iter().flat_map(|(file, text)| look(file, text)).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn no_room_imports_what_its_floor_does_not_allow() {
    everywhere("src", |file, text| if file == "lib.rs" { Vec::new() } else { trespasses(file, text) });
}

#[test]
fn every_room_is_in_the_table_and_every_row_is_a_room() {
    let found: BTreeSet<String> =
        files("src").iter().map(|(file, _)| room_of(file).to_owned()).filter(|room| room != "lib").collect();
    let known: BTreeSet<String> = FLOORS.iter().map(|room| room.name.to_owned()).collect();
    assert_eq!(found, known);
}

#[test]
fn the_crates_root_only_lists_the_rooms() {
    let text = fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs");
    let words: BTreeSet<String> = Source::parse("lib.rs", &text).words().into_iter().map(|(word, _)| word).collect();
    let rooms = FLOORS.iter().map(|room| room.name).filter(|room| *room != "main");
    let expected: BTreeSet<String> = rooms.chain(["pub", "crate", "mod"]).map(str::to_owned).collect();
    assert_eq!(words, expected);
}

#[test]
fn the_table_leads_down_and_has_no_circle() {
    for (floor, room) in FLOORS.iter().enumerate() {
        for permission in room.may {
            let target = permission.split("::").next().unwrap_or_default();
            let below = FLOORS[floor + 1..].iter().any(|lower| lower.name == target);
            assert!(below, "`{}` may import `{permission}`, which is not below it", room.name);
        }
    }
}

#[test]
fn the_table_allows_nothing_that_nobody_does() {
    let sources: Vec<(String, Vec<Use>)> =
        files("src").iter().map(|(file, text)| (file.clone(), Source::parse(file, text).of_crate())).collect();
    for room in FLOORS {
        let imports = || sources.iter().filter(|(file, _)| room_of(file) == room.name).flat_map(|(_, imports)| imports);
        for wanted in room.may {
            let used = imports().any(|import| permission(room, import) == Some(wanted));
            assert!(used, "`{}` may import `{wanted}` and does not: take it out of the table", room.name);
        }
    }
}

#[test]
fn only_the_command_line_knows_the_simulator() {
    let who: Vec<&str> = FLOORS.iter().filter(|room| room.may.contains(&"simulator")).map(|room| room.name).collect();
    assert_eq!(who, ["cli"]);
}

#[test]
fn pure_files_know_no_runtime() {
    for pure in PURE {
        assert!(files("src").iter().any(|(file, _)| file.starts_with(pure)), "nothing is there any more: {pure}");
    }
    everywhere("src", impurities);
}

#[test]
fn there_is_one_clock() {
    everywhere("src", clocks);
}

#[test]
fn exceptions_to_lints_say_why() {
    everywhere("src", unexplained);
    everywhere("tests", unexplained);
}

#[test]
fn no_file_is_too_long_to_read() {
    let longer_than = |most: usize| {
        move |file: &str, text: &str| {
            let lines = text.lines().count();
            if lines > most { vec![format!("{file}: {lines} lines, more than {most}: split it")] } else { Vec::new() }
        }
    };
    everywhere("src", longer_than(LINES_MAX));
    everywhere("tests", longer_than(TEST_LINES_MAX));
}

#[test]
fn a_wrong_import_is_found_however_it_is_written() {
    for text in [
        "use crate::store::StoreActor;",
        "use crate::{domain::id, store::{self, StoreError}};",
        "pub(crate) use crate::store as cellar;",
        "fn f() -> crate::store::StoreError { todo() }",
        "use crate::{\n    router::api, // and\n    store::*,\n};",
        "use super::super::store::StoreActor;",
        "mod tests { use super::super::super::store::StoreActor; }",
        "fn f() { super::super::store::open() }",
        "macro_rules! m { () => { $crate::store::open() } }",
        "use crate::{router::*, simulator};",
        "use crate::*;",
        "use crate::account;",
        "use crate::account::{self, lease};",
        "use crate::gitlab::direct_access::Minted;",
    ] {
        assert!(!trespasses("http/models.rs", text).is_empty(), "{text}");
    }
    let told =
        trespasses("http/models.rs", "use crate::domain::id;\nuse crate::{domain::id, store::{self, Store as S}};");
    assert_eq!(
        told,
        ["http/models.rs:2: `http` may not import `store`", "http/models.rs:2: `http` may not import `store::Store`",]
    );
}

#[test]
fn a_right_import_is_not_found() {
    for text in [
        "use crate::account::lease::{self, Lease as L};",
        "use crate::{account::{api::*, view}, http::door::{Door, host_name}};",
        "use super::door::Door; mod tests { use super::*; use super::super::body; }",
        "// use crate::store::StoreActor;\n/* crate::store::x /* nested */ crate::store */",
        "const A: &str = \"crate::store::x\"; const B: &str = r#\"use crate::\"store\"::y;\"#; const C: char = '\"';",
        "fn f<'a>(x: &'a str) -> &'a str { let _quote = '\\''; x } pub(crate) struct S; pub(super) struct T;",
        "use std::store::X; use tokio::store;",
    ] {
        assert_eq!(trespasses("http/models.rs", text), Vec::<String>::new(), "{text}");
    }
    assert_eq!(trespasses("attic/mod.rs", "").len(), 1);
}

#[test]
fn the_runtime_in_a_pure_file_is_found() {
    for text in ["async fn f() {}", "use actix_web::web::Bytes;", "fn f() { tokio::spawn(g()) }", "use ::awc::Client;"]
    {
        assert_eq!(impurities("protocol/sse/mod.rs", text).len(), 1, "{text}");
        assert_eq!(impurities("http/body.rs", text), Vec::<String>::new());
    }
    assert!(
        impurities("protocol/sse/mod.rs", "//! No async here.\nconst A: &str = \"tokio\"; fn asynchronous() {}")
            .is_empty()
    );
}

#[test]
fn a_second_clock_is_found() {
    for text in [
        "use std::time::{Duration, Instant};",
        "fn f() { std::time::SystemTime::now(); }",
        "use std::{fmt, time::{self, Duration}};",
        "use std::time::*;",
        "use jiff::Timestamp;",
    ] {
        assert_eq!(clocks("account/actor.rs", text).len(), 1, "{text}");
        assert!(clocks(CLOCK_FILE, text).is_empty());
    }
    assert!(clocks("account/actor.rs", "use std::time::Duration; use tokio::time::Instant;").is_empty());
}

#[test]
fn an_exception_without_a_reason_is_found() {
    // Put together here, so that this file does not contain what it looks for.
    for (attribute, found) in
        [("allow(dead_code)", 1), ("expect(dead_code)", 1), ("allow(dead_code, reason = \"it is\")", 0)]
    {
        for open in ["#[", "#!["] {
            let text = format!("{open}{attribute}]\nfn f() {{}}");
            assert_eq!(unexplained("http/body.rs", &text).len(), found, "{text}");
        }
        let conditional = format!("#[cfg_attr(not(test), {attribute})] fn f() {{}}");
        assert_eq!(unexplained("http/body.rs", &conditional).len(), found, "{conditional}");
    }
}
