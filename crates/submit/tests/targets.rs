//! Each kind of target: what it is given, what is made of its answer, and what happens when it is slow, full or wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Reply, TestSandbox};
use streamdb_submit::{
    Choice, Job, Kind, Policy, Queue, Retry, Server, Settings, State, Submissions, Target, TargetName,
};
use streamdb_testkit::TestFolder;

const CONTENT: &[u8] = b"MZ\x90\0\x03\0\0\0";

/// A queue with one content for a target of this kind.
struct Case {
    folder: TestFolder,
    settings: Settings,
    submissions: Submissions,
}

impl Case {
    fn new(kind: Kind) -> Self {
        Self::slow(kind, Duration::from_secs(20))
    }

    fn slow(kind: Kind, timeout: Duration) -> Self {
        let folder = TestFolder::new("targets");
        let target = Target { name: name(), kind, timeout };
        let retry = Retry { tries: 4, pause: Duration::from_millis(20), longest_pause: Duration::from_millis(20) };
        let settings = Settings { targets: vec![target], policy: Policy::default(), retry, room: 1 << 20 };
        let submissions = Submissions::open(folder.path(), settings.clone()).unwrap();
        let case = Self { folder, settings, submissions };
        case.put(CONTENT);
        case
    }

    /// The same, tried as this says.
    fn with(&self, retry: Retry) -> Submissions {
        Submissions::open(self.folder.path(), Settings { retry, ..self.settings.clone() }).unwrap()
    }

    fn put(&self, content: &[u8]) {
        let queue = Queue::open(self.folder.path()).unwrap();
        let choice = Choice { target: name(), rule: "r".to_owned() };
        common::put(&queue, content, "exe", &[choice], 1 << 30).unwrap();
    }

    /// Tries what is due, after the pause before.
    fn round(&self) -> Job {
        std::thread::sleep(Duration::from_millis(30));
        assert!(self.submissions.sender().round(&mut |_| ()).unwrap());
        self.job()
    }

    fn job(&self) -> Job {
        self.submissions.jobs().unwrap().0.remove(0)
    }
}

fn name() -> TargetName {
    TargetName::parse("there").unwrap()
}

fn server(url: String) -> Server {
    let pairs = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    Server {
        url,
        field: "file".to_owned(),
        fields: pairs("timeout", "200"),
        headers: pairs("Authorization", "Token s3cret"),
        ..Server::default()
    }
}

/// Why a job waits, and whether its target may have it.
fn waits(job: &Job) -> (String, bool) {
    match &job.state {
        State::Waits { why, .. } => (why.clone(), job.doubt),
        state => panic!("{state:?}"),
    }
}

fn sent(job: &Job) -> [String; 3] {
    match &job.state {
        State::Sent { said, link, task, .. } => [said.clone(), link.clone(), task.clone()],
        state => panic!("{state:?}"),
    }
}

#[test]
fn cape_gets_a_task_and_says_where_its_report_will_be() {
    let sandbox = TestSandbox::new([]);
    let case = Case::new(Kind::Cape(server(format!("{}/", sandbox.base()))));
    let job = case.round();
    let [_, link, task] = sent(&job);
    assert_eq!((link, task), (format!("{}/submit/status/1/", sandbox.base()), "1".to_owned()));
    let upload = &sandbox.uploads()[0];
    assert_eq!((upload.path.as_str(), upload.field.as_str()), ("/apiv2/tasks/create/file/", "file"));
    assert_eq!(upload.content, CONTENT);
    assert_eq!(upload.fields, [("timeout".to_owned(), "200".to_owned()), ("custom".to_owned(), job.key())]);
    assert_eq!(upload.header("authorization"), Some("Token s3cret"));
    assert_eq!(sandbox.asked(), [0, 0], "nothing was in doubt");
}

#[test]
fn cape_says_no_with_a_status_of_200() {
    let sandbox = TestSandbox::new([Reply::Says(
        "200 OK",
        "{\"error\": true, \"error_value\": \"File Create API is Disabled\"}",
    )]);
    let case = Case::new(Kind::Cape(server(sandbox.base())));
    let (why, _) = waits(&case.round());
    assert!(why.contains("File Create API is Disabled"), "{why}");
}

#[test]
fn a_try_without_an_answer_is_asked_about() {
    for kind in ["cape", "cuckoo"] {
        let sandbox = TestSandbox::new([Reply::Hangs]);
        let server = server(sandbox.base());
        let kind = if kind == "cape" { Kind::Cape(server) } else { Kind::Cuckoo(server) };
        let case = Case::slow(kind, Duration::from_millis(300));
        let (why, doubt) = waits(&case.round());
        assert!(doubt && why.contains("timeout"), "{why}");
        let [said, link, task] = sent(&case.round());
        assert!(said.contains("found there after a try that was broken off"), "{said}");
        assert!(task == "1" && link.ends_with("/1") || link.ends_with("/1/"), "{link}");
        assert_eq!((sandbox.uploads().len(), sandbox.asked()), (1, [1, 1]));
    }
}

