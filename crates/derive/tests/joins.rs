//! Contents that came in several responses: what is a part of one, and when it is complete.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::ops::Range;
use std::sync::Arc;

use common::{Said, Talk, store};
use streamdb_derive::{Deriver, Join, JoinPart, JoinState, Joined, Joiner, Store};
use streamdb_storage::{DiskVolume, JoinChange};
use streamdb_testkit::TestFolder;
use streamdb_types::{BucketId, Oid, Reason, StreamOffset};

const WHOLE: &[u8] = b"0123456789";
const ASK: &[u8] = b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n";

fn answer(fields: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 206 P\r\n{fields}\r\n").into_bytes();
    answer.extend_from_slice(body);
    answer
}

fn part(body: &[u8], first: usize, total: usize) -> Vec<u8> {
    let (last, length) = (first + body.len() - 1, body.len());
    let fields = format!("ETag: \"a\"\r\nContent-Range: bytes {first}-{last}/{total}\r\nContent-Length: {length}\r\n");
    answer(&fields, body)
}

fn talk(said: Vec<Said<'_>>) -> Talk<'_> {
    Talk { client: "10.0.0.5:1000", server: "203.0.113.9:80", begun: "2012-03-02T07:51:51Z", said, reason: Reason::Fin }
}

/// All over one connection.
fn asked(answers: &[Vec<u8>]) -> Talk<'_> {
    talk(answers.iter().flat_map(|answer| [Said::ToServer(ASK), Said::ToClient(answer)]).collect())
}

struct Known {
    _folder: TestFolder,
    store: Arc<Store>,
    joiner: Joiner,
}

fn known(talks: &[Talk<'_>]) -> Known {
    let (folder, store) = store(talks);
    let mut deriver = Deriver::new(&store).unwrap();
    deriver.catch_up(&store, &|| false, &mut |error| panic!("{error}")).unwrap();
    let joiner = Joiner::new(&deriver.keeper());
    let mut known = Known { _folder: folder, store, joiner };
    known.round();
    known
}

impl Known {
    fn round(&mut self) {
        self.joiner.catch_up(&self.store, &|| false, &mut |_| {}).unwrap();
    }

    fn joins(&self) -> Vec<Join> {
        self.store.joins().unwrap().all().cloned().collect()
    }

    fn state(&self) -> JoinState {
        let joins = self.joins();
        Joined::new(&self.store, &joins[0]).unwrap().state()
    }
}

#[test]
fn parts_that_are_not_kept_are_compared_too() {
    let mut answers = vec![part(&WHOLE[..6], 0, 10), part(&WHOLE[6..], 6, 10)];
    answers.extend((0..260).map(|_| part(&WHOLE[2..8], 2, 10)));
    let same = known(&[asked(&answers)]);
    let join = &same.joins()[0];
    assert_eq!((join.parts.len(), join.more.parts, join.more.unchecked), (256, 6, 0));
    assert_eq!(same.state(), JoinState::Complete);
    answers.push(part(b"X567", 4, 10));
    let other = known(&[asked(&answers)]);
    let join = &other.joins()[0];
    assert_eq!((join.parts.len(), join.more.parts, join.conflicts()), (256, 7, vec![Range { start: 4, end: 6 }]));
    assert_eq!(other.state(), JoinState::Conflicting);
}

#[test]
fn thousands_of_parts_are_one_content() {
    // Each has one byte that is new, from the last to the first, and the two behind it.
    let total = 4000;
    let whole: Vec<u8> = (0..total).map(|n| n as u8).collect();
    let answers: Vec<Vec<u8>> = (0..total).rev().map(|n| part(&whole[n..(n + 3).min(total)], n, total)).collect();
    let all = known(&[asked(&answers)]);
    assert_eq!((all.joins()[0].parts.len(), all.state()), (4000, JoinState::Complete));
}

#[test]
fn more_parts_than_are_kept_leave_what_they_say_open() {
    let total = 4200;
    let whole: Vec<u8> = (0..total).map(|n| n as u8).collect();
    // Odd ones first, so that each is new; then one with a byte that is new, and all that is missing at last.
    let mut answers: Vec<Vec<u8>> = (0..4096).map(|n| part(&whole[n..=n], n, total)).collect();
    answers.push(part(&whole[4000..], 4000, total));
    let more = known(&[asked(&answers)]);
    let join = &more.joins()[0];
    assert_eq!((join.parts.len(), join.more.parts, join.more.unchecked), (4096, 1, 1));
    assert_eq!(more.state(), JoinState::Missing);
    assert!(!join.is_compared());
}

#[test]
fn a_body_that_is_not_its_range_is_no_part() {
    let chunked = |body: &str| {
        let fields = "ETag: \"a\"\r\nContent-Range: bytes 6-9/10\r\nTransfer-Encoding: chunked\r\n";
        answer(fields, format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).as_bytes())
    };
    let two = |fields: &str| answer(&format!("{fields}Content-Length: 4\r\n"), &WHOLE[6..]);
    let multipart = |body: &str| {
        let body = format!("--B\r\nContent-Range: bytes 6-9/10\r\n\r\n{body}\r\n--B--\r\n");
        let kind = "Content-Type: multipart/byteranges; boundary=B\r\nETag: \"a\"\r\n";
        answer(&format!("{kind}Content-Length: {}\r\n", body.len()), body.as_bytes())
    };
    let range = "Content-Range: bytes 6-9/10\r\n";
    for (name, second, is_part) in [
        ("chunked", chunked("6789"), true),
        ("chunked, short", chunked("678"), false),
        ("chunked, long", chunked("6789X"), false),
        ("ranges that differ", two(&format!("ETag: \"a\"\r\n{range}Content-Range: bytes 5-8/10\r\n")), false),
        ("a range twice", two(&format!("ETag: \"a\"\r\n{range}{range}")), true),
        ("tags that differ", two(&format!("ETag: \"a\"\r\nETag: \"b\"\r\n{range}")), false),
        ("a tag twice", two(&format!("ETag: \"a\"\r\nETag: \"a\"\r\n{range}")), true),
        ("lengths that differ", two(&format!("ETag: \"a\"\r\n{range}Content-Length: 5\r\n")), false),
        ("several", multipart("6789"), true),
        ("several, short", multipart("678"), false),
        ("several, long", multipart("67890"), false),
    ] {
        let known = known(&[asked(&[part(&WHOLE[..6], 0, 10), second])]);
        let joins = known.joins();
        assert_eq!((joins.len(), joins[0].parts.len()), (1, 1 + usize::from(is_part)), "{name}: {joins:#?}");
        assert_eq!(known.state() == JoinState::Complete, is_part, "{name}");
    }
}

