//! A queue that was left by the version whose targets were a sandbox and a folder without names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::fs;
use std::time::Duration;

use common::TestSandbox;
use sha2::{Digest, Sha256};
use streamdb_submit::{Kind, Policy, Retry, Server, Settings, State, Submissions, Target, TargetName};
use streamdb_testkit::TestFolder;

const PROGRAM: &[u8] = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff";

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_queue_of_the_first_form_is_read_and_sent() {
    let data = TestFolder::new("first-form");
    let sandbox = TestSandbox::new([]);
    let queue = data.path().join("queue");
    for name in ["", "content", "incoming"] {
        fs::create_dir(queue.join(name)).unwrap();
    }
    let (sent, waits) = (sha256(b"sent"), sha256(PROGRAM));
    fs::write(queue.join("content").join(&waits), PROGRAM).unwrap();
    let mut record = String::new();
    for line in [
        format!("queued target=sandbox sha256={sent} oid=1-2-3-4 size=4 complete=true extension=exe"),
        format!("queued target=folder sha256={sent} oid=1-2-3-4 size=4 complete=true extension=exe"),
        format!("tried target=sandbox sha256={sent} due=2012-03-02T07:51:52Z why=500%20Internal%20Server%20Error"),
        format!("sent target=sandbox sha256={sent} said=200%20OK"),
        format!("failed target=folder sha256={sent} why=no"),
        format!("dropped target=folder sha256={sent}"),
        format!("queued target=sandbox sha256={waits} oid=1-2-3-5 size={} complete=false extension=exe", PROGRAM.len()),
    ] {
        let text = format!("2012-03-02T07:51:51Z {line}");
        record += &format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes()));
    }
    fs::write(queue.join("record"), record).unwrap();
    let server = Server { url: sandbox.url(), field: "filename".to_owned(), ..Server::default() };
    let target = Target { name: TargetName::sandbox(), kind: Kind::Post(server), timeout: Duration::from_secs(20) };
    let settings =
        Settings { targets: vec![target], policy: Policy::default(), retry: Retry::default(), room: 1 << 20 };
    let submissions = Submissions::open(data.path(), settings).unwrap();
    let (jobs, damaged) = submissions.jobs().unwrap();
    assert_eq!((jobs.len(), damaged), (2, 0));
    assert!(jobs.iter().any(|job| matches!(job.state, State::Sent { .. }) && job.tries == 2));
    submissions.sender().round(&mut |told| panic!("{told}")).unwrap();
    let uploads = sandbox.uploads();
    assert_eq!((uploads.len(), uploads[0].content.as_slice()), (1, PROGRAM));
    assert_eq!(uploads[0].file_name, format!("{waits}.incomplete.exe"));
}