#[test]
fn an_answer_that_leaves_doubt_is_asked_about_and_one_that_leaves_none_is_not() {
    for (status, asked) in [("502 Bad Gateway", 1), ("429 Too Many Requests\r\nRetry-After: 0", 0), ("302 Found", 0)] {
        let sandbox = TestSandbox::new([Reply::Says(status, "")]);
        let case = Case::new(Kind::Cape(server(sandbox.base())));
        waits(&case.round());
        sent(&case.round());
        // This server takes what it answers with an error, too.
        assert_eq!((sandbox.asked()[0], sandbox.uploads().len()), (asked, 2 - asked), "{status}");
    }
}

#[test]
fn nobody_there_leaves_no_doubt() {
    let address = TestSandbox::nowhere();
    let case = Case::new(Kind::Cape(server(format!("http://{address}"))));
    let (why, doubt) = waits(&case.round());
    assert!(!doubt, "{why}");
}

#[test]
fn cuckoo_gets_a_task() {
    let sandbox = TestSandbox::new([]);
    let page = Some("http://cuckoo-web/analysis/{}/".to_owned());
    let view = format!("{}/tasks/view/1", sandbox.base());
    for (page, wanted, id) in [(None, view, "1"), (page, "http://cuckoo-web/analysis/2/".to_owned(), "2")] {
        let case = Case::new(Kind::Cuckoo(Server { page, ..server(sandbox.base()) }));
        let [said, link, task] = sent(&case.round());
        assert_eq!((said, link, task.as_str()), (format!("200 OK: {{\"task_id\": {id}}}"), wanted, id));
    }
    let upload = &sandbox.uploads()[0];
    assert_eq!((upload.path.as_str(), upload.field.as_str()), ("/tasks/create/file", "file"));
    let owner = upload.field("owner").unwrap();
    assert!(owner.starts_with("streamdb-") && owner.len() <= 64, "{owner}");
}

#[test]
fn any_server_says_where_the_result_is() {
    let answer = Reply::Says("201 Created\r\nLocation: /results/9", "{\"data\": {\"id\": \"9\"}}");
    let sandbox = TestSandbox::new([answer.clone(), answer]);
    let case = Case::new(Kind::Post(Server { task: Some("/data/id".to_owned()), ..server(sandbox.url()) }));
    let job = case.round();
    let [_, link, task] = sent(&job);
    assert_eq!((link, task.as_str()), (format!("{}/results/9", sandbox.base()), "9"));
    let key = format!("\"{}\"", job.key());
    assert_eq!(sandbox.uploads()[0].header("idempotency-key"), Some(key.as_str()));
}

#[test]
fn a_second_try_of_what_may_be_there_says_so() {
    let sandbox = TestSandbox::new([Reply::Hangs]);
    let case = Case::slow(Kind::Post(server(sandbox.url())), Duration::from_millis(300));
    assert!(waits(&case.round()).1);
    let [said, ..] = sent(&case.round());
    assert!(said.ends_with("(an earlier try was broken off: it may be there twice)"), "{said}");
    let uploads = sandbox.uploads();
    assert_eq!(uploads.len(), 2);
    assert_eq!(uploads[0].header("idempotency-key"), uploads[1].header("idempotency-key"));
}

#[test]
fn a_server_that_asks_for_a_pause_gets_it() {
    let sandbox = TestSandbox::new([Reply::Says("429 Too Many Requests\r\nRetry-After: 2", "")]);
    let case = Case::new(Kind::Post(server(sandbox.url())));
    case.put(b"another");
    let begun = Instant::now();
    let mut sender = case.submissions.sender();
    while begun.elapsed() < Duration::from_millis(1500) {
        sender.round(&mut |told| panic!("{told}")).unwrap();
        assert_eq!(sandbox.uploads().len(), 1, "neither is sent: it said that it is too much for it");
        std::thread::sleep(Duration::from_millis(50));
    }
    while sandbox.uploads().len() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(60));
        sender.round(&mut |told| panic!("{told}")).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() >= Duration::from_secs(2));
}

