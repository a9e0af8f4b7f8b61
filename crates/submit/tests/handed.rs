//! New objects, handed over as rows: which of them are taken, for whom, and what happens when they cannot be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

#[path = "../../derive/tests/common/mod.rs"]
mod stored;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stored::{Said, Talk, store};
use streamdb_derive::{Rows, objects};
use streamdb_query::VerdictPattern;
use streamdb_storage::Store;
use streamdb_submit::{
    Error, Fresh, Job, Kind, Policy, Retry, Rule, Settings, State, Submissions, Target, TargetName, row_filter,
};
use streamdb_testkit::TestFolder;
use streamdb_types::{Direction, ObjectRow, Reason, Scanner, Verdict};

/// A store with a whole program and one with a hole, and their rows.
struct Stored {
    folder: TestFolder,
    store: Arc<Store>,
    whole: ObjectRow,
    cut: ObjectRow,
}

fn stored() -> Stored {
    let request = b"GET /a.jpg HTTP/1.1\r\nHost: bad.example\r\n\r\n";
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 9\r\n\r\n";
    let whole = [head.as_slice(), b"MZ\x90\0\x03\0\0\0hi"].concat();
    let whole = &whole[..whole.len() - 1];
    let cut = [head.as_slice(), b"MZ\x90"].concat();
    let talk = |client, begun, said| Talk { client, server: "203.0.113.9:80", begun, said, reason: Reason::Fin };
    let (folder, store) = store(&[
        talk("10.0.0.5:1", "2012-03-02T07:51:51Z", vec![Said::ToServer(request), Said::ToClient(whole)]),
        talk(
            "10.0.0.5:2",
            "2012-03-02T07:52:51Z",
            vec![Said::ToServer(request), Said::ToClient(&cut), Said::Lost(4), Said::ToClient(b"hi")],
        ),
    ]);
    let mut streams = Vec::new();
    let visit = &mut |info: streamdb_storage::StreamInfo| {
        streams.push(info);
        Ok(())
    };
    store.streams(visit, &mut |error| panic!("{error}")).unwrap();
    streams.retain(|info| info.direction == Direction::ToClient);
    streams.sort_by_key(|info| info.first);
    let row = |n: usize| {
        let rows = objects(&store, &streams[n], &mut Rows::new()).unwrap();
        rows.into_iter().find(|row| row.direction == Direction::ToClient).unwrap()
    };
    let (whole, cut) = (row(0), row(1));
    let of = |row: &ObjectRow| (row.complete, row.size);
    assert_eq!((of(&whole), of(&cut)), ((true, 9), (false, 9)));
    Stored { folder, store, whole, cut }
}

impl Stored {
    /// With these rules, each with its targets. Also gives what is told.
    fn with(&self, rules: Vec<Rule>, room: u64) -> (Submissions, Arc<Mutex<Vec<String>>>) {
        let target = |name: &str| {
            let path: PathBuf = self.folder.path().join(name);
            fs::create_dir_all(&path).unwrap();
            let kind = Kind::Folder { path, json: true };
            Target { name: TargetName::parse(name).unwrap(), kind, timeout: Duration::from_secs(1) }
        };
        let targets = vec![target("a"), target("b")];
        let settings = Settings { targets, policy: Policy(rules), retry: Retry::default(), room };
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let submissions = Submissions::open(&self.folder.path().join("data"), settings).unwrap();
        (submissions.telling(move |sentence| tell.lock().unwrap().push(sentence.to_owned())), told)
    }
}

/// One object, handed over.
fn hand(
    submissions: &Submissions,
    store: &Store,
    row: &ObjectRow,
    first_seen: bool,
    verdicts: &[Verdict],
) -> Result<(), Error> {
    submissions.handed(store, &[Fresh { row, join: None, first_seen, verdicts }])
}

fn rule(name: &str, to: &[&str], filter: &str) -> Rule {
    Rule {
        name: name.to_owned(),
        to: to.iter().map(|name| TargetName::parse(name).unwrap()).collect(),
        filter: row_filter(filter).unwrap(),
        first_seen: false,
        verdicts: Vec::new(),
        incomplete: false,
    }
}

fn yara() -> Verdict {
    Verdict { scanner: Scanner::Yara, name: "win_dridex".to_owned(), details: "tags".to_owned() }
}

fn shown(jobs: &[Job]) -> Vec<String> {
    jobs.iter().map(|job| format!("{} to {} by {}", job.oid, job.target, job.rule)).collect()
}

