//! `/api/v1`: lists and their pages, lines, contents and problems.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod asked;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use asked::common::{Said, Talk};
use asked::{Answer, REQUEST, RESPONSE, Server, download, objects, server};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use streamdb_http_api::{App, Role, Settings, Token, TokenHash, router};
use streamdb_query::{
    Filter, Looking, ObjectLine, PARAMETERS, Position, StreamRow, Troubles, find_objects, find_streams,
};
use streamdb_types::Reason;

const KINDS: [&str; 2] = ["streams", "objects"];

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn lines(&self) -> Vec<Value> {
        assert!(self.body.ends_with(b"\n"));
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Its detail and parameter, when it is a problem with this status.
    fn problem(&self, status: u16) -> (String, Option<String>) {
        let problem = self.json();
        assert_eq!((self.status.as_u16(), self.header("content-type")), (status, "application/problem+json"));
        assert_eq!((&problem["type"], &problem["status"]), (&json!("about:blank"), &json!(status)), "{problem}");
        assert_eq!(problem["title"], self.status.canonical_reason().unwrap());
        let text = |name: &str| problem[name].as_str().map(str::to_owned);
        (text("detail").unwrap(), text("parameter"))
    }
}

/// A few connections, several of which begin at the same moment, with several messages each.
fn many() -> Server {
    let requests = REQUEST.repeat(3);
    let responses = RESPONSE.repeat(3);
    let clients: Vec<String> = (0..12).map(|n| format!("10.0.0.{}:{}", 5 + n % 3, 50_000 + n)).collect();
    let talks = clients.iter().enumerate().map(|(n, client)| Talk {
        client,
        begun: if n % 4 == 3 { "2012-03-02T07:51:52Z" } else { "2012-03-02T07:51:51.5Z" },
        said: vec![Said::ToServer(&requests), Said::ToClient(&responses)],
        ..download()
    });
    Server::new(&talks.collect::<Vec<_>>())
}

/// What the command line's `--json` has for these words.
fn listed(server: &Server, kind: &str, words: &[&str]) -> Vec<Value> {
    let filter = Filter::parse_words(words).unwrap();
    let (mut rows, mut troubles) = (Vec::new(), Troubles::default());
    let looking = Looking { made: streamdb_derive::Rows::new(), go_on: &|| true, troubles: &mut troubles };
    let go_on = std::ops::ControlFlow::Continue(());
    match kind {
        "streams" => find_streams(&server.store, &filter, looking, &mut |stream, _| {
            rows.push(serde_json::to_value(StreamRow::of(stream)).unwrap());
            go_on
        }),
        _ => find_objects(&server.store, &filter, looking, &mut |row| {
            rows.push(serde_json::to_value(ObjectLine::of(row)).unwrap());
            go_on
        }),
    }
    .unwrap();
    rows
}

fn rows(page: &Value) -> Vec<Value> {
    page["rows"].as_array().unwrap().clone()
}

#[test]
fn a_list_has_the_rows_of_the_command_line_and_says_how_many_there_are() {
    let server = server();
    for (kind, found) in KINDS.into_iter().zip([4, 4]) {
        let answer = server.get(&format!("/api/v1/{kind}"));
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/json"));
        assert_eq!(answer.header("vary"), "accept");
        let page = answer.json();
        assert_eq!(rows(&page), listed(&server, kind, &[]));
        assert_eq!(page["count"], json!({ "found": found, "exact": true }));
        assert_eq!((&page["stopped"], &page["remarks"]), (&json!(false), &json!([])));
        assert_eq!(page.get("next"), None);
        let none = server.get(&format!("/api/v1/{kind}?ip=192.0.2.1")).json();
        assert_eq!((rows(&none).len(), &none["count"]["found"], none.get("next")), (0, &json!(0), None));
        let counted = server.get(&format!("/api/v1/{kind}?limit=0")).json();
        assert_eq!((rows(&counted).len(), &counted["count"]["found"]), (0, &json!(found)));
    }
}

