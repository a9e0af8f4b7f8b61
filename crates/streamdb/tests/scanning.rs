//! Contents by lists of digests, clamd and rules: as they come, over what is there, and when somebody is killed meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::{Data, Made, Server, Talk, installed, json_lines, noise, testdata, text, until, wait};
use serde_json::Value;
use sha2::{Digest, Sha256};
use streamdb_storage::{DiskVolume, Parties, VerdictKeeper};

/// A file that every scanner is to know, and that harms nobody. In two pieces, so that this file is not taken for it.
const EICAR: [&str; 2] = [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR", "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"];

fn eicar() -> Vec<u8> {
    EICAR.concat().into_bytes()
}

/// A capture in which a server answers with each of these, in a connection of its own.
fn answers(bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut made = Made::default();
    for (n, body) in bodies.iter().enumerate() {
        let millis = n as u64 * 10;
        let mut talk = Talk::new(40_000 + n as u16);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        talk.open(&mut made, millis).ask(
            &mut made,
            millis,
            format!("GET /{n} HTTP/1.1\r\nHost: a.example\r\n\r\n").as_bytes(),
        );
        talk.answer(&mut made, millis + 1, &[head.as_bytes(), body].concat()).close(&mut made, millis + 2);
    }
    made.file()
}

fn bodies(seed: u32, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| noise(seed + n as u32, 300 + n * 50)).collect()
}

fn hex(sha256: &[u8]) -> String {
    sha256.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A server that speaks as clamd does, and counts what it was asked.
struct FakeClamd {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    pause: Arc<AtomicU64>,
}

impl FakeClamd {
    fn new() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let (seen, pause) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
        let (list, wait) = (Arc::clone(&seen), Arc::clone(&pause));
        thread::spawn(move || {
            for stream in listener.incoming() {
                // Who asks may be killed meanwhile.
                let _ = serve(&mut stream.unwrap(), &list, Duration::from_millis(wait.load(Ordering::Relaxed)));
            }
        });
        Self { address, seen, pause }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(stream: &mut TcpStream, seen: &Mutex<Vec<String>>, pause: Duration) -> std::io::Result<()> {
    let mut command = Vec::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        if byte[0] == 0 {
            break;
        }
        command.push(byte[0]);
    }
    if command == b"zVERSION" {
        return stream.write_all(b"ClamAV 1.0.0/1/Thu\0");
    }
    assert_eq!(command, b"zINSTREAM");
    let mut content = Vec::new();
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length == 0 {
            break;
        }
        let begin = content.len();
        content.resize(begin + length, 0);
        stream.read_exact(&mut content[begin..])?;
    }
    seen.lock().unwrap().push(sha256(&content));
    thread::sleep(pause);
    let found = content.windows(5).any(|window| window == b"EICAR");
    stream.write_all(if found { b"stream: Test.Eicar FOUND\0" } else { b"stream: OK\0" })
}

fn config(data: &Data, text: &str) -> String {
    data.write("streamdb.toml", format!("[scan]\n{text}\n").as_bytes()).to_str().unwrap().to_owned()
}

fn clamd_config(data: &Data, address: impl std::fmt::Display) -> String {
    config(data, &format!("clamd = \"{address}\"\npast = true"))
}

/// The contents of all objects, and how many objects have each.
fn contents(data: &Data) -> BTreeMap<String, usize> {
    let mut contents = BTreeMap::new();
    for row in data.json("objects", &[]) {
        if let Some(sha256) = row["sha256"].as_str() {
            *contents.entry(sha256.to_owned()).or_default() += 1;
        }
    }
    contents
}

/// Those of them that clamd is asked about: in nothing there is nothing to find.
fn asked_about(data: &Data) -> Vec<String> {
    contents(data).into_keys().filter(|content| *content != sha256(b"")).collect()
}

fn verdicts(row: &Value) -> Vec<&str> {
    row["verdicts"].as_array().map_or(Vec::new(), |all| all.iter().map(|verdict| verdict.as_str().unwrap()).collect())
}