#[test]
fn a_slow_target_keeps_no_other_waiting() {
    let slow = TestSandbox::new([]);
    slow.slow(Duration::from_secs(10));
    let folder = TestFolder::new("targets-fast");
    let target =
        |name: &str, kind| Target { name: TargetName::parse(name).unwrap(), kind, timeout: Duration::from_secs(30) };
    let targets = vec![
        target("slow", Kind::Post(server(slow.url()))),
        target("fast", Kind::Folder { path: folder.path().to_owned(), json: true }),
    ];
    let choices: Vec<Choice> =
        targets.iter().map(|target| Choice { target: target.name.clone(), rule: String::new() }).collect();
    let settings = Settings { targets, policy: Policy::default(), retry: Retry::default(), room: 1 << 20 };
    let data = TestFolder::new("targets-two");
    let queue = Queue::open(data.path()).unwrap();
    let put = |content: &[u8]| common::put(&queue, content, "", &choices, 1 << 20).unwrap().hash.to_string();
    let submissions = Submissions::open(data.path(), settings).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| submissions.sender().run(&mut |told| panic!("{told}")));
        // One that was there when both began, and one that came when the slow one was busy.
        for content in [CONTENT, b"another"] {
            let hash = put(content);
            let begun = Instant::now();
            while !folder.path().join(&hash).exists() {
                assert!(begun.elapsed() < Duration::from_secs(60));
                std::thread::sleep(Duration::from_millis(10));
            }
            assert_eq!(slow.uploads().len(), 0, "the fast one is done, and the slow one has not even got the first");
        }
        submissions.signal().stop();
    });
    assert_eq!(slow.uploads().len(), 1, "what was begun came to its end, and nothing else was begun");
}

#[test]
fn a_folder_has_json_beside_each_file() {
    let folder = TestFolder::new("targets-folder");
    let case = Case::new(Kind::Folder { path: folder.path().to_owned(), json: true });
    let job = case.round();
    let name = job.file_name();
    assert_eq!(sent(&job), [name.clone(), String::new(), String::new()]);
    assert_eq!(fs::read(folder.path().join(&name)).unwrap(), CONTENT);
    let json = fs::read_to_string(folder.path().join(format!("{name}.json"))).unwrap();
    let (hash, queued) = (job.hash, job.queued);
    // Of what was put into the queue without an object nothing more is known.
    let (sha1, md5) = ("6385d92a043c85f6825d642c67f54e44d3376c7a", "d8ff4b09182375e656a87b43f2b83704");
    let wanted = format!(
        "{{\"oid\":\"1-2-3-4\",\"sha256\":\"{hash}\",\"sha1\":\"{sha1}\",\"md5\":\"{md5}\",\"size\":8,\"complete\":true,\
         \"target\":\"there\",\"rule\":\"r\",\"queued\":\"{queued}\"}}\n"
    );
    assert_eq!(json, wanted);
    // What is sent is told nobody any more.
    assert_eq!(fs::read_dir(case.folder.path().join("queue/about")).unwrap().count(), 0);
}

/// Runs a script as a target's program.
fn command(script: &str, timeout: Duration) -> (Case, TestFolder) {
    let folder = TestFolder::new("targets-command");
    let program = folder.path().join("program");
    fs::write(&program, format!("#!/bin/sh\n{}\n", script.replace("OUT", folder.path().to_str().unwrap()))).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    (Case::slow(Kind::Command { words: vec![program.to_str().unwrap().to_owned()] }, timeout), folder)
}

fn read(folder: &TestFolder, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).unwrap()
}

#[test]
fn a_program_gets_the_file_and_the_json() {
    let script = "cp \"$1\" OUT/copy; cat > OUT/json; echo \"$1 $STREAMDB_TRY $STREAMDB_KEY $PWD\" > OUT/told; echo $#  > OUT/count
        echo https://results.example/7; echo more";
    let (case, folder) = command(script, Duration::from_secs(20));
    let job = case.round();
    let [said, link, _] = sent(&job);
    assert_eq!(
        (said.as_str(), link.as_str()),
        ("exit status 0: https://results.example/7 more", "https://results.example/7")
    );
    assert_eq!(fs::read(folder.path().join("copy")).unwrap(), CONTENT);
    assert!(read(&folder, "json").starts_with("{\"oid\":\"1-2-3-4\",\"sha256\":\""));
    let told = read(&folder, "told");
    let [file, tried, key, here] = told.trim().split(' ').collect::<Vec<_>>()[..] else { panic!("{told}") };
    let given = case.folder.path().join("queue/given/there");
    assert!(Path::new(here).parent() == Some(&given) && file == format!("{here}/{}", job.file_name()), "{told}");
    assert_eq!((tried, key), ("1", job.key().as_str()));
    assert_eq!(read(&folder, "count"), "1\n");
    assert_eq!(fs::read_dir(given).unwrap().count(), 0, "its copy is gone");
}