#[test]
fn an_answer_whose_request_is_a_guess_is_no_part() {
    let (first, second) = (part(&WHOLE[..6], 0, 10), part(&WHOLE[6..], 6, 10));
    let lossy = talk(vec![
        Said::ToServer(b"GET /y HTTP/1.1\r\nHost: a.example\r\n\r\n"),
        Said::ToServer(ASK),
        Said::Lost(1000),
        Said::ToClient(&second),
    ]);
    let known = known(&[asked(std::slice::from_ref(&first)), Talk { client: "10.0.0.5:1001", ..lossy }]);
    let joins = known.joins();
    assert_eq!((joins.len(), joins[0].parts.len()), (1, 1), "{joins:#?}");
}

/// Changes what is known, behind the joiner's back.
fn changed(known: Known, with: impl FnOnce(&Join) -> Vec<JoinChange>) -> Known {
    let Known { _folder, store, joiner } = known;
    drop(joiner);
    let lock = store.derive_lock().unwrap();
    let mut writer = store.joins_writer(&lock, Arc::new(DiskVolume)).unwrap();
    let join = writer.known().all().next().unwrap().clone();
    with(&join).into_iter().for_each(|change| writer.change(change));
    writer.commit().unwrap();
    drop((writer, lock));
    let joiner = Joiner::new(&Deriver::new(&store).unwrap().keeper());
    Known { _folder, store, joiner }
}

#[test]
fn what_could_not_be_read_is_read_again() {
    let made = known(&[asked(&[part(&WHOLE[..6], 0, 10), part(&WHOLE[6..], 6, 10)])]);
    let before = made.joins();
    let mut unread = changed(made, |join| vec![JoinChange::Made(join.id, None)]);
    assert_eq!(unread.state(), JoinState::Unread);
    unread.round();
    assert_eq!((unread.state(), unread.joins()), (JoinState::Complete, before));
}

