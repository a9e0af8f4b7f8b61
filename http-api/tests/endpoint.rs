//! What an oid gives, and what is refused.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod asked;

use std::sync::Arc;

use asked::common::{HEADERS, Said, Talk};
use asked::{REQUEST, RESPONSE, Server, download, objects, server};
use axum::http::{Method, StatusCode};
use streamdb_http_api::{App, router};
use streamdb_storage::{DiskVolume, Event, Store, WriteFolder};
use streamdb_testkit::TestFolder;

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
    // Ranges are for GET alone (RFC 9110 §14.2).
    for range in ["bytes=0-1", "bytes=99-"] {
        let head = server.ask(Method::HEAD, &format!("/streamdb/?oid={oid}"), &[("range", range)]);
        assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, "6"));
    }

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