#[test]
fn every_parameter_is_taken_by_both_lists() {
    let server = objects();
    let position = server.get("/api/v1/objects?limit=1").json()["next"].as_str().unwrap().to_owned();
    let community = server.get("/api/v1/streams").json()["rows"][0]["community_id"].as_str().unwrap().to_owned();
    let sha256 = "3b5b3f10d270e202a89e8e3258c236ad27d1d4a473f746d6befcf0ec07e24b77";
    let all: &[(&str, &str)] = &[
        ("srcip", "10.0.0.5"),
        ("sip", "10.0.0.0/24"),
        ("dstip", "203.0.113.9"),
        ("dip", "!10.0.0.5"),
        ("ip", "10.0.0.5,10.0.0.6"),
        ("srcport", "49211"),
        ("spt", "49211"),
        ("dstport", "80"),
        ("dpt", "80"),
        ("port", "!53"),
        ("start", "2012-03-02 07:00:00"),
        ("stime", "2012-03-02 07:00:00"),
        ("end", "now"),
        ("etime", "now"),
        ("direction", "c"),
        ("reason", "i"),
        ("protocol", "tcp"),
        ("community_id", &community),
        ("kind", "response"),
        ("method", "GET"),
        ("host", "*.example"),
        ("uri", "/"),
        ("status", "200"),
        ("mime", "*/*"),
        ("filetype", "executable|html"),
        ("name", "!*.exe"),
        ("fact", "!^macros: "),
        ("verdict", "!*"),
        ("md5", "!00000000000000000000000000000000"),
        ("sha1", "!0000000000000000000000000000000000000000"),
        ("sha256", sha256),
        ("size", "0-1M"),
        ("incomplete", "0"),
        ("length", "0-1M"),
        ("mismatch", "0"),
        ("pcre", "Server: Apache"),
        ("offset", "0"),
        ("limit", "5"),
        ("sort", "1"),
        ("after", &position),
    ];
    let tried: BTreeSet<&str> = all.iter().map(|(name, _)| *name).collect();
    assert!(PARAMETERS.iter().all(|name| tried.contains(name)), "{PARAMETERS:?}");
    for kind in KINDS {
        for (name, value) in all {
            let pair = form_urlencoded(name, value);
            let page = server.get(&format!("/api/v1/{kind}?{pair}")).json();
            let expected = listed(&server, kind, &[&format!("{name}={value}")]);
            assert!(!expected.is_empty(), "{kind}?{pair} finds nothing, and so says nothing");
            assert_eq!(rows(&page), expected, "{kind}?{pair}");
        }
    }
    let other = server.get("/api/v1/streams?dstport!80").json();
    assert_eq!(rows(&other).len(), 0);
}

fn form_urlencoded(name: &str, value: &str) -> String {
    let escaped = value.bytes().map(|b| match b.is_ascii_alphanumeric() {
        true => char::from(b).to_string(),
        false => format!("%{b:02X}"),
    });
    format!("{name}={}", escaped.collect::<String>())
}

#[test]
fn pages_have_each_row_once_and_in_order() {
    let server = many();
    for kind in KINDS {
        for sort in [0, 1] {
            let all = listed(&server, kind, &[&format!("sort={sort}")]);
            assert_eq!(all.len(), if kind == "streams" { 24 } else { 72 });
            for size in [1, 7, 1000] {
                let (mut walked, mut after, mut pages) = (Vec::new(), String::new(), 0);
                loop {
                    let page = server.get(&format!("/api/v1/{kind}?sort={sort}&limit={size}{after}")).json();
                    assert_eq!(page.get("count").is_some(), after.is_empty(), "counted with the first page alone");
                    assert!(rows(&page).len() <= size);
                    walked.extend(rows(&page));
                    pages += 1;
                    match page.get("next") {
                        Some(next) => after = format!("&after={}", next.as_str().unwrap()),
                        None => break,
                    }
                }
                assert!(pages <= all.len() / size + 1, "{pages}");
                assert_eq!(walked, all, "{kind} sort={sort} limit={size}");
                let mut seen = BTreeSet::new();
                assert!(walked.iter().all(|row| seen.insert(row.to_string())), "a row came twice");
            }
        }
    }
}

