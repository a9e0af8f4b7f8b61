//! Contents that downloaders fetched in ranges, on their way: scanned, shown with what was found, and handed on, each once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use common::{Data, Made, Server, Talk, json_lines, testdata, text, until, wait};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digests of what is recorded in `testdata/joins` and stands so.
fn recorded(state: &str) -> BTreeSet<String> {
    let table = std::fs::read_to_string(testdata("joins", "expected.tsv")).unwrap();
    let rows = table.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    rows.filter(|row| row[2] == state).map(|row| row[4].to_owned()).collect()
}

fn digest_of(uri: &str) -> String {
    let table = std::fs::read_to_string(testdata("joins", "expected.tsv")).unwrap();
    let row = table.lines().map(|line| line.split('\t').collect::<Vec<_>>()).find(|row| row[0] == uri).unwrap();
    row[4].to_owned()
}

/// A configuration with a list of digests, and a folder that gets what the rules want.
struct Case {
    data: Data,
    config: String,
    files: PathBuf,
}

impl Case {
    fn new(name: &str, listed: &[&str], rule: &str) -> Self {
        let data = Data::new(name);
        let files = data.beside("files");
        std::fs::create_dir(&files).unwrap();
        let list =
            data.write("bad.txt", listed.iter().map(|sha256| format!("{sha256}\n")).collect::<String>().as_bytes());
        let config = format!(
            "[scan]\nhash_lists = [{list:?}]\npast = true\n\
             [[submit.target]]\nname = \"files\"\nkind = \"folder\"\npath = {files:?}\n\
             [[submit.rule]]\nname = \"all\"\nto = [\"files\"]\n{rule}\n"
        );
        let config = data.write("streamdb.toml", config.as_bytes()).to_str().unwrap().to_owned();
        Self { data, config, files }
    }

    fn ingest(&self, file: &std::path::Path) {
        let said = self.data.ingest(&["--config", &self.config], &[file]);
        assert_eq!(said.code, Some(0), "{said:?}");
    }

    /// The contents in the folder, each with what is told beside it; every file is what its name says.
    fn files(&self) -> BTreeMap<String, Value> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(&self.files).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                continue;
            }
            let digest = sha256(&std::fs::read(&path).unwrap());
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(name.starts_with(&digest), "{name}");
            let about = std::fs::read(self.files.join(format!("{name}.json"))).unwrap();
            assert!(files.insert(digest, json_lines(&about).remove(0)).is_none(), "{name} is there twice");
        }
        files
    }

    /// The lines of the queue's record: which event, of which content.
    fn record(&self) -> Vec<(String, String)> {
        let record = std::fs::read_to_string(self.data.path().join("queue/record")).unwrap_or_default();
        let word =
            |line: &str, start: &str| line.split(' ').find_map(|word| word.strip_prefix(start).map(str::to_owned));
        let event = |line: &str| line.split(' ').nth(2).unwrap_or_default().to_owned();
        record.lines().filter_map(|line| Some((event(line), word(line, "sha256=")?))).collect()
    }
}

fn found(join: &Value) -> Vec<&str> {
    join["verdicts"].as_array().into_iter().flatten().map(|verdict| verdict.as_str().unwrap()).collect()
}

