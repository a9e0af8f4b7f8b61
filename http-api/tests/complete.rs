//! Whether a stream is complete: one rule, said alike by JSON, text, page and headers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../../crates/derive/tests/common/mod.rs"]
mod common;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use common::{Said, Talk, store};
use http_body_util::BodyExt;
use streamdb_http_api::{App, router};
use streamdb_types::{Marks, Reason};
use tower::ServiceExt;

fn get(router: &Router, uri: &str, accept: &str) -> (HeaderMap, String) {
    let request = Request::builder().uri(uri).header("host", "localhost").header("accept", accept);
    let request = request.body(Body::empty()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.headers, String::from_utf8_lossy(&body).into_owned())
    })
}

/// What is said of the stream to the client, wherever it is said; `None`: it is complete.
fn says(said: Vec<Said<'_>>, reason: Reason, why: Option<&str>) {
    let mut talk = Talk {
        client: "10.0.0.5:49211",
        server: "203.0.113.9:7777",
        begun: "2012-03-02T07:51:51Z",
        said: vec![Said::ToServer(b"\x01ask"), Said::ToClient(b"\x02answer")],
        reason,
    };
    talk.said.extend(said);
    let (_folder, store) = store(&[talk]);
    let router = router(App::new(Arc::clone(&store), "127.0.0.1".parse().unwrap()));
    let mut oid = String::new();
    let mark = " (INCOMPLETE)";
    // As the object that it is, and as it is: the same bytes, and so the same answer.
    for raw in ["", "&raw=1"] {
        let search = format!("/streamdb/?srcip=10.0.0.5&direction=c{raw}");
        let rows: serde_json::Value =
            serde_json::from_str(&get(&router, &format!("{search}&as_json=1"), "*/*").1).unwrap();
        assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
        let row = &rows[0];
        assert_eq!(
            (&row["complete"], &row["object"]["complete"]),
            (&why.is_none().into(), &why.is_none().into()),
            "{row}"
        );
        assert_eq!(row["object"]["reason"].as_str(), why, "{row}");
        assert_eq!(row["meta"].as_str().unwrap().ends_with(mark), why.is_some(), "{row}");
        let text = get(&router, &search, "*/*").1;
        assert_eq!(text.contains(&format!("{mark}\n")), why.is_some(), "{text}");
        let page = get(&router, &search, "text/html").1;
        assert_eq!(page.contains("<span class=\"whole\">complete</span>"), why.is_none(), "{page}");
        assert_eq!(page.contains(&format!("incomplete: {}", why.unwrap_or("-"))), why.is_some(), "{page}");
        oid = row["oid"].as_str().unwrap().to_owned();
        let (headers, _) = get(&router, &format!("/streamdb/?oid={oid}{raw}"), "*/*");
        assert_eq!(headers["x-streamdb-complete"], if why.is_none() { "true" } else { "false" });
        assert_eq!(headers.get("x-streamdb-incomplete").map(|value| value.to_str().unwrap()), why);
    }
    assert!(!oid.is_empty());
}

#[test]
fn a_tcp_stream_is_complete_from_its_beginning_to_its_fin() {
    const FIN: Marks = Marks::SYN.with(Marks::FIN);
    says(vec![], Reason::Fin, None);
    // A reset after the FIN, as many clients send it, and a connection whose other side never closed.
    says(vec![Said::Marked(FIN)], Reason::Rst, None);
    says(vec![Said::Marked(FIN)], Reason::TimeCutoff, None);
    says(vec![Said::Marked(FIN)], Reason::Exiting, None);
    // What ends otherwise has not come to its end.
    says(vec![], Reason::Rst, Some("reset"));
    says(vec![Said::Marked(Marks::SYN.with(Marks::RST))], Reason::Rst, Some("reset-by-server"));
    says(vec![], Reason::TimeCutoff, Some("timed-out"));
    says(vec![], Reason::Exiting, Some("capture-ended"));
    says(vec![], Reason::SizeCutoff, Some("cutoff"));
    says(vec![Said::Open], Reason::Rst, Some("open"));
    says(vec![Said::GoesOn], Reason::Rst, Some("timed-out"));
    // Without its beginning, or with a hole, no end makes it whole.
    says(vec![Said::Marked(FIN.with(Marks::MIDSTREAM))], Reason::Fin, Some("gap"));
    says(vec![Said::Lost(4), Said::ToClient(b"and more")], Reason::Fin, Some("gap"));
    says(vec![Said::Lost(4)], Reason::Fin, Some("gap"));
}

#[test]
fn a_stream_of_datagrams_is_complete_once_it_has_ended() {
    for reason in [Reason::TimeCutoff, Reason::Exiting] {
        says(vec![Said::Udp], reason, None);
    }
    says(vec![Said::Udp], Reason::SizeCutoff, Some("cutoff"));
    // Its bucket was to have another after it, which never came: it fell silent.
    says(vec![Said::Udp, Said::GoesOn], Reason::TimeCutoff, None);
    says(vec![Said::Udp, Said::Open], Reason::TimeCutoff, Some("open"));
    says(vec![Said::Udp, Said::Lost(4)], Reason::TimeCutoff, Some("gap"));
}
