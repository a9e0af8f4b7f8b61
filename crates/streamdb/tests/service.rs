//! `streamdb run` as a service: what its manager is told, what the log looks like, and that a start that fails is seen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use common::{Data, PATIENCE, RUN, Sensor, free_port, installed, kill, may_capture, streamdb, until, wait};

fn config(data: &Data, before: &str) -> PathBuf {
    let text = format!(
        "{before}data = {:?}\n[capture]\ninterface = \"lo\"\nfilter = \"tcp port 1\"\n[http]\nlisten = \"127.0.0.1:{}\"\n",
        data.path(),
        free_port()
    );
    data.write("streamdb.toml", text.as_bytes())
}

/// Who listens where a service manager does.
struct Manager(UnixDatagram);

impl Manager {
    /// What comes next that begins so; and before it, nothing that begins as `not`.
    fn hears(&self, wanted: &str, not: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let n = self.0.recv(&mut buffer).unwrap_or_else(|error| panic!("waited in vain for {wanted} ({error})"));
            let said = String::from_utf8(buffer[..n].to_vec()).unwrap();
            if said.starts_with(wanted) {
                return said;
            }
            assert!(!said.starts_with(not), "{said}");
        }
    }
}

#[test]
fn its_manager_is_told_how_it_is() {
    if !may_capture() {
        return;
    }
    let data = Data::new("service-manager");
    let path = data.beside("notify");
    let manager = Manager(UnixDatagram::bind(&path).unwrap());
    manager.0.set_read_timeout(Some(PATIENCE)).unwrap();
    let config = config(&data, "");
    let mut command = common::command(["run", "--config"]);
    command.arg(&config).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let mut sensor = Sensor::start_as(&mut command);
    manager.hears("STATUS=capture begins, derive begins, serve begins", "READY");
    manager.hears("READY=1", "STOPPING");
    sensor.says("serving ");
    manager.hears("STATUS=capture runs, derive runs, serve runs", "STOPPING");
    manager.hears("WATCHDOG=1", "STOPPING");
    // The socket is not for those whom it starts.
    let environment = fs::read(format!("/proc/{}/environ", sensor.process("serve"))).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("NOTIFY_SOCKET"));

    sensor.signal("-HUP");
    let said = manager.hears("RELOADING=1", "READY");
    let (_, time) = said.trim().split_once("MONOTONIC_USEC=").unwrap();
    let up = fs::read_to_string("/proc/uptime").unwrap();
    let up: f64 = up.split(' ').next().unwrap().parse().unwrap();
    assert!((time.parse::<f64>().unwrap() / 1e6 - up).abs() < 60.0, "{time} {up}");
    manager.hears("READY=1", "STOPPING");

    kill("-KILL", sensor.process("serve"));
    manager.hears("STATUS=capture runs, derive runs, serve is started again (died once)", "READY");
    manager.hears("STATUS=capture runs, derive runs, serve runs (died once)", "READY");
    manager.hears("WATCHDOG=1", "READY");

    fs::write(&config, "dta = 1").unwrap();
    sensor.signal("-HUP");
    manager.hears("RELOADING=1", "READY");
    manager.hears("READY=1", "STOPPING");
    sensor.says("the new one is not right: ");

    sensor.signal("-TERM");
    manager.hears("STOPPING=1", "READY");
    assert!(wait(&mut sensor.child).success());
}

/// The lines of a log of JSON.
fn objects(lines: &[String]) -> Vec<serde_json::Value> {
    let object = |line: &String| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    lines.iter().map(object).collect()
}