#[test]
fn what_is_skipped_is_skipped_once() {
    let server = many();
    for kind in KINDS {
        let all = rows(&server.get(&format!("/api/v1/{kind}")).json());
        let asked = format!("/api/v1/{kind}?offset=3&limit=4");
        let first = server.get(&asked).json();
        let second = server.get(&format!("{asked}&after={}", first["next"].as_str().unwrap())).json();
        assert_eq!([rows(&first), rows(&second)].concat(), all[3..11], "{kind}");
        let lines = server.get(&format!("{asked}&format=ndjson&after={}", first["next"].as_str().unwrap())).lines();
        assert_eq!(lines[..4], all[7..11], "{kind}");
    }
}

#[test]
fn a_first_page_that_has_all_has_no_next_one() {
    let server = server();
    for (limit, more) in [(3, true), (4, false), (5, false)] {
        let page = server.get(&format!("/api/v1/streams?limit={limit}")).json();
        assert_eq!(page.get("next").is_some(), more, "{limit}");
    }
    let skipped = server.get("/api/v1/streams?offset=3&limit=1").json();
    assert_eq!((rows(&skipped).len(), &skipped["count"]["found"], skipped.get("next")), (1, &json!(4), None));
    let last = rows(&skipped)[0].clone();
    assert_eq!(last, listed(&server, "streams", &[])[3]);
}

#[test]
fn lines_have_the_same_rows_and_say_that_they_are_all() {
    let server = many();
    for kind in KINDS {
        for query in
            ["", "limit=5", "sort=1&limit=1000", "ip=192.0.2.1", "pcre=MZ", "limit=0", "srcip=10.0.0.5&offset=2"]
        {
            let page = server.get(&format!("/api/v1/{kind}?{query}")).json();
            let uri = format!("/api/v1/{kind}?{query}");
            let liked = server.ask(Method::GET, &uri, &[("accept", "application/x-ndjson")]);
            let named = server.get(&format!("{uri}&format=ndjson"));
            assert_eq!((liked.status, liked.header("content-type")), (StatusCode::OK, "application/x-ndjson"));
            assert_eq!(liked.body, named.body);
            let mut lines = liked.lines();
            let end = lines.pop().unwrap()["end"].clone();
            assert_eq!(lines, rows(&page), "{kind}?{query}");
            assert_eq!((&end["stopped"], &end["remarks"]), (&json!(false), &json!([])));
            assert!(end["streams_looked_at"].is_u64(), "{end}");
            if query == "limit=5" {
                assert_eq!(end["next"], page["next"]);
            } else {
                assert_eq!(end.get("next"), None, "{query}");
            }
        }
    }
    // Any number, where JSON has a bound.
    assert_eq!(server.get("/api/v1/streams?format=ndjson&limit=18446744073709551615").lines().len(), 25);
    let json = server.ask(Method::GET, "/api/v1/streams?format=json", &[("accept", "application/x-ndjson")]);
    assert_eq!(json.header("content-type"), "application/json");
}

