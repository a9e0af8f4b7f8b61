//! `streamdb query`: one search, and a search for every line of a log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use common::{Data, Said, json_lines, testdata, text};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The line about the download.
const LINE: &str = "2012-03-02 07:51:51 10.0.0.5:49211 <- 203.0.113.9:80 5s 22968 bytes Time cutoff";
const PROGRAM: &str = "ec2a3622af18a8dfad692c3e7a81ca1b069cbb71d47be31ff227185213251e9c";

fn store(name: &str) -> Data {
    Data::with(name, &[&testdata("imagedump", "capture.pcap")])
}

/// What is printed when all goes well.
fn ask(data: &Data, arguments: &[&str]) -> String {
    String::from_utf8(data.run("query", arguments).well()).unwrap()
}

/// What it says with these lines on standard input.
fn pipe(data: &Data, arguments: &[&str], lines: &str) -> Said {
    let input = data.write("lines", lines.as_bytes());
    let mut command = data.command("query", arguments);
    let output = command.stdin(std::fs::File::open(input).unwrap()).output().unwrap();
    Said { code: output.status.code(), out: output.stdout, err: String::from_utf8(output.stderr).unwrap() }
}

fn piped(data: &Data, arguments: &[&str], lines: &str) -> String {
    String::from_utf8(pipe(data, arguments, lines).well()).unwrap()
}

fn answers(out: &str) -> usize {
    out.lines().filter(|line| line.starts_with("Returning ")).count()
}

fn program_oid(data: &Data) -> String {
    let rows = json_lines(&data.run("query", &["--srcip", "203.0.113.9", "--filetype", "executable", "--json"]).well());
    assert_eq!((rows.len(), text(&rows[0], "sha256")), (1, PROGRAM));
    text(&rows[0], "oid").to_owned()
}

#[test]
fn two_addresses_are_enough() {
    let data = store("query-pair");
    let pair = ["--srcip", "10.0.0.5", "--dstip", "203.0.113.9"];
    let lines = ask(&data, &pair);
    assert!(lines.starts_with("Returning 2 of 2 at offset 0 from Fri Mar  2 07:51:51 2012 to "), "{lines}");
    assert!(lines.contains(LINE) && lines.contains("GET bad.example/imagedump/image.php?"), "{lines}");
    assert!(!lines.contains("X-HTTP-Version"), "{lines}");
    assert_eq!(lines.matches("oid=").count(), 2, "{lines}");
    let heads = ask(&data, &[&pair[..], &["--headers-only"]].concat());
    assert!(heads.contains("X-HTTP-Version: 1.1") && heads.contains("Content-Type: text/html"), "{heads}");
    assert!(!heads.contains("MZ") && !heads.contains("cut after"), "{heads}");
    let whole = ask(&data, &[&pair[..], &["--verbose"]].concat());
    assert!(whole.contains("\n\nMZ") && whole.len() > 20_000, "{whole}");
    // Both give the answer that a server gives, but for the milliseconds.
    let server = common::Server::start(&data);
    let answer = server.get("/streamdb/?srcip=10.0.0.5&dstip=203.0.113.9");
    let served = String::from_utf8(answer.body).unwrap();
    let below = |text: &str| text.split_once('\n').unwrap().1.to_owned();
    assert_eq!(below(&whole), below(&served));
}

#[test]
fn terms_and_an_oid() {
    let data = store("query-terms");
    let oid = program_oid(&data);
    let bytes = data.run("query", &["--oid", &oid]).well();
    assert_eq!(Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect::<String>(), PROGRAM);
    let found = ask(&data, &["--srcip", "10.0.0.5", "--match", "^MZ|\\r\\n\\r\\nMZ"]);
    assert!(found.starts_with("Returning 1 of 1 ") && found.contains(&oid), "{found}");
    let host = ask(&data, &["host=bad.example", "--direction", "s"]);
    assert!(host.starts_with("Returning 1 of 1 "), "{host}");
    let first = |flags: &[&str]| {
        let out = ask(&data, &[&["--srcip", "10.0.0.5", "--limit", "1"], flags].concat());
        out.lines().nth(2).unwrap()[..19].to_owned()
    };
    assert!(first(&["--descending"]) > first(&[]));
    assert!(ask(&data, &["--srcip", "10.9.9.9"]).starts_with("Returning 0 of 0 "));
}