/// `testdata/joins`: aria2c, curl and wget.
#[test]
fn what_downloaders_fetch_in_parts_is_scanned_shown_and_handed_on_once() {
    let (bad, likely) = (digest_of("/aria4.bin"), digest_of("/weak.bin"));
    let case = Case::new("joined-recorded", &[&bad, &likely], "filter = \"\"");
    case.ingest(&testdata("joins", "capture.pcap.zst"));
    let files = case.files();
    let whole = recorded("complete");
    assert!(whole.len() == 8 && whole.iter().all(|sha256| files.contains_key(sha256)), "{:?}", files.keys());
    for state in ["candidate", "conflicting"] {
        assert!(recorded(state).iter().all(|sha256| !files.contains_key(sha256)), "{state}");
    }
    let joins = case.data.json("joins", &[]);
    for join in joins.iter().filter(|join| join["state"] == "complete") {
        let about = &files[text(join, "sha256")];
        let parts = |of: &Value| {
            of["parts"].as_array().unwrap().iter().map(|part| text(part, "oid").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!((&about["complete"], &about["size"], text(about, "rule")), (&true.into(), &join["size"], "all"));
        assert_eq!((text(&about["joined"], "url"), text(&about["joined"], "state")), (text(join, "url"), "complete"));
        assert_eq!((parts(&about["joined"]), text(about, "oid")), (parts(join), parts(join)[0].as_str()));
        assert!(text(about, "client").starts_with(text(&join["parts"][0], "src_ip")), "{about}");
    }
    assert_eq!(files[&bad]["verdicts"][0]["name"], "bad.txt");

    // Shown wherever joins are.
    let listed: Vec<&str> =
        joins.iter().filter(|join| found(join) == ["hash-list:bad.txt"]).map(|join| text(join, "sha256")).collect();
    assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), [bad.as_str(), likely.as_str()].into(), "{joins:#?}");
    assert!(joins.iter().all(|join| found(join).is_empty() || listed.contains(&text(join, "sha256"))));
    let said = String::from_utf8(case.data.run("joins", &["uri=/aria4.bin"]).well()).unwrap();
    assert!(said.ends_with("\n  found: hash-list:bad.txt\n"), "{said}");
    let server = Server::start(&case.data);
    let rows: Value = serde_json::from_str(server.get("/api/v1/joins").text()).unwrap();
    assert_eq!(rows["rows"], Value::Array(joins.clone()));
    let said: Value = serde_json::from_str(server.get(&format!("/api/v1/objects/{bad}")).text()).unwrap();
    assert_eq!(found(&said["joins"][0]), ["hash-list:bad.txt"]);
    let page = server.get("/streamdb/?uri=/aria4.bin&as_text=1");
    assert!(
        page.text().contains(": complete, in which hash-list:bad.txt was found; /api/v1/objects/"),
        "{}",
        page.text()
    );
    drop(server);

    // Whatever is made anew, and whoever forgets what he got: nothing comes again.
    let record = case.record();
    for sha256 in &whole {
        let of = |event: &str| record.iter().filter(|line| **line == (event.to_owned(), sha256.clone())).count();
        assert_eq!((of("queued"), of("sent")), (1, 1), "{sha256}");
    }
    std::fs::remove_dir_all(case.data.path().join("queue")).unwrap();
    let again = |what: &str| {
        let said = case.data.run("derive", &["--once", "--config", &case.config]);
        assert_eq!(said.err, "streamdb: 0 contents scanned, something was found in 0\n", "{what}");
        assert_eq!(case.record(), [], "{what}");
        assert_eq!(case.data.json("joins", &[]), joins, "{what}");
    };
    again("as it was");
    std::fs::remove_file(case.data.path().join("derived/joins")).unwrap();
    again("without the file of joins");
    case.data.run("reindex", &[]).well();
    again("after a reindex");
    case.data.is_well();
}

#[test]
fn what_is_not_joined_for_sure_goes_where_a_rule_takes_what_is_incomplete() {
    let case = Case::new("joined-incomplete", &[], "filter = \"size=100000-\"\nincomplete = true");
    case.ingest(&testdata("joins", "capture.pcap.zst"));
    let files = case.files();
    for state in ["candidate", "conflicting"] {
        for sha256 in recorded(state) {
            let about = &files[&sha256];
            assert_eq!((&about["complete"], text(about, "reason")), (&false.into(), state), "{about}");
            assert_eq!(text(&about["joined"], "state"), state);
        }
    }
    assert!(recorded("complete").iter().all(|sha256| files[sha256]["complete"] == true));
}