#[test]
fn what_is_not_understood_is_a_problem_that_says_what_is_accepted() {
    let server = server();
    for (uri, parameter, detail) in [
        ("streams?scrip=10.0.0.5", "scrip", "there is no parameter \"scrip\"; did you mean srcip?"),
        ("objects?formt=json", "formt", "there is no parameter \"formt\"; did you mean format?"),
        ("streams?sip=10.0.0.5&srcip=10.0.0.6", "srcip", "srcip is given twice, as \"sip=10.0.0.5\" and"),
        ("streams?limit=many", "limit", "limit: \"many\" is not accepted; it takes a number, as in 100"),
        ("streams?limit=10001", "limit", "limit: \"10001\" is not accepted; it takes at most 10000;"),
        ("streams?srcip=", "srcip", "srcip: \"\" is not accepted; it takes IPv4 or IPv6 addresses"),
        ("streams?after=1.2.3", "after", "after: \"1.2.3\" is not accepted; it takes a position"),
        ("objects?start=6&end=5", "start", "start: \"6\" is after the end, \"5\""),
        ("objects?pcre=(%3F%3Dx)", "pcre", "pcre: \"(?=x)\" is not accepted; it takes a regular expression"),
        ("objects?format=xml", "format", "format: \"xml\" is not accepted; it takes json or ndjson"),
        ("objects?format=json&format=json", "format", "format is given twice"),
        ("objects/abc", "sha256", "sha256: \"abc\" is not accepted; it takes one SHA-256 digest"),
        (
            "objects/!3b5b3f10d270e202a89e8e3258c236ad27d1d4a473f746d6befcf0ec07e24b77",
            "sha256",
            "sha256: \"!3b5b3f10d2",
        ),
        (
            "objects/3b5b3f10d270e202a89e8e3258c236ad27d1d4a473f746d6befcf0ec07e24b77?limit=5",
            "limit",
            "there is no parameter \"limit\" here",
        ),
    ] {
        let (said, at_fault) = server.get(&format!("/api/v1/{uri}")).problem(400);
        assert!(said.starts_with(detail), "{uri}: {said}");
        assert_eq!(at_fault.as_deref(), Some(parameter), "{uri}");
    }
    for path in ["/api/v1", "/api/v1/", "/api/v1/streamz", "/api/v1/objects/a/b", "/api/v1/%ff"] {
        assert_eq!(server.get(path).problem(404).1, None, "{path}");
        assert_eq!(server.ask(Method::POST, path, &[]).problem(404).1, None, "{path}");
    }
    assert_eq!(server.get("/api/v1/objects/%ff").problem(400).1, None);
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::TRACE, Method::OPTIONS] {
        let answer = server.ask(method, "/api/v1/streams", &[]);
        answer.problem(405);
        assert_eq!(answer.header("allow"), "GET,HEAD");
    }
    let pages = [("accept", "text/html")];
    for path in ["streams", "objects", "objects/3b5b3f10d270e202a89e8e3258c236ad27d1d4a473f746d6befcf0ec07e24b77"] {
        server.ask(Method::GET, &format!("/api/v1/{path}"), &pages).problem(406);
    }
    server.ask(Method::GET, "/api/v1/streams", &[("host", "evil.example")]).problem(421);
    // Everywhere else errors stay as they were.
    assert_eq!(server.get("/api/v2").header("content-type"), "text/plain; charset=utf-8");
}

#[test]
fn who_may_not_read_gets_problems_too() {
    let server = objects();
    let token = |name: &str, role| Token {
        name: name.to_owned(),
        hash: TokenHash::of(name.as_bytes()),
        roles: [role].into_iter().collect(),
    };
    let tokens = vec![token("reader", Role::Read), token("submitter", Role::Submit)];
    let app = App::new(Arc::clone(&server.store), "127.0.0.1".parse().unwrap());
    let router = router(app.with(Settings { tokens, ..Settings::default() }));
    let server = Server { router, ..server };
    for path in ["streams", "objects", "openapi.json", "nothing"] {
        let ask = |headers: &[(&str, &str)]| server.ask(Method::GET, &format!("/api/v1/{path}"), headers);
        let unknown = ask(&[]);
        unknown.problem(401);
        assert_eq!(unknown.header("www-authenticate"), "Bearer realm=\"StreamDB\"");
        // A program may say that it takes pages; it gets none, and no redirection to one.
        ask(&[("accept", "text/html,*/*")]).problem(401);
        ask(&[("accept", "text/html,*/*"), ("cookie", "streamdb_login=1")]).problem(401);
        ask(&[("authorization", "Bearer submitter")]).problem(403);
        let known = ask(&[("authorization", "Bearer reader")]);
        assert_eq!(known.status.as_u16(), if path == "nothing" { 404 } else { 200 });
    }
    ask_once(&server, "Bearer wrong").problem(401);
    let described = server.ask(Method::GET, "/api/v1/openapi.json", &[("authorization", "Bearer reader")]).json();
    assert_eq!(described["security"], json!([{ "token": [] }, { "session": [] }]));
}

fn ask_once(server: &Server, token: &str) -> Answer {
    server.ask(Method::GET, "/api/v1/streams", &[("authorization", token)])
}

