//! `streamdb run`: a sensor as its configuration says, with its processes killed, and its configuration read again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use streamdb_storage::{DiskVolume, WriteFolder};

use common::{
    Data, Pair, RUN, Sensor, Server, Wire, free_port, head, ip, kill, may_capture, noise, stream_to, streamdb, text,
    until, wait,
};

/// A user who may nothing, where somebody can become one.
fn as_another() -> &'static str {
    if is_root() { "user = \"nobody\"\n" } else { "" }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A configuration by which next to nothing is captured, with more before the sections and behind them.
fn quiet(data: &Path, before: &str, listen: &str, behind: &str) -> String {
    format!(
        "data = {data:?}\n{before}[capture]\ninterface = \"lo\"\nfilter = \"tcp port 1\"\n[http]\nlisten = \"{listen}\"\n{behind}"
    )
}

/// An address of this machine on which nobody listens.
fn free() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// What the kernel says of a process, or a thread.
fn status(process: &str, name: &str) -> String {
    let all = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = all
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .unwrap_or_else(|| panic!("{name}: {all}"));
    line.split_whitespace().next().unwrap().to_owned()
}

/// The threads of a process by their names, and what each has of capabilities, new privileges and seccomp.
fn threads(process: u32) -> BTreeMap<String, [String; 4]> {
    let all = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    all.map(|entry| {
        let thread = format!("{process}/task/{}", entry.unwrap().file_name().into_string().unwrap());
        let rights = ["CapEff", "CapPrm", "NoNewPrivs", "Seccomp"].map(|what| status(&thread, what));
        (status(&thread, "Name"), rights)
    })
    .collect()
}

/// The threads of a process, each with how nice it is.
fn priorities(process: u32) -> Vec<(String, i32)> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of_task = |task: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
        // What stands in brackets may have blanks; the nice value is the nineteenth of all.
        let (name, rest) = text.split_once('(')?.1.rsplit_once(") ")?;
        Some((name.to_owned(), rest.split(' ').nth(16)?.parse().ok()?))
    };
    tasks.filter_map(of_task).collect()
}

