//! A store of a few conversations, and the endpoint over it, asked as a browser or a script asks it.
#![allow(dead_code, reason = "each test program uses its part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../../../crates/derive/tests/common/mod.rs"]
pub mod common;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use common::{Said, Talk, store};
use http_body_util::BodyExt;
use streamdb_http_api::{App, router};
use streamdb_storage::Store;
use streamdb_testkit::TestFolder;
use streamdb_types::Reason;
use tower::ServiceExt;

pub struct Server {
    pub _folder: TestFolder,
    pub store: Arc<Store>,
    pub router: Router,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Server {
    pub fn new(talks: &[Talk<'_>]) -> Self {
        let (folder, store) = store(talks);
        let router = router(App::new(Arc::clone(&store), "127.0.0.1".parse().unwrap()));
        Self { _folder: folder, store, router }
    }

    pub fn get(&self, uri: &str) -> Answer {
        self.ask(Method::GET, uri, &[])
    }

    pub fn ask(&self, method: Method, uri: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(uri);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost:8080");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes().to_vec();
            Answer { status: parts.status, headers: parts.headers, body }
        })
    }

    /// The oids of the streams to the client, oldest connection first.
    pub fn oids(&self) -> Vec<String> {
        let mut found = Vec::new();
        let visit = &mut |info: streamdb_storage::StreamInfo| {
            found.push(info);
            Ok(())
        };
        self.store.streams(visit, &mut |error| panic!("{error}")).unwrap();
        found.retain(|info| info.direction == streamdb_types::Direction::ToClient);
        found.sort_by_key(|info| info.first);
        found.iter().map(|info| info.oid.to_string()).collect()
    }
}

pub const REQUEST: &[u8] =
    b"GET /imagedump/image.php?size=0 HTTP/1.1\r\nHost: bad.example\r\nUser-Agent: B7\x1b[31m\r\n\r\n";
pub const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: Apache\r\nContent-Length: 6\r\nContent-Type: text/html\r\n\r\nMZ\x90\0\x03\0";

pub fn download() -> Talk<'static> {
    Talk {
        client: "10.0.0.5:49211",
        server: "203.0.113.9:80",
        begun: "2012-03-02T07:51:51.5Z",
        said: vec![Said::ToServer(REQUEST), Said::ToClient(RESPONSE)],
        reason: Reason::TimeCutoff,
    }
}

/// Two connections, of which the second has a hole.
pub fn server() -> Server {
    let mut cut = download();
    cut.begun = "2012-03-02T07:52:00Z";
    cut.client = "10.0.0.5:49212";
    cut.said = vec![
        Said::ToServer(b"GET http://bad.example/b HTTP/1.0\r\n\r\n"),
        Said::ToClient(b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
        Said::Lost(4),
        Said::ToClient(b"hi"),
    ];
    cut.reason = Reason::Fin;
    Server::new(&[download(), cut])
}

pub fn without_ms(text: &str) -> String {
    let (head, rest) = text.split_once(" (").unwrap();
    let (ms, rest) = rest.split_once(" ms)").unwrap();
    assert!(ms.parse::<u32>().is_ok(), "{ms}");
    format!("{head} (N ms){rest}")
}

/// Two downloads: a program that says it is a page, and a page in gzip, from two hosts.
pub fn objects() -> Server {
    let mut page = download();
    page.client = "10.0.0.6:50000";
    page.begun = "2012-03-02T08:00:00Z";
    // `<html>hello</html>`, compressed.
    const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xb3\xc9\x28\xc9\xcd\xb1\xcb\x48\xcd\xc9\xc9\xb7\xd1\x07\xb3\x01\x31\x6b\xb8\x98\x12\x00\x00\x00";
    const HEAD: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: text/html\r\nContent-Length: 34\r\n\r\n";
    const ANSWER: [u8; HEAD.len() + GZIP.len()] = {
        let mut all = [0; HEAD.len() + GZIP.len()];
        let (head, body) = all.split_at_mut(HEAD.len());
        head.copy_from_slice(HEAD);
        body.copy_from_slice(GZIP);
        all
    };
    page.said = vec![
        Said::ToServer(b"GET /index.html HTTP/1.1\r\nHost: www.good.example:8080\r\n\r\n"),
        Said::ToClient(&ANSWER),
    ];
    Server::new(&[download(), page])
}