#[test]
fn a_content_says_where_it_was_seen() {
    let server = many();
    let sha256 = "3b5b3f10d270e202a89e8e3258c236ad27d1d4a473f746d6befcf0ec07e24b77";
    let answer = server.get(&format!("/api/v1/objects/{sha256}"));
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/json"));
    let upper = server.get(&format!("/api/v1/objects/{}", sha256.to_uppercase()));
    assert_eq!(upper.body, answer.body);
    let mut content = answer.json();
    let shown = content.as_object_mut().unwrap().remove("rows").unwrap();
    let same = format!("sha256={sha256}");
    assert_eq!(*shown.as_array().unwrap(), listed(&server, "objects", &[&same, "sort=1"]));
    let mut take = |name: &str| content.as_object_mut().unwrap().remove(name).unwrap();
    let whole = shown.as_array().unwrap().iter().find(|row| row["complete"] == true).unwrap();
    assert_eq!((take("oid"), take("joins")), (whole["oid"].clone(), json!([])));
    let pairs = take("pairs");
    assert_eq!((pairs["more"].clone(), pairs["values"].as_array().unwrap().len()), (json!(false), 3));
    for pair in pairs["values"].as_array().unwrap() {
        let same = |row: &&serde_json::Value| row["src_ip"] == pair["source"] && row["dst_ip"] == pair["destination"];
        assert_eq!(pair["count"], shown.as_array().unwrap().iter().filter(same).count(), "{pair}");
    }
    let bytes = server.get(&format!("/api/v1/objects/{sha256}/content"));
    assert_eq!((bytes.status, bytes.body.len()), (StatusCode::OK, 6));
    let none = server.get(&format!("/api/v1/objects/{}/content", "ab".repeat(32)));
    assert!(none.problem(404).0.contains("No whole content"));
    assert_eq!(
        content,
        json!({
            "sha256": sha256,
            "sha1": shown[0]["sha1"],
            "md5": shown[0]["md5"],
            "size": 6,
            "encoded": false,
            "mime": shown[0]["mime"],
            "description": shown[0]["description"],
            "count": { "found": 36, "exact": true },
            "first_seen": "2012-03-02T07:51:51.600000000Z",
            "last_seen": "2012-03-02T07:51:52.100000000Z",
            "filenames": { "values": ["image.php"], "more": false },
            "hosts": { "values": ["bad.example"], "more": false },
            "sources": { "values": ["10.0.0.5", "10.0.0.6", "10.0.0.7"], "more": false },
            "destinations": { "values": ["203.0.113.9"], "more": false },
            "submissions": [],
            "stopped": false,
            "streams_looked_at": 24,
            "remarks": []
        })
    );
    let (why, _) = server.get(&format!("/api/v1/objects/{}", "ab".repeat(32))).problem(404);
    assert_eq!(why, format!("No object with the SHA-256 {} was found here.", "ab".repeat(32)));
}

#[test]
fn a_content_that_was_sent_in_a_coding_is_known_by_both_digests() {
    let server = objects();
    let all = rows(&server.get("/api/v1/objects").json());
    let page = all.iter().find(|row| row.get("sha256_encoded").is_some()).unwrap();
    for (digest, encoded, size) in [("sha256", false, "size"), ("sha256_encoded", true, "encoded_size")] {
        let digest = page[digest].as_str().unwrap();
        let content = server.get(&format!("/api/v1/objects/{digest}")).json();
        assert_eq!((&content["sha256"], &content["encoded"]), (&json!(digest), &json!(encoded)));
        assert_eq!((&content["size"], &content["rows"]), (&page[size], &json!([page])));
    }
}

