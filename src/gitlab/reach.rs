//! Whether an instance answers at all, and what its clock says: asked without a token, so that nothing about an account
//! is in the way.

use std::time::Duration;

use awc::http::{Method, Uri};

use crate::domain::endpoint::InstanceUrl;
use crate::domain::time::Timestamp;
use crate::gitlab::error::{Call, CallError, of_send_error};
use crate::gitlab::upstream::{Outgoing, SendError, Upstream};

/// Answers 401 without a token, which is all that is wanted of it.
/// Source: GitLab's REST API, "Version API".
const PATH: &str = "/api/v4/version";
/// Nothing is worked out for this answer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// An instance that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// From the look-up of its name to the head of its answer, TLS included where no connection was open.
    pub(crate) took: Duration,
    /// What its clock said, to the second; `None` where it did not say.
    pub(crate) date: Option<Timestamp>,
}

/// Asks `instance` for anything at all; whatever it answers will do.
///
/// # Errors
/// What kept it from answering, as every other call tells it.
pub(crate) async fn instance(upstream: &Upstream, instance: &InstanceUrl) -> Result<Reached, CallError> {
    let failed = |error: SendError| of_send_error(Call::Identity, &error);
    let url: Uri = format!("{instance}{PATH}").parse().map_err(|_| failed(SendError::Connect("bad URL".into())))?;
    let (headers, body) = (Vec::new(), actix_web::web::Bytes::new());
    let began = tokio::time::Instant::now();
    let outgoing = Outgoing { method: Method::GET, url, headers, body, head_timeout: HEAD_TIMEOUT };
    let reply = upstream.send(&outgoing).await.map_err(failed)?;
    Ok(Reached { took: began.elapsed(), date: reply.waits.date() })
}
