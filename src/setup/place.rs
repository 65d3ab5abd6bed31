//! Where clients keep their settings.

use std::path::{Path, PathBuf};

use super::Client;

/// Returns where `client` looks for its settings; `None` if it has no such file, or there is no home.
///
/// `variable` returns an environment variable, `exists` tells whether a file is there.
pub(crate) fn place(
    client: Client,
    variable: impl Fn(&str) -> Option<String>,
    exists: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    let folder = |name: &str| variable(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || folder("HOME");
    let config = || folder("XDG_CONFIG_HOME").or_else(|| home().map(|home| home.join(".config")));
    match client {
        Client::ClaudeCode => {
            let own = folder("CLAUDE_CONFIG_DIR").or_else(|| home().map(|home| home.join(".claude")));
            own.map(|own| own.join("settings.json"))
        }
        Client::Codex => {
            let own = folder("CODEX_HOME").or_else(|| home().map(|home| home.join(".codex")));
            own.map(|own| own.join("config.toml"))
        }
        Client::Opencode => {
            let own = config()?.join("opencode");
            // Both are read, and the latter wins. Source: opencode, `config/config.ts`.
            let commented = own.join("opencode.jsonc");
            Some(if exists(&commented) { commented } else { own.join("opencode.json") })
        }
        Client::Aider => home().map(|home| home.join(".aider.conf.yml")),
        Client::Continue => {
            let own = folder("CONTINUE_GLOBAL_DIR").or_else(|| home().map(|home| home.join(".continue")));
            own.map(|own| own.join("config.yaml"))
        }
        // Source: `llm.user_dir`, which is click's `get_app_dir`.
        Client::Llm => {
            let mac = home().map(|home| home.join("Library/Application Support"));
            let base = if cfg!(target_os = "macos") { mac } else { config() };
            let own = folder("LLM_USER_PATH").or_else(|| base.map(|base| base.join("io.datasette.llm")));
            own.map(|own| own.join("extra-openai-models.yaml"))
        }
        Client::Cursor | Client::Sdk => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_where_each_client_looks_for_them() {
        let table = [
            (Client::ClaudeCode, "/h/.claude/settings.json", "CLAUDE_CONFIG_DIR", "/x/settings.json"),
            (Client::Codex, "/h/.codex/config.toml", "CODEX_HOME", "/x/config.toml"),
            (Client::Opencode, "/h/.config/opencode/opencode.json", "XDG_CONFIG_HOME", "/x/opencode/opencode.json"),
            (Client::Continue, "/h/.continue/config.yaml", "CONTINUE_GLOBAL_DIR", "/x/config.yaml"),
        ];
        for (client, usual, variable, moved) in table {
            let environment = |name: &str| (name == "HOME").then(|| "/h".to_owned());
            assert_eq!(place(client, environment, |_| false), Some(usual.into()));
            let environment = |name: &str| (name == variable).then(|| "/x".to_owned());
            assert_eq!(place(client, environment, |_| false), Some(moved.into()));
            // An empty variable is none.
            let environment = |name: &str| match name {
                "HOME" => Some("/h".to_owned()),
                _ => Some(String::new()),
            };
            assert_eq!(place(client, environment, |_| false), Some(usual.into()));
            assert_eq!(place(client, |_| None, |_| false), None);
        }
        let home = |name: &str| (name == "HOME").then(|| "/h".to_owned());
        assert_eq!(place(Client::Aider, home, |_| false), Some("/h/.aider.conf.yml".into()));
        assert_eq!(place(Client::Cursor, home, |_| false), None);
    }

    #[test]
    fn the_file_that_wins_is_the_one_that_is_changed() {
        let home = |name: &str| (name == "HOME").then(|| "/h".to_owned());
        let commented = Path::new("/h/.config/opencode/opencode.jsonc");
        assert_eq!(place(Client::Opencode, home, |path| path == commented).as_deref(), Some(commented));
    }
}
