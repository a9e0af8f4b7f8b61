//! What one request may cost, whatever was captured.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../../crates/derive/tests/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use common::{Said, Talk, store};
use http_body_util::BodyExt;
use streamdb_http_api::{App, router};
use streamdb_types::Reason;
use tower::ServiceExt;

/// The answer's text when this was said in one connection.
fn ask(said: Vec<Said<'_>>, uri: &str) -> String {
    let (client, server) = ("10.0.0.5:49211", "203.0.113.9:80");
    let talk = Talk { client, server, begun: "2012-03-02T07:51:51Z", said, reason: Reason::Fin };
    let (_folder, store) = store(&[talk]);
    let router = router(App::new(Arc::clone(&store), "127.0.0.1".parse().unwrap()));
    let request = Request::builder().uri(uri).header("host", "localhost").body(Body::empty()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let body = router.oneshot(request).await.unwrap().into_body();
        String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
    })
}

#[test]
fn an_expression_over_many_objects_of_a_connection_takes_it_apart_once() {
    const MESSAGES: usize = 10_000;
    let requests = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n".repeat(MESSAGES);
    let answers = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".repeat(MESSAGES);
    let begun = Instant::now();
    let text = ask(
        vec![Said::ToServer(&requests), Said::ToClient(&answers)],
        "/streamdb/?srcip=10.0.0.5&pcre=nowhere&as_text=1",
    );
    assert!(text.starts_with("Returning 0 of 0 "), "{}", &text[..200.min(text.len())]);
    assert!(!text.contains("were looked at"), "all of them can be looked at in time: {text}");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn a_listing_of_very_many_objects_ends() {
    let answers = b"HTTP/1.1 103 E\r\n\r\n".repeat(70_000);
    let said = vec![Said::ToServer(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"), Said::ToClient(&answers)];
    let text = ask(said, "/streamdb/?srcip=10.0.0.5&as_text=1");
    assert!(text.contains("this answer ends at 64 MiB"), "{} bytes", text.len());
    let objects = text.matches("\noid=").count();
    assert!((10_000..70_000).contains(&objects), "{objects}");
}
