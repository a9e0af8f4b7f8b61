//! Processes that send, killed at random moments, with real receivers on the other side: nothing is lost, and nothing comes
//! twice where the receiver can be asked, or can tell a second try from a second submission.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::TestSandbox;
use sha2::{Digest, Sha256};
use streamdb_submit::{
    Choice, Job, Kind, Policy, Queue, Retry, Server, Settings, State, Submissions, Target, TargetName,
};
use streamdb_testkit::TestFolder;

const CONTENTS: usize = 25;
const KILLS: usize = 40;
/// What tells the sending process what to do.
const DATA: &str = "STREAMDB_TEST_DATA";
const WHERE: &str = "STREAMDB_TEST_WHERE";

fn settings(place: &str) -> Settings {
    let (kind, place) = place.split_once(' ').unwrap();
    let server = Server { url: place.to_owned(), field: "file".to_owned(), ..Server::default() };
    let kind = match kind {
        "cape" => Kind::Cape(server),
        "cuckoo" => Kind::Cuckoo(server),
        "post" => Kind::Post(server),
        "folder" => Kind::Folder { path: place.into(), json: true },
        _ => Kind::Command { words: vec![place.to_owned()] },
    };
    let target = Target { name: name(), kind, timeout: Duration::from_secs(60) };
    // What a killed process began has this long to come to its end at the receiver.
    let retry = Retry { tries: 1000, pause: Duration::from_millis(400), longest_pause: Duration::from_millis(400) };
    Settings { targets: vec![target], policy: Policy::default(), retry, room: 1 << 30 }
}

fn name() -> TargetName {
    TargetName::parse("there").unwrap()
}

/// No test, but the process that sends; it is killed.
#[test]
#[ignore = "the other tests run it as a process of its own"]
fn a_process_that_sends() {
    let (Ok(data), Ok(place)) = (std::env::var(DATA), std::env::var(WHERE)) else { return };
    let submissions = Submissions::open(Path::new(&data), settings(&place)).unwrap();
    submissions.sender().run(&mut |sentence| eprintln!("{sentence}"));
}

struct Case {
    folder: TestFolder,
    contents: BTreeMap<String, Vec<u8>>,
}

impl Case {
    /// A queue with contents of several sizes.
    fn new(name: &str) -> Self {
        let folder = TestFolder::new(name);
        let queue = Queue::open(folder.path()).unwrap();
        let mut contents = BTreeMap::new();
        for n in 0..CONTENTS {
            let content = format!("content {n} ").repeat(1 + n * n * 30).into_bytes();
            let choice = Choice { target: self::name(), rule: String::new() };
            common::put(&queue, &content, "bin", &[choice], 1 << 30).unwrap();
            contents.insert(sha256(&content), content);
        }
        Self { folder, contents }
    }

    fn start(&self, place: &str) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_process_that_sends", "--ignored", "--nocapture"]);
        command.env(DATA, self.folder.path()).env(WHERE, place).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    fn waiting(&self) -> usize {
        let (jobs, damaged) = Queue::open(self.folder.path()).unwrap().jobs().unwrap();
        assert_eq!((jobs.len(), damaged), (CONTENTS, 0));
        let failed = jobs.iter().find(|job| matches!(job.state, State::Failed { .. }));
        assert!(failed.is_none(), "{failed:?}");
        jobs.iter().filter(|job| matches!(job.state, State::Waits { .. })).count()
    }

