//! The login page: a token once, then a cookie that stands for it. Works without scripts.

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Form, Query, Request, State};
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;

use super::session::LIFE;
use super::{WRONG_TOKEN, cookie, token, unknown};
use crate::answer::{refuse, whole};
use crate::app::App;
use crate::small_page::{Width, escape, small_page};

/// The cookie with a session's name. It goes with requests that our own pages make, never with another page's.
pub(crate) const SESSION: &str = "streamdb";
/// The cookie that says no more than that this browser has a session. It goes with links on other pages too: a log search's
/// link comes without the session, but with this, and is [bounced](bounce).
pub(super) const MARK: &str = "streamdb_login";
/// Longer places are not gone back to.
const LONGEST_PLACE: usize = 4096;
/// What a login needs, many times over.
const FORM_BYTES: usize = 16 << 10;
/// How long the form may take to come, and the answer to a wrong token to be given.
const PATIENCE: Duration = Duration::from_secs(20);

/// The pages that need no token.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/login", get(show).post(enter))
        .route("/logout", post(leave))
        .layer(DefaultBodyLimit::max(FORM_BYTES))
        .layer(from_fn(in_time))
}

/// Whoever is not known yet holds no connection for as long as they like.
async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(PATIENCE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => refuse(StatusCode::REQUEST_TIMEOUT, "The form did not come in time."),
    }
}

#[derive(Deserialize)]
struct Place {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
}

/// `GET /login`: the form; for who is in already, the way out.
async fn show(State(app): State<App>, headers: HeaderMap, place: Result<Query<Place>, QueryRejection>) -> Response {
    let next = place.map(|Query(place)| place.next).unwrap_or_default();
    let tokens = &app.settings().tokens;
    if tokens.is_empty() {
        return go("/", []);
    }
    let session = cookie(&headers, SESSION).and_then(|name| app.auth().sessions.token(name, Instant::now()));
    match session.and_then(|place| tokens.get(place)) {
        Some(token) => inside(&token.name),
        None => page(StatusCode::OK, &next, None),
    }
}

/// `POST /login`.
async fn enter(State(app): State<App>, Form(entry): Form<Entry>) -> Response {
    let Some(place) = token::find(&app.settings().tokens, entry.token.trim().as_bytes()) else {
        return match app.auth().repent().await {
            Some(refusal) => refusal,
            None => unknown(page(StatusCode::UNAUTHORIZED, &entry.next, Some(WRONG_TOKEN))),
        };
    };
    match app.auth().sessions.begin(place, Instant::now()) {
        Ok(name) => go(own_place(&entry.next), [session(&name, LIFE.as_secs()), mark()]),
        Err(error) => {
            refuse(StatusCode::INTERNAL_SERVER_ERROR, &format!("The system gives no random numbers: {error}."))
        }
    }
}

/// `POST /logout`.
async fn leave(State(app): State<App>, headers: HeaderMap) -> Response {
    if let Some(name) = cookie(&headers, SESSION) {
        app.auth().sessions.end(name);
    }
    go("/login", [session("", 0), unmark()])
}

/// The form. Its user name is for password managers, which keep none without one.
pub(super) fn page(status: StatusCode, next: &str, wrong: Option<&str>) -> Response {
    let wrong =
        wrong.map_or(String::new(), |wrong| format!("<p class=\"wrong\" role=\"alert\">{}</p>\n", escape(wrong)));
    let next = escape(own_place(next));
    small_page(
        status,
        Width::Narrow,
        &format!(
            "{wrong}<form action=\"/login\" method=\"post\">\n\
             <label for=\"token\">Token</label>\n\
             <input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" required autofocus>\n\
             <input name=\"username\" value=\"streamdb\" autocomplete=\"username\" hidden>\n\
             <input name=\"next\" type=\"hidden\" value=\"{next}\">\n\
             <button>Log in</button>\n\
             </form>\n\
             <small>Whoever runs this server makes tokens with <code>streamdb token</code>. Scripts send theirs as \
             <code>Authorization: Bearer</code>.</small>\n"
        ),
    )
}

fn inside(name: &str) -> Response {
    small_page(
        StatusCode::OK,
        Width::Narrow,
        &format!(
            "<p>You are logged in with the token {}.</p>\n\
             <p><a href=\"/\">Search</a></p>\n\
             <form action=\"/logout\" method=\"post\"><button>Log out</button></form>\n",
            escape(name)
        ),
    )
}

/// A page that asks for the same place again. A link on another page comes without the session's cookie, and this page's
/// request with it. The mark goes, so that a browser whose session has ended gets the form the second time; a request with a
/// session brings it back.
pub(super) fn bounce(uri: &Uri) -> Response {
    let place = escape(own_place(uri.path_and_query().map_or("/", |place| place.as_str())));
    let mut response = small_page(
        StatusCode::OK,
        Width::Narrow,
        &format!("<meta http-equiv=\"refresh\" content=\"0\">\n<p><a href=\"{place}\">Go on</a></p>\n"),
    );
    response.headers_mut().append(SET_COOKIE, unmark());
    response
}

/// Where to go back to after a login.
pub(super) fn asked(method: &Method, uri: &Uri) -> String {
    let place = uri.path_and_query().filter(|_| *method == Method::GET);
    place.map_or("/", |place| place.as_str()).to_owned()
}

/// The place, if it is one of this server's; else the front page. Browsers take `//host` and `/\host` for other servers, and
/// leave tabs and line ends out before they look.
fn own_place(place: &str) -> &str {
    let own = place.starts_with('/') && !place.starts_with("//") && place.len() <= LONGEST_PLACE;
    let plain = place.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if own && plain { place } else { "/" }
}

pub(super) fn mark() -> HeaderValue {
    header(&format!("{MARK}=1; Path=/; HttpOnly; SameSite=Lax; Max-Age={}", LIFE.as_secs()))
}

fn unmark() -> HeaderValue {
    header(&format!("{MARK}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"))
}

fn session(name: &str, seconds: u64) -> HeaderValue {
    header(&format!("{SESSION}={name}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}"))
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

fn go<const N: usize>(place: &str, cookies: [HeaderValue; N]) -> Response {
    let mut response = whole(StatusCode::SEE_OTHER, HeaderValue::from_static("text/plain; charset=utf-8"), "");
    response.headers_mut().insert(LOCATION, header(place));
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_places_are_gone_back_to() {
        for own in ["/", "/streamdb/?srcip=10.0.0.5&dstip=//x", "/streamdb/?oid=1-2-3-4", "/a//b"] {
            assert_eq!(own_place(own), own);
        }
        let long = format!("/{}", "x".repeat(LONGEST_PLACE));
        for strange in [
            "",
            "streamdb",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "/x\r\nSet-Cookie: a",
            "https://evil.example",
            "javascript:alert(1)",
            "/\u{2028}",
            &long,
        ] {
            assert_eq!(own_place(strange), "/", "{strange:?}");
        }
    }
}
