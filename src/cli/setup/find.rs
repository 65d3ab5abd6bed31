//! Finds the pool: where it is, whether it wants a key, and which models it has.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::bail;
use serde::Deserialize;

use crate::app;
use crate::cli::client::find_server;
use crate::cli::setup::Setup;
use crate::cli::setup::ask::{Asker, Question};
use crate::config::Config;
use crate::domain::catalogue::Catalogue;
use crate::domain::route::Route;
use crate::domain::secret::Secret;
use crate::setup::{Credential, Key, Model, Outcome, Pool};

/// Where a client's key is looked for unless told otherwise.
const KEY_ENV: &str = "DUOPOOL_KEY";
/// A list of models is there at once, or nobody is.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was found.
pub(super) struct Found {
    pub(super) pool: Pool,
    /// The variable of the key, and the key, if it is set.
    pub(super) key_name: String,
    pub(super) key: Option<Secret<String>>,
    /// What its user should know.
    pub(super) notes: Vec<String>,
    /// How it is reached.
    pub(super) route: Route,
}

/// A page of models, in Anthropic's shape, which has the limits.
#[derive(Deserialize)]
struct Page {
    data: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    display_name: Option<String>,
    max_input_tokens: Option<u32>,
    max_tokens: Option<u32>,
}

/// Finds the pool that the flags, the run file and the settings lead to.
pub(super) async fn pool(flags: &Setup, config: &Config) -> anyhow::Result<Found> {
    let (url, is_own) = match &flags.url {
        Some(url) => (url.clone(), false),
        None => {
            (format!("http://{}", find_server(config).await.unwrap_or_else(|| on_this_machine(config.listen))), true)
        }
    };
    let key_name = flags.key_env.clone().unwrap_or_else(|| KEY_ENV.to_owned());
    let key = std::env::var(&key_name).ok().filter(|key| !key.is_empty()).map(Secret::new);
    let catalogue = app::catalogue_of(config)?;
    let mut notes = Vec::new();
    let (is_open, models) = ask((&url, &config.routes.usual), &key_name, key.as_ref(), &catalogue, &mut notes).await;
    // A server that does not run yet will be as its settings say.
    let is_open = is_open.unwrap_or(is_own && config.client_keys.is_empty());
    let key_is_wanted = !is_open || flags.key_env.is_some();
    if key_is_wanted && key.is_none() {
        notes.push(format!("the key is taken from {key_name}, which is not set here: export {key_name}=… in the shell that the client is started from"));
    }
    if key_is_wanted
        && url.starts_with("http://")
        && !is_own
        && !url.contains("//127.0.0.1")
        && !url.contains("//localhost")
    {
        notes.push("over plain http the key and all that is asked can be read on the way".to_owned());
    }
    if let (true, Some(public)) = (is_own, &config.public_url) {
        notes.push(format!("for clients on other machines: --url {public}"));
    }
    let models =
        models.unwrap_or_else(|| catalogue.entries().filter(|entry| !entry.deprecated).map(Model::of).collect());
    if models.is_empty() && flags.model.is_none() {
        bail!("{url} lists no models: `duopool accounts list` says which accounts serve; or name a model with --model");
    }
    let pool_key = if key_is_wanted { Key::Environment(key_name.clone()) } else { Key::Any };
    let pool = Pool { url, key: pool_key, models, wanted: flags.model.clone() };
    // An open pool ignores keys, and what stands in the variable may be meant for another.
    Ok(Found { pool, key: key.filter(|_| key_is_wanted), key_name, notes, route: config.routes.usual.clone() })
}

/// Returns where a client on this machine finds a server that listens on `address`.
fn on_this_machine(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    address
}

/// Asks for the models, without the key first; returns whether that was enough, and the models, as far as they are told.
async fn ask(
    (url, route): (&str, &Route),
    key_name: &str,
    key: Option<&Secret<String>>,
    catalogue: &Catalogue,
    notes: &mut Vec<String>,
) -> (Option<bool>, Option<Vec<Model>>) {
    let asker = Asker::to(url, route);
    let list = async |key: Option<&Secret<String>>| {
        let question = Question {
            path: "/v1/models?limit=1000",
            headers: &[("anthropic-version", "2023-06-01")],
            key: key.map(|key| (key, Credential::Bearer)),
            body: None,
            patience: PATIENCE,
        };
        asker.ask(question).await
    };
    let first = list(None).await;
    let (is_open, outcome) = match (first, key) {
        (Outcome::Answered(answer), Some(key)) if answer.status == 401 => (Some(false), list(Some(key)).await),
        (Outcome::Answered(answer), _) => (
            (answer.status == 200).then_some(true).or((answer.status == 401).then_some(false)),
            Outcome::Answered(answer),
        ),
        (nobody, _) => (None, nobody),
    };
    let why = match outcome {
        Outcome::Answered(answer) if answer.status == 200 => match serde_json::from_slice::<Page>(&answer.body) {
            Ok(page) => return (is_open, Some(models(&page, catalogue))),
            Err(_) => format!("what answers at {url} lists no models as duopool does"),
        },
        Outcome::Answered(answer) if answer.status == 401 && key.is_some() => {
            format!("the pool refuses the key in {key_name}")
        }
        Outcome::Answered(answer) if answer.status == 401 => {
            "the pool lists its models to whoever has a key".to_owned()
        }
        Outcome::Answered(answer) => format!("{url} answered with status {}", answer.status),
        Outcome::Unreachable(why) => format!("nobody answers at {url} ({why}); start the server with `duopool serve`"),
    };
    notes.push(format!("{why}: the models are those that duopool knows"));
    (is_open, None)
}

fn models(page: &Page, catalogue: &Catalogue) -> Vec<Model> {
    let known = page.data.iter().filter_map(|listed| {
        Model::listed(
            catalogue,
            &listed.id,
            listed.display_name.as_deref(),
            (listed.max_input_tokens, listed.max_tokens),
        )
    });
    let mut seen = std::collections::HashSet::new();
    known.filter(|model| seen.insert(model.name.clone())).collect()
}