#[test]
fn what_a_rule_wants_is_in_the_queue_when_the_call_returns_and_only_once() {
    let stored = stored();
    let verdicts = Rule { verdicts: vec![VerdictPattern::parse("yara:*").unwrap()], ..rule("yara", &["b"], "") };
    let (submissions, told) = stored.with(vec![rule("liars", &["a"], "mismatch=1 host=*.example"), verdicts], 100);
    let hand = |row, verdicts: &[Verdict]| hand(&submissions, &stored.store, row, true, verdicts).unwrap();
    hand(&stored.whole, &[]);
    let oid = stored.whole.oid;
    let jobs = submissions.jobs().unwrap().0;
    assert_eq!(shown(&jobs), [format!("{oid} to a by liars")]);
    let copy = stored.folder.path().join("data/queue/content").join(jobs[0].hash.to_string());
    assert_eq!(fs::read(copy).unwrap(), b"MZ\x90\0\x03\0\0\0h");
    // Handed over again, as after a kill; and later with what scanners say.
    hand(&stored.whole, &[]);
    assert_eq!(submissions.jobs().unwrap().0, jobs);
    hand(&stored.whole, &[yara()]);
    let jobs = submissions.jobs().unwrap().0;
    assert_eq!(shown(&jobs), [format!("{oid} to a by liars"), format!("{oid} to b by yara")]);
    // Also when it was sent.
    submissions.sender().round(&mut |told| panic!("{told}")).unwrap();
    let sent = submissions.jobs().unwrap().0;
    assert!(sent.iter().all(|job| matches!(job.state, State::Sent { .. })), "{sent:?}");
    hand(&stored.whole, &[yara()]);
    assert_eq!(submissions.jobs().unwrap().0, sent);
    // Incomplete ones nobody asked for.
    hand(&stored.cut, &[yara()]);
    assert_eq!(submissions.jobs().unwrap().0, sent);
    assert_eq!(told.lock().unwrap().as_slice(), [""; 0]);
    // What is told beside it says which rule it was, and what is known.
    let about = stored.folder.path().join("b").join(format!("{}.json", sent[1].file_name()));
    let about = fs::read_to_string(about).unwrap();
    for part in [
        "\"rule\":\"yara\",",
        "\"verdicts\":[{\"scanner\":\"yara\",\"name\":\"win_dridex\",\"details\":\"tags\"}]",
        "\"host\":\"bad.example\"",
        "\"uri\":\"/a.jpg\"",
        "\"declared_type\":\"image/jpeg\"",
        "\"client\":\"10.0.0.5:1\",\"server\":\"203.0.113.9:80\",\"direction\":\"to_client\",\"start\":\"2012-03-02T07:51:51",
        "\"size\":9,\"complete\":true,\"missing_bytes\":0",
        "\"first_seen\":true",
    ] {
        assert!(about.contains(part), "{part} in {about}");
    }
}

#[test]
fn incomplete_objects_go_where_a_rule_says_so() {
    let stored = stored();
    let all = Rule { incomplete: true, ..rule("all", &["a"], "") };
    let (submissions, _) = stored.with(vec![all, rule("whole", &["b"], "")], 100);
    hand(&submissions, &stored.store, &stored.cut, false, &[]).unwrap();
    let jobs = submissions.jobs().unwrap().0;
    assert_eq!(shown(&jobs), [format!("{} to a by all", stored.cut.oid)]);
    assert!(!jobs[0].complete && jobs[0].file_name().contains(".incomplete"));
}

#[test]
fn a_target_without_room_keeps_nobody_and_is_told_once() {
    let stored = stored();
    let all = Rule { incomplete: true, ..rule("all", &["a"], "") };
    let cut = Rule { incomplete: true, ..rule("cut", &["b"], "") };
    let (submissions, told) = stored.with(vec![all.clone()], 15);
    hand(&submissions, &stored.store, &stored.whole, true, &[]).unwrap();
    // The other target has room.
    let (both, told_both) = stored.with(vec![all.clone(), cut], 15);
    hand(&both, &stored.store, &stored.cut, true, &[]).unwrap();
    let said = told_both.lock().unwrap().clone();
    assert!(said.len() == 1 && said[0].starts_with("target a: what waits for it fills its room"), "{said:?}");
    let states = || {
        let jobs = submissions.jobs().unwrap().0;
        let of = |job: &Job| (job.oid, job.target.to_string(), matches!(job.state, State::Waits { .. }));
        jobs.iter().map(of).collect::<std::collections::BTreeSet<_>>()
    };
    let (whole_oid, cut_oid) = (stored.whole.oid, stored.cut.oid);
    let wanted = [(whole_oid, "a", true), (cut_oid, "a", false), (cut_oid, "b", true)];
    let wanted = wanted.map(|(oid, target, waits)| (oid, target.to_owned(), waits));
    assert_eq!(states(), wanted.into());
    // Handed over again it is as it was, and when there is room it is taken.
    hand(&both, &stored.store, &stored.cut, true, &[]).unwrap();
    assert_eq!(told_both.lock().unwrap().len(), 1);
    submissions.sender().round(&mut |told| panic!("{told}")).unwrap();
    hand(&submissions, &stored.store, &stored.cut, true, &[]).unwrap();
    assert!(states().contains(&(cut_oid, "a".to_owned(), true)), "{:?}", states());
    assert_eq!(told.lock().unwrap().as_slice(), [""; 0]);
}