#[test]
fn a_part_that_cannot_be_read_is_not_equal_to_others() {
    let made = known(&[asked(&[part(&WHOLE[..6], 0, 10), part(&WHOLE[6..], 6, 10)])]);
    let other = |join: &Join, oid: Oid| {
        let part = JoinPart {
            oid,
            begins: StreamOffset(99),
            first: 4,
            runs: vec![Range { start: 4, end: 7 }],
            ..join.parts[0].clone()
        };
        vec![JoinChange::Part(join.id, part), JoinChange::Made(join.id, None)]
    };
    // There is no such message in its record.
    let nothing = |join: &Join| {
        let oid = join.parts[0].oid;
        other(join, oid.with_index(oid.index + 100))
    };
    let mut unread = changed(made, nothing);
    unread.round();
    let join = &unread.joins()[0];
    assert_eq!((join.is_compared(), join.conflicts(), join.made.is_some()), (false, vec![], true));
    assert_eq!(unread.state(), JoinState::Candidate);
    // Of parts that retention took before they were compared nobody knows.
    let made = known(&[asked(&[part(&WHOLE[..6], 0, 10), part(&WHOLE[6..], 6, 10)])]);
    let mut gone = changed(made, |join| other(join, Oid { bucket: BucketId(999_999), ..join.parts[0].oid }));
    gone.round();
    assert_eq!(gone.state(), JoinState::Gone);
}

#[test]
fn a_part_with_other_bytes_in_its_frames_leaves_a_conflict() {
    let made = known(&[asked(&[part(&WHOLE[..6], 0, 10), part(&WHOLE[6..], 6, 10)])]);
    assert_eq!(made.state(), JoinState::Complete);
    let conflicting =
        changed(made, |join| vec![JoinChange::Part(join.id, JoinPart { conflict: true, ..join.parts[1].clone() })]);
    let join = &conflicting.joins()[0];
    assert_eq!((conflicting.state(), join.conflicts()), (JoinState::Conflicting, vec![Range { start: 6, end: 10 }]));
}

#[test]
fn many_ranges_in_one_body_are_found_once() {
    const SIZE: usize = 4000;
    let ranges = 1000;
    let whole: Vec<u8> = (0..ranges * SIZE).map(|n| (n / 7) as u8).collect();
    let mut body = Vec::new();
    for (n, bytes) in whole.chunks(SIZE).enumerate() {
        let (first, last, total) = (n * SIZE, (n + 1) * SIZE - 1, whole.len());
        body.extend(format!("--B\r\nContent-Range: bytes {first}-{last}/{total}\r\n\r\n").into_bytes());
        body.extend_from_slice(bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--B--\r\n");
    let kind = "Content-Type: multipart/byteranges; boundary=B\r\nETag: \"a\"\r\n";
    let all = known(&[asked(&[answer(&format!("{kind}Content-Length: {}\r\n", body.len()), &body)])]);
    let join = &all.joins()[0];
    assert_eq!((join.parts.len(), join.made.as_ref().unwrap().size), (ranges, whole.len() as u64));
    assert_eq!(all.state(), JoinState::Complete);
}

#[test]
fn what_was_found_is_kept_as_it_goes() {
    let answers: Vec<[Vec<u8>; 1]> = (0..5000).map(|_| [part(&WHOLE[..6], 0, 10)]).collect();
    let talks: Vec<Talk<'_>> = answers.iter().map(|answers| asked(answers)).collect();
    let (_folder, store) = store(&talks);
    let mut deriver = Deriver::new(&store).unwrap();
    deriver.catch_up(&store, &|| false, &mut |error| panic!("{error}")).unwrap();
    let mut joiner = Joiner::new(&deriver.keeper());
    let seen = std::cell::RefCell::new(Vec::new());
    let look = || {
        let joins = store.joins().unwrap();
        seen.borrow_mut().push(joins.all().map(|join| join.parts.len() as u64 + join.more.parts).sum::<u64>());
        false
    };
    joiner.catch_up(&store, &look, &mut |error| panic!("{error}")).unwrap();
    assert!(seen.borrow().contains(&4096), "{:?}", seen.borrow());
    let joins = store.joins().unwrap();
    assert_eq!(joins.all().map(|join| join.parts.len() as u64 + join.more.parts).collect::<Vec<_>>(), [5000]);
}