#[test]
fn every_line_of_a_log_is_answered_and_each_pair_once() {
    let data = store("query-lines");
    let log = std::fs::read_to_string(testdata("imagedump", "urls.log")).unwrap();
    let out = piped(&data, &["--limit", "100"], &log);
    assert_eq!(out.matches(LINE).count(), 1, "{out}");
    assert!(out.contains("[2001:db8:0:5::6]:"), "{out}");
    let pair = "10.0.0.5:49211 -> 203.0.113.9:80\n";
    assert_eq!(answers(&piped(&data, &[], &pair.repeat(3))), 1);
    // Logs disagree on who is the source.
    assert!(piped(&data, &[], "203.0.113.9 10.0.0.5\n").contains(LINE));
    assert_eq!(piped(&data, &[], "10.0.0.5 203.0.113.10\nnothing\n\n"), "");
    assert_eq!(answers(&piped(&data, &["--verbose"], "10.0.0.5 203.0.113.10\n")), 1);
    let executables = piped(&data, &["--filetype", "executable"], &log);
    assert_eq!((answers(&executables), executables.matches(LINE).count()), (1, 1), "{executables}");
}

#[test]
fn a_time_narrows_to_a_minute_either_side() {
    let data = store("query-time");
    let at = |time: u32| answers(&piped(&data, &[], &format!("{time} 10.0.0.5 203.0.113.9\n")));
    assert_eq!([1_330_674_711 - 60, 1_330_674_711 + 60].map(at), [1, 1]);
    assert_eq!([1_330_674_711 - 61, 1_330_674_711 + 61].map(at), [0, 0]);
}

#[test]
fn an_oid_on_a_line_is_fetched() {
    let data = store("query-oid");
    let oid = program_oid(&data);
    let out = pipe(&data, &[], &format!("see http://10.0.0.7/streamdb/?oid={oid} of today\n")).well();
    assert_eq!(out, data.get(&oid, &[]));
    let said = pipe(&data, &[], "18043-3966843079-22968-0\n10.0.0.5 203.0.113.9\n");
    assert!(said.sentence().contains("18043-3966843079-22968-0"), "{said:?}");
    assert!(String::from_utf8(said.out).unwrap().contains(LINE), "the next line is answered");
}

