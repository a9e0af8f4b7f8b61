//! The endpoint, asked as a browser or a script asks it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../../crates/derive/tests/common/mod.rs"]
mod common;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use common::{HEADERS, Said, Talk, store};
use http_body_util::BodyExt;
use streamdb_http_api::{App, router};
use streamdb_storage::{DiskVolume, Event, Store, WriteFolder};
use streamdb_testkit::TestFolder;
use streamdb_types::Reason;
use tower::ServiceExt;

struct Server {
    _folder: TestFolder,
    store: Arc<Store>,
    router: Router,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Server {
    fn new(talks: &[Talk<'_>]) -> Self {
        let (folder, store) = store(talks);
        let router = router(App::new(Arc::clone(&store), "127.0.0.1".parse().unwrap()));
        Self { _folder: folder, store, router }
    }

    fn get(&self, uri: &str) -> Answer {
        self.ask(Method::GET, uri, &[])
    }

    fn ask(&self, method: Method, uri: &str, headers: &[(&str, &str)]) -> Answer {
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
    fn oids(&self) -> Vec<String> {
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

const REQUEST: &[u8] =
    b"GET /imagedump/image.php?size=0 HTTP/1.1\r\nHost: bad.example\r\nUser-Agent: B7\x1b[31m\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: Apache\r\nContent-Length: 6\r\nContent-Type: text/html\r\n\r\nMZ\x90\0\x03\0";

fn download() -> Talk<'static> {
    Talk {
        client: "10.0.0.5:49211",
        server: "203.0.113.9:80",
        begun: "2012-03-02T07:51:51.5Z",
        said: vec![Said::ToServer(REQUEST), Said::ToClient(RESPONSE)],
        reason: Reason::TimeCutoff,
    }
}

/// Two connections, of which the second has a hole.
fn server() -> Server {
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

fn without_ms(text: &str) -> String {
    let (head, rest) = text.split_once(" (").unwrap();
    let (ms, rest) = rest.split_once(" ms)").unwrap();
    assert!(ms.parse::<u32>().is_ok(), "{ms}");
    format!("{head} (N ms){rest}")
}

#[test]
fn a_listing_has_the_shape_that_it_always_had() {
    let server = server();
    let answer = server.get("/streamdb/?srcip=10.0.0.5&dstip=203.0.113.9&dstport=80&srcport=49211");
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "text/plain; charset=utf-8"));
    let oid = &server.oids()[0];
    let peer = answer.text().lines().find_map(|line| line.strip_prefix("oid=")).unwrap().to_owned();
    let expected = format!(
        "Returning 2 of 2 at offset 0 from Fri Mar  2 07:51:51 2012 to Fri Mar  2 07:51:51 2012 (N ms)

2012-03-02 07:51:51 10.0.0.5:49211 <- 203.0.113.9:80 0s 85 bytes Time cutoff

GET bad.example/imagedump/image.php?size=0

oid={peer}

GET /imagedump/image.php?size=0
Host: bad.example
User-Agent: B7.[31m
X-HTTP-Version: 1.1

200 MS-DOS executable

oid={oid}

200 OK
Server: Apache
Content-Length: 6
Content-Type: text/html
X-HTTP-Version: 1.1

MZ....

"
    );
    assert_eq!(without_ms(&answer.text()), expected);
    // The other spellings and the exchanged ends find the same.
    for uri in [
        "/streamdb?sip=10.0.0.5&dip=203.0.113.9&dpt=80&spt=49211",
        "/streamdb/?srcip=203.0.113.9&dstip=10.0.0.5&srcport=80&dstport=49211&end=",
        "/streamdb/?ip=10.0.0.0/24&dstport!81&port=49211&start=2012-03-02+07:50:00&end=2012-03-02%2007:51:51&limit=7",
    ] {
        assert_eq!(without_ms(&server.get(uri).text()), expected, "{uri}");
    }
}

#[test]
fn holes_and_pages_are_said() {
    let server = server();
    let text = server.get("/streamdb/?srcip=10.0.0.5&srcport=49212").text();
    assert!(text.contains("GET http://bad.example/b\n"), "{text}");
    assert!(text.contains("200 ASCII text (INCOMPLETE)\n"), "{text}");
    assert!(text.contains("abc\n[4 bytes missing: missing]\nhi\n"), "{text}");
    let page = server.get("/streamdb/?srcip=10.0.0.5&direction=c&limit=1&offset=1").text();
    assert!(
        page.starts_with("Returning 1 of 2 at offset 1 from Fri Mar  2 07:51:51 2012 to Fri Mar  2 07:52:00 2012 ("),
        "{page}"
    );
    assert!(page.contains("49212 <- ") && !page.contains("49211"), "{page}");
    let newest = server.get("/streamdb/?srcip=10.0.0.5&direction=s&sort=1").text();
    assert!(newest.find("49212 -> ").unwrap() < newest.find("49211 -> ").unwrap(), "{newest}");
    let none = server.get("/streamdb/?srcip=10.0.0.9&start=0&end=2012-03-02").text();
    assert_eq!(
        without_ms(&none),
        "Returning 0 of 0 at offset 0 from Thu Jan  1 00:00:00 1970 to Fri Mar  2 00:00:00 2012 (N ms)\n\n"
    );
    // Nobody asked for 1970: from the first frame stored to what was asked for, or now.
    let none = server.get("/streamdb/?srcip=10.0.0.9&end=2012-03-03").text();
    assert_eq!(
        without_ms(&none),
        "Returning 0 of 0 at offset 0 from Fri Mar  2 07:51:51 2012 to Sat Mar  3 00:00:00 2012 (N ms)\n\n"
    );
    for (query, from) in
        [("", "Fri Mar  2 07:51:51 2012 to "), ("&start=now", ""), ("&start=2012-04-01", "Sun Apr  1 ")]
    {
        for accept in ["*/*", "text/html"] {
            let uri = format!("/streamdb/?srcip=10.0.0.9{query}");
            let none = server.ask(Method::GET, &uri, &[("accept", accept)]).text();
            assert!(none.contains(&format!("Returning 0 of 0 at offset 0 from {from}")), "{none}");
            assert!(!none.contains("1970"), "{none}");
        }
    }
    let raw = server.get("/streamdb/?srcip=10.0.0.5&srcport=49212&direction=c&raw=1").text();
    assert!(raw.contains("HTTP/1.0 200 OK\nContent-Length: 9\n\nabc\n[4 bytes missing: missing]\nhi\n"), "{raw}");
}

#[test]
fn json_has_the_fields_that_it_always_had() {
    let server = server();
    let answer = server.get("/streamdb/?srcip=10.0.0.5&srcport=49211&direction=c&as_json=1");
    assert_eq!(answer.header("content-type"), "application/json");
    let mut rows: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let oid = &server.oids()[0];
    // After the ancestor's fields, all that is known of the object.
    let object = rows[0].as_object_mut().unwrap().remove("object").unwrap();
    assert_eq!(object["uri"], "/imagedump/image.php?size=0");
    assert_eq!(object["sha256"], "3b5b3f10d270e202a89e8e3258c236ad27d1d4a473f746d6befcf0ec07e24b77");
    assert_eq!(
        rows,
        serde_json::json!([{
            "start": "2012-03-02 07:51:51", "srcip": "10.0.0.5", "srcport": 49211, "dstip": "203.0.113.9", "dstport": 80,
            "duration": 0, "length": 85, "direction": "c", "reason": "i", "meta": "200 MS-DOS executable",
            "data": "200 OK\nServer: Apache\nContent-Length: 6\nContent-Type: text/html\nX-HTTP-Version: 1.1\n\nMZ....",
            "label": "2012-03-02 07:51:51 10.0.0.5:49211 <- 203.0.113.9:80 0s 85 bytes Time cutoff 200 MS-DOS executable",
            "oid": oid, "complete": true, "missing_bytes": 0
        }])
    );
}

#[test]
fn streams_without_an_object_are_in_every_answer() {
    // Asked for, and never answered; and a request that got no byte.
    let mut silent = download();
    (silent.client, silent.reason, silent.said) = ("10.0.0.5:49213", Reason::SynTimeout, vec![]);
    let mut half = download();
    (half.client, half.said) = ("10.0.0.5:49214", vec![Said::ToServer(REQUEST)]);
    let server = Server::new(&[silent, half]);
    let json = |query: &str| {
        let answer = server.get(&format!("/streamdb/?srcip=10.0.0.5&as_json=1{query}"));
        serde_json::from_slice::<Vec<serde_json::Value>>(&answer.body).unwrap()
    };
    let oids = server.oids();
    for raw in ["", "&raw=1"] {
        let mut rows = json(&format!("&srcport=49213&direction=c{raw}"));
        let stream = rows[0].as_object_mut().unwrap().remove("stream").unwrap();
        assert_eq!((&stream["oid"], &stream["packets"]), (&oids[0].as_str().into(), &1.into()));
        assert_eq!(
            rows,
            [serde_json::json!({
                "start": "2012-03-02 07:51:51", "srcip": "10.0.0.5", "srcport": 49213, "dstip": "203.0.113.9",
                "dstport": 80, "duration": 0, "length": 0, "direction": "c", "reason": "t", "meta": "", "data": "",
                "label": "2012-03-02 07:51:51 10.0.0.5:49213 <- 203.0.113.9:80 0s 0 bytes SYN Timeout",
                "oid": oids[0], "complete": false, "missing_bytes": 0
            })]
        );
        let rows = json(&format!("&srcport=49214{raw}"));
        let kinds: Vec<_> = rows.iter().map(|row| (&row["direction"], row.get("object").is_some())).collect();
        assert_eq!(kinds, [(&"s".into(), true), (&"c".into(), false)]);
        assert_eq!(rows[1]["oid"], oids[1]);
    }
    let none = server.get(&format!("/streamdb/?oid={}", oids[0]));
    assert_eq!(none.status, StatusCode::NOT_FOUND);
    assert!(
        none.text().contains(": no object is in this stream, as it has no bytes; ask for its frames"),
        "{}",
        none.text()
    );
    let page = server.ask(Method::GET, "/streamdb/?srcip=10.0.0.5&srcport=49214", &[("accept", "text/html")]).text();
    assert!(
        page.contains("No bytes to the client, and so no object.") && page.matches("No bytes").count() == 1,
        "{page}"
    );
    let text = server.get("/streamdb/?srcip=10.0.0.5&srcport=49213").text();
    assert!(text.starts_with("Returning 0 of 2 ") && text.contains("0 bytes SYN Timeout"), "{text}");
}

#[test]
fn a_page_says_what_its_two_numbers_count() {
    let said = vec![
        Said::ToServer(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n"),
        Said::ToClient(b"HTTP/1.1 204 No\r\n\r\nHTTP/1.1 204 No\r\n\r\n"),
    ];
    let server = Server::new(&[Talk { said, ..download() }]);
    let page = |query| server.ask(Method::GET, &format!("/streamdb/?ip=10.0.0.5{query}"), &[("accept", "text/html")]);
    let two = page("").text();
    assert!(two.contains("Returning 4 of 2 at") && two.contains("4 objects shown, of 2 streams found"), "{two}");
    let none = page("&direction=c&reason=r").text();
    assert!(none.contains("Returning 0 of 0 at") && none.contains("0 objects shown, of 0 streams found"), "{none}");
    let one = page("&direction=c&limit=1&reason=i").text();
    assert!(one.contains("2 objects shown, of 1 stream found"), "{one}");
}

#[test]
fn an_object_is_stored_never_shown() {
    let server = server();
    let oid = &server.oids()[0];
    let answer = server.get(&format!("/streamdb/?oid={oid}"));
    assert_eq!((answer.status, answer.body.as_slice()), (StatusCode::OK, &b"MZ\x90\0\x03\0"[..]));
    for (name, value) in [
        ("content-type", "application/octet-stream"),
        ("content-disposition", format!("attachment; filename=\"streamdb-{oid}.exe\"").as_str()),
        ("content-length", "6"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox; default-src 'none'"),
        ("x-streamdb-mime", "application/x-dosexec"),
        ("x-streamdb-description", "MS-DOS executable"),
        ("x-streamdb-complete", "true"),
        ("x-streamdb-missing", "0"),
        ("x-streamdb-gaps", ""),
        ("access-control-allow-origin", ""),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let head = server.ask(Method::HEAD, &format!("/streamdb/?oid={oid}"), &[]);
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (StatusCode::OK, "6", 0));

    let holed = server.get(&format!("/streamdb/?oid={}", server.oids()[1]));
    assert_eq!(holed.body, b"abc\0\0\0\0hi");
    assert_eq!(holed.header("x-streamdb-complete"), "false");
    assert_eq!(holed.header("x-streamdb-missing"), "4");
    assert_eq!(holed.header("x-streamdb-gaps"), "3-4");
    assert_eq!(holed.header("x-streamdb-incomplete"), "gap");
}

#[test]
fn a_stream_comes_whole_or_in_ranges() {
    let server = server();
    let oid = &server.oids()[1];
    let uri = format!("/streamdb/?oid={oid}&raw=1");
    let whole = server.get(&uri);
    let bytes = b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nabc\0\0\0\0hi";
    assert_eq!(whole.body, bytes);
    let at = bytes.len() - 6;
    assert_eq!(whole.header("x-streamdb-gaps"), format!("{at}-4"));
    assert_eq!((whole.header("x-streamdb-complete"), whole.header("accept-ranges")), ("false", "bytes"));
    assert_eq!(whole.header("content-length"), bytes.len().to_string());

    let last = server.ask(Method::GET, &uri, &[("range", "bytes=-3")]);
    assert_eq!((last.status, last.body.as_slice()), (StatusCode::PARTIAL_CONTENT, &b"\0hi"[..]));
    let n = bytes.len();
    assert_eq!(last.header("content-range"), format!("bytes {}-{}/{n}", n - 3, n - 1));
    let beyond = server.ask(Method::GET, &uri, &[("range", "bytes=1000-")]);
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (StatusCode::RANGE_NOT_SATISFIABLE, format!("bytes */{n}").as_str())
    );
    let stale = server.ask(Method::GET, &uri, &[("range", "bytes=0-1"), ("if-range", "\"other\"")]);
    assert_eq!((stale.status, stale.body.len()), (StatusCode::OK, n));
    let fresh = server.ask(Method::GET, &uri, &[("range", "bytes=0-1"), ("if-range", whole.header("etag"))]);
    assert_eq!((fresh.status, fresh.body.as_slice()), (StatusCode::PARTIAL_CONTENT, &b"HT"[..]));
}

#[test]
fn frames_come_as_a_capture_file() {
    let server = server();
    let oid = &server.oids()[0];
    let answer = server.get(&format!("/streamdb/?oid={oid}&as_pcap=1"));
    assert_eq!(answer.header("content-type"), "application/vnd.tcpdump.pcap");
    assert_eq!(answer.header("content-disposition"), format!("attachment; filename=\"streamdb-{oid}.pcap\""));
    assert_eq!(answer.body.len(), 24 + 4 * (16 + HEADERS) + REQUEST.len() + RESPONSE.len());
}

#[test]
fn a_large_object_is_sent_in_pieces() {
    let mut said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let chunk: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for _ in 0..60 {
        said.extend(b"186a0\r\n");
        said.extend(&chunk);
        said.extend(b"\r\n");
    }
    said.extend(b"0\r\n\r\n");
    let mut long = b"HTTP/1.1 200 OK\r\nContent-Length: 6000000\r\n\r\n".to_vec();
    long.extend(chunk.repeat(60));
    let talk = |client, begun, said| Talk {
        client,
        begun,
        said: vec![Said::ToServer(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), Said::ToClient(said)],
        ..download()
    };
    let server = Server::new(&[
        talk("10.0.0.5:1", "2012-03-02T07:51:51Z", &said),
        talk("10.0.0.5:2", "2012-03-02T07:51:52Z", &long),
    ]);
    for oid in server.oids() {
        let answer = server.get(&format!("/streamdb/?oid={oid}"));
        assert_eq!((answer.header("content-length"), answer.header("x-streamdb-complete")), ("6000000", "true"));
        assert!(answer.body == chunk.repeat(60));
        let head = server.ask(Method::HEAD, &format!("/streamdb/?oid={oid}"), &[]);
        assert_eq!((head.header("content-length"), head.body.len()), ("6000000", 0));
    }
    let text = server.get("/streamdb/?srcip=10.0.0.5&direction=c").text();
    assert_eq!(text.matches("[cut after 1048576 bytes; /streamdb/?oid=").count(), 2);
}

#[test]
fn what_is_gone_or_damaged_is_said() {
    let server = server();
    let oid = &server.oids()[0];
    let data = server.store.path().to_owned();
    let bucket = std::fs::read_dir(data.join("buckets")).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&bucket).unwrap();
    // The first block is the only one of streams; the directory still says where it is.
    let mut damaged = whole.clone();
    damaged[4096 + 100] ^= 1;
    std::fs::write(&bucket, damaged).unwrap();
    let reopened = || {
        let store = Arc::new(Store::open(&data).unwrap());
        let router = router(App::new(Arc::clone(&store), "127.0.0.1".parse().unwrap()));
        Server { _folder: TestFolder::new("none"), store, router }
    };
    let listing = reopened().get("/streamdb/?srcip=10.0.0.5");
    assert_eq!(listing.status, StatusCode::OK);
    assert!(listing.text().contains("damaged at byte 4096"), "{}", listing.text());

    let id: streamdb_types::BucketId = oid.parse::<streamdb_types::Oid>().unwrap().bucket;
    let write = WriteFolder::open(&data, Box::new(DiskVolume)).unwrap();
    let time = "2026-01-02T03:04:05Z".parse().unwrap();
    write.ledger().lock().unwrap().append(time, &Event::Dropped { id, reason: "age".to_owned() }).unwrap();
    std::fs::remove_file(bucket).unwrap();
    let gone = reopened().get(&format!("/streamdb/?oid={oid}"));
    assert_eq!(gone.status, StatusCode::GONE);
    assert!(gone.text().contains("2026-01-02T03:04:05"), "{}", gone.text());
}

#[test]
fn a_stream_that_cannot_be_read_has_its_row_and_says_why() {
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let said = vec![Said::ToServer(b"\x01ask"), Said::ToClient(&body)];
    let server = Server::new(&[Talk { said, reason: Reason::Fin, ..download() }]);
    let data = server.store.path().to_owned();
    let bucket = std::fs::read_dir(data.join("buckets")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&bucket).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&bucket, bytes).unwrap();
    let store = Arc::new(Store::open(&data).unwrap());
    let router = router(App::new(Arc::clone(&store), "127.0.0.1".parse().unwrap()));
    let server = Server { _folder: TestFolder::new("none"), store, router };
    let answer = server.get("/streamdb/?srcip=10.0.0.5&direction=c&as_json=1");
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((rows.len(), &rows[0]["stream"]["length"]), (1, &3_000_000.into()), "{rows:?}");
    assert!(rows[0]["trouble"].as_str().unwrap().contains("damaged at byte "), "{rows:?}");
    assert!(rows[0].get("object").is_none() && rows[0]["complete"] == false, "{rows:?}");
}

#[test]
fn what_is_not_understood_is_refused_with_a_reason() {
    let server = server();
    for (uri, why) in [
        ("/streamdb/", "an address is needed, as in srcip=10.0.0.5; or an oid"),
        ("/streamdb/?dstport=80", "an address is needed: srcip, dstip or ip"),
        ("/streamdb/?srcip=!10.0.0.5", "an address is needed"),
        ("/streamdb/?srcip=10.0.0.555", "srcip: \"10.0.0.555\" is not accepted; it takes IPv4 or IPv6 addresses"),
        ("/streamdb/?scrip=10.0.0.5", "there is no parameter \"scrip\"; did you mean srcip?"),
        ("/streamdb/?srcip=10.0.0.5&start=whenever", "start: \"whenever\" is not accepted; it takes epoch seconds"),
        ("/streamdb/?ip=10.0.0.5&sip=10.0.0.5&srcip=10.0.0.6", "srcip is given twice, as \"sip=10.0.0.5\" and \"srcip"),
        (
            "/streamdb/?ip=10.0.0.5&limit=1&limit=2",
            "limit is given twice, as \"limit=1\" and \"limit=2\"; it takes one value",
        ),
        ("/streamdb/?ip=10.0.0.5&raw=1&raw=0", "raw is given twice, as \"raw=1\" and \"raw=0\"; it takes one value"),
        (
            "/streamdb/?oid=1-2-3-4&oid=1-2-3-5",
            "oid is given twice, as \"oid=1-2-3-4\" and \"oid=1-2-3-5\"; it takes one",
        ),
        (
            "/streamdb/?ip=10.0.0.5&start=6&end=5",
            "start: \"6\" is after the end, \"5\", so that nothing can be found; exchange",
        ),
        ("/streamdb/?oid=1-2-3", "\"1-2-3\" is no oid: four decimal numbers are wanted"),
        ("/streamdb/?oid=%0d%0aSet-Cookie:x", "\"Set-Cookie:x\" is no oid"),
    ] {
        let answer = server.get(uri);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (StatusCode::BAD_REQUEST, "text/plain; charset=utf-8")
        );
        assert!(answer.text().starts_with(why), "{}", answer.text());
        assert!(answer.text().contains("Usage: GET /streamdb/?") && answer.text().contains("Example: "), "{uri}");
    }
    let oid = &server.oids()[0];
    let (start, _) = oid.rsplit_once('-').unwrap();
    let inside = server.get(&format!("/streamdb/?oid={start}-4294967296"));
    assert_eq!(inside.status, StatusCode::NOT_FOUND);
    assert!(inside.text().contains("nothing is known to lie inside"), "{}", inside.text());
    for uri in [format!("/streamdb/?oid={start}-9"), "/streamdb/?oid=9-9-9-9".to_owned(), "/etc/passwd".to_owned()] {
        assert_eq!(server.get(&uri).status, StatusCode::NOT_FOUND, "{uri}");
    }
    let post = |headers| server.ask(Method::POST, "/streamdb/?srcip=10.0.0.5", headers).status;
    assert_eq!(post(&[]), StatusCode::FORBIDDEN);
    assert_eq!(post(&[("origin", "http://localhost:8080")]), StatusCode::METHOD_NOT_ALLOWED);
}

#[test]
fn only_requests_for_us_are_answered() {
    let server = server();
    for host in ["evil.example", "10.0.0.5", "localhost.evil.example:80", ""] {
        let answer = server.ask(Method::GET, "/", &[("host", host)]);
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    let two = server.ask(Method::GET, "/", &[("host", "localhost"), ("host", "evil.example")]);
    assert_eq!(two.status, StatusCode::MISDIRECTED_REQUEST);
    let stranger = server.ask(Method::GET, "http://evil.example/streamdb/", &[("host", "localhost")]);
    assert_eq!(stranger.status, StatusCode::MISDIRECTED_REQUEST);
    for host in ["localhost", "127.0.0.1:8080", "[::1]:8080"] {
        let front = server.ask(Method::GET, "/", &[("host", host)]);
        assert_eq!((front.status, front.header("location")), (StatusCode::SEE_OTHER, "/streamdb/"));
        let answer = server.ask(Method::GET, "/streamdb/", &[("host", host), ("accept", "text/html")]);
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "text/html; charset=utf-8"));
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
    }
}

#[test]
fn captured_headers_command_nobody() {
    let mut talk = download();
    talk.said = vec![
        Said::ToServer(b"GET /<script>alert(1)</script>\" HTTP/1.1\r\nHost: \"<b>\x1b]0;x\x07\r\n\r\n"),
        Said::ToClient(
            b"HTTP/1.1 200 O\rK\r\nContent-Disposition: attachment; filename=\"../../etc/passwd\r\n X: y\"\r\n\
              Content-Type: text/html\"\r\nContent-Encoding: x\x01\"'\xe9\r\nContent-Length: 8\r\n\r\n<script>",
        ),
    ];
    let server = Server::new(&[talk]);
    let oid = &server.oids()[0];
    let answer = server.get(&format!("/streamdb/?oid={oid}"));
    assert_eq!(answer.body, b"<script>");
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    let name = answer.header("content-disposition");
    assert!(name.starts_with(&format!("attachment; filename=\"streamdb-{oid}")) && !name.contains(".."), "{name}");
    for (name, value) in &answer.headers {
        assert!(value.as_bytes().iter().all(|b| (0x20..0x7f).contains(b)), "{name}: {value:?}");
    }
    let listing = server.get("/streamdb/?srcip=10.0.0.5");
    assert_eq!(listing.header("content-type"), "text/plain; charset=utf-8");
    assert!(listing.body.iter().all(|b| *b == b'\n' || (0x20..0x7f).contains(b)));
}

/// Two downloads: a program that says it is a page, and a page in gzip, from two hosts.
fn objects() -> Server {
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

#[test]
fn searches_by_what_objects_are() {
    let server = objects();
    let found = |query: &str| {
        let text = server.get(&format!("/streamdb/?direction=c&{query}")).text();
        let first = text.lines().next().unwrap_or_default().to_owned();
        (first.split(" at ").next().unwrap_or_default().to_owned(), text)
    };
    for (query, shown) in [
        ("ip=10.0.0.0/8", "Returning 2 of 2"),
        ("ip=10.0.0.0/8&filetype=executable", "Returning 1 of 1"),
        ("ip=10.0.0.0/8&filetype=!executable", "Returning 1 of 1"),
        ("ip=10.0.0.0/8&filetype=%5E200", "Returning 2 of 2"),
        ("host=bad.example", "Returning 1 of 1"),
        ("host=*.example", "Returning 2 of 2"),
        ("host=www.good.example", "Returning 1 of 1"),
        ("uri=/imagedump/image.php", "Returning 1 of 1"),
        ("uri=/nothing", "Returning 0 of 0"),
        ("name=*.php", "Returning 1 of 1"),
        ("ip=10.0.0.0/8&mime=text/*", "Returning 1 of 1"),
        ("ip=10.0.0.0/8&size=6", "Returning 1 of 1"),
        ("ip=10.0.0.0/8&size=7-1K", "Returning 1 of 1"),
        ("ip=10.0.0.0/8&status=404", "Returning 0 of 0"),
        ("ip=10.0.0.0/8&method=GET&limit=1", "Returning 1 of 2"),
        ("ip=10.0.0.0/8&incomplete=1", "Returning 0 of 0"),
        ("ip=10.0.0.0/8&pcre=hel%2Blo", "Returning 1 of 1"),
        ("ip=10.0.0.0/8&pcre=MZ%5Cx90%5Cx00", "Returning 1 of 1"),
        ("sha256=3b5b3f10d270e202a89e8e3258c236ad27d1d4a473f746d6befcf0ec07e24b77", "Returning 1 of 1"),
        // The ends the wrong way round, as some logs have them.
        ("srcip=203.0.113.9&dstip=10.0.0.5&filetype=executable", "Returning 1 of 1"),
    ] {
        assert_eq!(found(query).0, shown, "{query}\n{}", found(query).1);
    }
    assert!(found("host=www.good.example").1.contains("200 HTML document text\n"), "the wording of 2012");
}

#[test]
fn contents_in_other_shapes() {
    let server = objects();
    let oid = &server.oids()[0];
    let hex = server.get(&format!("/streamdb/?oid={oid}&as_hex=1"));
    assert_eq!(hex.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(hex.text(), "00000000  4d 5a 90 00 03 00                                 |MZ....|\n");
    let listing = server.get("/streamdb/?srcip=10.0.0.5&direction=c&as_hex=1").text();
    assert!(listing.contains("00000000  4d 5a 90 00 03 00 "), "{listing}");
    let zip = server.get(&format!("/streamdb/?oid={oid}&as_zip=1"));
    assert_eq!(zip.header("content-type"), "application/zip");
    assert!(zip.header("content-disposition").starts_with("attachment; filename="));
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(zip.body)).unwrap();
    let mut inside = Vec::new();
    let mut file = archive.by_index_decrypt(0, b"infected").unwrap();
    std::io::Read::read_to_end(&mut file, &mut inside).unwrap();
    assert_eq!(inside, b"MZ\x90\0\x03\0");
    let page = server.ask(Method::GET, "/streamdb/?srcip=10.0.0.5", &[("accept", "text/html,*/*;q=0.8")]);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let text = page.text();
    assert!(text.contains(&format!("/streamdb/?oid={oid}&amp;as_zip=1")), "{text}");
    assert!(text.contains("declared as text/html") && !text.contains("<script"), "{text}");
}
