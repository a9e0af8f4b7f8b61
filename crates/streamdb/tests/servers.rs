//! `testdata/servers`: what real servers and clients of FTP, mail, HTTP and TLS sent each other comes out whole, by its name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::collections::BTreeMap;

use common::{Data, testdata, text};
use sha2::{Digest, Sha256};

/// Rows of `expected.tsv` of this recording: protocol, method, name, size, sha256, and whether it is whole; and how often.
fn wanted(capture: &str) -> BTreeMap<String, usize> {
    let table = std::fs::read_to_string(testdata("servers", "expected.tsv")).unwrap();
    let mut rows = BTreeMap::new();
    for row in table.lines().skip(1).filter_map(|line| line.strip_prefix(capture)?.strip_prefix('\t')) {
        *rows.entry(row.to_owned()).or_default() += 1;
    }
    assert!(!rows.is_empty());
    rows
}

/// The same of what is found, whole streams aside.
fn found(data: &Data) -> BTreeMap<String, usize> {
    let mut rows = BTreeMap::new();
    for row in data.json("objects", &[]).into_iter().filter(|row| row["protocol"] != "tcp") {
        let bytes = data.run("get", &[text(&row, "oid")]).out;
        let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let whole = match row["complete"] == true {
            true => "whole".to_owned(),
            false => text(&row, "reason").to_owned(),
        };
        if whole == "whole" {
            assert_eq!(text(&row, "sha256"), sha256, "{row}");
        }
        let or = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        let name = match row["filename"].as_str() {
            Some(name) => name.to_owned(),
            None => or("uri").rsplit('/').next().unwrap_or_default().to_owned(),
        };
        let line = [or("protocol"), or("method"), name, bytes.len().to_string(), sha256, whole];
        *rows.entry(line.join("\t")).or_default() += 1;
    }
    rows
}

fn all_comes_out(capture: &str) -> Data {
    let data = Data::with(&format!("servers-{capture}"), &[&testdata("servers", &format!("{capture}.pcap"))]);
    let found = found(&data);
    let missing: Vec<(String, usize)> =
        wanted(capture).into_iter().filter(|(row, times)| found.get(row).is_none_or(|there| there < times)).collect();
    assert!(missing.is_empty(), "missing, or not as often: {missing:#?}\nfound: {found:#?}");
    data
}

#[test]
fn files_by_ftp() {
    all_comes_out("ftp");
}

#[test]
fn mails_that_are_sent_and_fetched() {
    let data = all_comes_out("mail");
    // What hands over to TLS says both.
    let sentences: Vec<String> = data
        .json("objects", &[])
        .iter()
        .map(|row| row["description"].as_str().unwrap_or_default().to_owned())
        .collect();
    for begins in ["SMTP session", "POP3 session"] {
        let handed =
            |said: &&String| said.starts_with(begins) && said.contains(", then TLS 1.2 session, SNI mx.two.example");
        assert_eq!(sentences.iter().filter(handed).count(), 2, "{sentences:#?}");
    }
}

#[test]
fn what_servers_of_http_and_tls_code() {
    all_comes_out("web");
}