#[test]
fn a_sensor_goes_on_whatever_becomes_of_its_processes() {
    if !may_capture() {
        return;
    }
    let data = Data::new("run");
    let (listener, address, filter) = Pair::on_loopback();
    let asked: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let sent: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let text_of = |filter: &str| {
        format!(
            "data = {:?}\n{}[capture]\ninterface = \"lo\"\nlisten_pcap = [\"{sent}\"]\nfilter = \"{filter}\"\n[store]\ncompression = \"fast\"\n[http]\nlisten = \
             \"{asked}\"\n",
            data.path(),
            as_another(),
        )
    };
    let config = data.write("streamdb.toml", text_of(&filter).as_bytes());
    assert_eq!(streamdb(["check-config".as_ref(), config.as_os_str()]).well(), {
        format!("{}: this is a configuration as it should be\n", config.display()).into_bytes()
    });
    let mut sensor = Sensor::start(&config);
    sensor.says("serving ");
    let captures = sensor.process("capture");
    let first = |name: &str| priorities(captures).into_iter().find(|(thread, _)| thread.starts_with(name));
    until("what captures comes before others", || first("store").filter(|(_, nice)| *nice == -10));
    until("all else does not", || {
        first("retention").zip(first("streamdb")).filter(|both| (both.0.1, both.1.1) == (0, 0))
    });
    let body = noise(0, 100_000);
    let download = |seed: u32| {
        let body = noise(seed, 100_000);
        let mut pair = Pair::connect(&listener, address);
        pair.download(&body);
        (pair, head(&body).len() + body.len())
    };
    let objects = |port: u16| {
        until("its object is found over HTTP", || {
            let answer = Server::of_sensor(asked).get(&format!("/api/v1/objects?srcport={port}&direction=c"));
            let answer: serde_json::Value = serde_json::from_str(answer.text()).unwrap();
            answer["rows"].as_array().unwrap().iter().find(|row| row["size"] == body.len()).cloned()
        })
    };
    // It captures from when it says so.
    until("it captures", || {
        let (pair, length) = download(0);
        let filter = format!("srcport={}", pair.port());
        std::thread::sleep(Duration::from_secs(1));
        let said = data.run("streams", &["--json", &filter, "direction=c"]);
        (said.code == Some(0) && common::json_lines(&said.out).iter().any(|row| row["length"] == length)).then_some(())
    });
    for name in ["capture", "derive", "serve"] {
        let process = sensor.process(name);
        if is_root() {
            let nobody = fs::metadata(data.path()).unwrap().uid();
            assert_ne!(nobody, 0);
            assert_eq!(status(&process.to_string(), "Uid"), nobody.to_string());
        }
        // When there is no memory left, the one that captures goes last.
        let goes_first = fs::read_to_string(format!("/proc/{process}/oom_score_adj")).unwrap();
        assert_eq!(goes_first.trim() == "500", name != "capture", "{name}: {goes_first}");
        // Of each thread, as each has its own; one that reads what others send among them.
        let _sender = (name == "capture").then(|| std::net::TcpStream::connect(sent).unwrap());
        let mut names = threads(process);
        if name == "capture" {
            names = until("what is sent is read", || Some(threads(process)).filter(|all| all.contains_key("sender")));
        }
        for (thread, rights) in names {
            assert_eq!(rights, ["0000000000000000", "0000000000000000", "1", "2"], "{name}: {thread}");
        }
    }
    let (pair, length) = download(0);
    assert_eq!(text(&stream_to(&data, pair.port(), length), "reason"), "open");
    assert_eq!(objects(pair.port())["complete"], true);

    // Each of them dies, and comes again.
    for name in ["capture", "derive", "serve"] {
        let process = sensor.process(name);
        kill("-KILL", process);
        let line = sensor.says(&format!("{name} died (signal: 9 (SIGKILL)); it is started again in 0.2 s"));
        assert!(line.starts_with("streamdb: "), "{line}");
        until("it runs again", || (sensor.process(name) != process).then_some(()));
    }
    sensor.says("serving ");
    assert_ne!(sensor.process("capture"), captures);
    until("the next capture captures", || {
        let (pair, length) = download(1);
        std::thread::sleep(Duration::from_secs(1));
        let said = data.run("streams", &["--json", &format!("srcport={}", pair.port()), "direction=c"]);
        (said.code == Some(0) && common::json_lines(&said.out).iter().any(|row| row["length"] == length)).then_some(())
    });
    let (pair, _) = download(2);
    objects(pair.port());

    // A configuration that is not right changes nothing; one that is, is taken over while the capture goes on.
    let captures = sensor.process("capture");
    fs::write(&config, text_of("no filter at all")).unwrap();
    sensor.signal("-HUP");
    sensor.says("the configuration is as it was, as the new one is not right: ");
    fs::write(&config, text_of("tcp port 1")).unwrap();
    sensor.signal("-HUP");
    sensor.says_all(["the configuration was read again", "serving "]);
    assert_eq!(sensor.process("capture"), captures);
    let (other, _) = download(3);
    let (reader, _) = (pair, ());
    std::thread::sleep(Duration::from_secs(2));
    assert!(data.streams(&[&format!("srcport={}", other.port())]).is_empty(), "the filter leaves it out");
    drop(reader);

    let asked = Instant::now();
    let serves = sensor.process("serve");
    sensor.signal("-TERM");
    assert!(wait(&mut sensor.child).success());
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert!(!Path::new(&format!("/proc/{serves}")).exists());
    data.is_well();
}

/// What is scanned by comes and goes with the configuration, and the process that scans with it.
#[test]
fn a_process_comes_and_goes_with_its_section() {
    if !may_capture() {
        return;
    }
    let data = Data::new("run-sections");
    let list = data.write("bad.txt", b"");
    let without = quiet(&data.path(), "", &free(), "");
    let config = data.write("streamdb.toml", without.as_bytes());
    let sensor = Sensor::start(&config);
    sensor.says(RUN);
    let scans = |id: u32| -> Option<u32> {
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        children.split_whitespace().map(|child| child.parse().unwrap()).find(|child: &u32| {
            let line = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).nth(1) == Some(b"scan")
        })
    };
    let (id, captures) = (sensor.child.id(), sensor.process("capture"));
    assert_eq!(scans(id), None);
    fs::write(&config, format!("{without}[scan]\nhash_lists = [{list:?}]\n")).unwrap();
    sensor.signal("-HUP");
    let first = until("it scans", || scans(id));
    fs::write(&config, &without).unwrap();
    sensor.says_all(["the configuration was read again", "serving "]);
    sensor.signal("-HUP");
    until("it scans no more", || (scans(id) != Some(first) && scans(id).is_none()).then_some(()));
    assert_eq!(sensor.process("capture"), captures);
    assert_eq!(sensor.end().iter().find(|line| line.contains("died")), None);
}

