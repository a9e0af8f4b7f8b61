//! Contents that came in several responses, as real downloaders make them: joined, named by their digests, and handed out by the
//! binary; never more is said to be whole than is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use common::{Data, Made, Server, Talk, testdata, text};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn path_of(url: &str) -> &str {
    url.splitn(4, '/').nth(3).unwrap()
}

/// The bytes of a content, by the command.
fn content(data: &Data, sha256: &str) -> Vec<u8> {
    data.run("content", &[sha256, "--output", "-"]).out
}

/// `testdata/joins`: aria2c, curl and wget.
#[test]
fn what_downloaders_fetch_in_parts_is_joined() {
    let data = Data::with("joins-recorded", &[&testdata("joins", "capture.pcap.zst")]);
    let joins = data.json("joins", &[]);
    let table = std::fs::read_to_string(testdata("joins", "expected.tsv")).unwrap();
    let mut rows = 0;
    for line in table.lines().skip(1) {
        rows += 1;
        let [uri, parts, state, sent, digest, missing] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let is_it = |join: &&Value| {
            let all: Vec<&str> =
                join["missing"].as_array().unwrap().iter().map(|range| range.as_str().unwrap()).collect();
            format!("/{}", path_of(text(join, "url"))) == uri && (all.is_empty() && missing == "-" || all == [missing])
        };
        let join = joins.iter().find(is_it).unwrap_or_else(|| panic!("{line}: {joins:#?}"));
        assert_eq!(text(join, "state"), state, "{line}: {join}");
        let listed = join["parts"].as_array().unwrap().len();
        assert!(parts.parse() == Ok(listed) || parts == "-" && listed > 2, "{line}: {join}");
        if digest == "-" {
            assert!(join.get("sha256").is_none());
            continue;
        }
        assert_eq!(text(join, "sha256"), digest, "{line}");
        let bytes = content(&data, digest);
        assert_eq!((sha256(&bytes).as_str(), join["size"].as_u64()), (digest, Some(bytes.len() as u64)), "{line}");
        if sent != "-" {
            assert_eq!(text(join, "sha256_encoded"), sent, "{line}");
            assert_eq!(sha256(&content(&data, sent)), sent, "{line}");
        }
        assert_eq!(join["conflicts"].as_array().is_some(), state == "conflicting", "{line}: {join}");
    }
    assert_eq!(joins.len(), rows, "{joins:#?}");

    // Found again after a reindex, and the same.
    data.run("reindex", &[]).well();
    assert_eq!(data.json("joins", &[]), joins);
    std::fs::remove_file(data.path().join("derived/joins")).unwrap();
    data.run("derive", &["--once"]).well();
    assert_eq!(data.json("joins", &[]), joins);
    served(&data, &joins);
}

/// Over HTTP.
fn served(data: &Data, joins: &[Value]) {
    let server = Server::start(data);
    let json = |path: &str| -> Value {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    };
    for join in joins {
        let Some(digest) = join["sha256"].as_str() else { continue };
        let said = json(&format!("/api/v1/objects/{digest}"));
        assert_eq!((said["joins"][0].clone(), &said["size"]), (join.clone(), &join["size"]));
        let answer = server.get(&format!("/api/v1/objects/{digest}/content"));
        assert_eq!((answer.status, sha256(&answer.body).as_str()), (200, digest), "{join}");
        assert_eq!(answer.header("x-streamdb-joined"), join["state"].as_str());
        let complete = if join["state"] == "complete" { "true" } else { "false" };
        assert_eq!(answer.header("x-streamdb-complete"), Some(complete));
        let whole = answer.body;
        let request = format!(
            "GET /api/v1/objects/{digest}/content HTTP/1.1\r\nHost: {}\r\nRange: bytes=1000-1999\r\nConnection: close\r\n\r\n",
            server.address
        );
        let part = server.send(&request);
        assert_eq!((part.status, part.body.as_slice()), (206, &whole[1000..2000]), "{join}");
        // What each part is a part of.
        let oid = text(&join["parts"][0], "oid");
        assert_eq!(json(&format!("/api/v1/joins?part={oid}"))["rows"], Value::Array(vec![join.clone()]));
        assert_eq!(json(&format!("/api/v1/joins?sha256={digest}"))["rows"][0], *join);
    }
    assert_eq!(json("/api/v1/joins?incomplete=0")["rows"].as_array().unwrap().len(), 7 + 1);
    assert_eq!(json("/api/v1/joins?uri=/weak*&size=200000")["rows"].as_array().unwrap().len(), 1);
    let page = server.get("/streamdb/?uri=/missing.bin&as_text=1");
    assert!(page.text().contains("joined of 2 parts: missing, bytes 80000-119999 are missing"), "{}", page.text());
    for refused in
        ["/api/v1/joins?part=x", "/api/v1/joins?after=1", "/api/v1/joins?limit=1001", "/api/v1/joins?colour=1"]
    {
        assert_eq!(server.get(refused).status, 400, "{refused}");
    }
    let nothing = format!("/api/v1/objects/{}/content", "0".repeat(64));
    assert_eq!(server.get(&nothing).status, 404);
}

