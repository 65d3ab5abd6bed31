//! What holds for every client.

use clap::ValueEnum as _;

use super::pool::{Key, Pool, sample};
use super::{Client, MergeError};

fn pools() -> [Pool; 2] {
    [sample(Key::Any), sample(Key::Environment("DUOPOOL_KEY".to_owned()))]
}

/// Returns the clients that have a settings file, each with one of somebody else's that has comments.
fn files() -> Vec<(Client, &'static str)> {
    let file = |client: Client| match client {
        Client::ClaudeCode => Some(
            "{\n  // mine\n  \"permissions\": { \"deny\": [\"x\"] },\n  \"env\": {\n    \"FOO\": \"bar\"\n  }\n}\n",
        ),
        Client::Codex => Some("# mine\nsandbox_mode = \"read-only\"\n\n[mcp_servers.x]\ncommand = \"y\" # why\n"),
        Client::Opencode => Some("{\n  // mine\n  \"theme\": \"x\",\n  \"provider\": {\n    \"own\": {},\n  },\n}\n"),
        Client::Aider => Some("# mine\ndark-mode: true\n"),
        Client::Continue => {
            Some("name: x\nversion: 1.0.0\nschema: v1\nmodels:\n  # mine\n  - name: own\n    provider: ollama\n")
        }
        Client::Llm => Some("# mine\n- model_id: own\n  model_name: own\n"),
        Client::Cursor | Client::Sdk => None,
    };
    Client::value_variants().iter().filter_map(|client| Some((*client, file(*client)?))).collect()
}

fn merged(client: Client, pool: &Pool, before: &str) -> String {
    client.merge(pool, before).unwrap_or_else(|error| panic!("{client:?}: {error}"))
}

#[test]
fn a_second_merge_changes_nothing() {
    for (client, file) in files() {
        for pool in pools() {
            for before in ["", file] {
                let once = merged(client, &pool, before);
                assert_eq!(merged(client, &pool, &once), once, "{client:?}");
            }
        }
    }
}

#[test]
fn every_line_of_somebody_elses_file_stays() {
    for (client, before) in files() {
        for pool in pools() {
            let after = merged(client, &pool, before);
            for line in before.lines().map(|line| line.trim().trim_end_matches([',', ' '])).filter(|line| *line != "}")
            {
                assert!(after.contains(line), "{client:?}: {line}\n{after}");
            }
        }
    }
}

#[test]
fn a_file_keeps_its_kind_of_line_ends_and_its_mark() {
    for (client, before) in files() {
        let [pool, _] = pools();
        let dos = merged(client, &pool, &format!("\u{feff}{}", before.replace('\n', "\r\n")));
        assert_eq!(dos, format!("\u{feff}{}", merged(client, &pool, before).replace('\n', "\r\n")), "{client:?}");
    }
}

#[test]
fn another_address_takes_the_place_of_the_old_one() {
    for (client, before) in files() {
        let [pool, _] = pools();
        let old = merged(client, &Pool { url: "https://old.example.com".to_owned(), ..pool.clone() }, before);
        let new = merged(client, &pool, &old);
        assert!(old.contains("old.example.com") && !new.contains("old.example.com"), "{client:?}: {new}");
        assert_eq!(new, merged(client, &pool, before), "{client:?}");
    }
}

#[test]
fn clients_without_a_file_say_what_to_do_instead() {
    for client in [Client::Cursor, Client::Sdk] {
        let [pool, _] = pools();
        let error = client.merge(&pool, "").expect_err("no file");
        assert!(matches!(error, MergeError::NoFile(_)) && error.to_string().contains("duopool setup"), "{error}");
        assert!(!client.snippets(&pool).is_empty());
    }
}

#[test]
fn a_pool_with_models_of_one_maker_alone_is_set_up_all_the_same() {
    for client in Client::value_variants() {
        for maker in ["claude", "gpt"] {
            let [pool, _] = pools();
            let models = pool.models.iter().filter(|model| model.name.starts_with(maker)).cloned().collect();
            let pool = Pool { models, ..pool };
            assert!(!client.probes(&pool).is_empty(), "{client:?}");
            for probe in client.probes(&pool) {
                assert!(probe.what.starts_with(maker), "{client:?}: {}", probe.what);
            }
            if let Ok(text) = client.merge(&pool, "") {
                assert!(text.contains(maker), "{client:?}: {text}");
            }
        }
    }
}

#[test]
fn what_is_asked_in_a_clients_place_is_streamed() {
    for client in Client::value_variants() {
        for probe in client.probes(&pools()[0]) {
            assert_eq!(probe.body["stream"], serde_json::json!(true), "{}", probe.what);
        }
    }
}