#[test]
fn what_needs_a_restart_is_not_taken_over_by_some_of_them() {
    if !may_capture() {
        return;
    }
    let data = Data::new("run-moved");
    let listen = free();
    let with = |data: &Path, more: &str| quiet(data, more, &listen, "");
    let config = data.write("streamdb.toml", with(&data.path(), "").as_bytes());
    let sensor = Sensor::start(&config);
    sensor.says(RUN);
    let all = || ["capture", "derive", "serve"].map(|name| sensor.process(name));
    let before = all();
    let elsewhere = data.beside("elsewhere");
    for (text, key) in [
        (with(&elsewhere, ""), "data"),
        (with(&data.path(), "user = \"nobody\"\n"), "user"),
        (with(&data.path(), "confine = false\n"), "confine"),
    ] {
        fs::write(&config, text).unwrap();
        sensor.signal("-HUP");
        let line = sensor.says("the configuration is as it was");
        assert!(line.ends_with(&format!(": {key} is another one than at the start, which needs a restart")), "{line}");
    }
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(all(), before);
    assert!(!elsewhere.exists());
    assert_eq!(sensor.end().iter().find(|line| line.contains("died")), None);
}

#[test]
fn an_interface_that_is_down_at_the_start_stops_no_other_and_is_taken_when_it_is_up() {
    let Some(wire) = Wire::new() else { return };
    wire.second();
    ip(&format!("-n {} link set far1 down", wire.far));
    let data = Data::new("run-down");
    let text = format!(
        "data = {:?}\n{}[capture]\ninterfaces = [\"far0\", \"far1\"]\n[http]\nlisten = \"127.0.0.1:8080\"\n",
        data.path(),
        as_another(),
    );
    let config = data.write("streamdb.toml", text.as_bytes());
    let mut command = common::command(["run", "--config"]);
    let sensor = Sensor::start_as(&mut common::inside(&wire.far, command.arg(&config)));
    let down = "far1: this interface is down; the capture goes on without it, and looks for it each 5 s";
    sensor.says_all([down, "capturing from far0, far1", RUN]);
    let frame = |n: u8| (0, [&[n; 12][..], &[0x88, 0xb5], &[0; 46]].concat());
    wire.send(&["near0"], &[frame(1)]);
    // Also when it has to begin again meanwhile.
    std::thread::sleep(Duration::from_secs(1));
    kill("-KILL", sensor.process("capture"));
    sensor.says_all(["capture died", down, "capturing from far0, far1"]);
    wire.send(&["near0"], &[frame(2)]);
    ip(&format!("-n {} link set far1 up", wire.far));
    sensor.says_all(["far1 is up again", "capturing from far0, far1"]);
    wire.send(&["near0", "near1"], &[frame(3), (1, frame(4).1)]);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(sensor.end().iter().find(|line| line.contains("died")), None);
    let mut kept: Vec<u8> = data.export().frames.iter().map(|frame| frame.data[0]).collect();
    kept.sort_unstable();
    assert_eq!(kept, [1, 2, 3, 4]);
    data.is_well();
}

