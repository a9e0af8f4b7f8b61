//! Captures that appear as files in a folder while a sensor runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use common::{
    Capturing, Data, Made, Pair, Sensor, Served, Server, Talk, free_port, head, installed, json_lines, may_capture,
    noise, stream_to, text, until, wait,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A data folder, and a folder in which captures appear.
struct Case {
    data: Data,
    spool: PathBuf,
}

impl Case {
    fn new(name: &str) -> Self {
        let data = Data::new(name);
        let spool = data.beside("captures");
        fs::create_dir(&spool).unwrap();
        Self { data, spool }
    }

    fn start(&self, flags: &[&str]) -> Capturing {
        Capturing::start(&self.data, None, &[&["--json", "--spool", self.spool.to_str().unwrap()], flags].concat())
    }

    /// A file is written in the folder, and closed.
    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.spool.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A file that was there for long.
    fn old(&self, name: &str, bytes: &[u8], minutes: u64) {
        self.write(name, bytes);
        self.ages(name, minutes);
    }

    /// Nobody has written to it for so long.
    fn ages(&self, name: &str, minutes: u64) {
        let then = SystemTime::now() - Duration::from_secs(minutes * 60);
        File::open(self.spool.join(name)).unwrap().set_modified(then).unwrap();
    }

    /// The ports of the clients of all connections.
    fn ports(&self) -> Vec<u64> {
        let said = self.data.run("streams", &["--json", "direction=s"]);
        let rows = if said.code == Some(0) { json_lines(&said.out) } else { Vec::new() };
        let mut ports: Vec<u64> = rows.iter().map(|row| row["src_port"].as_u64().unwrap()).collect();
        ports.sort_unstable();
        ports
    }

    /// The files that are left.
    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.spool).unwrap();
        let mut left: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        left
    }
}

/// Waits until it says something with this in it.
fn says(capturing: &mut Capturing, what: &str) -> String {
    loop {
        let line = capturing.line();
        assert!(!line.is_empty(), "it ended without saying {what}");
        if line.contains(what) {
            return line;
        }
    }
}

/// A capture of one conversation, in which the server says this.
fn conversation(port: u16, at: u64, says: &[u8]) -> Vec<u8> {
    let mut made = Made::default();
    let mut talk = Talk::new(port);
    talk.open(&mut made, at).ask(&mut made, at + 10, b"hello\r\n").answer(&mut made, at + 20, says);
    talk.close(&mut made, at + 30);
    made.file()
}

