//! What the gateway and the providers should not answer: a client is told in the words of its dialect.

use duopool::simulator::{Call, Effect, Rule};
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::ask::{chat, count, messages, responses};
use crate::support::told::told;

const SONNET: &str = "claude-sonnet-4-6";
const GPT: &str = "gpt-5.5-2026-04-23";
const MESSAGES: &str = "/v1/messages";
const COUNT: &str = "/v1/messages/count_tokens";
const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";

fn good(path: &str) -> Value {
    match path {
        MESSAGES => messages(SONNET),
        COUNT => count(SONNET),
        CHAT => chat(GPT),
        _ => responses(GPT),
    }
}

/// An error of an upstream, and what a client is told: the same for every dialect but for the words.
struct Mishap {
    /// What goes wrong at the model's route.
    status: u16,
    body: String,
    /// Status for a client of Messages, and for one of OpenAI's dialects.
    told: (u16, u16),
    /// `error.type` in Messages; `error.type` and `error.code` in OpenAI's dialects.
    types: (&'static str, &'static str, Option<&'static str>),
    /// In the message.
    words: &'static str,
}

fn mishap(
    (status, body): (u16, &str),
    told: (u16, u16),
    types: (&'static str, &'static str, Option<&'static str>),
    words: &'static str,
) -> Mishap {
    Mishap { status, body: body.to_owned(), told, types, words }
}

const INVALID: (&str, &str, Option<&str>) = ("invalid_request_error", "invalid_request_error", None);
const TOO_LONG: (&str, &str, Option<&str>) =
    ("invalid_request_error", "invalid_request_error", Some("context_length_exceeded"));
const NOT_FOUND: (&str, &str, Option<&str>) = ("not_found_error", "invalid_request_error", Some("model_not_found"));
const TOO_LARGE: (&str, &str, Option<&str>) = ("request_too_large", "invalid_request_error", None);
const RATE: (&str, &str, Option<&str>) = ("rate_limit_error", "rate_limit_error", Some("rate_limit_exceeded"));
const OVERLOADED: (&str, &str, Option<&str>) = ("overloaded_error", "server_error", None);
const INTERNAL: (&str, &str, Option<&str>) = ("api_error", "server_error", None);
const BILLING: (&str, &str, Option<&str>) = ("billing_error", "insufficient_quota", Some("insufficient_quota"));

/// An error page of a proxy in between; its words must not reach a client.
const PAGE: &str = "<html><head><title>Error</title></head><body>nginx secret-host.internal</body></html>";

#[rustfmt::skip]
fn mishaps() -> Vec<Mishap> {
    let anthropic = |kind: &str, message: &str| json!({ "type": "error", "error": { "type": kind, "message": message } }).to_string();
    let openai = |kind: &str, code: Option<&str>, message: &str| {
        json!({ "error": { "message": message, "type": kind, "param": null, "code": code } }).to_string()
    };
    vec![
        // The request's own fault: the provider's words.
        mishap((400, &anthropic("invalid_request_error", "max_tokens: must be \u{201c}positive\u{201d}")), (400, 400), INVALID, "max_tokens: must be \u{201c}positive\u{201d}"),
        mishap((400, &openai("invalid_request_error", None, "Unknown parameter: 'x'.")), (400, 400), INVALID, "Unknown parameter: 'x'."),
        mishap((400, &anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")), (400, 400), TOO_LONG, "prompt is too long: 210000 tokens > 200000 maximum"),
        mishap((400, &anthropic("invalid_request_error", "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000")), (400, 400), TOO_LONG, "input length and `max_tokens` exceed context limit"),
        mishap((400, &openai("invalid_request_error", Some("context_length_exceeded"), "Your input exceeds the context window of this model.")), (400, 400), TOO_LONG, "Your input exceeds the context window of this model."),
        mishap((404, &anthropic("not_found_error", "model: claude-sonnet-4-6")), (404, 404), NOT_FOUND, "model: claude-sonnet-4-6"),
        mishap((413, &anthropic("request_too_large", "Request exceeds the maximum size")), (413, 413), TOO_LARGE, "Request exceeds the maximum size"),
        mishap((413, PAGE), (413, 413), TOO_LARGE, ""),
        mishap((422, r#"{"detail":[{"loc":["body","x"],"msg":"field required","type":"missing"}]}"#), (422, 422), INVALID, "field required"),
        // The provider's fault.
        mishap((429, &anthropic("rate_limit_error", "This request would exceed the rate limit")), (429, 429), RATE, "This request would exceed the rate limit"),
        mishap((429, &openai("tokens", Some("rate_limit_exceeded"), "Rate limit reached")), (429, 429), RATE, "Rate limit reached"),
        mishap((429, PAGE), (429, 429), RATE, ""),
        mishap((529, &anthropic("overloaded_error", "Overloaded")), (529, 503), OVERLOADED, "Overloaded"),
        mishap((503, &openai("server_error", None, "The engine is currently overloaded")), (529, 503), OVERLOADED, "The engine is currently overloaded"),
        mishap((500, &anthropic("api_error", "Internal server error")), (500, 500), INTERNAL, "Internal server error"),
        // The gateway's: never its 401 or 403, never a page.
        mishap((401, r#"{"error":"Forbidden by auth provider"}"#), (503, 503), OVERLOADED, ""),
        mishap((401, &anthropic("authentication_error", "invalid x-api-key")), (503, 503), OVERLOADED, ""),
        mishap((403, r#"{"detail":"Gitlab namespace id mismatch"}"#), (503, 503), OVERLOADED, ""),
        mishap((403, r#"{"detail":"Unauthorized to access ai_gateway_model_provider_proxy"}"#), (503, 503), OVERLOADED, ""),
        mishap((403, &anthropic("permission_error", "Your API key does not have permission")), (503, 503), OVERLOADED, ""),
        mishap((403, PAGE), (502, 502), INTERNAL, ""),
        mishap((402, r#"{"error":"insufficient_credits","error_code":"USAGE_QUOTA_EXCEEDED","message":"Consumer does not have sufficient credits for this request"}"#), (402, 402), BILLING, "out of GitLab Credits"),
        mishap((404, r#"{"detail":"Not found"}"#), (502, 502), INTERNAL, ""),
        mishap((500, r#"{"detail":"Server configuration error: API key not set"}"#), (503, 503), OVERLOADED, "the AI gateway's own key"),
        mishap((502, r#"{"detail":"Bad Gateway"}"#), (502, 502), INTERNAL, ""),
        mishap((502, PAGE), (502, 502), INTERNAL, ""),
        mishap((504, PAGE), (502, 502), INTERNAL, ""),
        mishap((200, PAGE), (502, 502), INTERNAL, ""),
        mishap((200, "{\"half\": ["), (502, 502), INTERNAL, ""),
        mishap((307, ""), (502, 502), INTERNAL, ""),
    ]
}

#[actix::test]
async fn an_upstreams_error_is_told_in_the_callers_words() {
    for mishap in mishaps() {
        for (path, model, stream) in [
            (MESSAGES, SONNET, false),
            (MESSAGES, SONNET, true),
            (CHAT, SONNET, false),
            (CHAT, GPT, true),
            (RESPONSES, GPT, true),
            (RESPONSES, GPT, false),
        ] {
            let app = TestApp::with_accounts(&["ada"]).await;
            for call in [Call::Messages, Call::ChatCompletions, Call::Responses] {
                app.gitlab.add_rule(Rule::always(effect(&mishap)).on(call));
            }
            let mut body = good(path);
            (body["model"], body["stream"]) = (json!(model), json!(stream));
            let answer = app.ask(path, &body).await;
            let what = format!("{model} stream {stream}: {} {}", mishap.status, mishap.body);
            let status = if path == MESSAGES { mishap.told.0 } else { mishap.told.1 };
            let message = told(path, &answer, status, &what);
            assert!(message.contains(mishap.words), "{path} {what}: {message}");
            let error = &answer.json()["error"];
            if path == MESSAGES {
                assert_eq!(error["type"], mishap.types.0, "{path} {what}");
            } else {
                assert_eq!(error["type"], mishap.types.1, "{path} {what}");
                assert_eq!(error["code"].as_str(), mishap.types.2, "{path} {what}");
            }
            if status == 402 {
                let wait = answer.header("retry-after").and_then(|text| text.parse::<u64>().ok());
                assert!(wait > Some(3_600), "{path} {what}: {wait:?}");
            }
            for secret in [app.gateway_url().as_str(), "127.0.0.1", "secret-host", "<html", "glpat", "namespace id"] {
                assert!(!answer.text().contains(secret), "{path} {what}: `{secret}` is none of the client's business");
            }
        }
    }
}

fn effect(mishap: &Mishap) -> Effect {
    let page = mishap.body.starts_with('<');
    Effect::Answer {
        status: mishap.status,
        body: mishap.body.clone(),
        content_type: if page { "text/html" } else { "application/json" }.to_owned(),
        headers: if mishap.status == 307 {
            vec![("location".to_owned(), "http://127.0.0.1:9/".to_owned())]
        } else {
            vec![]
        },
    }
}

#[actix::test]
async fn a_gateway_that_is_gone_is_told_without_its_address() {
    let app = TestApp::with_accounts(&["ada"]).await;
    for effect in [Effect::Close, Effect::Cut { after: 0 }] {
        app.gitlab.clear_rules();
        app.gitlab.add_rule(Rule::always(effect));
        for path in [MESSAGES, CHAT, RESPONSES] {
            let answer = app.ask(path, &good(path)).await;
            assert!(matches!(answer.status, 502 | 503), "{path}: {}", answer.text());
            told(path, &answer, answer.status, "gone");
            assert!(!answer.text().contains("127.0.0.1"), "{path}: {}", answer.text());
        }
        // A count is an estimate rather than an error.
        let count = app.ask(COUNT, &good(COUNT)).await;
        assert_eq!((count.status, count.header("x-duopool-estimated")), (200, Some("true")), "{}", count.text());
        assert!(count.json()["input_tokens"].as_u64() > Some(0));
    }
}