#[test]
fn a_line_is_answered_before_the_next_one_comes() {
    let data = store("query-follow");
    let mut child = data.command("query", &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    input.write_all(b"10.0.0.5 203.0.113.9\n").unwrap();
    assert!(lines.next().unwrap().unwrap().starts_with("Returning 2 of 2 "));
    drop(input);
    assert!(common::wait(&mut child).success());
}

#[test]
fn mistakes_are_sentences() {
    let data = store("query-mistakes");
    for (arguments, wanted) in [
        (&["--srcip", "10.0.0"][..], "srcip: \"10.0.0\" is not accepted; it takes IPv4 or IPv6 addresses"),
        (&["--srcip", "!10.0.0.5"], "an address is needed, as in --srcip 10.0.0.5: one with ! in front is not enough"),
        (&["--srcip", "10.0.0.5", "srcip=10.0.0.6"], "srcip is given twice"),
        (&["10.0.0.5"], "\"10.0.0.5\" is no filter: name=value is wanted"),
        (&["--srcip", "10.0.0.5", "--match", "("], "pcre: \"(\" is not accepted; it takes "),
        (&["--oid", "18043-3966843079-22968-0"], ""),
    ] {
        let said = data.run("query", arguments);
        assert!(said.sentence().starts_with(wanted), "{said:?}");
    }
}

#[test]
fn streams_are_selected_by_what_is_in_them_too_and_nothing_is_overlooked() {
    let data = Data::with("streams-by-objects", &[&testdata("imagedump", "capture.pcap")]);
    let count = |filters: &[&str]| data.streams(filters).len();
    assert_eq!((count(&["host=nowhere.example"]), count(&["filetype=executable"])), (0, 1));
    let pictures = count(&["mime=image/*"]);
    assert!(pictures > 2, "{pictures}");
    assert_eq!(count(&["mime=image/*", "offset=1", "limit=1"]), 1);
    assert_eq!(count(&["mime=image/*", "offset=1"]), pictures - 1);
    for (command, filter, why) in [
        ("export", "pcre=UPX0", "and by nothing else"),
        ("export", "host=a.example", "and by nothing else"),
        ("export", "limit=1", "and by nothing else"),
    ] {
        let flags = if command == "export" { vec!["--pcap", "-", filter] } else { vec![filter] };
        let said = data.run(command, &flags);
        assert!(said.sentence().contains(why) && said.out.is_empty(), "{command} {filter}: {said:?}");
    }
}

#[test]
fn contents_are_looked_into_by_every_command_alike() {
    let data = Data::with("contents", &[&testdata("imagedump", "capture.pcap")]);
    let oids = |rows: &[Value]| -> Vec<String> { rows.iter().map(|row| text(row, "oid").to_owned()).collect() };
    let objects = |filters: &[&str]| oids(&data.json("objects", filters));
    // Only the body of the program has that.
    let program = vec![program_oid(&data)];
    assert_eq!((objects(&["pcre=UPX0"]), oids(&data.streams(&["pcre=UPX0"]))), (program.clone(), program));
    // In heads and bodies of both directions.
    let all = objects(&["pcre=(?i)nginx|User-Agent"]);
    let streams = oids(&data.streams(&["pcre=(?i)nginx|User-Agent"]));
    assert!(all.len() > streams.len() && streams.len() > 10, "{} in {}", all.len(), streams.len());
    let queried = data.json("query", &["--limit", "10000", "ip=0.0.0.0/0,::/0", "pcre=(?i)nginx|User-Agent"]);
    let sorted = |mut oids: Vec<String>| {
        oids.sort();
        oids
    };
    assert_eq!(sorted(oids(&queried)), sorted(all.clone()));
    // What is skipped and what is shown are objects here, streams there.
    assert_eq!(objects(&["pcre=(?i)nginx|User-Agent", "offset=3", "limit=5"]), all[3..8]);
    assert_eq!(oids(&data.streams(&["pcre=(?i)nginx|User-Agent", "offset=3", "limit=5"])), streams[3..8]);
    assert_eq!(objects(&["pcre=nginx", "direction=s"]), Vec::<String>::new());
    let newest = objects(&["pcre=(?i)nginx|User-Agent", "sort=1"]);
    assert_eq!(sorted(newest.clone()), sorted(all), "each once");
    assert!(data.run("objects", &["pcre=(a)\\1"]).sentence().starts_with("pcre: "));
}

#[test]
fn rows_are_those_of_the_endpoint() {
    let data = store("query-rows");
    let server = common::Server::start(&data);
    for filter in ["ip=198.51.100.66", "srcip=10.0.0.5"] {
        let rows = data.json("query", &["--limit", "1000", filter]);
        let answer = server.get(&format!("/streamdb/?{filter}&limit=1000&as_json=1"));
        let there: Vec<Value> = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(rows.len(), there.len());
        for (row, there) in rows.iter().zip(&there) {
            let inner = [&there["object"], &there["stream"]].into_iter().find(|inner| !inner.is_null()).unwrap();
            assert_eq!(row, inner);
        }
        assert!(rows.iter().any(|row| row.get("kind").is_none()), "{filter}: streams without objects are rows");
    }
}