#[test]
fn a_digest_on_a_list_is_found_as_it_comes_and_shown_everywhere() {
    let data = Data::new("scan-list");
    let bad = "ec2a3622af18a8dfad692c3e7a81ca1b069cbb71d47be31ff227185213251e9c";
    data.write("bad.txt", format!("# known\n{bad}  dropper\n").as_bytes());
    let config = config(&data, &format!("hash_lists = [{:?}]", data.beside("bad.txt")));
    let said = data.ingest(&["--config", &config], &[&testdata("imagedump", "capture.pcap")]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let contents = contents(&data);
    assert_eq!(said.err, format!("streamdb: {} contents scanned, something was found in 1\n", contents.len()));
    let found: Vec<Value> = data.json("objects", &[]).into_iter().filter(|row| row.get("verdicts").is_some()).collect();
    assert!(!found.is_empty() && found.iter().all(|row| text(row, "sha256") == bad));
    assert_eq!(verdicts(&found[0]), ["hash-list:bad.txt"]);

    let server = Server::start(&data);
    let shown: Value = serde_json::from_str(server.get(&format!("/api/v1/objects/{bad}")).text()).unwrap();
    assert_eq!(
        shown["verdicts"],
        serde_json::json!([{"scanner": "hash-list", "name": "bad.txt", "details": "dropper"}])
    );
    assert_eq!(verdicts(&shown["rows"][0]), ["hash-list:bad.txt"]);
    let listed: Value = serde_json::from_str(server.get(&format!("/api/v1/objects?sha256={bad}")).text()).unwrap();
    assert_eq!(verdicts(&listed["rows"][0]), ["hash-list:bad.txt"]);

    // And found by it: on the command line, as JSON, line by line, and on the page.
    for (term, wanted) in [
        ("verdict=bad*", found.len()),
        ("verdict=*", found.len()),
        ("verdict=hash-list:BAD.txt", found.len()),
        ("verdict=yara:*,nobody", 0),
        ("verdict=!*", data.json("objects", &[]).len() - found.len()),
    ] {
        let rows = data.json("objects", &[term]);
        assert_eq!(rows.len(), wanted, "{term}");
        assert!(wanted != found.len() || rows.iter().all(|row| text(row, "sha256") == bad), "{term}");
        let listed = server.get(&format!("/api/v1/objects?{term}&limit=1000"));
        let listed: Value = serde_json::from_str(listed.text()).unwrap();
        assert_eq!(listed["rows"], Value::Array(rows), "{term}");
    }
    assert_eq!(data.json("objects", &["verdict=bad*", "mime=*executable", "dstport=80"]).len(), found.len());
    assert_eq!(data.json("objects", &["verdict=bad*", "dstport=81"]).len(), 0);
    assert_eq!(data.json("streams", &["verdict=bad*"]).len(), found.len());
    let lines = String::from_utf8(data.run("objects", &["verdict=bad*"]).well()).unwrap();
    assert_eq!(lines.lines().filter(|line| line.ends_with(" [hash-list:bad.txt]")).count(), found.len(), "{lines}");
    let page = server.get("/streamdb/?verdict=bad*&as_text=1");
    assert!(page.text().starts_with("Returning 1 of 1"), "{}", page.text());
    let said = data.run("objects", &["verdict=yara"]);
    assert!(
        said.err.starts_with("streamdb: verdict: \"yara\" is not accepted; it takes names of rules"),
        "{}",
        said.err
    );
    data.is_well();
}

#[test]
fn where_nobody_has_scanned_there_are_no_verdicts_and_no_complaints() {
    let data = Data::new("scan-nobody");
    data.ingest(&[], &[&data.write("made.pcap", &answers(&bodies(1, 3)))]).well();
    assert_eq!(data.json("objects", &["verdict=*"]).len(), 0);
    assert_eq!(data.json("objects", &["verdict=!*"]).len(), data.json("objects", &[]).len());
    assert!(!data.path().join("derived/verdicts").exists());
}

#[test]
fn each_content_is_looked_at_once_also_when_it_comes_again() {
    let data = Data::new("scan-once");
    let clamd = FakeClamd::new();
    let mut first = bodies(1, 6);
    first.extend([first[0].clone(), eicar()]);
    let config = clamd_config(&data, clamd.address);
    let one = data.write("one.pcap", &answers(&first));
    let two = data.write("two.pcap", &answers(&[first, bodies(100, 3)].concat()));
    for file in [&one, &two] {
        let said = data.ingest(&["--config", &config, "--again"], &[file.as_path()]);
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    let mut seen = clamd.seen();
    seen.sort();
    assert_eq!(seen, asked_about(&data), "each once");
    let rows = data.json("objects", &[&format!("sha256={}", sha256(&eicar()))]);
    assert!(rows.len() == 2 && rows.iter().all(|row| verdicts(row) == ["clamd:Test.Eicar"]), "{rows:?}");
}

/// `testdata/joins`.
#[test]
fn joined_contents_that_are_certain_are_looked_at_once_and_no_others() {
    let data = Data::new("scan-joined");
    let (clamd, hunted) = (FakeClamd::new(), FakeClamd::new());
    let config = clamd_config(&data, clamd.address);
    let said = data.ingest(&["--config", &config], &[&testdata("joins", "capture.pcap.zst")]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(data.run("hunt", &["--clamd", &hunted.address.to_string()]).code, Some(0));
    let mut states = BTreeMap::new();
    for join in data.json("joins", &[]) {
        let Some(digest) = join["sha256"].as_str() else { continue };
        let state = join["state"].as_str().unwrap();
        *states.entry(state.to_owned()).or_insert(0) += 1;
        for seen in [clamd.seen(), hunted.seen()] {
            let times = seen.iter().filter(|seen| *seen == digest).count();
            assert_eq!(times, usize::from(state == "complete"), "{join}");
        }
    }
    assert!(states["complete"] > 5 && states["candidate"] > 0 && states["conflicting"] > 0, "{states:?}");
}

/// Whoever goes on at a time that is said has everything in the end: what is joined has no place in that order, and comes first.
#[test]
fn a_hunt_that_was_told_to_end_says_a_time_only_behind_what_is_joined() {
    let data = Data::with("scan-hunt-ends", &[&testdata("joins", "capture.pcap.zst")]);
    let joined: Vec<String> =
        data.json("joins", &["incomplete=0"]).iter().map(|join| join["sha256"].as_str().unwrap().to_owned()).collect();
    for behind in [1, joined.len() + 2] {
        let clamd = FakeClamd::new();
        clamd.pause.store(100, Ordering::Relaxed);
        let mut command = data.command("hunt", &["--clamd", &clamd.address.to_string()]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        until("it looks", || (clamd.seen().len() >= behind).then_some(()));
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let said = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
        assert!(said.contains("; it was told to end"), "{said}");
        let all = joined.iter().all(|digest| clamd.seen().contains(digest));
        assert_eq!((all, said.contains("start=")), (behind > 1, behind > 1), "{said}");
    }
}

#[test]
fn what_was_only_handed_on_is_looked_at_by_the_scanners_that_come_later() {
    let data = Data::new("scan-later");
    let files = data.beside("files");
    std::fs::create_dir(&files).unwrap();
    let submit = format!(
        "[[submit.target]]\nname = \"files\"\nkind = \"folder\"\npath = {files:?}\n\
         [[submit.rule]]\nname = \"all\"\nto = [\"files\"]\nfilter = \"\"\n"
    );
    let bodies = [bodies(1, 4), vec![eicar()]].concat();
    let file = data.write("made.pcap", &answers(&bodies));
    let ingest = |scan: &str| {
        let config = data.write("streamdb.toml", format!("{scan}\n{submit}").as_bytes());
        let said = data.ingest(&["--config", config.to_str().unwrap(), "--again"], &[&file]);
        assert_eq!(said.code, Some(0), "{said:?}");
    };
    ingest("");
    assert!(std::fs::read_dir(&files).unwrap().count() >= bodies.len(), "they are handed on");
    let clamd = FakeClamd::new();
    let scan = format!("[scan]\nclamd = \"{}\"", clamd.address);
    let contents = asked_about(&data);
    for _ in 0..2 {
        ingest(&scan);
        let mut seen = clamd.seen();
        seen.sort();
        assert_eq!(seen, contents, "each once, now that there is who looks");
    }
    // A list is asked each time, and clamd is not asked again; what clamd said stays.
    let list = data.write("bad.txt", format!("{}\n", sha256(&eicar())).as_bytes());
    ingest(&format!("{scan}\nhash_lists = [{list:?}]"));
    assert_eq!(clamd.seen().len(), contents.len());
    let rows = data.json("objects", &[&format!("sha256={}", sha256(&eicar()))]);
    assert!(rows.iter().all(|row| verdicts(row) == ["clamd:Test.Eicar", "hash-list:bad.txt"]), "{rows:?}");
}

#[test]
fn what_a_process_without_rules_scans_waits_for_one_that_has_them() {
    let data = Data::new("scan-without-rules");
    let files = data.beside("files");
    std::fs::create_dir(&files).unwrap();
    let list = data.write("bad.txt", format!("{}\n", sha256(&eicar())).as_bytes());
    let scan = format!("[scan]\nhash_lists = [{list:?}]\n");
    let rules = format!(
        "{scan}[[submit.target]]\nname = \"files\"\nkind = \"folder\"\npath = {files:?}\n\
         [[submit.rule]]\nname = \"bad\"\nto = [\"files\"]\nfirst_seen = true\nverdict = [\"hash-list:*\"]\n"
    );
    let config = |text: &str| data.write("streamdb.toml", text.as_bytes()).to_str().unwrap().to_owned();
    let ingest = |text: &str, name: &str, bodies: &[Vec<u8>]| {
        let said = data.ingest(&["--config", &config(text)], &[&data.write(name, &answers(bodies))]);
        assert_eq!(said.code, Some(0), "{said:?}");
    };
    ingest(&rules, "one.pcap", &bodies(1, 3));
    ingest(&scan, "two.pcap", &[bodies(50, 3), vec![eicar()]].concat());
    assert_eq!(data.json("objects", &["verdict=hash-list:*"]).len(), 1);
    assert_eq!(std::fs::read_dir(&files).unwrap().count(), 0);
    let said = data.run("derive", &["--once", "--config", &config(&rules)]);
    assert_eq!(said.err, "streamdb: 0 contents scanned, something was found in 0\n");
    let names: Vec<_> = std::fs::read_dir(&files).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().any(|name| name.to_string_lossy().contains(&sha256(&eicar()))), "{names:?}");
    let stats = data.run("stats", &[]);
    assert!(String::from_utf8_lossy(&stats.out).contains("\n1 content with a verdict\n"), "{stats:?}");
}

#[test]
fn what_was_there_before_is_left_to_hunt_unless_it_is_asked_for() {
    let data = Data::new("scan-past");
    let (old, new) = (bodies(1, 3), bodies(50, 2));
    data.ingest(&[], &[&data.write("old.pcap", &answers(&old))]).well();
    let clamd = FakeClamd::new();
    let config = config(&data, &format!("clamd = \"{}\"", clamd.address));
    let said = data.ingest(&["--config", &config], &[&data.write("new.pcap", &answers(&new))]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let seen = clamd.seen();
    assert!(new.iter().all(|body| seen.contains(&sha256(body))), "{seen:?}");
    assert!(!old.iter().any(|body| seen.contains(&sha256(body))), "{seen:?}");
}

#[test]
fn a_kill_costs_no_content_and_repeats_none_that_is_known() {
    let data = Data::new("scan-kills");
    let file = data.write("made.pcap", &answers(&bodies(7, 60)));
    data.ingest(&[], &[&file]).well();
    let contents = contents(&data);
    let oids: BTreeMap<String, streamdb_types::Oid> = data
        .json("objects", &[])
        .iter()
        .filter_map(|row| Some((row["sha256"].as_str()?.to_owned(), text(row, "oid").parse().unwrap())))
        .collect();
    let clamd = FakeClamd::new();
    clamd.pause.store(5, Ordering::Relaxed);
    let config = clamd_config(&data, clamd.address);
    let mut kills = 0;
    let mut checked = 0;
    let known = || -> BTreeSet<String> {
        let keeper = VerdictKeeper::open(&data.path(), Arc::new(DiskVolume), Parties::new(2, false))
            .unwrap()
            .expect("nobody scans");
        let is_known = |sha256: &&String| {
            let bytes: Vec<u8> = (0..32).map(|n| u8::from_str_radix(&sha256[2 * n..2 * n + 2], 16).unwrap()).collect();
            keeper.known(&bytes.try_into().unwrap(), oids[*sha256]).is_some()
        };
        contents.keys().filter(is_known).cloned().collect()
    };
    let mut all_known = BTreeSet::new();
    while all_known.len() < contents.len() {
        let mut child = start(&data, &config);
        // At another moment each time, and each time behind at least one content more.
        let goal = clamd.seen().len() + 1 + kills % 4;
        let done = until("it scans", || {
            let ended = child.try_wait().unwrap();
            (clamd.seen().len() >= goal || ended.is_some()).then_some(ended)
        });
        if done.is_none() {
            thread::sleep(Duration::from_millis(kills as u64 % 8));
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        }
        let seen = clamd.seen();
        let again = seen[checked..].iter().find(|sha256| all_known.contains(*sha256));
        assert_eq!(again, None, "known, and scanned again after {kills} kills");
        checked = seen.len();
        all_known = known();
        assert!(kills < 200);
    }
    assert!(kills > 10, "{kills}");
    let seen = clamd.seen();
    assert!(asked_about(&data).iter().all(|sha256| seen.contains(sha256)));
    assert!(seen.len() <= contents.len() + kills, "{} scans of {} in {kills} kills", seen.len(), contents.len());
    let said = data.run("derive", &["--once", "--config", &config]);
    assert_eq!(said.err, "streamdb: 0 contents scanned, something was found in 0\n");
    assert_eq!(clamd.seen().len(), seen.len());
}

fn start(data: &Data, config: &str) -> Child {
    let mut command = data.command("derive", &["--once", "--config", config]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn contents_wait_for_a_clamd_that_is_down() {
    let data = Data::new("scan-down");
    // Nobody listens there by now.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = clamd_config(&data, address);
    let said =
        data.ingest(&["--config", &config], &[&data.write("made.pcap", &answers(&[eicar(), b"harmless".to_vec()]))]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let wanted = format!(
        "streamdb: clamd at {address}: no connection: Connection refused (os error 111); what is not scanned yet is when somebody \
         scans here again\nstreamdb: 0 contents scanned, something was found in 0\n"
    );
    // It may have been met before the end, too.
    assert!(said.err.ends_with(&wanted), "{}", said.err);
    let mut child =
        data.command("derive", &["--config", &config]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    thread::sleep(Duration::from_millis(500));
    let clamd = FakeClamd::on(TcpListener::bind(address).unwrap());
    let found = format!("sha256={}", sha256(&eicar()));
    until("it is found", || {
        let rows = data.json("objects", &[&found]);
        (verdicts(&rows[0]) == ["clamd:Test.Eicar"]).then_some(())
    });
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert!(wait(&mut child).success());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.len() == 2 && lines[0].ends_with("contents wait until that works, and it is tried again"), "{said}");
    assert_eq!(lines[1], "streamdb: contents are scanned again");
    assert_eq!(clamd.seen().len(), asked_about(&data).len());
}

/// A real clamd with a database of its own, until the end of the test.
struct RealClamd {
    child: Child,
    socket: PathBuf,
}

impl RealClamd {
    fn start(data: &Data, stream_max: &str) -> Option<Self> {
        let program = ["/usr/sbin/clamd", "/usr/bin/clamd", "/usr/local/sbin/clamd"].map(Path::new);
        let Some(program) = program.into_iter().find(|path| path.is_file()) else {
            assert!(!installed("clamd"), "clamd is where it was not looked for");
            return None;
        };
        let folder = data.beside("clamd");
        std::fs::create_dir(&folder).unwrap();
        // By a part of its bytes, anywhere in a file of any kind.
        let pattern = hex(&eicar()[30..60]);
        std::fs::write(folder.join("own.ndb"), format!("Own.Eicar:0:*:{pattern}\n")).unwrap();
        let socket = folder.join("ctl");
        let config = format!(
            "LocalSocket {}\nDatabaseDirectory {}\nForeground yes\nStreamMaxLength {stream_max}\nUser {}\n",
            socket.display(),
            folder.display(),
            user()
        );
        std::fs::write(folder.join("clamd.conf"), config).unwrap();
        let mut command = Command::new(program);
        command.arg("-c").arg(folder.join("clamd.conf")).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        until("clamd listens", || {
            assert_eq!(child.try_wait().unwrap(), None, "clamd ended");
            socket.exists().then_some(())
        });
        Some(Self { child, socket })
    }
}

impl Drop for RealClamd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn user() -> String {
    let said = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_real_clamd_finds_its_test_file() {
    let data = Data::new("scan-clamd");
    let Some(clamd) = RealClamd::start(&data, "100K") else { return };
    let large = noise(3, 300_000);
    let file = data.write("made.pcap", &answers(&[b"harmless".to_vec(), eicar(), large.clone()]));
    let config = clamd_config(&data, clamd.socket.display());
    let said = data.ingest(&["--config", &config], &[&file]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let found: Vec<Value> = data.json("objects", &[]).into_iter().filter(|row| !verdicts(row).is_empty()).collect();
    let shown: Vec<_> = found.iter().map(|row| (text(row, "sha256").to_owned(), verdicts(row)[0])).collect();
    assert_eq!(shown, [(sha256(&eicar()), "clamd:Own.Eicar.UNOFFICIAL")], "{}", said.err);
    // What it does not take whole counts as looked into in part.
    let said = data.run("hunt", &["--clamd", clamd.socket.to_str().unwrap(), "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let rows = json_lines(&said.out);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["found"][0]["name"], "Own.Eicar.UNOFFICIAL");
    assert!(said.err.contains("; 1 content too large or too slow to be looked into whole\n"), "{}", said.err);
}

#[test]
fn a_hunt_looks_into_each_content_once_and_lists_all_who_had_it() {
    let data = Data::new("scan-hunt");
    let bad = b"this one is known".to_vec();
    let made = [bodies(9, 4), vec![bad.clone(), eicar(), bad.clone()]].concat();
    data.ingest(&[], &[&data.write("made.pcap", &answers(&made))]).well();
    let list = data.write("bad.txt", format!("{}\n", sha256(&bad)).as_bytes());
    let list = list.to_str().unwrap();
    let clamd = FakeClamd::new();
    let address = clamd.address.to_string();
    let hunt = |more: &[&str]| {
        let said = data.run("hunt", &[&["--hash-list", list, "--clamd", &address, "--json"], more].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
        (json_lines(&said.out), said.err)
    };
    let (rows, said) = hunt(&[]);
    let of = |row: &Value| (text(row, "uri").to_owned(), verdicts(row).join(" "));
    let shown: Vec<_> = rows.iter().map(of).collect();
    let wanted = [("/4", "hash-list:bad.txt"), ("/5", "clamd:Test.Eicar"), ("/6", "hash-list:bad.txt")];
    assert_eq!(shown, wanted.map(|(uri, found)| (uri.to_owned(), found.to_owned())));
    let contents = contents(&data);
    let objects: usize = data.json("objects", &[]).len();
    assert_eq!(
        said,
        format!("streamdb: {} contents of {objects} objects looked into; 3 objects match\n", contents.len())
    );
    let mut seen = clamd.seen();
    seen.sort();
    assert_eq!(seen, asked_about(&data));
    // A part of the time, and of the objects.
    let after = text(&rows[1], "start").to_owned();
    assert_eq!(hunt(&["--start", &after]).0.len(), 2);
    assert_eq!(hunt(&["--end", &after, "kind=response"]).0.len(), 2);
    assert_eq!(hunt(&["srcport=40005"]).0.len(), 1);
    // Without clamd nothing is read, and without --json it is text.
    let said = data.run("hunt", &["--hash-list", list]);
    let printed = String::from_utf8(said.out).unwrap();
    assert_eq!(printed.lines().count(), 2, "{printed}");
    assert!(printed.contains(" hash-list:bad.txt 10.0.0.5:40004 <- ") && printed.contains(&sha256(&bad)), "{printed}");
}

#[test]
fn mistakes_are_one_sentence() {
    let data = Data::new("scan-mistakes");
    let made = data.write("made.pcap", &answers(&[b"x".to_vec()]));
    let bad = data.write("bad.txt", b"# list\nnonsense\n");
    let bad = bad.to_str().unwrap();
    let ingest = |text: &str| {
        let config = config(&data, text);
        data.ingest(&["--config", &config], &[&made]).sentence().to_owned()
    };
    let line = format!(
        "{bad}, line 2: there is no digest here; a line begins with the 32, 40 or 64 hex digits of an MD5, SHA-1 or SHA-256, or \
         with #"
    );
    assert_eq!(ingest(&format!("hash_lists = [{bad:?}]")), line);
    let gone = "/nowhere/list: these digests cannot be read: No such file or directory (os error 2)";
    assert_eq!(ingest("hash_lists = [\"/nowhere/list\"]"), gone);
    data.ingest(&["--again"], &[&made]).well();
    let hunt = |arguments: &[&str]| data.run("hunt", arguments).sentence().to_owned();
    assert_eq!(hunt(&["--hash-list", bad]), line);
    let gone = "clamd at /nowhere/ctl: no connection: No such file or directory (os error 2)";
    assert_eq!(hunt(&["--clamd", "/nowhere/ctl"]), gone);
    assert_eq!(hunt(&["host=a"]), "nothing to hunt for: name rule files or folders, --hash-list or --clamd");
    let rules = hunt(&["/nowhere/rules.yar"]);
    if cfg!(feature = "yara") {
        assert_eq!(rules, "/nowhere/rules.yar: these rules cannot be read: No such file or directory (os error 2)");
        let bad = data.write("bad.yar", b"rule a {\n condition: nonsense\n}\n");
        let said = hunt(&[bad.to_str().unwrap()]);
        assert!(said.starts_with(&format!("{}, line 2: ", bad.display())), "{said}");
    } else {
        assert!(
            rules.starts_with("/nowhere/rules.yar: this streamdb has no engine for rules of YARA; build it with"),
            "{rules}"
        );
        assert_eq!(ingest("rules = [\"/nowhere/rules.yar\"]"), rules);
    }
}

#[cfg(feature = "yara")]
#[test]
fn rules_find_what_they_describe() {
    let data = Data::new("scan-yara");
    let rules = data.beside("rules");
    std::fs::create_dir(&rules).unwrap();
    std::fs::write(
        rules.join("own.yar"),
        "import \"pe\"\nrule packed_program : upx { strings: $upx = \"UPX0\" condition: pe.is_pe and $upx }\n",
    )
    .unwrap();
    let config = config(&data, &format!("rules = [{rules:?}]"));
    let said = data.ingest(&["--config", &config], &[&testdata("imagedump", "capture.pcap")]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let found: Vec<Value> = data.json("objects", &[]).into_iter().filter(|row| !verdicts(row).is_empty()).collect();
    let bad = "ec2a3622af18a8dfad692c3e7a81ca1b069cbb71d47be31ff227185213251e9c";
    assert!(!found.is_empty() && found.iter().all(|row| text(row, "sha256") == bad), "{found:?}");
    assert_eq!(verdicts(&found[0]), ["yara:packed_program"]);
    let rows = json_lines(&data.run("hunt", &[rules.to_str().unwrap(), "--json"]).out);
    assert_eq!(rows.len(), found.len());
    assert_eq!(rows[0]["found"][0]["details"], "own.yar upx");
}