#[test]
fn kills_cost_no_joined_content_and_repeat_none() {
    let bad = digest_of("/aria16.bin");
    let case = Case::new("joined-kills", &[&bad], "filter = \"size=100000-\"\nfirst_seen = true");
    case.data.ingest(&[], &[&testdata("joins", "capture.pcap.zst")]).well();
    let mut kills = 0;
    loop {
        let mut command = case.data.command("derive", &["--once", "--config", &case.config]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let lines = case.record().len();
        // Each time behind at least one step more, and at another moment.
        let ended = until("it goes on", || {
            let ended = child.try_wait().unwrap();
            (ended.is_some() || case.record().len() > lines + kills % 2).then_some(ended)
        });
        if let Some(status) = ended {
            assert!(status.success());
            break;
        }
        thread::sleep(Duration::from_millis(kills as u64 * 3 % 16));
        child.kill().unwrap();
        wait(&mut child);
        kills += 1;
        assert!(kills < 100);
    }
    assert!(kills > 3, "{kills}");
    // A try that a kill broke off is made again a while later.
    until("all is sent", || {
        case.data.run("submit", &["--send", "--config", &case.config]);
        let record = case.record();
        let is_sent = |sha256: &String| record.contains(&("sent".to_owned(), sha256.clone()));
        recorded("complete").iter().all(is_sent).then_some(())
    });
    let (files, record) = (case.files(), case.record());
    for sha256 in recorded("complete") {
        // That nobody had seen it before was said again after each kill, or no rule would have taken it.
        assert_eq!(files[&sha256]["first_seen"], true);
        let of = |event: &str| record.iter().filter(|line| **line == (event.to_owned(), sha256.clone())).count();
        assert_eq!((of("queued"), of("sent")), (1, 1), "{sha256} after {kills} kills");
    }
    let joins = case.data.json("joins", &["uri=/aria16.bin"]);
    assert_eq!(found(&joins[0]), ["hash-list:bad.txt"]);
}

/// A file in two parts, a second of packet time apart for each of the two.
fn in_parts(made: &mut Made, port: u16, millis: u64, uri: &str, body: &[u8]) {
    let half = body.len() / 2;
    for (n, range) in [0..half, half..body.len()].into_iter().enumerate() {
        let mut talk = Talk::new(port + n as u16);
        let millis = millis + 1000 * n as u64;
        let fields =
            format!("ETag: \"a\"\r\nContent-Range: bytes {}-{}/{}\r\n", range.start, range.end - 1, body.len());
        let head = format!("HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\n{fields}\r\n", range.len());
        talk.open(made, millis);
        talk.ask(made, millis + 10, format!("GET {uri} HTTP/1.1\r\nHost: a.example\r\n\r\n").as_bytes());
        talk.answer(made, millis + 20, &[head.as_bytes(), &body[range]].concat());
        talk.close(made, millis + 30);
    }
}

fn at_once(made: &mut Made, port: u16, millis: u64, uri: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut talk = Talk::new(port);
    talk.open(made, millis);
    talk.ask(made, millis + 10, format!("GET {uri} HTTP/1.1\r\nHost: a.example\r\n\r\n").as_bytes());
    talk.answer(made, millis + 20, &[head.as_bytes(), body].concat());
    talk.close(made, millis + 30);
}

#[test]
fn a_content_is_one_however_it_comes() {
    let case = Case::new("joined-first", &[], "filter = \"kind=response\"\nfirst_seen = true");
    let (one, other) = (b"first in parts, then at once".repeat(9), b"first at once, and then in parts".repeat(9));
    let capture = |name: &str, make: &dyn Fn(&mut Made)| {
        let mut made = Made::default();
        make(&mut made);
        let file = case.data.write(name, &made.file());
        case.ingest(&file);
        case.files()
    };
    let files = capture("1.pcap", &|made| {
        in_parts(made, 2000, 0, "/one", &one);
        at_once(made, 3000, 100, "/other", &other);
    });
    let of = |files: &BTreeMap<String, Value>, body: &[u8]| {
        files.get(&sha256(body)).is_some_and(|about| about.get("joined").is_some())
    };
    assert_eq!((of(&files, &one), of(&files, &other), files.len()), (true, false, 2), "{files:?}");
    std::fs::remove_dir_all(case.data.path().join("queue")).unwrap();
    capture("2.pcap", &|made| {
        at_once(made, 4000, 5000, "/one-again", &one);
        in_parts(made, 5000, 5100, "/other-again", &other);
    });
    assert_eq!(case.record(), [], "neither is new");
    assert_eq!(case.data.json("joins", &["incomplete=0"]).len(), 2);
}

#[test]
fn what_was_joined_before_anybody_scanned_is_left_to_hunt() {
    let bad = digest_of("/aria4.bin");
    let case = Case::new("joined-past", &[&bad], "filter = \"\"");
    let config = std::fs::read_to_string(&case.config).unwrap().replace("past = true", "past = false");
    std::fs::write(&case.config, config).unwrap();
    case.data.ingest(&[], &[&testdata("joins", "capture.pcap.zst")]).well();
    let mut made = Made::default();
    in_parts(&mut made, 2000, 0, "/new", b"this one comes later");
    case.ingest(&case.data.write("new.pcap", &made.file()));
    assert_eq!(case.files().into_keys().collect::<Vec<_>>(), [sha256(b"this one comes later")]);
    assert!(case.data.json("joins", &[]).iter().all(|join| found(join).is_empty()));
    let list = case.data.beside("bad.txt");
    let hunt = |more: &[&str]| {
        let said = case.data.run("hunt", &[&["--hash-list", list.to_str().unwrap()], more].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
        (String::from_utf8(said.out).unwrap(), said.err)
    };
    let (out, _) = hunt(&["--json"]);
    let rows = json_lines(out.as_bytes());
    assert_eq!((rows.len(), text(&rows[0], "sha256"), text(&rows[0], "state")), (1, bad.as_str(), "complete"));
    assert_eq!((found(&rows[0]), text(&rows[0]["found"][0], "name")), (vec!["hash-list:bad.txt"], "bad.txt"));
    let (out, said) = hunt(&[]);
    assert!(
        out.contains(" hash-list:bad.txt joined of ") && out.contains("/aria4.bin ") && out.contains(&bad),
        "{out}"
    );
    assert!(said.contains("; 1 object matches\n"), "{said}");
    assert_eq!(hunt(&["uri=/aria16.bin"]).0, "");
    // What no join has is nothing that one could meet.
    assert_eq!(hunt(&["reason=c"]).0, "");
}

/// A target that takes nothing has room for the first content only, which came at once.
#[test]
fn a_joined_content_that_was_not_taken_is_submitted_by_its_digest() {
    let case = Case::new("joined-submit", &[], "filter = \"size=200-\"");
    let config = std::fs::read_to_string(&case.config).unwrap();
    // It is no folder yet.
    std::fs::remove_dir(&case.files).unwrap();
    std::fs::write(&case.config, format!("[submit]\nroom = \"350\"\n{config}")).unwrap();
    let (first, whole) = (vec![b'f'; 200], (0..300u32).map(|n| n as u8).collect::<Vec<u8>>());
    let mut made = Made::default();
    at_once(&mut made, 1000, 0, "/first", &first);
    in_parts(&mut made, 2000, 3000, "/whole", &whole);
    case.ingest(&case.data.write("made.pcap", &made.file()));
    let lines = String::from_utf8(case.data.run("submit", &["--list"]).well()).unwrap();
    let digest = sha256(&whole);
    let name = lines.lines().find_map(|line| line.split_once(": not taken for files at ")).unwrap().0;
    assert_eq!((name, lines.lines().count()), (digest.as_str(), 2), "{lines}");
    let rows = json_lines(&case.data.run("submit", &["--list", "--json"]).well());
    let joined: Vec<bool> = rows.iter().map(|row| row.get("joined").is_some()).collect();
    assert_eq!(joined, [false, true], "{rows:?}");
    std::fs::create_dir(&case.files).unwrap();
    std::fs::write(&case.config, &config).unwrap();
    let submit = |name: &str| case.data.run("submit", &["--config", &case.config, name]);
    let said = String::from_utf8(submit(&name.to_uppercase()).well()).unwrap();
    assert!(said.starts_with(&format!("{digest}: queued for files; 300 bytes, sha256 {digest}\n")), "{said}");
    let about = &case.files()[&digest];
    assert_eq!((&about["complete"], text(&about["joined"], "state")), (&true.into(), "complete"), "{about}");
    assert_eq!((text(about, "uri"), about.get("rule"), about.get("first_seen")), ("/whole", None, None), "{about}");
    let again = String::from_utf8(submit(&digest).well()).unwrap();
    assert!(again.starts_with(&format!("{digest}: files got it at 20")), "{again}");
    // One that came at once is the object; and what is not here is said.
    let said = String::from_utf8(submit(&sha256(&first)).well()).unwrap();
    let oid = text(&case.data.json("objects", &["uri=/first", "kind=response"])[0], "oid").to_owned();
    assert!(said.starts_with(&format!("{oid}: ")), "{said}");
    let nothing = sha256(b"nothing");
    let said = submit(&nothing);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains(&format!("no whole content with the SHA-256 {nothing} is here")), "{said:?}");
    assert_eq!(submit(&digest[1..]).code, Some(2));
}

#[test]
fn a_rule_about_a_connection_is_asked_of_each_part() {
    // A second part comes over the port behind that of the first.
    for (port, taken) in [(2000, 1), (2001, 1), (2002, 0)] {
        let filter = format!("filter = \"srcport={port} size=18\"");
        let case = Case::new(&format!("joined-rule-{port}"), &[], &filter);
        let mut made = Made::default();
        in_parts(&mut made, 2000, 0, "/x", b"this came in parts");
        case.ingest(&case.data.write("made.pcap", &made.file()));
        assert_eq!(case.files().len(), taken, "{port}");
    }
}