#[test]
fn the_exit_status_says_whether_it_is_tried_again() {
    let (case, folder) = command("echo $STREAMDB_TRY >> OUT/tries; echo no room >&2; exit 75", Duration::from_secs(20));
    let (why, doubt) = waits(&case.round());
    assert!(why.ends_with("/program: exit status 75: no room") && !doubt, "{why}");
    case.round();
    case.round();
    let job = case.round();
    assert!(matches!(&job.state, State::Failed { .. }) && job.tries == 4, "{job:?}");
    assert_eq!(read(&folder, "tries"), "1\n2\n3\n4\n");
    let (case, _folder) = command("echo no program at all; exit 65", Duration::from_secs(20));
    let job = case.round();
    assert!(
        matches!(&job.state, State::Failed { why, .. } if why.ends_with("exit status 65: no program at all")),
        "{job:?}"
    );
    let (case, _folder) = command("kill -SEGV $$", Duration::from_secs(20));
    let (why, doubt) = waits(&case.round());
    assert!(why.contains("killed by signal 11") && doubt, "{why}");
    let case = Case::new(Kind::Command { words: vec!["/nowhere/program".to_owned()] });
    let (why, _) = waits(&case.round());
    assert!(why.starts_with("/nowhere/program: could not be started: "), "{why}");
}

#[test]
fn what_was_left_and_cannot_be_removed_is_in_no_program_s_way() {
    let (case, folder) = command("cp \"$1\" OUT/copy", Duration::from_secs(2));
    let given = case.folder.path().join("queue/given/there");
    fs::create_dir_all(&given).unwrap();
    // No folder, and so it is not removed as one.
    let left = fs::File::create(given.join("left")).unwrap();
    left.set_modified(std::time::SystemTime::now() - Duration::from_secs(3600)).unwrap();
    sent(&case.round());
    assert_eq!(fs::read(folder.path().join("copy")).unwrap(), CONTENT);
}

#[test]
fn a_program_that_takes_too_long_is_killed_with_what_it_started() {
    let script = "sleep 600 & echo $! > OUT/child; (sleep 600; echo) & echo waiting >&2; wait";
    let (case, folder) = command(script, Duration::from_millis(500));
    let begun = Instant::now();
    let (why, doubt) = waits(&case.round());
    assert!(why.contains("not done after 0.5 s, and killed: waiting") && doubt, "{why}");
    assert!(begun.elapsed() < Duration::from_secs(60));
    let child = read(&folder, "child");
    let stat = Path::new("/proc").join(child.trim()).join("stat");
    // Whoever inherits it may not have looked yet.
    let gone = || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
    while !gone() {
        assert!(begun.elapsed() < Duration::from_secs(60), "its child still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_a_program_leaves_running_and_says_without_end_costs_nothing() {
    let begun = Instant::now();
    let (case, _folder) =
        command("sleep 600 & yes | head -c 20000000; yes | head -c 20000000 >&2", Duration::from_secs(60));
    let [said, ..] = sent(&case.round());
    assert!(said.len() <= 400 && said.starts_with("exit status 0: y y y "), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(50));
}

/// A server that reads the head of a request, and then does this.
fn after_head(work: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        work(socket);
    });
    format!("http://{address}/")
}

/// Sends a large content to a server that does this after the head, and gives what became of it and how long that took.
fn sent_large(work: impl FnOnce(TcpStream) + Send + 'static) -> (Job, Duration) {
    let case = Case::slow(Kind::Post(server(after_head(work))), Duration::from_secs(30));
    // In place of the small one, which is never tried.
    let (queue, large) = (Queue::open(case.folder.path()).unwrap(), vec![b'x'; 32 << 20]);
    queue.drop_failed(Some(&[])).unwrap();
    case.put(&large);
    let begun = Instant::now();
    (case.round(), begun.elapsed())
}

const TOO_LARGE: &[u8] = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 8\r\n\r\nno thanks";

#[test]
fn an_answer_that_comes_before_all_was_sent_is_the_answer() {
    // One that goes without reading what comes, so that the connection is reset; and one that stays, and reads nothing.
    let goes = |mut socket: TcpStream| socket.write_all(TOO_LARGE).unwrap();
    let stays = |mut socket: TcpStream| {
        socket.write_all(TOO_LARGE).unwrap();
        std::thread::sleep(Duration::from_secs(60));
    };
    let late = |mut socket: TcpStream| {
        socket.read_exact(&mut vec![0; 3 << 20]).unwrap();
        socket.write_all(TOO_LARGE).unwrap();
    };
    for (job, took) in [sent_large(goes), sent_large(stays), sent_large(late)] {
        let State::Failed { why, kept, .. } = &job.state else { panic!("{job:?}") };
        assert!(why.ends_with("before it had all of it, it said 413 Payload Too Large: no thank"), "{why}");
        assert!(!kept && job.tries == 1 && took < Duration::from_secs(20), "{took:?} {job:?}");
    }
}