/// Whoever looks after many sensors asks whether each is ready.
#[test]
fn an_interface_that_goes_down_is_told() {
    let Some(wire) = Wire::new() else { return };
    wire.second();
    let data = Data::new("run-blind");
    let text = format!(
        "data = {:?}\n{}[capture]\ninterfaces = [\"far0\", \"far1\"]\n[http]\nlisten = \"127.0.0.1:8080\"\n",
        data.path(),
        as_another(),
    );
    let config = data.write("streamdb.toml", text.as_bytes());
    let mut command = common::command(["run", "--config"]);
    let sensor = Sensor::start_as(&mut common::inside(&wire.far, command.arg(&config)));
    sensor.says(RUN);
    let ask = |path: &str| common::within(&wire.far, || Server::of_sensor("127.0.0.1:8080".parse().unwrap()).get(path));
    until("it is ready", || Some(()).filter(|()| ask("/ready").status == 200));
    let up = |interface: &str| {
        let metrics = ask("/metrics");
        let name = format!("streamdb_interface_up{{interface=\"{interface}\"}} ");
        metrics.text().lines().find_map(|line| line.strip_prefix(&name)).map(str::to_owned)
    };
    assert_eq!([up("far0"), up("far1")], [Some("1".to_owned()), Some("1".to_owned())]);
    ip(&format!("-n {} link set far1 down", wire.far));
    let answer = until("it is not", || Some(ask("/ready")).filter(|answer| answer.status == 503));
    let reason = "far1: nothing is captured from this interface, as it is down or away";
    assert!(answer.text().contains("\"interface\"") && answer.text().contains(reason), "{}", answer.text());
    assert!(!answer.text().contains("far0"), "{}", answer.text());
    assert_eq!([up("far0"), up("far1")], [Some("1".to_owned()), Some("0".to_owned())]);
    assert!(ask("/status").text().contains("far1, down"));
    ip(&format!("-n {} link set far1 up", wire.far));
    until("it is ready again", || Some(()).filter(|()| ask("/ready").status == 200));
    assert_eq!(up("far1").as_deref(), Some("1"));
    sensor.end();
}

/// More are missing than it says of one kind: the rest is held back, and that needs a thread, which a process must not have while it
/// gives up its rights.
#[test]
fn many_interfaces_that_are_missing_stop_no_other() {
    let Some(wire) = Wire::new() else { return };
    let data = Data::new("run-missing");
    let missing: String = (0..12).map(|n| format!(", \"none{n}\"")).collect();
    let text = format!(
        "data = {:?}\n{}[capture]\ninterfaces = [\"far0\"{missing}]\n[http]\nlisten = \"127.0.0.1:8080\"\n",
        data.path(),
        as_another(),
    );
    let config = data.write("streamdb.toml", text.as_bytes());
    let mut command = common::command(["run", "--config"]);
    let sensor = Sensor::start_as(&mut common::inside(&wire.far, command.arg(&config)));
    sensor.says_all(["no interface none9;", "capturing from far0", RUN]);
    let names = threads(sensor.process("capture"));
    assert!(names.contains_key("log"), "{names:?}");
    let rest = sensor.end();
    assert!(
        rest.iter().any(|line| line.contains("2 more like this, which is the last: there is no interface none11;")),
        "{rest:#?}"
    );
}

