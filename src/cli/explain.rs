//! `duopool explain …`: why a request went where it went, and where one would go now.

use anyhow::bail;
use clap::Args;
use serde_json::json;

use crate::cli::client::Client;
use crate::cli::output;
use crate::config::Config;
use crate::http::admin::explained::{CandidateView, ChosenView, CountView};
use crate::http::admin::requests::{AttemptView, RequestLine, RequestList, RequestView};
use crate::http::admin::route::RouteView;

/// Says why a request went where it went; with `--model`, where one would go now; with neither, what came of the last
/// requests.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// Id of a request: the `x-request-id` of its answer
    #[arg(value_name = "REQUEST", conflicts_with = "model")]
    request: Option<String>,
    /// Chooses for a request for this model, without sending one
    #[arg(long)]
    model: Option<String>,
    /// Whose request it would be: a key by its name, such as `key_0123abcd`, never by itself
    #[arg(long, requires = "model", value_name = "NAME")]
    key: Option<String>,
    /// Pools to choose from, instead of those that the key may use
    #[arg(long = "pool", requires = "model")]
    pools: Vec<String>,
    /// Accounts that count as gone, by id, label or username
    #[arg(long, requires = "model", value_name = "ACCOUNT")]
    without: Vec<String>,
    /// What the client speaks
    #[arg(long, requires = "model", value_parser = ["messages", "chat-completions", "responses"])]
    dialect: Option<String>,
    /// The conversation that it would belong to, by the name in the client's session header
    #[arg(long, requires = "model", value_name = "NAME")]
    conversation: Option<String>,
    #[command(flatten)]
    json: output::Json,
}

impl Explain {
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        let client = Client::connect(config).await?;
        let done = self.explain(&client).await;
        client.close().await;
        done
    }

    async fn explain(&self, client: &Client) -> anyhow::Result<()> {
        if self.model.is_some() {
            return self.foresee(client).await;
        }
        if client.server().is_none() {
            bail!("no server runs, and only a running one knows what it decided; `--model` says what would be chosen");
        }
        let Some(id) = &self.request else {
            let list: RequestList = client.get("/admin/v1/requests").await?;
            return if self.json.json { output::print_json(&list) } else { print_list(&list) };
        };
        // It becomes a part of a path.
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
            bail!("`{}` is no request's id: it is the `x-request-id` of an answer", id.escape_debug());
        }
        let view: RequestView = client.get(&format!("/admin/v1/requests/{id}")).await?;
        if self.json.json { output::print_json(&view) } else { print_request(&view) }
    }

    async fn foresee(&self, client: &Client) -> anyhow::Result<()> {
        let pools = Some(&self.pools).filter(|pools| !pools.is_empty());
        let wish = json!({
            "model": self.model,
            "dialect": self.dialect,
            "key": self.key,
            "pools": pools,
            "without": self.without,
            "conversation": self.conversation,
        });
        let view: RouteView = client.post("/admin/v1/route", &wish).await?;
        if self.json.json { output::print_json(&view) } else { print_route(&view) }
    }
}

fn print_list(list: &RequestList) -> anyhow::Result<()> {
    if list.requests.is_empty() {
        return output::line("there was no request since the server started");
    }
    let row = |request: &RequestLine| {
        let model = request.model.clone().unwrap_or_default();
        vec![request.id.clone(), request.at.clone(), model, request.message.clone()]
    };
    let rows: Vec<Vec<String>> = list.requests.iter().map(row).collect();
    output::print_table(&["ID", "AT", "MODEL", "WHAT CAME OF IT"], &rows)
}

fn print_request(view: &RequestView) -> anyhow::Result<()> {
    let RequestLine { id, at, model, message, .. } = &view.line;
    output::line(&format!("{id}: {message}"))?;
    let model = match (model, &view.wanted) {
        (Some(model), Some(wanted)) if model != wanted => format!("{model}, which means {wanted}"),
        (Some(model), _) => model.clone(),
        (None, _) => "no model that is known".to_owned(),
    };
    let what = if view.counts_tokens { ", to count tokens" } else { "" };
    let rows = [
        ("came in", at.clone()),
        ("asked for", format!("{model}, in {}{what}", view.dialect)),
        ("with key", view.key.clone().unwrap_or_else(|| "(none is needed)".to_owned())),
        ("pools", pools(&view.pools)),
        ("strategy", view.strategy.clone().unwrap_or_default()),
        ("told until", view.until.clone().unwrap_or_default()),
    ];
    for (name, text) in rows.iter().filter(|(_, text)| !text.is_empty()) {
        output::line(&format!("  {name:<12}{text}"))?;
    }
    (1..).zip(&view.attempts).try_for_each(|(number, attempt)| print_attempt(number, attempt))
}