fn answer(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{fields}\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// A connection each, a bucket a second: the second part is in another bucket than the first.
fn two_parts(etag: [&str; 2]) -> (Made, Vec<u8>) {
    let body: Vec<u8> = (0..2000u32).flat_map(|n| n.to_be_bytes()).collect();
    let mut made = Made::default();
    for (n, (range, etag)) in [(0..5000, etag[0]), (4000..8000, etag[1])].into_iter().enumerate() {
        let mut talk = Talk::new(4000 + n as u16);
        let millis = 5000 * n as u64;
        talk.open(&mut made, millis);
        talk.ask(&mut made, millis + 10, b"GET /file.bin HTTP/1.1\r\nHost: a.example\r\nRange: bytes=0-\r\n\r\n");
        let fields = format!("ETag: {etag}\r\nContent-Range: bytes {}-{}/8000\r\n", range.start, range.end - 1);
        talk.answer(&mut made, millis + 20, &answer("206 Partial Content", &fields, &body[range]));
        talk.close(&mut made, millis + 30);
    }
    (made, body)
}

fn ingested(name: &str, made: &Made, flags: &[&str]) -> Data {
    let data = Data::new(name);
    let capture = data.write("made.pcap", &made.file());
    data.ingest(flags, &[&capture]).well();
    data
}

#[test]
fn parts_of_another_file_are_not_joined() {
    let (made, body) = two_parts(["\"a\"", "\"a\""]);
    let data = ingested("joins-same", &made, &["--bucket", "1s"]);
    let joins = data.json("joins", &[]);
    assert_eq!(
        (joins.len(), text(&joins[0], "state"), text(&joins[0], "sha256")),
        (1, "complete", sha256(&body).as_str())
    );
    let (made, _) = two_parts(["\"a\"", "\"b\""]);
    let data = ingested("joins-other", &made, &["--bucket", "1s"]);
    let joins = data.json("joins", &[]);
    assert_eq!(joins.len(), 2);
    assert!(joins.iter().all(|join| join["state"] == "missing" && join.get("sha256").is_none()), "{joins:?}");
    let (made, body) = two_parts(["W/\"a\"", "W/\"a\""]);
    let data = ingested("joins-weak", &made, &["--bucket", "1s"]);
    let joins = data.json("joins", &[]);
    assert_eq!((text(&joins[0], "state"), text(&joins[0], "sha256")), ("candidate", sha256(&body).as_str()));
}

#[test]
fn what_retention_took_a_part_of_is_not_complete_any_more() {
    let (made, body) = two_parts(["\"a\"", "\"a\""]);
    let data = ingested("joins-retention", &made, &["--bucket", "1s"]);
    let bytes: usize = data.buckets().iter().map(|(_, bytes)| bytes.len()).sum();
    data.run("retain", &["--max-bytes", &(bytes - 1).to_string()]).well();
    let joins = data.json("joins", &[]);
    assert_eq!((text(&joins[0], "state"), &joins[0]["missing"]), ("gone", &serde_json::json!(["0-3999"])), "{joins:?}");
    assert_eq!(joins[0]["parts"][0]["here"], false);
    let said = data.run("content", &[&sha256(&body), "--output", "-"]);
    assert!(said.out.is_empty() && said.code != Some(0));
    // That is so after all is derived again, too: then nobody knows what it was.
    data.run("reindex", &[]).well();
    let joins = data.json("joins", &[]);
    assert_eq!((text(&joins[0], "state"), joins[0].get("sha256")), ("missing", None), "{joins:?}");
}

#[test]
fn a_content_is_known_once() {
    let mut made = Made::default();
    for n in 0..5u16 {
        let mut talk = Talk::new(5000 + n);
        let millis = 1000 * u64::from(n);
        talk.open(&mut made, millis);
        let get = format!("GET /name-{}.bin HTTP/1.1\r\nHost: a.example\r\n\r\n", n % 2);
        talk.ask(&mut made, millis + 10, get.as_bytes());
        talk.answer(&mut made, millis + 20, &answer("200 OK", "", b"the same content"));
        talk.close(&mut made, millis + 30);
    }
    let data = ingested("joins-once", &made, &[]);
    let digest = sha256(b"the same content");
    let said = data.run("content", &["--json", &digest]).well();
    let said: Value = serde_json::from_slice(&said).unwrap();
    assert_eq!(
        (said["count"].as_u64(), &said["exact"], said["pairs"][0]["count"].as_u64()),
        (Some(5), &Value::Bool(true), Some(5))
    );
    assert_eq!(said["filenames"], serde_json::json!(["name-0.bin", "name-1.bin"]));
    let rows = data.json("objects", &[&format!("sha256={digest}")]);
    let starts: Vec<&str> = rows.iter().map(|row| text(row, "start")).collect();
    assert_eq!((text(&said, "first_seen"), text(&said, "last_seen")), (starts[0], starts[4]));
    assert_eq!(data.get(text(&said, "oid"), &[]), b"the same content");
    assert_eq!(content(&data, &digest), b"the same content");
}

/// Numbers that are the same each time (a linear congruence).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// What must come of some parts: byte by byte.
fn plainly(
    total: usize,
    parts: &[(std::ops::Range<usize>, Vec<u8>)],
) -> Option<(&'static str, Option<String>, Vec<String>)> {
    if let [(range, _)] = parts
        && range.len() == total
    {
        return None;
    }
    let mut bytes: Vec<Option<u8>> = vec![None; total];
    let mut differs = false;
    for (range, body) in parts {
        for (at, byte) in range.clone().zip(body) {
            differs |= bytes[at].is_some_and(|known| known != *byte);
            bytes[at].get_or_insert(*byte);
        }
    }
    let mut missing: Vec<(usize, usize)> = Vec::new();
    for at in (0..total).filter(|at| bytes[*at].is_none()) {
        match missing.last_mut() {
            Some((_, last)) if *last + 1 == at => *last = at,
            _ => missing.push((at, at)),
        }
    }
    let missing: Vec<String> = missing.into_iter().map(|(first, last)| format!("{first}-{last}")).collect();
    let all: Option<Vec<u8>> = bytes.into_iter().collect();
    let state = if all.is_none() {
        "missing"
    } else if differs {
        "conflicting"
    } else {
        "complete"
    };
    Some((state, all.map(|all| sha256(&all)), missing))
}

#[test]
fn whatever_the_parts_are_it_is_what_each_byte_says() {
    let mut numbers = Numbers(7);
    let mut made = Made::default();
    let mut wanted = Vec::new();
    let mut port = 2000;
    for file in 0..80 {
        let total = 1 + numbers.below(3000) as usize;
        let bodies =
            [b'a', b'b'].map(|seed| (0..total).map(|n| (n as u8).wrapping_mul(31) ^ seed).collect::<Vec<u8>>());
        let mut parts = [Vec::new(), Vec::new()];
        for _ in 0..=numbers.below(6) {
            let which = usize::from(numbers.below(5) == 0);
            let first = if numbers.below(3) == 0 { 0 } else { numbers.below(total as u64) as usize };
            let rest = (total - first) as u64;
            let more = if numbers.below(3) == 0 { rest - 1 } else { numbers.below(rest) };
            let length = 1 + more as usize;
            let range = first..first + length;
            let mut body = bodies[which][range.clone()].to_vec();
            if numbers.below(12) == 0 {
                body[0] ^= 0xff;
            }
            let mut talk = Talk::new(port);
            let millis = u64::from(port - 2000) * 40;
            port += 1;
            talk.open(&mut made, millis);
            talk.ask(&mut made, millis + 10, format!("GET /{file} HTTP/1.1\r\nHost: a.example\r\n\r\n").as_bytes());
            let range_field = format!("Content-Range: bytes {first}-{}/{total}\r\n", range.end - 1);
            let fields = format!("ETag: \"{which}\"\r\n{range_field}");
            talk.answer(&mut made, millis + 20, &answer("206 Partial Content", &fields, &body));
            talk.close(&mut made, millis + 30);
            parts[which].push((range, body));
        }
        for (which, parts) in parts.iter().enumerate().filter(|(_, parts)| !parts.is_empty()) {
            wanted.extend(plainly(total, parts).map(|what| (format!("{file} \"{which}\""), parts.len(), what)));
        }
    }
    let data = ingested("joins-any", &made, &["--bucket", "1s"]);
    let joins = data.json("joins", &[]);
    for (name, parts, (state, digest, missing)) in &wanted {
        let is_it = |join: &&Value| format!("{} {}", path_of(text(join, "url")), text(join, "etag")) == *name;
        let join = joins.iter().find(is_it).unwrap_or_else(|| panic!("{name} is not there"));
        assert_eq!((text(join, "state"), join["parts"].as_array().unwrap().len()), (*state, *parts), "{name}: {join}");
        assert_eq!(join["sha256"].as_str(), digest.as_deref(), "{name}: {join}");
        assert_eq!(join["missing"], serde_json::json!(missing), "{name}");
    }
    assert_eq!(joins.len(), wanted.len());
    let count = |state| wanted.iter().filter(|(_, _, (known, _, _))| *known == state).count();
    assert!(["missing", "conflicting", "complete"].into_iter().all(|state| count(state) > 3), "each is there");
}

/// A connection for each answer, 40 ms after the one before.
fn each(answers: &[Vec<u8>]) -> Made {
    let mut made = Made::default();
    for (n, answer) in answers.iter().enumerate() {
        let mut talk = Talk::new(2000 + n as u16);
        let millis = 40 * n as u64;
        talk.open(&mut made, millis);
        talk.ask(&mut made, millis + 10, b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
        talk.answer(&mut made, millis + 20, answer);
        talk.close(&mut made, millis + 30);
    }
    made
}

fn part(body: &[u8], first: usize, total: usize) -> Vec<u8> {
    let last = first + body.len() - 1;
    answer("206 P", &format!("ETag: \"a\"\r\nContent-Range: bytes {first}-{last}/{total}\r\n"), body)
}

#[test]
fn parts_that_are_not_kept_are_compared_too() {
    let whole = b"0123456789";
    let mut answers = vec![part(&whole[..6], 0, 10), part(&whole[6..], 6, 10)];
    answers.extend((0..260).map(|_| part(&whole[2..5], 2, 10)));
    let joins = ingested("joins-spare", &each(&answers), &[]).json("joins", &[]);
    let said = |join: &Value| {
        (text(join, "state").to_owned(), join["more_parts"].as_u64(), join["conflicts"].clone(), join["size"].as_u64())
    };
    assert_eq!(said(&joins[0]), ("complete".to_owned(), Some(6), Value::Null, Some(10)));
    answers.push(part(b"X", 4, 10));
    let data = ingested("joins-spare-other", &each(&answers), &[]);
    let joins = data.json("joins", &[]);
    let conflicts = serde_json::json!(["4-4"]);
    assert_eq!(said(&joins[0]), ("conflicting".to_owned(), Some(7), conflicts, Some(10)));
    data.run("reindex", &[]).well();
    assert_eq!(data.json("joins", &[]), joins);
}

#[test]
fn a_body_that_is_not_its_range_is_no_part() {
    let whole = b"0123456789";
    let head = "HTTP/1.1 206 P\r\nETag: \"a\"\r\n";
    let chunked = |body: &str, range: &str| {
        format!(
            "{head}Content-Range: bytes {range}/10\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        )
        .into_bytes()
    };
    let two = |field: &str| {
        let fields = format!("{field}Content-Range: bytes 6-9/10\r\n");
        answer("206 P", &fields, &whole[6..])
    };
    for (name, second, state) in [
        ("same", chunked("6789", "6-9"), "complete"),
        ("short", chunked("678", "6-9"), "missing"),
        ("long", chunked("6789X", "6-9"), "missing"),
        ("ranges", two("ETag: \"a\"\r\nContent-Range: bytes 5-8/10\r\n"), "missing"),
        ("same-ranges", two("ETag: \"a\"\r\nContent-Range: bytes 6-9/10\r\n"), "complete"),
        ("tags", two("ETag: \"a\"\r\nETag: \"b\"\r\n"), "missing"),
        ("lengths", two("ETag: \"a\"\r\nContent-Length: 5\r\n"), "missing"),
    ] {
        let made = each(&[part(&whole[..6], 0, 10), second]);
        let joins = ingested(&format!("joins-body-{name}"), &made, &[]).json("joins", &[]);
        assert_eq!((joins.len(), text(&joins[0], "state")), (1, state), "{name}: {joins:?}");
    }
}

#[test]
fn a_part_that_was_captured_with_other_bytes_too_is_no_complete_content() {
    let whole = b"0123456789";
    let mut made = each(&[part(&whole[..6], 0, 10)]);
    let mut talk = Talk::new(3000);
    talk.open(&mut made, 1000);
    talk.ask(&mut made, 1010, b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let mut other = talk.clone();
    let second = part(&whole[6..], 6, 10);
    talk.answer(&mut made, 1020, &second);
    let forged = [&second[..second.len() - 4], b"6X89"].concat();
    other.answer(&mut made, 1021, &forged);
    talk.close(&mut made, 1030);
    let data = ingested("joins-frames", &made, &[]);
    let joins = data.json("joins", &[]);
    let join = &joins[0];
    assert_eq!((text(join, "state"), &join["conflicts"]), ("conflicting", &serde_json::json!(["6-9"])), "{join}");
    assert_eq!((&join["parts"][0]["conflict"], &join["parts"][1]["conflict"]), (&false.into(), &true.into()));
}

#[test]
fn an_answer_whose_request_is_a_guess_is_no_part() {
    let whole = b"0123456789";
    let mut made = each(&[part(&whole[..6], 0, 10)]);
    // The first request and its answer were not captured, and nor was the begin.
    let mut talk = Talk::new(3000);
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n").into_bytes();
    talk.ask(&mut made, 1010, &ask("/x"));
    talk.answer(&mut made, 1020, &part(&whole[6..], 6, 10));
    talk.close(&mut made, 1030);
    let joins = ingested("joins-guess", &made, &[]).json("joins", &[]);
    assert!(joins.iter().all(|join| join["state"] == "missing"), "{joins:?}");
}

#[test]
fn servers_are_said_where_there_are_several() {
    let whole = b"0123456789";
    let mut made = each(&[part(&whole[..6], 0, 10), part(&whole[6..], 6, 10)]);
    let data = ingested("joins-server", &made, &[]);
    assert_eq!(data.json("joins", &[])[0]["servers"].as_array().unwrap().len(), 1);
    assert!(!String::from_utf8(data.run("joins", &[]).well()).unwrap().contains("servers"));
    // The second connection is to another address.
    for (_, frame) in made.frames.iter_mut().skip_while(|(time, _)| *time < 40_000_000) {
        for at in [26, 30] {
            if frame[at..at + 4] == [203, 0, 113, 9] {
                frame[at + 3] = 10;
            }
        }
    }
    let data = ingested("joins-servers", &made, &[]);
    let joins = data.json("joins", &[]);
    assert_eq!((joins.len(), text(&joins[0], "state")), (1, "complete"), "{joins:?}");
    assert_eq!(joins[0]["servers"], serde_json::json!(["203.0.113.9:80", "203.0.113.10:80"]));
    let said = String::from_utf8(data.run("joins", &[]).well()).unwrap();
    assert!(said.contains("  servers: 203.0.113.9:80 203.0.113.10:80"), "{said}");
}

#[test]
fn of_many_joins_of_one_content_that_which_is_here_is_handed_out() {
    let (whole, mut made) = (b"0123456789", Made::default());
    let mut port = 2000;
    let mut fetch = |made: &mut Made, path: &str, millis: u64| {
        for range in [0..6, 6..10] {
            let mut talk = Talk::new(port);
            port += 1;
            talk.open(made, millis);
            talk.ask(made, millis + 1, format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n").as_bytes());
            talk.answer(made, millis + 2, &part(&whole[range.clone()], range.start, 10));
            talk.close(made, millis + 3);
        }
    };
    (0..60).for_each(|n| fetch(&mut made, &format!("/old-{n}"), 10 * n));
    fetch(&mut made, "/new", 5000);
    let data = ingested("joins-many", &made, &["--bucket", "1s"]);
    let bytes: usize = data.buckets().iter().map(|(_, bytes)| bytes.len()).sum();
    data.run("retain", &["--max-bytes", &(bytes - 1).to_string()]).well();
    let states: Vec<String> = data.json("joins", &[]).iter().map(|join| text(join, "state").to_owned()).collect();
    assert_eq!(states.iter().filter(|state| *state == "gone").count(), 60, "{states:?}");
    let digest = sha256(whole);
    assert_eq!(content(&data, &digest), whole);
    let server = Server::start(&data);
    let answer = server.get(&format!("/api/v1/objects/{digest}/content"));
    assert_eq!((answer.status, answer.body.as_slice()), (200, whole.as_slice()));
    assert_eq!(answer.header("x-streamdb-joined"), Some("complete"));
}

/// How a content stands is told by where its parts lie: to list it costs the same however long they are.
#[test]
fn what_lies_in_several_buckets_whole_is_not_read_to_be_listed() {
    let mut numbers = Numbers(5);
    let whole: Vec<u8> = (0..60_000).map(|_| numbers.below(256) as u8).collect();
    let mut made = Made::default();
    for (n, range) in [0..50_000, 50_000..60_000].into_iter().enumerate() {
        let mut talk = Talk::new(2000 + n as u16);
        let answer = part(&whole[range.clone()], range.start, whole.len());
        talk.open(&mut made, 0);
        talk.ask(&mut made, 10, b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
        for (n, bytes) in answer.chunks(1000).enumerate() {
            talk.answer(&mut made, 20 + 50 * n as u64, bytes);
        }
        talk.close(&mut made, 4000);
    }
    let data = ingested("joins-not-read", &made, &["--bucket", "1s"]);
    let state = || text(&data.json("joins", &[])[0], "state").to_owned();
    assert_eq!((state().as_str(), data.buckets().len() > 2), ("complete", true));
    // A byte of the content, in each bucket but the last.
    let mut changed = 0;
    for (name, mut bytes) in data.buckets() {
        let found = whole
            .windows(16)
            .take(49_000)
            .step_by(500)
            .find_map(|some| bytes.windows(some.len()).position(|window| window == some));
        if let Some(at) = found {
            bytes[at] ^= 1;
            std::fs::write(data.path().join("buckets").join(name), bytes).unwrap();
            changed += 1;
        }
    }
    assert!(changed > 1);
    assert_eq!(state(), "complete");
    assert!(content(&data, &sha256(&whole)).len() < whole.len());
}