#[test]
fn what_was_not_sent_whole_is_not_there_whatever_the_server_says() {
    let well = |mut socket: TcpStream| {
        socket.write_all(b"HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").unwrap();
    };
    let (why, doubt) = waits(&sent_large(well).0);
    assert!(doubt && why.contains("before it had all of it, it said 201 Created"), "{why}");
    // Nothing but the end of the connection.
    let (why, doubt) = waits(&sent_large(drop).0);
    assert!(
        doubt && ["closed by the server", "Broken pipe", "reset by peer"].iter().any(|said| why.contains(said)),
        "{why}"
    );
    // And half an answer.
    let half = |mut socket: TcpStream| socket.write_all(b"HTTP/1.1 413 Conte").unwrap();
    assert!(waits(&sent_large(half).0).1);
}

#[test]
fn an_interim_answer_is_not_the_answer() {
    for interim in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"] {
        let patient = move |mut socket: TcpStream| {
            socket.write_all(interim.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(100));
            socket.read_exact(&mut vec![0; 32 << 20]).unwrap();
            socket.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").unwrap();
            // Until the other side goes.
            let _ = socket.read_to_end(&mut Vec::new());
        };
        assert_eq!(sent(&sent_large(patient).0)[0], "200 OK: ok", "{interim}");
    }
}

#[test]
fn a_content_that_is_turned_away_again_and_again_keeps_no_other_waiting() {
    let turned_away = Reply::Says("403 Forbidden", "");
    let mut answers = vec![turned_away.clone(); 7];
    answers.extend([Reply::Says("200 OK", "{}"), turned_away]);
    let sandbox = TestSandbox::new(answers);
    let mut case = Case::new(Kind::Post(server(sandbox.url())));
    let (pause, longest_pause) = (Duration::from_millis(20), Duration::from_secs(600));
    case.submissions = case.with(Retry { tries: 30, pause, longest_pause });
    let mut sender = case.submissions.sender();
    let mut wait_for = |uploads: usize| {
        let begun = Instant::now();
        while sandbox.uploads().len() < uploads {
            assert!(begun.elapsed() < Duration::from_secs(60));
            sender.round(&mut |told| panic!("{told}")).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        begun.elapsed()
    };
    wait_for(7);
    // Now it is known that the server is there.
    case.put(b"another");
    wait_for(9);
    // The next try of the first one is more than a second away.
    case.put(b"third");
    let took = wait_for(10);
    assert!(took < Duration::from_millis(900), "{took:?}");
    let contents: Vec<Vec<u8>> = sandbox.uploads().into_iter().skip(7).map(|upload| upload.content).collect();
    assert_eq!(contents, [b"another".as_slice(), CONTENT, b"third"]);
}

#[test]
fn what_was_sent_and_could_not_be_written_down_is_not_sent_again() {
    let case = Case::new(Kind::Post(server("http://127.0.0.1:9/".to_owned())));
    let (lock, aside) = (case.folder.path().join("queue/lock"), case.folder.path().join("aside"));
    let (from, to) = (lock.clone(), aside.clone());
    // The server takes the way to the record as it takes the file, and is gone.
    let url = after_head(move |mut socket| {
        // All of the form: an answer before that is another matter.
        let mut form = Vec::new();
        while !form.ends_with(b"--\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            form.extend(byte);
        }
        fs::rename(&from, to).unwrap();
        fs::create_dir(from).unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let target = Target { name: name(), kind: Kind::Post(server(url)), timeout: Duration::from_secs(20) };
    let settings =
        Settings { targets: vec![target], policy: Policy::default(), retry: Retry::default(), room: 1 << 20 };
    let submissions = Submissions::open(case.folder.path(), settings).unwrap();
    let mut sender = submissions.sender();
    let refused = sender.round(&mut |told| panic!("{told}")).unwrap_err();
    assert!(refused.to_string().contains("could not open the lock"), "{refused}");
    fs::remove_dir(&lock).unwrap();
    fs::rename(aside, lock).unwrap();
    assert!(sender.round(&mut |told| panic!("{told}")).unwrap());
    let job = submissions.jobs().unwrap().0.remove(0);
    assert_eq!((sent(&job)[0].as_str(), job.tries), ("200 OK: ok", 1));
}