#[test]
fn what_waits_for_a_target_that_is_there_no_more_is_dropped_when_that_is_asked_for() {
    let stored = stored();
    let (submissions, _) = stored.with(vec![rule("all", &["a", "b"], "")], 100);
    hand(&submissions, &stored.store, &stored.whole, true, &[]).unwrap();
    let queue = streamdb_submit::Queue::open(&stored.folder.path().join("data")).unwrap();
    assert_eq!(queue.drop_failed(None).unwrap(), 0);
    assert_eq!(queue.drop_failed(Some(&[TargetName::parse("b").unwrap()])).unwrap(), 1);
    assert_eq!(shown(&submissions.jobs().unwrap().0), [format!("{} to b by all", stored.whole.oid)]);
}

#[test]
fn what_never_fits_is_told() {
    let all = Rule { incomplete: true, ..rule("all", &["a"], "") };
    let other = self::stored();
    let (submissions, told) = other.with(vec![all], 5);
    hand(&submissions, &other.store, &other.whole, true, &[]).unwrap();
    let wanted = format!(
        "not submitted to a: {}: it has 9 bytes, which is more than the queue may hold (5); raise submit.room in the \
         configuration",
        other.whole.oid
    );
    assert_eq!(told.lock().unwrap().as_slice(), [wanted]);
    assert_eq!(submissions.jobs().unwrap().0.len(), 0);
}

#[test]
fn an_object_that_is_gone_is_told_and_passed_over() {
    let stored = stored();
    let (submissions, told) = stored.with(vec![rule("all", &["a", "b"], "")], 100);
    let gone = ObjectRow { oid: "9-9-9-9".parse().unwrap(), ..stored.whole.clone() };
    hand(&submissions, &stored.store, &gone, true, &[]).unwrap();
    assert_eq!(
        told.lock().unwrap().as_slice(),
        ["not submitted to a, b: 9-9-9-9: there is no such stream in this store"]
    );
    // A row that says more than is there any more.
    let cut = ObjectRow { complete: true, ..stored.cut.clone() };
    hand(&submissions, &stored.store, &cut, true, &[]).unwrap();
    assert!(told.lock().unwrap()[1].contains(": incomplete ("), "{:?}", told.lock().unwrap());
    assert_eq!(submissions.jobs().unwrap().0.len(), 0);
}

/// A connection with so many objects, each with a content of its own but for the last, which has that of the first; and
/// their rows.
fn many(objects: usize) -> (TestFolder, Arc<Store>, Vec<ObjectRow>) {
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    for n in (0..objects - 1).chain([0]) {
        asked.extend_from_slice(b"GET /a.jpg HTTP/1.1\r\nHost: bad.example\r\n\r\n");
        answered.extend_from_slice(format!("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nMZ{n:06}").as_bytes());
    }
    let (client, server, begun, reason) = ("10.0.0.5:1", "203.0.113.9:80", "2012-03-02T07:51:51Z", Reason::Fin);
    let said = vec![Said::ToServer(&asked), Said::ToClient(&answered)];
    let (folder, store) = store(&[Talk { client, server, begun, said, reason }]);
    let mut rows = Vec::new();
    let visit = &mut |info: streamdb_storage::StreamInfo| {
        if info.direction == Direction::ToClient {
            rows = streamdb_derive::objects(&store, &info, &mut Rows::new()).unwrap();
        }
        Ok(())
    };
    store.streams(visit, &mut |error| panic!("{error}")).unwrap();
    rows.retain(|row| row.direction == Direction::ToClient);
    assert_eq!(rows.len(), objects);
    (folder, store, rows)
}

#[test]
fn thousands_of_objects_of_a_connection_are_each_taken_in_once() {
    let (folder, store, rows) = many(2500);
    let target = |name: &str| {
        let kind = Kind::Folder { path: folder.path().join("nowhere"), json: false };
        Target { name: TargetName::parse(name).unwrap(), kind, timeout: Duration::from_secs(1) }
    };
    let policy = Policy(vec![rule("all", &["a"], "")]);
    let settings = Settings { targets: vec![target("a")], policy, retry: Retry::default(), room: 1 << 20 };
    let submissions = Submissions::open(&folder.path().join("data"), settings).unwrap();
    let fresh: Vec<Fresh<'_>> =
        rows.iter().map(|row| Fresh { row, join: None, first_seen: true, verdicts: &[] }).collect();
    for again in [false, true] {
        let begun = Instant::now();
        submissions.handed(&store, &fresh).unwrap();
        let took = begun.elapsed();
        eprintln!("{} objects handed over in {took:?}, again: {again}", rows.len());
        let jobs = submissions.jobs().unwrap().0;
        assert_eq!(jobs.len(), rows.len() - 1, "each content once");
        for (job, row) in jobs.iter().zip(&rows) {
            assert_eq!((job.oid, Some(job.hash.0)), (row.oid, row.digests.map(|digests| digests.sha256)));
        }
        let queue = folder.path().join("data/queue");
        for (name, count) in [("content", 2499), ("about", 2499), ("incoming", 0)] {
            assert_eq!(fs::read_dir(queue.join(name)).unwrap().count(), count, "{name}");
        }
        let copy = fs::read(queue.join("content").join(jobs[2498].hash.to_string())).unwrap();
        assert_eq!(copy, b"MZ002498");
    }
}
