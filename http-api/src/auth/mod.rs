//! Who asks, and what they may.
//!
//! - `token` is what is configured; `session` is who has logged in with one; `login` has the pages
//! - `same_origin` is what every request that changes something passes
//!
//! With tokens in the configuration every request needs one; without, everybody may do everything, and the server listens
//! for this machine alone.

mod login;
mod same_origin;
mod session;
mod token;

use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, COOKIE, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::Semaphore;

pub(crate) use self::login::{SESSION, routes};
pub(crate) use self::same_origin::check as same_origin;
use self::session::Sessions;
pub use self::token::{Role, Roles, Secret, Token, TokenHash};
use crate::answer::refuse;
use crate::app::App;
use crate::{submit, v1};

/// What a wrong token has to wait for its answer.
const PENANCE: Duration = Duration::from_secs(1);
/// How many of them may wait. Right ones never do.
const PENITENTS: usize = 8;

const NO_TOKEN: &str = "A token is needed: send it as \"Authorization: Bearer TOKEN\", or open /login in a browser.";
const WRONG_TOKEN: &str = "This token is not known here; its hash has to be in the server's configuration.";
const TOO_MANY: &str = "Too many wrong tokens at once; try again in a second.";
pub(crate) const NO_ROLE: &str = "This token may not do that; it needs the role";

/// Who has logged in, and who tried in vain.
#[derive(Debug)]
pub(crate) struct Auth {
    sessions: Sessions,
    penitents: Semaphore,
}

impl Default for Auth {
    fn default() -> Self {
        Self { sessions: Sessions::default(), penitents: Semaphore::new(PENITENTS) }
    }
}

impl Auth {
    /// The refusal of a wrong token, as late as it has to be.
    async fn repent(&self) -> Option<Response> {
        let Ok(_waits) = self.penitents.try_acquire() else {
            let mut response = refuse(StatusCode::TOO_MANY_REQUESTS, TOO_MANY);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return Some(response);
        };
        tokio::time::sleep(PENANCE).await;
        None
    }
}

/// Who asks: every handler finds it among the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    roles: Roles,
    by: By,
}

/// How the caller is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Nobody has to be known here.
    Nothing,
    /// A token in the request itself.
    Token,
    /// A cookie, which a browser sends whichever page asks.
    Session,
}

impl Caller {
    /// Whether the caller may do that.
    pub(crate) const fn may(self, role: Role) -> bool {
        self.roles.has(role)
    }

    /// Whether it is certain that the caller wants what the request asks for, even if a link on another page could ask for
    /// the same: no other page can make a browser send a token.
    pub(crate) fn acts_at_once(self) -> bool {
        self.by == By::Token
    }
}

/// Lets through whoever may do this, and says to the handlers who it is.
pub(crate) async fn check(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let caller = match caller(&app, request.method(), request.uri(), request.headers()).await {
        Ok(caller) => caller,
        Err(refusal) => return *refusal,
    };
    // Whoever hands oids in need not be able to read what they name.
    let role = if request.uri().path() == submit::PATH { Role::Submit } else { Role::Read };
    if !caller.may(role) {
        return refuse(StatusCode::FORBIDDEN, &format!("{NO_ROLE} {}.", role.word()));
    }
    let renew = caller.by == By::Session && cookie(request.headers(), login::MARK).is_none();
    request.extensions_mut().insert(caller);
    let mut response = next.run(request).await;
    if renew {
        response.headers_mut().append(SET_COOKIE, login::mark());
    }
    response
}

async fn caller(app: &App, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Caller, Box<Response>> {
    let tokens = &app.settings().tokens;
    let known = |place: usize, by| tokens.get(place).map(|token| Caller { roles: token.roles, by });
    if tokens.is_empty() {
        return Ok(Caller { roles: Roles::ALL, by: By::Nothing });
    }
    if let Some(value) = headers.get(AUTHORIZATION) {
        let found = bearer(value).and_then(|token| token::find(tokens, token));
        return match found.and_then(|place| known(place, By::Token)) {
            Some(caller) => Ok(caller),
            None => Err(Box::new(match app.auth().repent().await {
                Some(refusal) => refusal,
                None => unknown(refuse(StatusCode::UNAUTHORIZED, WRONG_TOKEN)),
            })),
        };
    }
    let session = cookie(headers, SESSION).and_then(|name| app.auth().sessions.token(name, Instant::now()));
    if let Some(caller) = session.and_then(|place| known(place, By::Session)) {
        return Ok(caller);
    }
    Err(Box::new(if !is_browser(headers) || v1::has(uri.path()) {
        unknown(refuse(StatusCode::UNAUTHORIZED, NO_TOKEN))
    } else if method == Method::GET && cookie(headers, login::MARK).is_some() {
        login::bounce(uri)
    } else {
        unknown(login::page(StatusCode::UNAUTHORIZED, &login::asked(method, uri), None))
    }))
}

/// RFC 9110 §11.6.1: who is refused for want of credentials is told which are wanted.
fn unknown(mut response: Response) -> Response {
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"StreamDB\""));
    response
}

/// The token in an `Authorization` header (RFC 6750 §2.1).
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// The value of a cookie (RFC 6265 §5.4).
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// Whether a person looks at the answer.
pub(crate) fn is_browser(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accepted| accepted.contains("text/html"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_cookies_are_found_in_headers() {
        let token = |text: &str| {
            bearer(&HeaderValue::from_bytes(text.as_bytes()).unwrap())
                .map(|token| String::from_utf8_lossy(token).into_owned())
        };
        assert_eq!(token("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("bearer  abc ").as_deref(), Some("abc"));
        assert_eq!(token("Basic abcd"), None);
        assert_eq!(token("Bearer"), None);
        assert_eq!(token("Bear\u{e9}r abc"), None);
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; streamdb=x=y"));
        headers.append(COOKIE, HeaderValue::from_static("b=2"));
        assert_eq!(cookie(&headers, "streamdb"), Some("x=y"));
        assert_eq!(cookie(&headers, "b"), Some("2"));
        assert_eq!(cookie(&headers, "stream"), None);
    }
}
