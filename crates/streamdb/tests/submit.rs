//! Objects to a sandbox: the command, the server, and what is left when they are killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;
#[path = "../../submit/tests/common/mod.rs"]
mod sandbox;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Data, Server, json_lines, testdata, text, until, wait};
use sandbox::{Reply, TestSandbox};
use sha2::{Digest, Sha256};

struct Case {
    data: Data,
    /// An object, and its bytes.
    oid: String,
    bytes: Vec<u8>,
}

impl Case {
    fn new(name: &str) -> Self {
        let data = Data::with(name, &[&testdata("nginx-downloads", "capture.pcap")]);
        let row = data.streams(&["direction=c", "srcport=46378"]).remove(0);
        let oid = text(&row, "oid").to_owned();
        let bytes = data.get(&oid, &[]);
        Self { data, oid, bytes }
    }

    fn config(&self, url: &str) -> PathBuf {
        let config = format!("[submit]\nurl = \"{url}\"\npause = \"1s\"\nlongest_pause = \"1s\"\ntimeout = \"1m\"\n");
        self.data.write("streamdb.toml", config.as_bytes())
    }

    /// Runs the command with this sandbox.
    fn submit(&self, url: &str, arguments: &[&str]) -> String {
        let config = self.config(url);
        let said = self.data.run("submit", &[&["--config", config.to_str().unwrap()], arguments].concat());
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
        String::from_utf8(said.out).unwrap()
    }

    fn states(&self) -> Vec<String> {
        let rows = json_lines(&self.data.run("submit", &["--list", "--json"]).well());
        rows.iter().map(|row| text(row, "state").to_owned()).collect()
    }

    fn serve(&self, url: &str) -> Server {
        let config = self.config(url);
        Server::start_with(&self.data, &["--listen", "127.0.0.1:0", "--config", config.to_str().unwrap()])
    }
}