#[test]
fn many_sightings_are_bounded_and_go_on() {
    let responses = RESPONSE.repeat(150);
    let requests: Vec<u8> =
        (0..150).flat_map(|n| format!("GET /{n} HTTP/1.1\r\nHost: h{n}.example\r\n\r\n").into_bytes()).collect();
    let said = vec![Said::ToServer(&requests), Said::ToClient(&responses)];
    let server = Server::new(&[Talk { said, ..download() }]);
    let sha256 = "3b5b3f10d270e202a89e8e3258c236ad27d1d4a473f746d6befcf0ec07e24b77";
    let content = server.get(&format!("/api/v1/objects/{sha256}")).json();
    assert_eq!(content["count"], json!({ "found": 150, "exact": true }));
    assert_eq!((content["hosts"]["values"].as_array().unwrap().len(), &content["hosts"]["more"]), (100, &json!(true)));
    let next = content["next"].as_str().unwrap();
    let rest = server.get(&format!("/api/v1/objects?sha256={sha256}&sort=1&after={next}")).json();
    let walked = [rows(&content), rows(&rest)].concat();
    assert_eq!(walked, listed(&server, "objects", &[&format!("sha256={sha256}"), "sort=1"]));
}

#[test]
fn a_search_in_contents_that_was_told_to_stop_goes_on_where_it_was() {
    let server = many();
    for (kind, order) in KINDS.into_iter().flat_map(|kind| ["0", "1"].map(|order| (kind, order))) {
        let words = ["pcre=HTTP", &format!("sort={order}")];
        let all = listed(&server, kind, &words);
        assert_eq!(all.len(), if kind == "streams" { 24 } else { 72 });
        let mut filter = Filter::parse_words(&words).unwrap();
        let (mut found, mut stops, mut may_ask) = (Vec::new(), 0, 20);
        loop {
            let asked = AtomicU64::new(0);
            let go_on = &|| asked.fetch_add(1, Ordering::Relaxed) < may_ask;
            let mut troubles = Troubles::default();
            let looking = Looking { made: streamdb_derive::Rows::new(), go_on, troubles: &mut troubles };
            let mut last = None;
            let looked = if kind == "streams" {
                find_streams(&server.store, &filter, looking, &mut |stream, _| {
                    found.push(serde_json::to_value(StreamRow::of(stream)).unwrap());
                    last = Some(Position::of_stream(stream));
                    ControlFlow::Continue(())
                })
            } else {
                find_objects(&server.store, &filter, looking, &mut |row| {
                    found.push(serde_json::to_value(ObjectLine::of(row)).unwrap());
                    last = Some(Position::of_object(row));
                    ControlFlow::Continue(())
                })
            }
            .unwrap();
            if !looked.stopped {
                break;
            }
            stops += 1;
            let after = filter.order.later(last, looked.until);
            // Where it came nowhere, it is given more time.
            may_ask += if after.is_some() { 0 } else { 20 };
            filter.after = after.or(filter.after);
        }
        assert_eq!(found, all, "{kind} {order}");
        assert!(stops > 2, "{stops}");
    }
}

/// A store over whose contents an expression takes long: one connection, very many small messages.
fn slow() -> Server {
    const MESSAGES: usize = 5_000;
    let requests = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n".repeat(MESSAGES);
    let answers = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".repeat(MESSAGES);
    let clients: Vec<String> = (0..40).map(|n| format!("10.0.1.{n}:50000")).collect();
    let mut talks = vec![download()];
    talks.extend(clients.iter().map(|client| Talk {
        client,
        begun: "2012-03-02T08:00:00Z",
        said: vec![Said::ToServer(&requests), Said::ToClient(&answers)],
        reason: Reason::Fin,
        ..download()
    }));
    Server::new(&talks)
}

