//! What a search finds, as text, JSON and page.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod asked;

use std::sync::Arc;

use asked::common::{Said, Talk};
use asked::{REQUEST, Server, download, objects, server, without_ms};
use axum::http::{Method, StatusCode};
use streamdb_http_api::{App, router};
use streamdb_storage::Store;
use streamdb_testkit::TestFolder;
use streamdb_types::Reason;

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
