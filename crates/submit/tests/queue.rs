//! The queue, and who sends what is in it, with a real server on the other side.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;
#[path = "../../derive/tests/common/mod.rs"]
mod stored;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Reply, TestSandbox};
use sha2::{Digest, Sha256};
use stored::{Said, Talk, store};
use streamdb_storage::Store;
use streamdb_submit::{
    Choice, Error, Kind, Placed, Policy, Queue, Receipt, Retry, Rules, Server, Settings, State, Submissions, Target,
    TargetName,
};
use streamdb_testkit::TestFolder;
use streamdb_types::{Oid, Reason};

const PROGRAM: &[u8] = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff";

/// A store with one whole object, one with a hole, and one without a body.
struct Stored {
    folder: TestFolder,
    store: Arc<Store>,
    whole: Oid,
    cut: Oid,
    empty: Oid,
}

impl Stored {
    fn new() -> Self {
        let response = [b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n".as_slice(), PROGRAM].concat();
        let request = b"GET /a HTTP/1.1\r\nHost: bad.example\r\n\r\n";
        let talk = |client, begun, said| Talk { client, server: "203.0.113.9:80", begun, said, reason: Reason::Fin };
        let (folder, store) = store(&[
            talk("10.0.0.5:1", "2012-03-02T07:51:51Z", vec![Said::ToServer(request), Said::ToClient(&response)]),
            talk(
                "10.0.0.5:2",
                "2012-03-02T07:52:51Z",
                vec![
                    Said::ToServer(request),
                    Said::ToClient(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nMZ\x90"),
                    Said::Lost(4),
                    Said::ToClient(b"hi"),
                ],
            ),
        ]);
        let mut streams = Vec::new();
        let visit = &mut |info: streamdb_storage::StreamInfo| {
            streams.push(info);
            Ok(())
        };
        store.streams(visit, &mut |error| panic!("{error}")).unwrap();
        streams.sort_by_key(|info| info.first);
        let of = |direction| {
            streams.iter().filter(|info| info.direction == direction).map(|info| info.oid).collect::<Vec<_>>()
        };
        let answers = of(streamdb_types::Direction::ToClient);
        let (whole, cut) = (answers[0], answers[1]);
        let empty = of(streamdb_types::Direction::ToServer)[0];
        Self { folder, store, whole, cut, empty }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn submissions(&self, settings: Settings) -> Submissions {
        Submissions::open(&self.data(), settings).unwrap()
    }
}

fn settings(url: String) -> Settings {
    let headers = vec![("Authorization".to_owned(), "Bearer s3cret".to_owned())];
    let server = Server { url, field: "filename".to_owned(), headers, ..Server::default() };
    let sandbox = Target { name: TargetName::sandbox(), kind: Kind::Post(server), timeout: Duration::from_secs(20) };
    let retry = Retry { tries: 4, pause: Duration::from_millis(10), longest_pause: Duration::from_millis(100) };
    Settings { targets: vec![sandbox], policy: Policy::default(), retry, room: 1 << 20 }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sends until nothing waits any more, or so many rounds were made; gives the sentences that a person was told.
fn send(submissions: &Submissions, rounds: usize) -> Vec<String> {
    let mut told = Vec::new();
    let mut sender = submissions.sender();
    for _ in 0..rounds {
        assert!(sender.round(&mut |sentence| told.push(sentence.to_owned())).unwrap());
        let waits = |job: &streamdb_submit::Job| matches!(job.state, State::Waits { .. });
        if !submissions.jobs().unwrap().0.iter().any(waits) {
            break;
        }
        std::thread::sleep(Duration::from_millis(110));
    }
    told
}

fn only_state(submissions: &Submissions) -> State {
    let (jobs, damaged) = submissions.jobs().unwrap();
    assert_eq!((jobs.len(), damaged), (1, 0));
    jobs[0].state.clone()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

#[test]
fn an_object_arrives_as_a_form_and_only_once() {
    let stored = Stored::new();
    let sandbox = TestSandbox::new([]);
    let submissions = stored.submissions(settings(sandbox.url()));
    let receipt = submissions.submit(&stored.store, stored.whole, Rules::default()).unwrap();
    assert_eq!(receipt.placed, [(TargetName::sandbox(), Placed::Queued)]);
    let hash = sha256(PROGRAM);
    let oid = stored.whole;
    assert_eq!(receipt.to_string(), format!("{oid}: queued for sandbox; 14 bytes, sha256 {hash}"));
    assert_eq!(fs::read(stored.data().join("queue/content").join(&hash)).unwrap(), PROGRAM);

    assert_eq!(send(&submissions, 1), [""; 0]);
    let uploads = sandbox.uploads();
    assert_eq!(uploads.len(), 1);
    let upload = &uploads[0];
    assert_eq!((upload.path.as_str(), upload.field.as_str()), ("/api/tasks?x=1", "filename"));
    assert_eq!(upload.file_name, format!("{hash}.exe"));
    assert_eq!(upload.content, PROGRAM);
    assert_eq!(upload.header("authorization"), Some("Bearer s3cret"));
    assert!(matches!(only_state(&submissions), State::Sent { said, .. } if said == "200 OK: {\"task_id\": 7}"));
    assert_eq!(files(&stored.data().join("queue/content")), [""; 0], "what was sent needs no copy");

    // Again, also in a new process; and then because somebody insists.
    for submissions in [submissions.clone(), stored.submissions(settings(sandbox.url()))] {
        let receipt = submissions.submit(&stored.store, stored.whole, Rules::default()).unwrap();
        assert!(!receipt.is_new() && receipt.to_string().contains(": sandbox got it at 20"), "{receipt}");
        send(&submissions, 1);
    }
    assert_eq!(sandbox.uploads().len(), 1);
    let again = Rules { again: true, ..Rules::default() };
    assert!(submissions.submit(&stored.store, stored.whole, again).unwrap().is_new());
    send(&submissions, 1);
    assert_eq!(sandbox.uploads().len(), 2);
}

#[test]
fn only_whole_objects_unless_asked_for() {
    let stored = Stored::new();
    let sandbox = TestSandbox::new([]);
    let submissions = stored.submissions(settings(sandbox.url()));
    let refused = submissions.submit(&stored.store, stored.cut, Rules::default()).unwrap_err().to_string();
    let begin = format!("{}: incomplete (", stored.cut);
    assert!(refused.starts_with(&begin) && refused.contains("`streamdb submit "), "{refused}");
    assert!(refused.contains(&format!("/submit?oid={}", stored.cut)), "{refused}");
    let refused = submissions.submit(&stored.store, stored.empty, Rules::default()).unwrap_err();
    assert!(matches!(refused, Error::Empty(oid) if oid == stored.empty), "{refused}");
    let nowhere = stored.whole.with_index(9);
    assert!(matches!(submissions.submit(&stored.store, nowhere, Rules::default()).unwrap_err(), Error::Object(_)));
    assert_eq!(files(&stored.data().join("queue/incoming")), [""; 0]);
    send(&submissions, 1);
    assert_eq!(sandbox.uploads().len(), 0);

    let rules = Rules { incomplete: true, ..Rules::default() };
    let receipt = submissions.submit(&stored.store, stored.cut, rules).unwrap().to_string();
    assert!(receipt.ends_with("; it is incomplete, with zeros for what is missing"), "{receipt}");
    send(&submissions, 1);
    let content = b"MZ\x90\0\0\0\0hi";
    let uploads = sandbox.uploads();
    assert_eq!(uploads[0].content, content);
    assert!(uploads[0].file_name.starts_with(&format!("{}.incomplete", sha256(content))), "{}", uploads[0].file_name);
}

#[test]
fn many_objects_of_a_connection_take_it_apart_once() {
    const MESSAGES: usize = 20_000;
    let requests = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n".repeat(MESSAGES);
    let answers = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".repeat(MESSAGES);
    let talk = |client, said| Talk {
        client,
        server: "203.0.113.9:80",
        begun: "2012-03-02T07:51:51Z",
        said,
        reason: Reason::Fin,
    };
    let (folder, store) = store(&[
        talk("10.0.0.5:1", vec![Said::ToServer(&requests), Said::ToClient(&answers)]),
        talk(
            "10.0.0.5:2",
            vec![
                Said::ToServer(b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n"),
                Said::ToClient(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
            ],
        ),
    ]);
    let mut streams = Vec::new();
    let visit = &mut |info: streamdb_storage::StreamInfo| {
        streams.push(info.oid);
        Ok(())
    };
    store.streams(visit, &mut |error| panic!("{error}")).unwrap();
    let submissions =
        Submissions::open(&folder.path().join("data"), settings("http://127.0.0.1:9/".to_owned())).unwrap();
    // Both directions of both connections, in turns, with some that are not there among them.
    let gone: Oid = "9-9-9-9".parse().unwrap();
    let oids: Vec<Oid> = (0..600)
        .flat_map(|n| streams.iter().map(move |oid| oid.with_index(n)))
        .chain([gone, gone.with_index(1)])
        .collect();
    let begun = Instant::now();
    let together = submissions.submit_all(&store, &oids, Rules::default());
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    // Each gets its own answer, in its own place, and what it gets alone.
    assert_eq!(together.len(), oids.len());
    for (oid, answer) in oids.iter().zip(&together) {
        match answer {
            Ok(receipt) => assert_eq!(receipt.oid, *oid),
            Err(error) => assert!(error.to_string().starts_with(&oid.to_string()), "{oid}: {error}"),
        }
    }
    assert_eq!(together.iter().filter(|answer| answer.is_ok()).count(), 601);
    for (oid, answer) in oids.iter().zip(&together).step_by(397) {
        let alone = submissions.submit(&store, *oid, Rules::default());
        assert_eq!(alone.is_ok(), answer.is_ok(), "{oid}");
    }
}

#[test]
fn a_server_that_fails_is_tried_again() {
    let stored = Stored::new();
    let sandbox = TestSandbox::new([
        Reply::Says("500 Internal Server Error", "no space"),
        Reply::Says("503 Service Unavailable\r\nRetry-After: 0", ""),
    ]);
    let submissions = stored.submissions(settings(sandbox.url()));
    submissions.submit(&stored.store, stored.whole, Rules::default()).unwrap();
    submissions.sender().round(&mut |told| panic!("{told}")).unwrap();
    match only_state(&submissions) {
        State::Waits { why, .. } => {
            // The address, and not the query, which may have a key in it.
            assert_eq!(why, format!("http://{}/api/tasks: 500 Internal Server Error: no space", sandbox.address));
        }
        state => panic!("{state:?}"),
    }
    assert_eq!(send(&submissions, 5), [""; 0]);
    assert!(matches!(only_state(&submissions), State::Sent { .. }));
    assert_eq!((sandbox.uploads().len(), submissions.jobs().unwrap().0[0].tries), (3, 3));
}

#[test]
fn what_fails_for_good_is_kept_and_shown() {
    let stored = Stored::new();
    // Once because the server wants no such file, and once because it never gets well.
    for (answers, tries) in [
        (vec![Reply::Says("422 Unprocessable Content", "too odd")], 1),
        (vec![Reply::Says("500 Internal Server Error", ""); 9], 4),
    ] {
        let sandbox = TestSandbox::new(answers);
        let submissions = stored.submissions(settings(sandbox.url()));
        submissions.submit(&stored.store, stored.whole, Rules::default()).unwrap();
        let told = send(&submissions, 9);
        assert_eq!((told.len(), sandbox.uploads().len()), (1, tries));
        let place = format!("http://{}/api/tasks", sandbox.address);
        let begin = format!("{}: given up after {tries} tries at sandbox: {place}: ", stored.whole);
        assert!(told[0].starts_with(&begin), "{}", told[0]);
        assert!(matches!(only_state(&submissions), State::Failed { .. }));
        // What it refused for good is not kept for it.
        let kept = if tries == 1 { vec![] } else { vec![sha256(PROGRAM)] };
        assert_eq!(files(&stored.data().join("queue/content")), kept);
        let receipt = submissions.submit(&stored.store, stored.whole, Rules::default()).unwrap();
        assert!(!receipt.is_new() && receipt.to_string().contains("was given up at"), "{receipt}");
        // Forgotten, it is as if it had never been.
        let queue = Queue::open(&stored.data()).unwrap();
        assert_eq!(queue.drop_failed(None).unwrap(), 1);
        assert_eq!(files(&stored.data().join("queue/content")), [""; 0]);
        assert_eq!(submissions.jobs().unwrap().0, []);
    }
}

#[test]
fn a_server_that_is_down_costs_one_try_a_pause() {
    let stored = Stored::new();
    let address = TestSandbox::nowhere();
    let mut patient = settings(format!("http://{address}/"));
    patient.retry = Retry { tries: 20, pause: Duration::from_secs(1), longest_pause: Duration::from_secs(1) };
    let submissions = stored.submissions(patient);
    submissions.submit(&stored.store, stored.whole, Rules::default()).unwrap();
    let rules = Rules { incomplete: true, ..Rules::default() };
    submissions.submit(&stored.store, stored.cut, rules).unwrap();
    let mut sender = submissions.sender();
    for _ in 0..3 {
        sender.round(&mut |told| panic!("{told}")).unwrap();
    }
    let (jobs, _) = submissions.jobs().unwrap();
    assert_eq!(
        jobs.iter().map(|job| job.tries).sum::<u32>(),
        1,
        "the second need not be tried when the first found nobody"
    );
    let sandbox = TestSandbox::at(address, []);
    drop(sender);
    let signal = submissions.signal().clone();
    let mut sender = submissions.sender();
    let running = std::thread::spawn(move || sender.run(&mut |told| panic!("{told}")));
    sandbox.wait_for(2);
    signal.stop();
    running.join().unwrap();
}

/// Sends so many contents, as who goes on sending does, until the target has or refused all of them; gives what a person was told.
fn follow(target: Kind, contents: u8) -> Vec<String> {
    let data = data();
    let mut settings = settings(String::new());
    settings.targets[0].kind = target;
    settings.retry.tries = 1000;
    let submissions = Submissions::open(data.path(), settings).unwrap();
    let queue = Queue::open(data.path()).unwrap();
    for n in 0..contents {
        put(&queue, &[n; 9], 1 << 20).unwrap();
    }
    let (mut sender, mut said) = (submissions.sender(), Vec::new());
    std::thread::scope(|scope| {
        let running = scope.spawn(|| sender.run(&mut |sentence| said.push(sentence.to_owned())));
        let begun = Instant::now();
        while submissions.jobs().unwrap().0.iter().any(|job| matches!(job.state, State::Waits { .. })) {
            assert!(begun.elapsed() < Duration::from_secs(120), "waited in vain until nothing waits");
            std::thread::sleep(Duration::from_millis(20));
        }
        submissions.signal().stop();
        running.join().unwrap();
    });
    said
}

#[test]
fn a_target_that_fails_at_whatever_it_gets_is_told_of() {
    const BAD: Reply = Reply::Says("502 Bad Gateway", "no upstream");
    const LATE: Reply = Reply::Says("504 Gateway Timeout", "still none");
    const ODD: Reply = Reply::Says("422 Unprocessable Content", "odd");
    const TAKEN: Reply = Reply::Says("200 OK", "{}");
    let said = |answers: Vec<Reply>| {
        let sandbox = TestSandbox::new(answers);
        let server = Server { url: sandbox.url(), field: "file".to_owned(), ..Server::default() };
        let place = format!("http://{}/api/tasks: ", sandbox.address);
        let said = follow(Kind::Post(server), 9);
        let refused = |sentence: &String| sentence.contains(": given up after 1 tries at ");
        said.into_iter().filter(|told| !refused(told)).map(|told| told.replace(&place, "")).collect::<Vec<_>>()
    };
    let nothing = "sandbox: this target takes nothing now; what is submitted there waits, and is tried again: ";
    let told = [
        format!("{nothing}504 Gateway Timeout: still none"),
        "sandbox: this target takes what is submitted again".to_owned(),
    ];
    // Once, with the last reason, however often it fails then.
    assert_eq!(said(vec![BAD, BAD, LATE, BAD, BAD, BAD]), told);
    // Of the files that it refuses for good nothing is said of the others.
    assert_eq!(said(vec![BAD, ODD, BAD, ODD, LATE, BAD]), told);
    assert_eq!(said(vec![ODD; 9]), [""; 0]);
    // Less is no more than bad luck.
    assert_eq!(said(vec![BAD, BAD, TAKEN, BAD, LATE, TAKEN, LATE, BAD, TAKEN]), [""; 0]);
    // One that takes a few now and then is not told of each time.
    assert_eq!(said([[BAD, BAD, LATE, TAKEN], [BAD, BAD, BAD, TAKEN], [BAD, BAD, BAD, TAKEN]].concat()), told);
}

#[test]
fn a_program_that_always_fails_is_told_of() {
    let folder = data();
    let count = folder.path().join("count");
    // It takes what comes after the fifth time.
    let script =
        format!("echo >> '{0}'; test $(wc -l < '{0}') -gt 5 || {{ echo broken >&2; exit 3; }}", count.display());
    let words = ["sh", "-c", &script].map(str::to_owned).to_vec();
    assert_eq!(
        follow(Kind::Command { words }, 4),
        [
            "sandbox: this target takes nothing now; what is submitted there waits, and is tried again: sh: exit status 3: broken",
            "sandbox: this target takes what is submitted again"
        ]
    );
}

#[test]
fn a_try_that_breaks_off_in_the_middle_keeps_no_other_content() {
    let stored = Stored::new();
    let sandbox = TestSandbox::new([Reply::Hangs]);
    let mut hasty = settings(sandbox.url());
    hasty.targets[0].timeout = Duration::from_secs(1);
    let submissions = stored.submissions(hasty);
    submissions.submit(&stored.store, stored.whole, Rules::default()).unwrap();
    let rules = Rules { incomplete: true, ..Rules::default() };
    submissions.submit(&stored.store, stored.cut, rules).unwrap();
    submissions.sender().round(&mut |told| panic!("{told}")).unwrap();
    let (jobs, _) = submissions.jobs().unwrap();
    assert!(matches!(jobs[0].state, State::Waits { .. }), "{:?}", jobs[0]);
    assert!(matches!(jobs[1].state, State::Sent { .. }), "{:?}", jobs[1]);
}

#[test]
fn redirections_are_not_followed() {
    let elsewhere = TestSandbox::new([]);
    for status in ["302 Found", "307 Temporary Redirect"] {
        let stored = Stored::new();
        let answer: &'static str = format!("{status}\r\nLocation: http://{}/", elsewhere.address).leak();
        let sandbox = TestSandbox::new([Reply::Says(answer, "")]);
        let submissions = stored.submissions(settings(sandbox.url()));
        submissions.submit(&stored.store, stored.whole, Rules::default()).unwrap();
        submissions.sender().round(&mut |told| panic!("{told}")).unwrap();
        let state = only_state(&submissions);
        let wanted = format!(": {status}");
        assert!(matches!(&state, State::Waits { why, .. } if why.contains(&wanted)), "{state:?}");
    }
    assert_eq!(elsewhere.uploads().len(), 0);
}

#[test]
fn a_server_that_hangs_is_left_in_time() {
    let stored = Stored::new();
    let sandbox = TestSandbox::new([Reply::Hangs]);
    let mut short = settings(sandbox.url());
    short.targets[0].timeout = Duration::from_millis(300);
    let submissions = stored.submissions(short);
    submissions.submit(&stored.store, stored.whole, Rules::default()).unwrap();
    let begun = Instant::now();
    submissions.sender().round(&mut |told| panic!("{told}")).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20));
    let state = only_state(&submissions);
    assert!(matches!(&state, State::Waits { why, .. } if why.contains("timeout")), "{state:?}");
}

#[test]
fn a_folder_is_a_target_too() {
    let stored = Stored::new();
    let folder = stored.folder.path().join("dropped");
    fs::create_dir(&folder).unwrap();
    let sandbox = TestSandbox::new([]);
    let mut both = settings(sandbox.url());
    let kind = Kind::Folder { path: folder.clone(), json: false };
    both.targets.push(Target { name: TargetName::folder(), kind, timeout: Duration::from_secs(1) });
    let submissions = stored.submissions(both);
    let receipt = submissions.submit(&stored.store, stored.whole, Rules::default()).unwrap();
    assert!(receipt.to_string().contains(": queued for sandbox; queued for folder; "), "{receipt}");
    send(&submissions, 1);
    let name = format!("{}.exe", sha256(PROGRAM));
    assert_eq!(files(&folder).join(" "), name);
    assert_eq!(fs::read(folder.join(&name)).unwrap(), PROGRAM);
    assert_eq!(fs::metadata(folder.join(&name)).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(sandbox.uploads().len(), 1);
    // One that has gone waits, and the sandbox does not wait for it.
    fs::remove_dir_all(&folder).unwrap();
    let again = Rules { again: true, ..Rules::default() };
    submissions.submit(&stored.store, stored.whole, again).unwrap();
    submissions.sender().round(&mut |told| panic!("{told}")).unwrap();
    let (jobs, _) = submissions.jobs().unwrap();
    assert!(matches!(&jobs[0].state, State::Waits { why, .. } if why.contains("could not write")));
    assert!(matches!(jobs[1].state, State::Sent { .. }));
    assert_eq!(fs::metadata(stored.data().join("queue")).unwrap().permissions().mode() & 0o777, 0o700);
}

/// Puts bytes into a queue, without an object.
fn put(queue: &Queue, bytes: &[u8], room: u64) -> Result<Receipt, Error> {
    common::put(queue, bytes, "../x", &[Choice { target: TargetName::sandbox(), rule: String::new() }], room)
}

fn data() -> TestFolder {
    TestFolder::new("queue")
}

#[test]
fn the_queue_has_an_end() {
    let data = data();
    let queue = Queue::open(data.path()).unwrap();
    put(&queue, &[1; 60], 100).unwrap();
    // What is there already needs no room.
    put(&queue, &[1; 60], 100).unwrap();
    let refused = put(&queue, &[2; 60], 100).unwrap_err();
    assert!(matches!(refused, Error::Full { held: 60, size: 60, room: 100, .. }), "{refused}");
    assert_eq!(queue.jobs().unwrap().0.len(), 1);
    assert_eq!(files(&data.path().join("queue/content")).len(), 1);
    assert_eq!(files(&data.path().join("queue/incoming")).len(), 0);
    assert_eq!(queue.jobs().unwrap().0[0].extension, "x", "no path is made of it");
}

#[test]
fn two_processes_and_many_threads_take_each_content_once() {
    let data = data();
    // Locks are held by the file that was opened, so that two queues in one process are as two processes.
    let queues = [Queue::open(data.path()).unwrap(), Queue::open(data.path()).unwrap()];
    let new: usize = std::thread::scope(|scope| {
        let work = |queue: &Queue| (0..12u8).filter(|n| put(queue, &[*n; 1000], 1 << 20).unwrap().is_new()).count();
        let threads: Vec<_> = queues.iter().cycle().take(8).map(|queue| scope.spawn(move || work(queue))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(new, 12);
    for queue in &queues {
        assert_eq!(queue.jobs().unwrap().0.len(), 12);
    }
    assert_eq!(fs::read_to_string(data.path().join("queue/record")).unwrap().lines().count(), 12);
}

#[test]
fn one_process_sends() {
    let stored = Stored::new();
    let sandbox = TestSandbox::new([]);
    let (a, b) = (stored.submissions(settings(sandbox.url())), stored.submissions(settings(sandbox.url())));
    let (mut first, mut second) = (a.sender(), b.sender());
    assert!(first.round(&mut |_| {}).unwrap());
    b.submit(&stored.store, stored.whole, Rules::default()).unwrap();
    assert!(!second.round(&mut |_| {}).unwrap());
    assert!(first.round(&mut |_| {}).unwrap(), "what the other took in is seen");
    drop(first);
    assert!(second.round(&mut |_| {}).unwrap());
    assert_eq!(sandbox.uploads().len(), 1);
}

#[test]
fn a_record_cut_anywhere_loses_what_was_not_acknowledged_and_no_more() {
    let data = data();
    let queue = Queue::open(data.path()).unwrap();
    let record = data.path().join("queue/record");
    let mut ends = vec![0];
    for n in 0..3u8 {
        put(&queue, &[n; 10], 100).unwrap();
        ends.push(fs::metadata(&record).unwrap().len() as usize);
    }
    drop(queue);
    let bytes = fs::read(&record).unwrap();
    for cut in 0..=bytes.len() {
        fs::write(&record, &bytes[..cut]).unwrap();
        let queue = Queue::open(data.path()).unwrap();
        let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
        let (jobs, damaged) = queue.jobs().unwrap();
        assert_eq!((jobs.len(), damaged), (whole, 0), "cut at {cut}");
        assert!(put(&queue, &[9; 10], 100).unwrap().is_new());
        let (jobs, damaged) = Queue::open(data.path()).unwrap().jobs().unwrap();
        assert_eq!((jobs.len(), damaged), (whole + 1, 0), "cut at {cut}");
    }
}

#[test]
fn a_damaged_line_is_counted_and_copies_are_kept() {
    let stored = Stored::new();
    let sandbox = TestSandbox::new([Reply::Hangs]);
    let queue = Queue::open(&stored.data()).unwrap();
    put(&queue, b"abc", 100).unwrap();
    put(&queue, b"def", 100).unwrap();
    let record = stored.data().join("queue/record");
    let mut bytes = fs::read(&record).unwrap();
    bytes[20] ^= 1;
    fs::write(&record, bytes).unwrap();
    let mut none = settings(sandbox.url());
    none.targets.clear();
    let submissions = stored.submissions(none);
    let (jobs, damaged) = submissions.jobs().unwrap();
    assert_eq!((jobs.len(), damaged), (1, 1));
    submissions.sender().round(&mut |_| {}).unwrap();
    assert_eq!(files(&stored.data().join("queue/content")).len(), 2);
}

#[test]
fn what_a_killed_process_left_goes() {
    let stored = Stored::new();
    let sandbox = TestSandbox::new([]);
    let submissions = stored.submissions(settings(sandbox.url()));
    let queue = stored.data().join("queue");
    fs::write(queue.join("incoming/0123"), "half a cop").unwrap();
    // It has its place and no line: it was not acknowledged.
    fs::write(queue.join("content").join(sha256(b"x")), "x").unwrap();
    submissions.sender().round(&mut |_| {}).unwrap();
    assert_eq!((files(&queue.join("incoming")).len(), files(&queue.join("content")).len()), (0, 0));
    assert_eq!(sandbox.uploads().len(), 0);
}

#[test]
fn a_copy_that_cannot_be_read_for_a_while_is_tried_again() {
    let stored = Stored::new();
    let sandbox = TestSandbox::new([]);
    let submissions = stored.submissions(settings(sandbox.url()));
    submissions.submit(&stored.store, stored.whole, Rules::default()).unwrap();
    let copy = stored.data().join("queue/content").join(sha256(PROGRAM));
    let aside = stored.data().join("aside");
    fs::rename(&copy, &aside).unwrap();
    // Reading a folder fails, and not by being gone.
    fs::create_dir(&copy).unwrap();
    submissions.sender().round(&mut |told| panic!("{told}")).unwrap();
    assert_eq!(sandbox.uploads().len(), 0);
    fs::remove_dir(&copy).unwrap();
    fs::rename(&aside, &copy).unwrap();
    send(&submissions, 9);
    assert_eq!(sandbox.uploads()[0].content, PROGRAM);
}

#[test]
fn a_copy_that_was_changed_is_not_sent() {
    let stored = Stored::new();
    let sandbox = TestSandbox::new([]);
    let submissions = stored.submissions(settings(sandbox.url()));
    submissions.submit(&stored.store, stored.whole, Rules::default()).unwrap();
    fs::write(stored.data().join("queue/content").join(sha256(PROGRAM)), "something else").unwrap();
    let told = send(&submissions, 1);
    assert!(told[0].ends_with("the copy in the queue cannot be used: it is damaged"), "{told:?}");
    assert_eq!(sandbox.uploads().len(), 0);
    // Submitted again, the copy is made again.
    submissions.submit(&stored.store, stored.whole, Rules { again: true, ..Rules::default() }).unwrap();
    send(&submissions, 1);
    assert_eq!(sandbox.uploads()[0].content, PROGRAM);
}