#[test]
fn the_command_submits_once_and_says_what_became_of_it() {
    let case = Case::new("submit-command");
    let sandbox = TestSandbox::new([]);
    assert_eq!(case.states(), [""; 0]);
    assert!(!case.data.path().join("queue").exists(), "who only asks leaves nothing behind");
    let said = case.submit(&sandbox.url(), &[&case.oid]);
    let hash: String = Sha256::digest(&case.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut lines = said.lines();
    let queued = format!("{}: queued for sandbox; {} bytes, sha256 {hash}", case.oid, case.bytes.len());
    assert_eq!(lines.next(), Some(queued.as_str()));
    let sent = lines.next().unwrap();
    assert!(sent.starts_with(&format!("{}: sent to sandbox at 20", case.oid)), "{sent}");
    assert!(sent.ends_with(": 200 OK: {\"task_id\": 7}"), "{sent}");
    let uploads = sandbox.uploads();
    assert!(uploads.len() == 1 && uploads[0].content == case.bytes && uploads[0].file_name == format!("{hash}.zip"));
    let said = case.submit(&sandbox.url(), &[&case.oid]);
    assert!(said.contains(": sandbox got it at 20") && said.lines().count() == 1, "{said}");
    assert_eq!((case.states(), sandbox.uploads().len()), (vec!["sent".to_owned()], 1));
    case.submit(&sandbox.url(), &["--again", &case.oid]);
    assert_eq!(sandbox.uploads().len(), 2);
}

#[test]
fn a_sandbox_that_is_down_gets_it_later() {
    let case = Case::new("submit-down");
    let address = TestSandbox::nowhere();
    let url = format!("http://{address}/");
    let said = case.submit(&url, &[&case.oid]);
    assert!(said.contains(": waits for sandbox, try 2 not before 20"), "{said}");
    assert_eq!(case.states(), ["waits"]);
    let sandbox = TestSandbox::at(address, []);
    // The server sends what the command left.
    let server = case.serve(&url);
    assert_eq!(sandbox.wait_for(1)[0].content, case.bytes);
    until("it is written down", || (case.states() == ["sent"]).then_some(()));
    drop(server);
    assert_eq!(sandbox.uploads().len(), 1);
}

#[test]
fn a_killed_sender_loses_nothing() {
    let case = Case::new("submit-killed");
    let sandbox = TestSandbox::new([Reply::Hangs, Reply::Hangs]);
    let config = case.config(&sandbox.url());
    let mut command = case.data.command("submit", &["--config", config.to_str().unwrap(), &case.oid]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // It is acknowledged and on its way, and nothing says yet that it came.
    sandbox.wait_for(1);
    child.kill().unwrap();
    wait(&mut child);
    assert_eq!(case.states(), ["waits"]);
    // The server too.
    let mut server = case.serve(&sandbox.url());
    sandbox.wait_for(2);
    server.child.kill().unwrap();
    wait(&mut server.child);
    assert_eq!(case.states(), ["waits"]);
    let _server = case.serve(&sandbox.url());
    let uploads = sandbox.wait_for(3);
    until("it is written down", || (case.states() == ["sent"]).then_some(()));
    assert!(uploads.iter().all(|upload| upload.content == case.bytes));
    assert_eq!(sandbox.uploads().len(), 3, "what was answered is not sent again");
}

#[test]
fn two_commands_at_once_submit_once() {
    let case = Case::new("submit-two");
    let sandbox = TestSandbox::new([]);
    let config = case.config(&sandbox.url());
    let command = || {
        let mut command = case.data.command("submit", &["--config", config.to_str().unwrap(), &case.oid]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut children: Vec<_> = (0..4).map(|_| command()).collect();
    assert!(children.iter_mut().all(|child| wait(child).success()));
    // One that came just too late to send it finds it sent, or leaves it to the one that sends.
    case.submit(&sandbox.url(), &["--send"]);
    assert_eq!((case.states(), sandbox.uploads().len()), (vec!["sent".to_owned()], 1));
}

#[test]
fn a_link_asks_and_the_page_submits() {
    let case = Case::new("submit-link");
    let sandbox = TestSandbox::new([]);
    let server = case.serve(&sandbox.url());
    let page = server.get(&format!("/submit?oid={}", case.oid));
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Submit this object?"), "{}", page.text());
    assert_eq!(case.states(), [""; 0]);
    let post = |origin: &str| {
        let form = format!("oid={}", case.oid);
        server.send(&format!(
            "POST /submit HTTP/1.1\r\nHost: {}\r\n{origin}Content-Length: {}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
            server.address,
            form.len()
        ))
    };
    assert_eq!(post("Origin: http://evil.example\r\n").status, 403);
    assert_eq!(case.states(), [""; 0]);
    let answer = post(&format!("Origin: http://{}\r\n", server.address));
    assert_eq!(answer.status, 200);
    assert!(answer.text().starts_with(&format!("{}: queued for sandbox; ", case.oid)), "{}", answer.text());
    assert_eq!(sandbox.wait_for(1)[0].content, case.bytes);
}

#[test]
fn a_target_says_where_its_result_is_and_everybody_is_told() {
    let case = Case::new("submit-cape");
    let sandbox = TestSandbox::new([]);
    let files = case.data.path().join("files");
    std::fs::create_dir(&files).unwrap();
    let config = format!(
        "[submit]\npause = \"1s\"\n[[submit.target]]\nname = \"our-cape\"\nkind = \"cape\"\nurl = \"{}\"\n\
         token = \"s3cret\"\n[[submit.target]]\nname = \"files\"\nkind = \"folder\"\npath = \"{}\"\n\
         [[submit.rule]]\nname = \"programs\"\nto = [\"our-cape\"]\nfilter = \"mime=*executable\"\n",
        sandbox.base(),
        files.display()
    );
    let config = case.data.write("streamdb.toml", config.as_bytes());
    let config = config.to_str().unwrap();
    let said = case.data.run("submit", &["--config", config, &case.oid]).well();
    let said = String::from_utf8(said).unwrap();
    let page = format!("{}/submit/status/1/", sandbox.base());
    assert!(said.contains(": queued for our-cape; queued for files; "), "{said}");
    assert!(
        said.contains(&format!("{}: sent to our-cape at 20", case.oid))
            && said.contains(&format!(", see {page}: 200 OK"))
    );
    assert_eq!(sandbox.uploads()[0].header("authorization"), Some("Token s3cret"));
    let again = String::from_utf8(case.data.run("submit", &["--config", config, &case.oid]).well()).unwrap();
    assert!(again.contains(&format!(", and gets nothing twice ({page}); files got it at 20")), "{again}");
    let list = String::from_utf8(case.data.run("submit", &["--list"]).well()).unwrap();
    assert!(list.contains(&format!(", see {page}: ")), "{list}");
    let rows = json_lines(&case.data.run("submit", &["--list", "--json"]).well());
    let row = rows.iter().find(|row| text(row, "target") == "our-cape").unwrap();
    assert_eq!((text(row, "link"), text(row, "task"), text(row, "state")), (page.as_str(), "1", "sent"));
    // Beside the file lies what is known of it.
    let hash: String = Sha256::digest(&case.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let about = std::fs::read(files.join(format!("{hash}.zip.json"))).unwrap();
    let about = &json_lines(&about)[0];
    assert_eq!(
        (text(about, "oid"), text(about, "sha256"), text(about, "target")),
        (case.oid.as_str(), hash.as_str(), "files")
    );
    assert_eq!((text(about, "mime"), &about["complete"]), ("application/zip", &true.into()));
    assert_eq!(text(about, "client").split(':').nth(1), Some("46378"));
    // The server says it on the object's page and in JSON.
    let server = Server::start_with(&case.data, &["--listen", "127.0.0.1:0", "--config", config]);
    let shown = server.send(&format!(
        "GET /streamdb/?sha256={hash} HTTP/1.1\r\nHost: {}\r\nAccept: text/html\r\nConnection: close\r\n\r\n",
        server.address
    ));
    let line = "<p class=\"note\">submitted to our-cape at 20";
    let link = format!(": <a href=\"{page}\" rel=\"noreferrer noopener\">{page}</a></p>");
    assert!(shown.text().contains(line) && shown.text().contains(&link), "{}", shown.text());
    assert!(shown.text().contains("<p class=\"note\">submitted to files at 20"), "{}", shown.text());
    let content = &json_lines(server.get(&format!("/api/v1/objects/{hash}")).text().as_bytes())[0];
    let submissions = content["submissions"].as_array().unwrap();
    assert_eq!(submissions.len(), 2);
    let cape = submissions.iter().find(|row| text(row, "target") == "our-cape").unwrap();
    assert_eq!((text(cape, "link"), text(cape, "task"), text(cape, "state")), (page.as_str(), "1", "sent"));
}

#[test]
fn a_program_finds_its_file_also_when_the_data_folder_has_a_relative_name() {
    let case = Case::new("submit-relative");
    let got = case.data.beside("got");
    let config =
        format!("[[submit.target]]\nname = \"copies\"\nkind = \"command\"\ncommand = [\"cp\", \"{{}}\", {got:?}]\n");
    let config = case.data.write("streamdb.toml", config.as_bytes());
    let data = case.data.path();
    let mut command = common::command(["submit", "--data", data.file_name().unwrap().to_str().unwrap()]);
    command.current_dir(data.parent().unwrap()).arg("--config").arg(config).arg(&case.oid);
    let said = command.output().unwrap();
    assert!(said.status.success(), "{said:?}");
    assert_eq!(std::fs::read(got).unwrap(), case.bytes);
    assert_eq!(case.states(), ["sent"]);
}

#[test]
fn what_rules_take_at_the_end_is_sent_at_the_end_and_what_waits_is_said() {
    let data = Data::new("submit-end");
    let files = data.beside("files");
    std::fs::create_dir(&files).unwrap();
    let nowhere = TestSandbox::nowhere();
    let config = format!(
        "[[submit.target]]\nname = \"files\"\nkind = \"folder\"\npath = {files:?}\n\
         [[submit.target]]\nname = \"down\"\nkind = \"post\"\nurl = \"http://{nowhere}/\"\n\
         [[submit.rule]]\nname = \"all\"\nto = [\"files\", \"down\"]\nfilter = \"kind=response\"\n"
    );
    let config = data.write("streamdb.toml", config.as_bytes());
    let config = config.to_str().unwrap();
    let said = data.ingest(&["--config", config], &[&testdata("imagedump", "capture.pcap")]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let rows = json_lines(&data.run("submit", &["--list", "--json"]).well());
    let of = |target: &str, state: &str| {
        rows.iter().filter(|row| (text(row, "target"), text(row, "state")) == (target, state)).count()
    };
    assert!(of("files", "sent") > 10);
    assert_eq!((of("files", "waits"), of("down", "waits")), (0, of("files", "sent")));
    let wanted =
        format!("streamdb: {} submissions still wait; whoever sends here next tries them again\n", of("down", "waits"));
    assert!(said.err.ends_with(&wanted), "{}", said.err);
    let down = format!(
        "down: this target takes nothing now; what is submitted there waits, and is tried again: http://{nowhere}/: "
    );
    assert_eq!(said.err.matches(&down).count(), 1, "{}", said.err);
    // So it is in the metrics, and on the page.
    let server = Server::start_with(&data, &["--listen", "127.0.0.1:0", "--config", config]);
    // Where the processor is busy it is not known at once.
    let metrics = until("it is in the metrics", || {
        Some(server.get("/metrics")).filter(|metrics| metrics.text().contains("streamdb_submissions{"))
    });
    for (target, state, count) in
        [("down", "waiting", of("down", "waits")), ("down", "sent", 0), ("files", "sent", of("files", "sent"))]
    {
        let wanted = format!("streamdb_submissions{{target=\"{target}\",state=\"{state}\"}} {count}\n");
        assert!(metrics.text().contains(&wanted), "{wanted}: {}", metrics.text());
    }
    let page = server.get("/status");
    let (waits, why) = (format!("{} waiting; <span", of("down", "waits")), format!("http://{nowhere}/: "));
    assert!(page.text().contains(&waits) && page.text().contains(&why), "{}", page.text());
    drop(server);
    // What waits for a target that is configured no more goes when that is asked for, and only then.
    let other = format!("[[submit.target]]\nname = \"files\"\nkind = \"folder\"\npath = {files:?}\n");
    let other = data.write("other.toml", other.as_bytes());
    let drop =
        |more: &[&str]| String::from_utf8(data.run("submit", &[&["--drop-failed"], more].concat()).well()).unwrap();
    assert_eq!(drop(&["--config", config]), "0 submissions were forgotten\n");
    let dropped = drop(&["--config", other.to_str().unwrap()]);
    assert_eq!(dropped, format!("{} submissions were forgotten\n", of("down", "waits")));
}

/// Stored, with a rule that wants an object submitted, and not derived; and the configuration.
fn to_derive(name: &str, sandbox: &TestSandbox) -> (Data, String) {
    let data = Data::new(name);
    data.ingest(&["--no-derive"], &[&testdata("nginx-downloads", "capture.pcap")]);
    let config = format!(
        "[[submit.target]]\nname = \"slow\"\nkind = \"post\"\nurl = \"{}\"\ntimeout = \"1m\"\n\
         [[submit.rule]]\nname = \"one\"\nto = [\"slow\"]\nfilter = \"mime=application/zip\"\n",
        sandbox.url()
    );
    let config = data.write("streamdb.toml", config.as_bytes());
    (data, config.to_str().unwrap().to_owned())
}

#[test]
fn who_derives_all_fails_when_it_is_asked_to_end_while_something_is_sent() {
    let sandbox = TestSandbox::new([Reply::Hangs, Reply::Hangs]);
    let (data, config) = to_derive("submit-once-asked", &sandbox);
    let mut command = data.command("derive", &["--once", "--config", &config]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    sandbox.wait_for(1);
    // All is derived by then, and what is sent is waited for.
    std::thread::sleep(Duration::from_secs(1));
    let begun = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.contains("asked to end before all was done")), (Some(1), true), "{said}");
    let rows = json_lines(&data.run("submit", &["--list", "--json"]).well());
    assert!(!rows.is_empty() && rows.iter().all(|row| text(row, "state") == "waits"), "{rows:?}");
}

#[test]
fn who_follows_lets_what_is_on_its_way_come_to_its_end() {
    let sandbox = TestSandbox::new([]);
    // Longer than the rest has.
    sandbox.slow(Duration::from_secs(4));
    let (data, config) = to_derive("submit-follow-asked", &sandbox);
    let mut child = data.command("derive", &["--config", &config]).stdout(Stdio::null()).spawn().unwrap();
    sandbox.wait_for(1);
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert!(wait(&mut child).success());
    let rows = json_lines(&data.run("submit", &["--list", "--json"]).well());
    assert_eq!(rows.iter().filter(|row| text(row, "state") == "sent").count(), 1, "{rows:?}");
}

#[test]
fn mistakes() {
    let case = Case::new("submit-mistakes");
    let run = |arguments: &[&str]| case.data.run("submit", arguments);
    let none = "no target is configured: give a file with --config that has a [[submit.target]], or [submit] with url or folder";
    assert_eq!(run(&[&case.oid]).sentence(), none);
    assert_eq!(run(&[]).code, Some(2));
    let config = case.config("http://127.0.0.1:1/");
    let said = run(&["--config", config.to_str().unwrap(), "7-134217728-5-0"]);
    assert_eq!(said.sentence(), "7-134217728-5-0: there is no such stream in this store");
    // Without a target the server says so.
    let server = Server::start(&case.data);
    let answer = server.get(&format!("/submit?oid={}", case.oid));
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("below [submit] in the configuration"), "{}", answer.text());
}