#[test]
fn the_first_hit_comes_while_the_search_goes_on_and_who_goes_ends_it() {
    let store = slow();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(streamdb_http_api::Server::bind("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = server.address();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = runtime.spawn(server.run(Arc::clone(&store.store), async {
        let _ = stopped.await;
    }));
    let ask = || {
        let mut socket = TcpStream::connect(address).unwrap();
        let query = "pcre=image.php%7Cnowhere&format=ndjson";
        write!(socket, "GET /api/v1/objects?{query} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        socket
    };
    let read_until = |socket: &mut TcpStream, wanted: &str| {
        let (mut said, mut piece) = (String::new(), [0; 4096]);
        while !said.contains(wanted) {
            let n = socket.read(&mut piece).unwrap();
            assert_ne!(n, 0, "it ended: {said}");
            said.push_str(&String::from_utf8_lossy(&piece[..n]));
        }
        said
    };
    // To the end: how long all of it takes, and how soon the first row is there.
    let begun = Instant::now();
    let mut patient = ask();
    let first = read_until(&mut patient, "\"uri\":\"/imagedump/image.php");
    let to_first = begun.elapsed();
    assert!(first.contains("transfer-encoding: chunked") && !first.contains("{\"end\":"), "{first}");
    read_until(&mut patient, "{\"end\":");
    let to_end = begun.elapsed();
    assert!(to_first * 2 < to_end, "the first row after {to_first:?}, the end after {to_end:?}");
    // Those that go: their searches end with them, or the server would be at work until all have looked everywhere.
    let gone = 40;
    for _ in 0..gone {
        read_until(&mut ask(), "\"uri\":\"/imagedump/image.php");
    }
    // So do those of whole answers.
    for _ in 0..gone {
        let mut socket = TcpStream::connect(address).unwrap();
        write!(socket, "GET /api/v1/objects?pcre=nowhere HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let begun = Instant::now();
    stop.send(()).unwrap();
    runtime.block_on(running).unwrap();
    // Waits for the threads that still work.
    drop(runtime);
    let took = begun.elapsed();
    assert!(
        took < to_end * 8 + Duration::from_secs(1),
        "{took:?} after {gone} clients that went; one that stays takes {to_end:?}"
    );
}

/// Rows are bounded in bytes, too, as what was captured may make each of them long.
#[test]
fn a_page_of_very_long_rows_is_cut_and_goes_on() {
    const MESSAGES: usize = 120;
    let request = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(15_000)).repeat(MESSAGES);
    let answers = b"HTTP/1.1 204 No\r\n\r\n".repeat(MESSAGES);
    let clients: Vec<String> = (0..12).map(|n| format!("10.0.1.{n}:50000")).collect();
    let talk = |client| Talk {
        client,
        said: vec![Said::ToServer(request.as_bytes()), Said::ToClient(&answers)],
        ..download()
    };
    let server = Server::new(&clients.iter().map(|client| talk(client)).collect::<Vec<_>>());
    let page = server.get("/api/v1/objects?limit=10000");
    assert!((32 << 20..34 << 20).contains(&page.body.len()), "{}", page.body.len());
    let page = page.json();
    let all = listed(&server, "objects", &[]);
    assert_eq!(page["count"], json!({ "found": all.len(), "exact": true }));
    let next = page["next"].as_str().unwrap();
    let rest = server.get(&format!("/api/v1/objects?limit=10000&after={next}")).json();
    assert_eq!([rows(&page), rows(&rest)].concat(), all);
    assert_eq!(rest.get("next"), None);
}

#[test]
fn what_cannot_be_read_is_said() {
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let server = Server::new(&[Talk { said: vec![Said::ToServer(b"\x01ask"), Said::ToClient(&body)], ..download() }]);
    let bucket = std::fs::read_dir(server.store.path().join("buckets")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&bucket).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&bucket, bytes).unwrap();
    let store = Arc::new(streamdb_storage::Store::open(server.store.path()).unwrap());
    let router = router(App::new(Arc::clone(&store), "127.0.0.1".parse().unwrap()));
    let damaged = Server { store, router, _folder: streamdb_testkit::TestFolder::new("none") };
    // What cannot be read is a remark, and the rest is whole.
    for uri in ["/api/v1/objects", "/api/v1/objects?format=ndjson"] {
        let answer = damaged.get(uri);
        let last = match uri.contains("ndjson") {
            true => answer.lines().pop().unwrap()["end"].clone(),
            false => answer.json(),
        };
        let remarks = last["remarks"].as_array().unwrap();
        assert!(remarks.iter().any(|remark| remark.as_str().unwrap().contains("damaged at byte ")), "{last}");
    }
    // A store that cannot be listed has no rows at all, and says why.
    std::fs::remove_dir_all(damaged.store.path().join("buckets")).unwrap();
    for uri in ["/api/v1/streams", "/api/v1/objects?format=ndjson"] {
        damaged.get(uri).problem(500);
    }
}