    /// Sends all of it, by processes that are killed. Gives what the record says at the end, and how many kills there were
    /// while something waited.
    fn run(&self, place: &str, longest: u64) -> (Vec<Job>, usize) {
        let mut kills = 0;
        let begun = Instant::now();
        let random = |most: u64| u64::from(getrandom::u32().unwrap()) % most;
        while kills < KILLS && self.waiting() > 0 {
            let mut child = self.start(place);
            std::thread::sleep(Duration::from_millis(random(longest)));
            // SIGKILL.
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        }
        let mut child = self.start(place);
        while self.waiting() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(240), "{} still wait", self.waiting());
            std::thread::sleep(Duration::from_millis(50));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let queue = Queue::open(self.folder.path()).unwrap();
        (queue.jobs().unwrap().0, kills)
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn each_once(receiver: &TestSandbox, case: &Case, kind: &str, base: &str) {
    receiver.slow(Duration::from_millis(40));
    let (jobs, kills) = case.run(&format!("{kind} {base}"), 150);
    let mut got: Vec<String> = receiver.uploads().iter().map(common::Upload::sha256).collect();
    got.sort();
    assert_eq!(got, case.contents.keys().cloned().collect::<Vec<_>>(), "each content once");
    let [asked, there] = receiver.asked();
    eprintln!("{kind}: {CONTENTS} contents once each over {kills} kills; asked for {asked} times, there {there} times");
    assert!(there > 0, "of {kills} kills none came between the receiver's taking a content and our line");
    let links: BTreeSet<String> = jobs
        .iter()
        .map(|job| match &job.state {
            State::Sent { link, task, .. } => format!("{link} {task}"),
            state => panic!("{state:?}"),
        })
        .collect();
    assert_eq!(links.len(), CONTENTS, "each has the page of its own task: {links:?}");
}

#[test]
fn cape_gets_each_content_once() {
    let receiver = TestSandbox::new([]);
    each_once(&receiver, &Case::new("kills-cape"), "cape", &receiver.base());
}

#[test]
fn cuckoo_gets_each_content_once() {
    let receiver = TestSandbox::new([]);
    each_once(&receiver, &Case::new("kills-cuckoo"), "cuckoo", &receiver.base());
}

#[test]
fn a_server_can_tell_a_second_try_by_its_key() {
    let receiver = TestSandbox::new([]);
    receiver.slow(Duration::from_millis(40));
    let case = Case::new("kills-post");
    let (jobs, kills) = case.run(&format!("post {}", receiver.url()), 150);
    let mut keys: BTreeMap<String, String> = BTreeMap::new();
    let uploads = receiver.uploads();
    for upload in &uploads {
        let key = upload.header("idempotency-key").unwrap().to_owned();
        let known = keys.entry(key.clone()).or_insert_with(|| upload.sha256());
        assert_eq!(*known, upload.sha256(), "{key}");
    }
    let mut got: Vec<String> = keys.values().cloned().collect();
    got.sort();
    assert_eq!(got, case.contents.keys().cloned().collect::<Vec<_>>(), "each content under one key");
    let again = uploads.len() - CONTENTS;
    eprintln!("post: {CONTENTS} contents over {kills} kills, {again} second tries, each with the key of the first");
    assert!(again <= kills);
    let doubtful = |job: &&Job| matches!(&job.state, State::Sent { said, .. } if said.contains("may be there twice"));
    assert!(jobs.iter().filter(doubtful).count() > 0 || again == 0, "what may be there twice says so");
}

#[test]
fn a_folder_gets_each_content_whole_and_once() {
    let case = Case::new("kills-folder");
    let folder = TestFolder::new("kills-folder-target");
    let (_, kills) = case.run(&format!("folder {}", folder.path().display()), 60);
    let mut names: Vec<String> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    let wanted: Vec<String> =
        case.contents.keys().flat_map(|hash| [format!("{hash}.bin"), format!("{hash}.bin.json")]).collect();
    assert_eq!(names, wanted);
    for (hash, content) in &case.contents {
        assert_eq!(fs::read(folder.path().join(format!("{hash}.bin"))).unwrap(), *content);
        let about = fs::read_to_string(folder.path().join(format!("{hash}.bin.json"))).unwrap();
        assert!(about.starts_with("{\"oid\":\"1-2-3-") && about.contains(hash) && about.ends_with("}\n"), "{about}");
    }
    eprintln!("folder: {CONTENTS} contents over {kills} kills");
}

#[test]
fn a_program_is_told_which_try_it_is() {
    let case = Case::new("kills-command");
    let folder = TestFolder::new("kills-command-target");
    let (log, program) = (folder.path().join("log"), folder.path().join("take"));
    let script = format!(
        "#!/bin/sh\nset -e\nsha=$(sha256sum < \"$1\" | cut -c-64)\ngrep -q \"$sha\" || exit 9\n\
         echo \"$STREAMDB_KEY $STREAMDB_TRY $sha\" >> '{}'\nsleep 0.03\necho http://results.example/$sha\n",
        log.display()
    );
    executable(&program, &script);
    let (jobs, kills) = case.run(&format!("command {}", program.display()), 150);
    // What a killed process started may still be at work.
    std::thread::sleep(Duration::from_millis(300));
    let mut runs: BTreeMap<String, Vec<(u32, String)>> = BTreeMap::new();
    let log = fs::read_to_string(&log).unwrap();
    for line in log.lines() {
        let [key, tried, sha] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        runs.entry(key.to_owned()).or_default().push((tried.parse().unwrap(), sha.to_owned()));
    }
    let mut got = Vec::new();
    for (key, tries) in &runs {
        let numbers: BTreeSet<u32> = tries.iter().map(|(n, _)| *n).collect();
        assert_eq!(numbers.len(), tries.len(), "{key}: no two tries have one number: {tries:?}");
        assert!(tries.iter().all(|(_, sha)| *sha == tries[0].1 && key.starts_with(sha)), "{key}: {tries:?}");
        got.push(tries[0].1.clone());
    }
    got.sort();
    assert_eq!(got, case.contents.keys().cloned().collect::<Vec<_>>());
    for job in jobs {
        let page = format!("http://results.example/{}", job.hash);
        assert!(matches!(&job.state, State::Sent { link, .. } if *link == page), "{:?}", job.state);
    }
    let again = log.lines().count() - CONTENTS;
    eprintln!("command: {CONTENTS} contents over {kills} kills, {again} second tries, each with its own number");
}

fn executable(path: &PathBuf, script: &str) {
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
