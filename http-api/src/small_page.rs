//! A page with little on it: the login, and questions. Works without scripts, and loads nothing.

use std::sync::LazyLock;

use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::answer::whole;

const STYLE: &str = "\
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}\
body{max-width:24rem;margin:15vh auto 2rem;padding:0 1rem}\
body.wide{max-width:48rem;margin-top:4rem}\
h1{font-size:1.5rem;margin:0 0 1rem}\
label,input,button{display:block;font:inherit}[hidden]{display:none}\
input{box-sizing:border-box;width:100%;margin:.25rem 0 1rem;padding:.5rem;border:1px solid #888;border-radius:4px}\
button{padding:.5rem 1.25rem;border:0;border-radius:4px;background:#1a5fb4;color:#fff;cursor:pointer}\
p,ul{margin:0 0 1rem}ul{padding-left:1.25rem}li{margin-bottom:.5rem;overflow-wrap:anywhere}\
.wrong{color:#c01c28;font-weight:600}small{opacity:.75;display:block;margin-top:1.5rem}\
@media(prefers-color-scheme:dark){.wrong{color:#ff7b63}}";

/// Nothing is loaded, and forms go nowhere else; the style is the one above and no other.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        STANDARD.encode(Sha256::digest(STYLE))
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// How much room the page takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// A form.
    Narrow,
    /// A list.
    Wide,
}

/// A page with this body, which is HTML: what was captured or given is [`escape`]d in it.
pub(crate) fn small_page(status: StatusCode, width: Width, body: &str) -> Response {
    let class = if width == Width::Wide { "wide" } else { "narrow" };
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>StreamDB</title>\n<style>{STYLE}</style>\n</head>\n<body class=\"{class}\">\n<h1>StreamDB</h1>\n{body}</body>\n</html>\n"
    );
    let mut response = whole(status, HeaderValue::from_static("text/html; charset=utf-8"), page);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    response
}

/// Text in a page or an attribute. Control characters become visible.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(escape("<a href=\"x\">'&\0"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\u{fffd}");
    }

    #[test]
    fn the_policy_names_the_style() {
        let page = small_page(StatusCode::OK, Width::Narrow, "");
        let policy = page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    }
}