/// A capture of a download, cut in so many: each is a file.
fn rotated(port: u16, body: &[u8], files: usize) -> Vec<Vec<u8>> {
    let mut made = Made::default();
    let mut talk = Talk::new(port);
    talk.open(&mut made, 0).ask(&mut made, 10, b"GET /tool.exe HTTP/1.1\r\nHost: files.example\r\n\r\n");
    talk.answer(&mut made, 20, &[head(body).as_bytes(), body].concat());
    talk.close(&mut made, 30);
    let each = made.frames.len().div_ceil(files);
    made.frames.chunks(each).map(|frames| Made { frames: frames.to_vec() }.file()).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The one body of a download.
fn body_of(data: &Data) -> Value {
    let mut objects = data.json("objects", &["kind=response"]);
    assert_eq!(objects.len(), 1, "{objects:?}");
    objects.remove(0)
}

#[test]
fn connections_go_on_from_one_file_to_the_next() {
    let case = Case::new("spool-folder-goes-on");
    let body = noise(3, 700_000);
    let files = rotated(40_001, &body, 4);
    // Two were there before, the later one by its name first; one is moved in, and one written there.
    case.old("2.pcap", &files[0], 3);
    case.old("1.pcap", &files[1], 2);
    let mut capturing = case.start(&[]);
    assert!(says(&mut capturing, "stored ").contains("2.pcap: "));
    assert!(says(&mut capturing, "stored ").contains("1.pcap: "));
    let beside = case.data.write("3.pcap", &files[2]);
    fs::rename(beside, case.spool.join("3.pcap")).unwrap();
    says(&mut capturing, "3.pcap: ");
    let mut file = File::create(case.spool.join("4.pcap")).unwrap();
    let (first, second) = files[3].split_at(files[3].len() / 2);
    file.write_all(first).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(case.data.export().frames.len(), frames(&files[..3]), "what is not closed is not complete");
    file.write_all(second).unwrap();
    drop(file);
    says(&mut capturing, "4.pcap: ");
    // While it goes on, each file is in the store.
    assert_eq!(case.data.export().frames.len(), frames(&files));
    let summary = capturing.summary();
    assert_eq!((&summary["connections"], &summary["unaccounted_payload_bytes"]), (&1.into(), &0.into()));
    assert_eq!((text(&summary["interfaces"][0], "interface"), &summary["buckets"]), ("spool", &4.into()));
    let object = body_of(&case.data);
    assert_eq!(text(&object, "sha256"), sha256(&body));
    assert_eq!(case.data.get(text(&object, "oid"), &[]), body);
    assert_eq!(case.left(), ["1.pcap", "2.pcap", "3.pcap", "4.pcap"], "they stay unless it is wanted otherwise");
    case.data.is_well();
    // What is stored is known again, by its content: under another name, and by `ingest`. It holds up nobody.
    let again = Case { data: case.data, spool: case.spool };
    fs::rename(again.spool.join("1.pcap"), again.spool.join("5.pcap")).unwrap();
    let mut capturing = again.start(&[]);
    again.write("6.pcap", &conversation(40_002, 9_000, b"of 6"));
    assert!(says(&mut capturing, "").contains("stored ") && again.ports() == [40_001, 40_002]);
    let said = capturing.stop();
    assert_eq!(said.err, "", "what is known is let be silently");
    assert_eq!(again.data.export().frames.len(), frames(&files) + 8);
    let known = again.data.ingest(&[], &[&again.spool.join("2.pcap")]);
    assert!(known.sentence().contains(": already ingested at "));
}

fn frames(files: &[Vec<u8>]) -> usize {
    files.iter().map(|file| common::Capture::read(file).frames.len()).sum()
}

#[test]
fn what_is_no_capture_is_let_be_and_what_is_damaged_stays() {
    let case = Case::new("spool-folder-damaged");
    let whole = conversation(40_001, 1_000, b"of whole");
    let elsewhere = case.data.write("elsewhere.pcap", &conversation(40_009, 1_000, b"of elsewhere"));
    let mut capturing = case.start(&["--spool-remove"]);
    symlink(&elsewhere, case.spool.join("link.pcap")).unwrap();
    assert!(Command::new("mkfifo").arg(case.spool.join("pipe.pcap")).status().unwrap().success());
    fs::create_dir(case.spool.join("folder.pcap")).unwrap();
    for name in [".hidden.pcap", "unfinished.pcap.part", "unfinished.tmp"] {
        case.write(name, &conversation(40_008, 1_000, b"of unfinished"));
    }
    case.write("empty.pcap", b"");
    case.write("a.txt", b"this is no capture at all");
    let line = says(&mut capturing, "a.txt");
    assert!(line.contains(": not a capture: it begins with "), "{line}");
    let damaged = conversation(40_002, 2_000, &noise(1, 20_000));
    case.write("damaged.pcap", &damaged[..damaged.len() - 500]);
    says(&mut capturing, "stored ");
    let line = says(&mut capturing, "damaged.pcap");
    assert!(line.contains(": truncated ") && line.ends_with("the file stays where it is\n"), "{line}");
    case.write("whole.pcap", &whole);
    says(&mut capturing, "whole.pcap: ");
    until("it is removed", || (!case.spool.join("whole.pcap").exists()).then_some(()));
    // Compressed, and as pcapng does, it comes in as well.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&conversation(40_003, 3_000, b"of packed")).unwrap();
    case.write("packed.pcap.gz", &packed.finish().unwrap());
    says(&mut capturing, "packed.pcap.gz: ");
    // Of a link to a file nobody hears who closes it. It is removed, and the file is where it was.
    case.old(".linked", &conversation(40_004, 4_000, b"of linked"), 3);
    fs::hard_link(case.spool.join(".linked"), case.spool.join("linked.pcap")).unwrap();
    says(&mut capturing, "linked.pcap: ");
    let said = capturing.stop();
    assert_eq!(case.ports(), [40_001, 40_002, 40_003, 40_004]);
    let left = [
        ".hidden.pcap",
        ".linked",
        "a.txt",
        "damaged.pcap",
        "empty.pcap",
        "folder.pcap",
        "link.pcap",
        "pipe.pcap",
        "unfinished.pcap.part",
        "unfinished.tmp",
    ];
    assert_eq!(case.left(), left);
    assert!(elsewhere.exists());
    assert_eq!(said.err, "", "each is said once");
    case.data.is_well();
    // One that is damaged is stored as far as it goes, and not again.
    case.ages("damaged.pcap", 3);
    let mut capturing = case.start(&["--spool-remove"]);
    // Older ones come first, so when this one is stored it was looked at.
    case.write("late.pcap", &conversation(40_005, 5_000, b"of late"));
    says(&mut capturing, "late.pcap: ");
    capturing.stop();
    assert_eq!(case.ports(), [40_001, 40_002, 40_003, 40_004, 40_005]);
    assert_eq!(case.left(), left);
}

#[test]
fn a_file_that_was_interrupted_by_a_kill_is_stored_anew_and_once() {
    let case = Case::new("spool-folder-kill");
    let before = conversation(40_001, 0, b"of before");
    case.old("before.pcap", &before, 9);
    let mut made = Made::default();
    for n in 0..80 {
        let mut talk = Talk::new(10_000 + n);
        talk.open(&mut made, u64::from(n) * 5_000).ask(&mut made, u64::from(n) * 5_000 + 10, b"hello\r\n");
        talk.answer(&mut made, u64::from(n) * 5_000 + 20, &noise(n.into(), 400_000));
        talk.close(&mut made, u64::from(n) * 5_000 + 900);
    }
    case.old("long.pcap", &made.file(), 5);
    let mut capturing = case.start(&["--bucket", "10s"]);
    let some = |entries: fs::ReadDir| entries.count() > 6;
    let buckets = case.data.path().join("buckets");
    until("some is stored", || fs::read_dir(&buckets).is_ok_and(some).then_some(()));
    capturing.child.kill().unwrap();
    wait(&mut capturing.child);
    let there = case.ports().len();
    assert!(there > 1 && there < 81, "{there}");
    let mut capturing = case.start(&["--bucket", "10s", "--spool-remove"]);
    says(&mut capturing, "long.pcap: when this was stored before it was interrupted");
    says(&mut capturing, "stored ");
    capturing.stop();
    let expected: Vec<u64> = (10_000..10_080).chain([40_001]).collect();
    assert_eq!(case.ports(), expected);
    assert_eq!(case.left(), ["before.pcap"], "of one that is known by its fingerprint alone nobody is sure");
    let mut wanted: Vec<Vec<u8>> = common::Capture::read(&before).frames.into_iter().map(|frame| frame.data).collect();
    wanted.extend(made.frames.into_iter().map(|(_, data)| data));
    let mut stored: Vec<Vec<u8>> = case.data.export().frames.into_iter().map(|frame| frame.data).collect();
    wanted.sort();
    stored.sort();
    assert!(stored == wanted, "each frame is there once");
    case.data.is_well();
}

#[test]
fn files_that_are_older_than_those_before_hurt_nobody() {
    let case = Case::new("spool-folder-backlog");
    let mut capturing = case.start(&[]);
    for (n, hours) in [(0_u16, 50_u64), (1, 2), (2, 90), (3, 1)] {
        let at = hours * 3_600_000;
        case.write(&format!("{n}.pcap"), &conversation(41_000 + n, at, &noise(n.into(), 30_000)));
        says(&mut capturing, &format!("{n}.pcap: "));
    }
    let summary = capturing.summary();
    assert_eq!((&summary["connections"], &summary["unaccounted_payload_bytes"]), (&4.into(), &0.into()));
    let rows = case.data.streams(&["direction=c"]);
    assert!(rows.iter().all(|row| row["length"] == 30_000), "{rows:?}");
    case.data.is_well();
}

#[test]
fn tcpdump_writes_in_turns() {
    if !may_capture() || !installed("tcpdump") {
        return;
    }
    let case = Case::new("spool-folder-tcpdump");
    let capturing = case.start(&["--spool-remove"]);
    let (listener, server, filter) = Pair::on_loopback();
    let file = case.spool.join("c.pcap");
    let mut tcpdump = Command::new("tcpdump");
    tcpdump.args(["-i", "lo", "-Z", "root", "-B", "65536", "-C", "1", "-w", file.to_str().unwrap(), &filter]);
    let mut tcpdump = tcpdump.stderr(Stdio::piped()).spawn().unwrap();
    let mut err = std::io::BufReader::new(tcpdump.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut err, &mut String::new()).unwrap();
    let body = noise(0, 5_500_000);
    // It listens a moment after it says so.
    std::thread::sleep(Duration::from_millis(500));
    let mut pair = Pair::connect(&listener, server);
    let port = pair.port();
    pair.download(&body);
    drop(pair);
    std::thread::sleep(Duration::from_secs(1));
    let process = tcpdump.id().to_string();
    assert!(Command::new("kill").args(["-INT", &process]).status().unwrap().success());
    wait(&mut tcpdump);
    let row = stream_to(&case.data, port, head(&body).len() + body.len());
    assert!(case.data.get(text(&row, "oid"), &[]) == body);
    until("all are removed", || case.left().is_empty().then_some(()));
    let summary = capturing.summary();
    assert!(summary["buckets"].as_u64() > Some(4), "{summary}");
    assert_eq!((&summary["connections"], &summary["unaccounted_payload_bytes"]), (&1.into(), &0.into()));
    assert_eq!(text(&body_of(&case.data), "sha256"), sha256(&body));
    case.data.is_well();
}

#[test]
fn a_sensor_takes_and_removes_them_with_the_rights_that_it_has() {
    let case = Case::new("spool-folder-sensor");
    let is_root = rustix::process::geteuid().is_root();
    let user = if is_root { "user = \"nobody\"\n" } else { "" };
    let config = |filter: &str| {
        format!(
            "data = {:?}\n{user}[capture]\nspool = [{:?}]\nspool_remove = true\nfilter = \"{filter}\"\n[http]\nlisten = \
             \"127.0.0.1:{}\"\n",
            case.data.path(),
            case.spool,
            free_port()
        )
    };
    let path = case.data.write("streamdb.toml", config("ip").as_bytes());
    let refuses = |wanted: &str| {
        let said = common::streamdb(["run".as_ref(), "--config".as_ref(), path.as_os_str()]);
        assert!(said.code != Some(0) && said.err.contains(wanted), "{said:?}");
    };
    if is_root {
        fs::set_permissions(&case.spool, fs::Permissions::from_mode(0o700)).unwrap();
        refuses(": the user that captures may not read this folder; let it, as by setfacl -m u:USER:rx ");
        fs::set_permissions(&case.spool, fs::Permissions::from_mode(0o755)).unwrap();
        refuses(": the user that captures may not remove files of this folder; let it, as by setfacl ");
        fs::set_permissions(&case.spool, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let sensor = Sensor::start(&path);
    sensor.says("capturing from what appears in ");
    case.write("a.pcap", &conversation(40_001, 0, b"of a"));
    sensor.says("a.pcap: ");
    until("it is removed", || case.left().is_empty().then_some(()));
    // What it may not read is said once, and stays.
    if is_root {
        let beside = case.data.write("secret.pcap", &conversation(40_004, 0, b"of secret"));
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(beside, case.spool.join("secret.pcap")).unwrap();
        sensor.says("secret.pcap: could not be read: Permission denied");
    }
    // The filter changes while it runs.
    fs::write(&path, config("tcp port 40003")).unwrap();
    sensor.signal("-HUP");
    sensor.says("the configuration was read again");
    let mut made = Made::default();
    for port in [40_002, 40_003] {
        let mut talk = Talk::new(port);
        talk.open(&mut made, 10_000 + u64::from(port)).ask(&mut made, 60_000, b"hello\r\n").close(&mut made, 70_000);
    }
    case.write("b.pcap", &made.file());
    sensor.says("b.pcap: ");
    sensor.end();
    assert_eq!(case.ports(), [40_001, 40_003]);
    case.data.is_well();
}

#[test]
fn a_folder_that_vanishes_is_looked_for_again() {
    let case = Case::new("spool-folder-vanishes");
    let mut capturing = case.start(&[]);
    case.write("a.pcap", &conversation(40_001, 0, b"of a"));
    says(&mut capturing, "a.pcap: ");
    fs::rename(&case.spool, case.data.beside("away")).unwrap();
    says(&mut capturing, ": no captures can be taken from this folder: No such file or directory");
    fs::create_dir(&case.spool).unwrap();
    case.old("b.pcap", &conversation(40_002, 0, b"of b"), 2);
    says(&mut capturing, ": captures are taken from this folder again");
    says(&mut capturing, "b.pcap: ");
    capturing.stop();
    assert_eq!(case.ports(), [40_001, 40_002]);
}

#[test]
fn mistakes_on_the_command_line_are_told() {
    let data = Data::new("spool-folder-mistakes");
    let said = data.run("capture", &["--spool", "/nowhere/at/all"]);
    assert_eq!(
        said.sentence(),
        "/nowhere/at/all: there is no such folder for captures to appear in; make it, and let those write there who capture"
    );
    assert!(!Path::exists(&data.path()), "a mistake leaves nothing behind");
    assert_eq!(data.run("capture", &["--spool-remove"]).code, Some(2));
}

/// Mounts a file system of FUSE for which nobody answers over a folder, and does something then.
const MOUNT: &str = "exec 3<>/dev/fuse && mount -i -t fuse away \"$1\" -o fd=3,rootmode=40000,user_id=0,group_id=0,allow_other || \
                     exit 99; shift; exec \"$@\"";

/// Takes such a file system away where this process sees it.
fn unmount(process: &str, folder: &Path) {
    let leave = ["-m", "-t", process, "umount", "-f", "-c", folder.to_str().unwrap()];
    let leave = || Command::new("nsenter").args(leave).output().unwrap().status.success();
    until("it is mounted no more", || Some(()).filter(|()| leave()));
}

/// A folder of captures and another, on which something can be mounted; a port, and the configuration of a sensor that has them.
fn beside_one_that_is_away(name: &str) -> Option<(Case, PathBuf, u16, PathBuf)> {
    if !may_capture() || !installed("unshare") || !Path::new("/dev/fuse").exists() {
        println!("skipped: no file system can be mounted here");
        return None;
    }
    let case = Case::new(name);
    let (away, port) = (case.data.beside("away"), free_port());
    fs::create_dir(&away).unwrap();
    let config = format!(
        "data = {:?}\nuser = \"nobody\"\n[capture]\nspool = [{:?}, {away:?}]\n[http]\nlisten = \"127.0.0.1:{port}\"\n",
        case.data.path(),
        case.spool
    );
    let config = case.data.write("streamdb.toml", config.as_bytes());
    Some((case, away, port, config))
}

/// A file server that is away: here a file system of FUSE for which nobody answers, mounted where only the sensor sees it. What
/// appears in another folder is taken all the same; and what waited there, when it answers.
#[test]
fn a_folder_that_does_not_answer_keeps_nothing_waiting() {
    let Some((case, away, port, config)) = beside_one_that_is_away("spool-away") else { return };
    fs::write(away.join("b.pcap"), conversation(40_002, 0, b"of b")).unwrap();
    let minutes_ago = SystemTime::now() - Duration::from_secs(300);
    File::open(away.join("b.pcap")).unwrap().set_modified(minutes_ago).unwrap();
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", MOUNT, "sh"]).args([&away, Path::new(env!("CARGO_BIN_EXE_streamdb"))]);
    let sensor = Sensor::start_as(command.args(["run", "--config"]).arg(&config));
    sensor.says_all(["away: this folder has not answered for 5 s, as one of a file server", "capture runs"]);
    is_told(port, 1);
    case.write("a.pcap", &conversation(40_001, 0, b"of a"));
    until("the other folder is looked at", || Some(()).filter(|()| case.ports().contains(&40_001)));
    assert!(!case.ports().contains(&40_002));
    // The mount is given up, and there is a folder below it.
    unmount(&sensor.child.id().to_string(), &away);
    sensor.says("away: this folder answers: this capture ends for one that takes captures from it");
    until("what waited is stored", || Some(()).filter(|()| case.ports().contains(&40_002)));
    is_told(port, 0);
    assert_eq!(sensor.end().iter().find(|line| line.contains("died")), None);
}

/// The same of one that answered at first.
#[test]
fn a_folder_that_does_not_answer_any_more_keeps_nothing_waiting() {
    let Some((case, away, port, config)) = beside_one_that_is_away("spool-silent") else { return };
    let mut command = Command::new("unshare");
    command.args(["-m", env!("CARGO_BIN_EXE_streamdb"), "run", "--config"]).arg(&config);
    let sensor = Sensor::start_as(&mut command);
    sensor.says("capture runs");
    fs::write(away.join("a.pcap"), conversation(40_001, 0, b"of a")).unwrap();
    until("it is taken", || Some(()).filter(|()| case.ports().contains(&40_001)));
    let id = sensor.child.id().to_string();
    let mount = || {
        let mut command = Command::new("nsenter");
        command.args(["-m", "-t", &id, "sh", "-c", MOUNT, "sh"]);
        command.args([&away, Path::new("sleep"), Path::new("600")]).spawn().unwrap()
    };
    let mut mounted = vec![mount()];
    sensor.says("away: this folder has not answered for 5 s, as one of a file server");
    is_told(port, 1);
    case.write("b.pcap", &conversation(40_002, 0, b"of b"));
    until("the other folder is looked at", || Some(()).filter(|()| case.ports().contains(&40_002)));
    fs::write(away.join("c.pcap"), conversation(40_003, 0, b"of c")).unwrap();
    unmount(&id, &away);
    sensor.says("away: this folder answers again");
    until("what came meanwhile is stored", || Some(()).filter(|()| case.ports().contains(&40_003)));
    is_told(port, 0);
    // The end waits for no folder.
    mounted.push(mount());
    sensor.says("away: this folder has not answered for 5 s, as one of a file server");
    let since = Instant::now();
    assert_eq!(sensor.end().iter().find(|line| line.contains("died")), None);
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    for mut mounted in mounted {
        mounted.kill().unwrap();
        mounted.wait().unwrap();
    }
}

/// Nor does it hold up others to close what was opened there.
#[test]
fn a_file_server_that_stops_in_the_middle_of_a_file_keeps_nothing_waiting() {
    if !Served::is_possible() {
        return;
    }
    let case = Case::new("spool-served");
    let (served, mount) = (case.data.beside("served"), case.data.beside("mount"));
    fs::create_dir(&served).unwrap();
    let mut made = Made::default();
    let mut talk = Talk::new(40_001);
    let body = noise(7, 3_000_000);
    talk.open(&mut made, 0).ask(&mut made, 1, b"ask").answer(&mut made, 2, &body).close(&mut made, 3);
    fs::write(served.join("a.pcap"), made.file()).unwrap();
    File::open(served.join("a.pcap")).unwrap().set_modified(SystemTime::now() - Duration::from_secs(300)).unwrap();
    let server = Served::new(&served, &mount);
    server.stops_after(1_500_000);
    let mut capturing = case.start(&["--spool", mount.to_str().unwrap()]);
    says(&mut capturing, "a.pcap: could not be read to its end: its folder does not answer; all of it is taken anew");
    server.signal("-STOP");
    for port in [40_002, 40_003] {
        case.write(&format!("{port}.pcap"), &conversation(port, 0, b"of another"));
        until("the other folder is looked at", || Some(()).filter(|()| case.ports().contains(&port.into())));
    }
    server.goes_on();
    server.signal("-CONT");
    says(&mut capturing, "mount: this folder answers again");
    says(&mut capturing, "stored ");
    let said = capturing.stop();
    assert!(!said.err.contains("not read"), "{}", said.err);
    let rows = case.data.streams(&[]);
    let row = rows.iter().find(|row| row["length"] == body.len()).unwrap();
    assert!(row["gap_bytes"] == 0 && case.data.get(text(row, "oid"), &["--raw"]) == body);
    let wanted = made.frames.len() + 2 * frames(&[conversation(40_002, 0, b"of another")]);
    assert_eq!(case.data.export().frames.len(), wanted, "each frame once");
    case.data.is_well();
}

/// A folder that is not as it should be by the time that a process is started anew.
#[test]
fn a_folder_that_is_not_right_any_more_stops_no_capture_that_begins_anew() {
    if !may_capture() {
        return;
    }
    let case = Case::new("spool-anew");
    let port = free_port();
    let config = format!(
        "data = {:?}\nuser = \"nobody\"\n[capture]\ninterfaces = [\"lo\"]\nfilter = \"tcp portrange 40001-40002\"\nspool = [{:?}]\n[http]\n\
         listen = \"127.0.0.1:{port}\"\n",
        case.data.path(),
        case.spool
    );
    let sensor = Sensor::start(&case.data.write("streamdb.toml", config.as_bytes()));
    sensor.says("capture runs");
    case.write("a.pcap", &conversation(40_001, 0, b"of a"));
    until("it is stored", || Some(()).filter(|()| case.ports().contains(&40_001)));
    let open_to_others = |mode| fs::set_permissions(&case.spool, fs::Permissions::from_mode(mode)).unwrap();
    open_to_others(0o700);
    let before = sensor.process("capture");
    assert!(Command::new("kill").args(["-KILL", &before.to_string()]).status().unwrap().success());
    sensor.says("the user that captures may not read this folder");
    sensor.says("capturing from lo into");
    is_told(port, 1);
    // Nobody heard when it was written: it is taken when nothing has changed for a minute.
    case.old("b.pcap", &conversation(40_002, 0, b"of b"), 5);
    open_to_others(0o755);
    sensor.says("captures: this folder answers: this capture ends for one that takes captures from it");
    until("what waited is stored", || Some(()).filter(|()| case.ports().contains(&40_002)));
    is_told(port, 0);
    let died: Vec<_> = sensor.end().into_iter().filter(|line| line.contains("died")).collect();
    assert!(died.is_empty(), "{died:?}");
}

/// A server says from how many folders nothing can be taken.
fn is_told(port: u16, away: u64) {
    let server = Server::of_sensor(([127, 0, 0, 1], port).into());
    until("it is told", || {
        let (ready, metrics) = (server.try_get("/ready")?, server.try_get("/metrics")?);
        let says = ready.text().contains("\"spool\"") && ready.status == 503;
        let all_well = ready.status == 200;
        let metrics = metrics.text();
        let counts = metrics.lines().any(|line| line == format!("streamdb_spool_away_folders {away}"));
        Some(()).filter(|()| counts && if away > 0 { says } else { all_well })
    });
}
