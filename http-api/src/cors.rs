//! Reading across origins: which pages of other servers may read our answers in their scripts. None, unless the
//! configuration names them.

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use crate::answer::{refuse, whole};
use crate::app::App;

/// A page's origin as browsers write it: `https://kibana.example`, with a port where it is not the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// What is accepted, for messages.
    pub const ACCEPTED: &str = "scheme and host of a page, with its port if it has one, and no path, as in https://kibana.example or http://10.0.0.7:5601";

    /// Reads one.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://")?;
        let own_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => return None,
        };
        // Browsers leave a scheme's own port out.
        let authority = authority.strip_suffix(own_port).unwrap_or(authority);
        let parsed: axum::http::uri::Authority = authority.parse().ok()?;
        let plain = parsed.as_str() == authority && !authority.contains('@') && !authority.ends_with(':');
        let host_is_one = !parsed.host().is_empty() && !parsed.host().contains('*');
        (plain && host_is_one).then(|| Self(format!("{scheme}://{authority}")))
    }
}

const REFUSAL: &str = "Pages of this origin may not read what is here; the operator can name it in the configuration, in \
                       `origins` below [http].";

/// Answers the question that browsers ask first, and adds to answers whether the page that asked may read them.
pub(crate) async fn check(State(app): State<App>, request: Request, next: Next) -> Response {
    let origins = &app.settings().origins;
    let asked = request.headers().get(ORIGIN).cloned();
    let allowed = asked.filter(|asked| origins.iter().any(|origin| origin.0.as_bytes() == asked.as_bytes()));
    let wanted = request.headers().get(ACCESS_CONTROL_REQUEST_METHOD).filter(|_| request.method() == Method::OPTIONS);
    // Reading alone: what changes something is for our own pages. A POST has to be refused here, as browsers let it pass
    // whichever methods the answer names (Fetch §4.8).
    let reads = wanted.is_some_and(|method| method == "GET" || method == "HEAD");
    let mut response = match (wanted.is_some(), &allowed) {
        (false, _) => next.run(request).await,
        (true, Some(_)) if reads => {
            let mut response = whole(StatusCode::NO_CONTENT, HeaderValue::from_static("text/plain"), "");
            let headers = response.headers_mut();
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, range"));
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
            response
        }
        (true, _) => refuse(StatusCode::FORBIDDEN, REFUSAL),
    };
    let headers = response.headers_mut();
    if !origins.is_empty() {
        // RFC 9110 §12.5.5: a cache must not give one origin's answer to another.
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(allowed) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        // Ours are all named x-streamdb-...; the star means every header, as no credentials are sent along.
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_as_browsers_write_them() {
        for (text, origin) in [
            ("https://kibana.example", "https://kibana.example"),
            ("HTTPS://Kibana.Example:443", "https://kibana.example"),
            ("http://10.0.0.7:5601", "http://10.0.0.7:5601"),
            ("http://[2001:db8::1]:80", "http://[2001:db8::1]"),
        ] {
            assert_eq!(Origin::parse(text), Some(Origin(origin.to_owned())), "{text}");
        }
        for bad in [
            "",
            "*",
            "null",
            "kibana.example",
            "https://",
            "https://*",
            "https://*.example",
            "https://kibana.example/",
            "https://kibana.example/app",
            "https://user@kibana.example",
            "https://kibana.example:",
            "ftp://kibana.example",
            "https://kibana.example, https://other.example",
        ] {
            assert_eq!(Origin::parse(bad), None, "{bad}");
        }
    }
}