fn print_attempt(number: u32, attempt: &AttemptView) -> anyhow::Result<()> {
    output::line(&format!("\nattempt {number}: {}", attempt.message))?;
    if let Some(chosen) = &attempt.chosen {
        output::line(&format!("  {}", chosen_because("was chosen", chosen)))?;
    }
    if let Some(affinity) = &attempt.affinity {
        output::line(&format!("  {}", affinity.message))?;
    }
    if let Some(time) = attempt.first_content_ms {
        output::line(&format!("  its first content came after {time} ms"))?;
    }
    print_candidates(&attempt.candidates, &attempt.others)
}

fn print_route(view: &RouteView) -> anyhow::Result<()> {
    if let Some(meaning) = meaning(view) {
        output::line(&meaning)?;
    }
    match (&view.chosen, &view.told) {
        (Some(chosen), _) => output::line(&chosen_because("would be chosen", chosen))?,
        (None, Some(told)) => {
            let first =
                told.first.as_ref().map(|first| format!("it would wait for {first}; then ")).unwrap_or_default();
            let retry = told.retry_after_s.map(|wait| format!(" (Retry-After: {wait})")).unwrap_or_default();
            output::line(&format!("nobody: {first}the client would be told {}{retry}: {}", told.status, told.message))?;
        }
        (None, None) => output::line("nobody")?,
    }
    if let Some(affinity) = &view.affinity {
        output::line(&format!("  {}", affinity.message))?;
    }
    for next in &view.next {
        output::line(&format!("  if that one failed too, {}", chosen_because("would be next", next)))?;
    }
    output::line(&format!("  pools: {}", pools(&view.pools)))?;
    print_candidates(&view.candidates, &[])
}

/// Says what the model's name means, where that is not the name itself.
fn meaning(view: &RouteView) -> Option<String> {
    let wanted = view.wanted.as_ref().filter(|wanted| **wanted != view.model)?;
    let rule = view.rule.as_ref().map(|pattern| format!(", by the alias rule for {pattern}")).unwrap_or_default();
    let effort = view.effort.as_ref().map(|effort| format!(", with effort {effort}")).unwrap_or_default();
    Some(format!("{} means {wanted}{effort}{rule}", view.model))
}

fn chosen_because(verb: &str, chosen: &ChosenView) -> String {
    let ChosenView { account, name, model, dialect, is_probe, because } = chosen;
    let who = name.as_ref().map_or_else(|| account.clone(), |name| format!("{name} ({account})"));
    let probe = if *is_probe { ", to find out whether it is well again" } else { "" };
    format!("{who} {verb} for {model} in {dialect}: {because}{probe}")
}

fn pools(pools: &[String]) -> String {
    if pools.is_empty() { "every pool".to_owned() } else { pools.join(", ") }
}

fn print_candidates(candidates: &[CandidateView], others: &[CountView]) -> anyhow::Result<()> {
    if !candidates.is_empty() {
        let rows: Vec<Vec<String>> = candidates.iter().map(row).collect();
        output::line("")?;
        output::print_table(&["ACCOUNT", "NAME", "TIER", "WEIGHT", "BUSY", "IT"], &rows)?;
    }
    let counted: Vec<String> =
        others.iter().map(|count| format!("{} {}", count.accounts, count.verdict.text())).collect();
    if counted.is_empty() { Ok(()) } else { output::line(&format!("and others: {}", counted.join(", "))) }
}

fn row(candidate: &CandidateView) -> Vec<String> {
    vec![
        candidate.account.clone(),
        candidate.name.clone().unwrap_or_default(),
        candidate.priority.to_string(),
        candidate.weight.to_string(),
        format!("{} of {}", candidate.in_flight, candidate.max_concurrency),
        candidate.message.clone(),
    ]
}