/// A process that would refuse it at its start is not ended for it.
#[test]
fn a_reload_that_a_process_would_refuse_changes_nothing() {
    if !may_capture() {
        return;
    }
    let data = Data::new("run-refused");
    let (port, other) = (free_port(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let with = |listen: &str, more: &str| quiet(&data.path(), "", listen, more);
    let here = format!("127.0.0.1:{port}");
    let config = data.write("streamdb.toml", with(&here, "").as_bytes());
    let sensor = Sensor::start(&config);
    sensor.says(RUN);
    let all = || ["capture", "derive", "serve"].map(|name| sensor.process(name));
    let before = all();
    let taken = other.local_addr().unwrap().to_string();
    for (text, why) in [
        (with("0.0.0.0:1", ""), "http.listen: 0.0.0.0:1: others could reach this address, and no token".to_owned()),
        (with(&taken, ""), format!("{taken}: another program listens on this port")),
        (with(&here, "[scan]\nhash_lists = [\"/none/bad.txt\"]\n"), "/none/bad.txt".to_owned()),
    ] {
        fs::write(&config, text).unwrap();
        sensor.signal("-HUP");
        let line = sensor.says("the configuration is as it was, as the new one is not right: ");
        assert!(line.contains(&why), "{line}");
    }
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(all(), before);
    assert_eq!(Server::of_sensor(here.parse().unwrap()).get("/health").status, 200);
    // What takes its time to be looked at keeps nothing waiting, the end least of all.
    let list = data.beside("list");
    assert!(Command::new("mkfifo").arg(&list).status().unwrap().success());
    fs::write(&config, with(&here, &format!("[scan]\nhash_lists = [{list:?}]\n"))).unwrap();
    sensor.signal("-HUP");
    let reads = until("it is looked at", || {
        let id = sensor.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let reads = |child: &&str| {
            fs::read(format!("/proc/{child}/cmdline"))
                .is_ok_and(|line| line.windows(12).any(|word| word == b"check-config"))
        };
        children.split_whitespace().find(reads).map(str::to_owned)
    });
    kill("-KILL", before[1]);
    sensor.says("derive died");
    until("it is there again", || Some(()).filter(|()| sensor.process("derive") != before[1]));
    // Another reload takes the place of that one. Another address on the port of now is no other program's.
    let token = format!("[[http.tokens]]\nname = \"a\"\nhash = \"sha256:{}\"\n", "0".repeat(64));
    fs::write(&config, with(&format!("0.0.0.0:{port}"), &token)).unwrap();
    sensor.signal("-HUP");
    sensor.says_all(["was read again", &format!("serving {} on http://0.0.0.0:{port}/", data.path().display())]);
    until("the one before is gone", || Some(()).filter(|()| !Path::new(&format!("/proc/{reads}")).exists()));
    // One that no machine here has: 192.0.2.0/24 is for examples (RFC 5737).
    fs::write(&config, with(&format!("192.0.2.77:{port}"), &token)).unwrap();
    sensor.signal("-HUP");
    sensor.says("this machine does not have this address");
    // What only a restart takes over is said, and all else holds.
    fs::write(&config, with(&here, "").replace("\"lo\"", "\"any\"")).unwrap();
    sensor.signal("-HUP");
    sensor.says_all([
        "what [capture] and [store] say beside the filter is not what the capture began with",
        "was read again",
    ]);
    assert_eq!(sensor.process("capture"), before[0]);
    // That of the process which captures now: one that began with it needs none.
    kill("-KILL", before[0]);
    sensor.says("capture died");
    sensor.says("capturing from any");
    sensor.signal("-HUP");
    sensor.says("was read again");
    fs::write(&config, with(&here, &token)).unwrap();
    sensor.signal("-HUP");
    sensor.says_all(["is not what the capture began with", "was read again"]);
    fs::write(&config, with(&here, &format!("[scan]\nhash_lists = [{list:?}]\n"))).unwrap();
    sensor.signal("-HUP");
    assert_eq!(sensor.end().iter().find(|line| line.contains("died")), None);
}

/// A mistake in the path of the data folder costs nobody what is in it.
#[test]
fn what_is_no_data_folder_is_given_to_nobody() {
    if !may_capture() {
        return;
    }
    let data = Data::new("run-foreign");
    let text = quiet(&data.path(), "user = \"nobody\"\n", &free(), "");
    let config = data.write("streamdb.toml", text.as_bytes());
    fs::create_dir(data.path()).unwrap();
    fs::write(data.path().join("notes"), b"mine").unwrap();
    let foreign = "this folder is not empty and is no StreamDB data folder; name an empty or a new one";
    let run = || streamdb(["run".as_ref(), "--config".as_ref(), config.as_os_str()]);
    assert!(run().sentence().ends_with(foreign));
    let owners = || [data.path(), data.path().join("notes")].map(|path| fs::metadata(path).unwrap().uid());
    assert_eq!(owners(), [0, 0]);
    let said = streamdb(["check-config".as_ref(), config.as_os_str()]);
    assert!(
        said.code == Some(0) && said.err.contains("on this machine, now: ") && said.err.contains(foreign),
        "{said:?}"
    );
    // A file of the ledger's name makes no store of it.
    fs::write(data.path().join("ledger"), b"of last year\n").unwrap();
    assert!(run().sentence().contains("ledger: damaged at byte 0"));
    assert_eq!((owners(), fs::read_dir(data.path()).unwrap().count()), ([0, 0], 2));
    fs::remove_file(data.path().join("ledger")).unwrap();
    // Nor is what somebody else has, who could have put there whatever they liked.
    fs::remove_file(data.path().join("notes")).unwrap();
    std::os::unix::fs::chown(data.path(), Some(1), None).unwrap();
    assert!(run().sentence().contains("belongs to the user "));
    assert_eq!(fs::metadata(data.path()).unwrap().uid(), 1);
    // Nor one that root writes to.
    fs::remove_dir(data.path()).unwrap();
    let writer = WriteFolder::open(&data.path(), Box::new(DiskVolume)).unwrap();
    assert!(run().sentence().contains("another process is writing to this data folder"));
    assert!(fs::read_dir(data.path()).unwrap().all(|entry| entry.unwrap().metadata().unwrap().uid() == 0));
    drop(writer);
    // A new one is theirs who capture, and no one else's business.
    fs::remove_dir_all(data.path()).unwrap();
    let sensor = Sensor::start(&config);
    sensor.says(RUN);
    let about = fs::metadata(data.path()).unwrap();
    assert!(about.uid() != 0 && about.mode() & 0o027 == 0, "{:o}", about.mode());
    sensor.end();
}

#[test]
fn its_processes_do_not_outlive_it() {
    if !may_capture() {
        return;
    }
    let data = Data::new("run-killed");
    let config = quiet(&data.path(), "", &free(), "");
    let mut sensor = Sensor::start(&data.write("streamdb.toml", config.as_bytes()));
    sensor.says("serving ");
    let all = ["capture", "derive", "serve"].map(|name| sensor.process(name));
    sensor.child.kill().unwrap();
    wait(&mut sensor.child);
    until("all are gone", || {
        let gone = |id: &u32| fs::read_to_string(format!("/proc/{id}/stat")).map_or(true, |stat| stat.contains(") Z "));
        all.iter().all(gone).then_some(())
    });
}

/// What goes together in no configuration is told before anything begins.
#[test]
fn a_configuration_is_checked_as_a_whole() {
    let data = Data::new("run-checked");
    let check = |config: &str| {
        let path = data.write("streamdb.toml", config.as_bytes());
        let said = streamdb(["check-config".as_ref(), path.as_os_str()]);
        (said.code, said.err.replace(&path.display().to_string(), "FILE"))
    };
    let (code, said) = check("[http]\nlisten = \"0.0.0.0:8080\"\n");
    assert!(code == Some(1) && said.starts_with("streamdb: FILE: http.listen: 0.0.0.0:8080: others could"), "{said}");
    let (code, said) = check("data = \"/none\"\n[capture]\nlisten_pcap = [\"127.0.0.1:1\", \"[::]:2\"]\n");
    assert!(code == Some(1) && said.contains("FILE, line 2: captures over TCP know no authentication, so"), "{said}");
    let whole =
        "data = \"/none\"\nuser = \"nobody-here\"\n[capture]\ninterface = \"none0\"\nspool = [\"/none/spool\"]\n";
    let (code, said) = check(whole);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((code, lines.len()), (Some(0), 3), "{said}");
    for (line, what) in lines.iter().zip([
        "there is no user nobody-here",
        "none0: there is no such network interface",
        "/none/spool: there is no such folder",
    ]) {
        assert!(line.starts_with("streamdb: on this machine, now: ") && line.contains(what), "{line}");
    }
}

#[test]
fn what_is_not_right_is_one_sentence() {
    let data = Data::new("run-mistakes");
    let said = |config: &str| {
        let path = data.write("streamdb.toml", config.as_bytes());
        let said = streamdb(["run".as_ref(), "--config".as_ref(), path.as_os_str()]);
        assert_eq!(said.code, Some(1));
        said.sentence().replace(&path.display().to_string(), "FILE")
    };
    assert_eq!(said(""), "FILE: data is missing; give it the path of the data folder");
    assert_eq!(said("data = \"d\""), "FILE: there is no [capture]; give it one, with the interface");
    assert_eq!(said("data = \"d\"\n[captur]\n"), "FILE, line 2: there is no key \"captur\"; did you mean capture?");
}
