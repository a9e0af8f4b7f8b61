//! Holds `packaging/streamdb.toml`, which operators begin with, to what the parser takes.

use std::collections::{BTreeMap, BTreeSet};

use clap::Parser;
use streamdb_testkit::TestFolder;

use super::Config;
use super::tests::parse;
use crate::cli::Cli;

const EXAMPLE: &str = include_str!("../../packaging/streamdb.toml");

/// What a line sets, if it is one of a setting that is left out.
fn left_out(line: &str) -> Option<&str> {
    line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()))
}

/// Keys that mean something only beside another one.
const BESIDE: [(&str, &str); 2] = [("listen_pcap_from", "listen_pcap"), ("spool_remove", "spool")];
/// Keys that stand for each other; the second one is left out.
const INSTEAD: [(&str, &str); 1] = [("interface", "interfaces")];

fn is_of(line: &str, key: &str) -> bool {
    line.split_once(" = ").is_some_and(|(name, _)| name == key)
}

/// The example with those of its settings that are left out and `wanted` (line by line, from 0 on), without those that they stand
/// for; and with a folder that is there in place of the one that it names.
fn with(wanted: impl Fn(usize) -> bool) -> (TestFolder, String) {
    let folder = TestFolder::new("example-configuration");
    let path = folder.path().to_str().unwrap();
    let line = |(n, line): (usize, &'static str)| left_out(line).filter(|_| wanted(n)).unwrap_or(line);
    let text: Vec<&str> = EXAMPLE.lines().enumerate().map(line).collect();
    let stood_for = INSTEAD.iter().filter(|(_, instead)| text.iter().any(|line| is_of(line, instead)));
    let stood_for: Vec<&str> = stood_for.map(|(key, _)| *key).collect();
    let kept = |line: &&str| !stood_for.iter().any(|key| is_of(line, key));
    let text: Vec<&str> = text.into_iter().filter(kept).collect();
    let text = text.join("\n").replace("/var/spool/streamdb", path);
    (folder, text)
}

fn all() -> (TestFolder, String) {
    with(|_| true)
}

/// The table that a line begins.
fn header(line: &str) -> Option<&str> {
    let name = line.trim_start_matches('[').trim_end_matches(']');
    line.starts_with('[').then_some(name)
}

/// The keys of each table of the example, by its name; of tables of which there are several, those of all of them.
fn keys() -> BTreeMap<String, BTreeSet<String>> {
    let mut tables = BTreeMap::<String, BTreeSet<String>>::new();
    let mut name = String::new();
    let lines = EXAMPLE.lines().map(|line| left_out(line).unwrap_or(line));
    for line in lines.filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if let Some(table) = header(line) {
            // It is a key of the one that it lies in, too.
            let (outer, key) = table.rsplit_once('.').unwrap_or(("", table));
            tables.entry(outer.to_owned()).or_default().insert(key.to_owned());
            table.clone_into(&mut name);
            tables.entry(name.clone()).or_default();
        } else {
            let (key, _) = line.split_once(" = ").unwrap_or_else(|| panic!("what is this? {line}"));
            tables.entry(name.clone()).or_default().insert(key.to_owned());
        }
    }
    tables
}

/// What the parser says when this line stands first in the table.
fn refusal(text: &str, table: &str, first: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| header(line) == Some(table)).map_or(0, |at| at + 1);
    lines.insert(at, first);
    parse(&lines.join("\n")).unwrap_err()
}

#[test]
fn it_is_right_as_it_is() {
    let config = parse(EXAMPLE).unwrap();
    assert_eq!(config.data, Some("/var/lib/streamdb".into()));
    assert_eq!(config.capture.unwrap().0, ["--interface=eth0"]);
    assert!(config.retention.min_free.is_some(), "it never fills the disk");
    assert!(config.submit.is_none() && config.scan.is_none() && config.cutoffs.is_empty());
}

#[test]
fn it_is_right_with_all_that_it_leaves_out() {
    let (_folder, text) = all();
    let config = parse(&text).unwrap();
    assert!(config.scan.is_some() && config.cutoffs.len() == 1 && config.http.tokens.len() == 1);
    let submit = config.submit.unwrap();
    assert_eq!((submit.targets.len(), submit.policy.0.len()), (6, 1));
}

#[test]
fn each_setting_can_be_taken_in_by_itself() {
    let mut inside_of_one_left_out = false;
    let mut tried = 0;
    for (n, line) in EXAMPLE.lines().enumerate() {
        if header(line).is_some() || left_out(line).is_some_and(|line| header(line).is_some()) {
            inside_of_one_left_out = line.starts_with('#');
        } else if left_out(line).is_some() && !inside_of_one_left_out {
            let beside = BESIDE.iter().find(|(key, _)| is_of(line, &format!("#{key}")));
            let other = |this: usize| EXAMPLE.lines().nth(this).unwrap_or_default();
            let (_folder, text) =
                with(|this| this == n || beside.is_some_and(|(_, key)| is_of(other(this), &format!("#{key}"))));
            assert_ne!(text, EXAMPLE);
            assert_eq!(parse(&text).err(), None, "{line}");
            tried += 1;
        }
    }
    assert!(tried > 15, "{tried}");
}

/// Settings below [capture] that have no default.
const EXAMPLES: [&str; 6] = ["filter", "interfaces", "listen_pcap", "listen_pcap_from", "spool", "spool_remove"];

#[test]
fn it_shows_the_defaults() {
    let (_folder, text) = with(|n| {
        EXAMPLE.lines().nth(n).is_some_and(|line| !EXAMPLES.iter().any(|key| is_of(line, &format!("#{key}"))))
    });
    let Config { capture, listen, http, submit, scan, .. } = parse(&text).unwrap();
    let command = |flags: &[String]| {
        let words = ["streamdb", "capture", "--data", "d", "--interface", "eth0"].map(str::to_owned);
        format!("{:?}", Cli::parse_from([&words[..], flags].concat()))
    };
    assert_eq!(command(&capture.unwrap().0[1..]), command(&[]));
    let nothing = parse("").unwrap();
    assert_eq!((listen, http.zone), (nothing.listen, nothing.http.zone));
    let scan = scan.unwrap();
    let default = streamdb_scan::Settings::default();
    assert_eq!((scan.max_bytes, scan.timeout, scan.past), (default.max_bytes, default.timeout, default.past));
    let submit = submit.unwrap();
    assert_eq!((submit.retry, submit.room), (Default::default(), streamdb_submit::Settings::ROOM));
}

/// An unknown key that is like no other one is answered with all that there are.
#[test]
fn it_has_every_key_that_the_parser_takes() {
    let (_folder, text) = all();
    for (table, ours) in keys() {
        let said = refusal(&text, &table, "qqqqqqqqqqqqqqqqqqqqqqqq = 1");
        let (_, known) = said.split_once("; there are ").unwrap_or_else(|| panic!("[{table}]: {said}"));
        let known: BTreeSet<String> = known.split(", ").map(str::to_owned).collect();
        assert_eq!(ours, known, "the keys of [{table}] in packaging/streamdb.toml, and those that the parser takes");
    }
}

#[test]
fn a_key_that_is_misspelt_is_told_the_right_one() {
    let (_folder, text) = all();
    for (table, ours) in keys() {
        for key in &ours {
            let said = refusal(&text, &table, &format!("x{key} = 1"));
            assert!(said.ends_with(&format!("; did you mean {key}?")), "[{table}] x{key}: {said}");
        }
    }
}
