//! The address on this machine that GitLab sends the browser back to, for as long as a login takes.
//!
//! Takes no code itself: it hands the whole address on to the server that knows the login, and shows the browser how that
//! went. Only requests that a browser makes by following GitLab's redirect get that far.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::http::header::{HOST, ORIGIN};
use actix_web::web::{self, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use futures::channel::oneshot;
use futures::stream::{self, Stream};
use subtle::ConstantTimeEq as _;
use tokio::sync::mpsc;

use crate::domain::secret::Secret;
use crate::http::page;

/// A browser comes once; whoever else knocks need not be queued.
const HITS_MAX: usize = 4;

/// A browser that came back.
pub(super) struct Hit {
    /// The whole address it was sent to.
    pub(super) url: Secret<String>,
    /// Takes what the browser is to be shown.
    pub(super) told: oneshot::Sender<Shown>,
}

/// What a browser is shown.
pub(super) struct Shown {
    pub(super) fine: bool,
    pub(super) text: String,
}

/// Listens until it is stopped.
pub(super) struct Listener {
    hits: mpsc::Receiver<Hit>,
    handle: ServerHandle,
}

struct Desk {
    hits: mpsc::Sender<Hit>,
    redirect_uri: String,
    port: u16,
    state: Secret<String>,
}

/// Takes the port, on this machine's own address only.
pub(super) fn bind(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

impl Listener {
    /// Waits at `redirect_uri` for a browser that brings `state`.
    pub(super) fn start(
        socket: TcpListener,
        redirect_uri: &str,
        path: &str,
        state: Secret<String>,
    ) -> std::io::Result<Self> {
        let (sender, hits) = mpsc::channel(HITS_MAX);
        let port = socket.local_addr()?.port();
        let desk = Data::new(Desk { hits: sender, redirect_uri: redirect_uri.to_owned(), port, state });
        let path = path.to_owned();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(desk.clone())
                .route(&path, web::get().to(come_back))
                .default_service(web::route().to(nowhere))
        });
        let server = server.workers(1).disable_signals().shutdown_timeout(1).listen(socket)?.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Ok(Self { hits, handle })
    }

    /// Returns the browsers that come back, and the handle that ends the listening.
    pub(super) fn split(self) -> (impl Stream<Item = Hit>, ServerHandle) {
        let hits = stream::unfold(self.hits, async |mut hits| hits.recv().await.map(|hit| (hit, hits)));
        (hits, self.handle)
    }
}

async fn come_back(request: HttpRequest, desk: Data<Desk>) -> HttpResponse {
    if let Err(why) = desk.check(&request) {
        return refusal(&why);
    }
    let (told, shown) = oneshot::channel();
    let url = Secret::new(format!("{}?{}", desk.redirect_uri, request.query_string()));
    if desk.hits.send(Hit { url, told }).await.is_err() {
        return refusal("the login is over: look at the terminal it was begun in");
    }
    match shown.await {
        Ok(Shown { fine: true, text }) => {
            page::reply(StatusCode::OK, "Signed in", &[&text, "You can close this page and go back to the terminal."])
        }
        Ok(Shown { fine: false, text }) => page::reply(
            StatusCode::BAD_REQUEST,
            "Not signed in",
            &[&text, "The terminal in which the login was begun says more."],
        ),
        Err(_) => refusal("the login is over: look at the terminal it was begun in"),
    }
}

async fn nowhere() -> HttpResponse {
    page::reply(StatusCode::NOT_FOUND, "Nothing here", &["duopool waits here for a sign-in at another path."])
}

fn refusal(why: &str) -> HttpResponse {
    page::reply(StatusCode::BAD_REQUEST, "Not signed in", &[why])
}

impl Desk {
    fn check(&self, request: &HttpRequest) -> Result<(), String> {
        let own = [format!("127.0.0.1:{}", self.port), format!("localhost:{}", self.port)];
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        // A page that has a name of its own lead to this machine comes with that name.
        if !text(HOST).is_some_and(|host| own.iter().any(|own| own.eq_ignore_ascii_case(host))) {
            return Err("the Host header is not this machine's".to_owned());
        }
        if request.headers().contains_key(ORIGIN) {
            return Err("this comes from another web page, and not from GitLab's redirect".to_owned());
        }
        let states = url::form_urlencoded::parse(request.query_string().as_bytes());
        let mut states = states.filter(|(name, _)| name == "state");
        let (Some((_, state)), None) = (states.next(), states.next()) else {
            return Err("the address has no `state`, or several".to_owned());
        };
        if bool::from(state.as_bytes().ct_eq(self.state.expose().as_bytes())) {
            return Ok(());
        }
        Err("the state is not that of this sign-in: the address belongs to another one".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn only_a_redirect_with_the_right_state_is_taken() {
        let (hits, _none) = mpsc::channel(1);
        let desk = Desk { hits, redirect_uri: String::new(), port: 17_171, state: Secret::new("right".to_owned()) };
        let check = |uri: &str, headers: &[(&'static str, &'static str)]| {
            let request =
                headers.iter().fold(TestRequest::with_uri(uri), |request, header| request.insert_header(*header));
            desk.check(&request.to_http_request())
        };
        assert_eq!(check("/callback?code=c&state=right", &[("host", "127.0.0.1:17171")]), Ok(()));
        assert_eq!(check("/callback?code=c&state=right", &[("host", "LOCALHOST:17171")]), Ok(()));
        for (uri, headers) in [
            ("/callback?code=c&state=right", &[("host", "evil.example.com:17171")][..]),
            ("/callback?code=c&state=right", &[("host", "127.0.0.1:80")]),
            ("/callback?code=c&state=right", &[]),
            ("/callback?code=c&state=right", &[("host", "127.0.0.1:17171"), ("origin", "https://evil.example.com")]),
            ("/callback?code=c&state=wrong", &[("host", "127.0.0.1:17171")]),
            ("/callback?code=c", &[("host", "127.0.0.1:17171")]),
            ("/callback?code=c&state=right&state=right", &[("host", "127.0.0.1:17171")]),
        ] {
            assert!(check(uri, headers).is_err(), "{uri} {headers:?}");
        }
    }
}