#[test]
fn its_log_is_json_where_that_is_wanted() {
    if !may_capture() {
        return;
    }
    for (before, flags) in [("log = \"json\"\n", &[][..]), ("", &["--log=json"])] {
        let data = Data::new("service-json");
        let config = config(&data, before);
        let mut command = common::command(["run", "--config"]);
        let sensor = Sensor::start_as(command.arg(&config).args(flags));
        let lines = ["capturing from lo", "serving ", RUN];
        let lines = lines.iter().zip(sensor.says_all(lines));
        kill("-KILL", sensor.process("derive"));
        let died = sensor.says("derive died");
        until("it runs again", || Some(sensor.process("derive")));
        let rest = objects(&sensor.end());
        for (what, line) in lines {
            let object = &objects(std::slice::from_ref(&line))[0];
            let process = match *what {
                "serving " => "serve",
                RUN => "run",
                _ => "capture",
            };
            assert_eq!((object["level"].as_str(), object["process"].as_str()), (Some("info"), Some(process)), "{line}");
            assert!(object["message"].as_str().unwrap().starts_with(what), "{line}");
            assert!(object["time"].as_str().unwrap().ends_with('Z'), "{line}");
        }
        let died = &objects(&[died])[0];
        assert_eq!((died["level"].as_str(), died["process"].as_str()), (Some("warning"), Some("run")));
        assert!(
            rest.iter()
                .any(|object| object["process"] == "capture" && object["message"].as_str().unwrap().contains("frames")),
            "what it captured is said in the log, too: {rest:?}"
        );
    }
}

#[test]
fn the_journal_gets_levels() {
    let data = Data::new("service-journal");
    let file = File::create(data.beside("log")).unwrap();
    let of = file.metadata().unwrap();
    let said = |stream: &str| {
        let file = File::create(data.beside("log")).unwrap();
        let mut command = common::command(["run", "--config", "/nowhere/streamdb.toml"]);
        assert!(!command.env("JOURNAL_STREAM", stream).stderr(file).status().unwrap().success());
        fs::read_to_string(data.beside("log")).unwrap()
    };
    let sentence =
        "/nowhere/streamdb.toml: the configuration could not be read: No such file or directory (os error 2)\n";
    assert_eq!(said(&format!("{}:{}", of.dev(), of.ino())), format!("<3>{sentence}"));
    assert_eq!(said(&format!("{}:{}", of.dev(), of.ino() + 1)), format!("streamdb: {sentence}"), "it is another file");
    assert_eq!(said("?"), format!("streamdb: {sentence}"));
}

#[test]
fn a_start_that_fails_is_seen() {
    let data = Data::new("service-fails");
    let config = data.write(
        "streamdb.toml",
        format!(
            "data = {:?}\n[capture]\ninterface = \"nowhere0\"\n[http]\nlisten = \"127.0.0.1:{}\"\n",
            data.path(),
            free_port()
        )
        .as_bytes(),
    );
    let begun = std::time::Instant::now();
    let said = streamdb(["run".as_ref(), "--config".as_ref(), config.as_os_str()]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let why = said.err.lines().find(|line| line.starts_with("streamdb capture: ")).unwrap_or_default();
    assert!(why.contains("nowhere0"), "{said:?}");
    assert!(said.err.ends_with("streamdb: capture could not begin (exit status: 1), so nothing runs\n"), "{said:?}");
}

#[test]
fn what_packages_have_besides_the_program_is_written() {
    let data = Data::new("service-manual");
    let folder = data.beside("packaging");
    streamdb(["manual".as_ref(), folder.as_os_str()]).well();
    let help = String::from_utf8(streamdb(["--help"]).well()).unwrap();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let mut pages: Vec<String> = commands
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| format!("streamdb-{}.1", line.split_whitespace().next().unwrap()))
        .filter(|page| page != "streamdb-help.1")
        .collect();
    assert!(pages.len() > 20 && !pages.contains(&"streamdb-manual.1".to_owned()), "{pages:?}");
    pages.push("streamdb.1".to_owned());
    pages.sort();
    let mut written: Vec<String> = fs::read_dir(folder.join("man"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    written.sort();
    assert_eq!(written, pages);
    for (shell, file) in [("bash", "streamdb.bash"), ("zsh", "_streamdb"), ("fish", "streamdb.fish")] {
        let path = folder.join("completions").join(file);
        assert!(fs::read_to_string(&path).unwrap().contains("check-config"), "{file}");
        if installed(shell) {
            assert!(
                Command::new(shell).arg("-n").arg(&path).status().unwrap().success(),
                "{shell} does not take {file}"
            );
        }
    }
}
