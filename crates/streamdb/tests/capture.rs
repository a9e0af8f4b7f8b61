//! Live capture, from real interfaces: loopback, and a wire between two network namespaces. Where the user may not capture,
//! or a program is missing that a test compares with, it says so and passes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{
    Capturing, Data, Frame, Pair, Said, Server, Wire, head, inside, installed, ip, json_lines, may_capture, noise,
    stream_to, testdata, text, until, wait,
};
use streamdb::worker::{Worker, WorkerConfig};
use streamdb_capture::{CaptureFile, Item};
use streamdb_storage::{DiskVolume, WriteFolder, Writer, WriterConfig};
use streamdb_types::Timestamp;

#[test]
fn a_download_over_loopback_is_handed_out_while_it_is_captured() {
    if !may_capture() {
        return;
    }
    let data = Data::new("capture-loopback");
    let (listener, address, filter) = Pair::on_loopback();
    let capturing = Capturing::start(&data, None, &["-i", "lo", "--filter", &filter, "--json"]);
    let body = noise(0, 3_000_000);
    let mut pair = Pair::connect(&listener, address);
    pair.download(&body);
    // Both ends are open, and nothing comes any more: the clock alone publishes.
    let row = stream_to(&data, pair.port(), head(&body).len() + body.len());
    assert_eq!((text(&row, "reason"), &row["gap_bytes"]), ("open", &0.into()));
    let oid = text(&row, "oid");
    assert!(data.get(oid, &[]) == body);
    let server = Server::start(&data);
    assert!(server.get(&format!("/streamdb/?oid={oid}")).body == body);
    let listed = server.get(&format!("/streamdb/?srcip=127.0.0.1&srcport={}", pair.port()));
    assert!(listed.text().contains("GET files.example/tool.exe"), "{}", listed.text());

    let asked = Instant::now();
    let summary = capturing.summary();
    assert!(asked.elapsed() < Duration::from_secs(20), "an idle capture ends at once: {:?}", asked.elapsed());
    assert_eq!(
        (&summary["interfaces"][0]["interface"], &summary["connections"], &summary["buckets"]),
        (&"lo".into(), &1.into(), &1.into())
    );
    assert_eq!((&summary["dropped_by_kernel"], &summary["unaccounted_payload_bytes"]), (&0.into(), &0.into()));
    data.is_well();
    let row = stream_to(&data, pair.port(), head(&body).len() + body.len());
    assert_eq!(text(&row, "reason"), "e", "it was open when the capture ended");
    assert!(data.get(text(&row, "oid"), &[]) == body);
    // What was named before is still there; and the frames are as long as loopback makes them.
    assert!(data.get(oid, &[]) == body);
    let frames = data.export().frames;
    assert_eq!(frames.len() as u64, summary["frames"].as_u64().unwrap());
    assert!(frames.iter().any(|frame| frame.data.len() > 9000));
    let about = &frames[0].interface;
    let named = [(2, b"lo".to_vec()), (11, Vec::new())];
    assert_eq!((about.link_type, about.per_second, &about.options[..]), (1, 1_000_000_000, &named[..]));
}

/// Frames without their times, and with them: tcpdump's tap and ours look at the clock one after the other. And frames of the
/// two directions that come within a microsecond or two, on two processors, may stand in either order in the ring of each.
fn assert_same_frames(ours: &[Frame], theirs: &[Frame]) {
    let mut left: Vec<Option<&Frame>> = theirs.iter().map(Some).collect();
    for (at, frame) in ours.iter().enumerate() {
        let same = |other: &Option<&Frame>| {
            other.is_some_and(|other| (other.wire_len, &other.data) == (frame.wire_len, &frame.data))
        };
        let near = at.saturating_sub(2)..left.len().min(at + 3);
        let found = near.clone().find(|near| same(&left[*near]));
        let theirs = found.and_then(|found| left[found].take()).unwrap_or_else(|| panic!("frame {at} is not theirs"));
        assert!(frame.nanos().abs_diff(theirs.nanos()) < 1_000_000_000, "{} and {}", frame.nanos(), theirs.nanos());
    }
    assert!(left.iter().all(Option::is_none), "{} frames are not ours", left.iter().flatten().count());
}

#[test]
fn the_frames_are_those_that_tcpdump_sees() {
    let Some(wire) = Wire::with_addresses() else { return };
    if !installed("tcpdump") {
        return;
    }
    let data = Data::new("capture-tcpdump");
    let theirs = data.beside("tcpdump.pcap");
    let mut tcpdump = Command::new("tcpdump");
    tcpdump.args(["-i", "far0", "--time-stamp-precision=nano", "-U", "-Z", "root", "-w"]).arg(&theirs);
    let mut tcpdump = inside(&wire.far, &tcpdump).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(tcpdump.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("listening on far0"), "{line}");
    let capturing = Capturing::start(&data, Some(&wire.far), &["-i", "far0", "--json"]);
    let body = noise(0, 400_000);
    let mut pair = Pair::across(&wire, "10.9.0.2:0");
    pair.download(&body);
    stream_to(&data, pair.port(), head(&body).len() + body.len());
    let summary = capturing.summary();
    assert_eq!(summary["dropped_by_kernel"], 0);
    let ours = data.export().frames;
    // Unlike ours, it gives up what is in its ring when it is told to end.
    until("tcpdump has written as much", || (common::read_capture(&theirs).frames.len() >= ours.len()).then_some(()));
    assert!(Command::new("kill").args(["-INT", &tcpdump.id().to_string()]).status().unwrap().success());
    assert!(wait(&mut tcpdump).success());
    assert_same_frames(&ours, &common::read_capture(&theirs).frames);
    data.is_well();
}

/// Sends a capture's frames from the near end as fast as can be, so many times, and checks that all were sent.
fn replay(wire: &Wire, capture: &Path, times: u64) -> u64 {
    let frames = times * common::read_capture(capture).frames.len() as u64;
    let mut tcpreplay = Command::new("tcpreplay");
    tcpreplay.args(["-q", "-i", "near0", "--topspeed", "--loop", &times.to_string()]).arg(capture);
    let output = inside(&wire.near, &tcpreplay).output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(report.contains(&format!("Actual: {frames} packets")), "{report} {output:?}");
    frames
}

#[test]
fn vlan_tags_that_the_kernel_takes_out_of_the_frame_come_back() {
    let Some(wire) = Wire::new() else { return };
    if !installed("tcpreplay") {
        return;
    }
    let data = Data::new("capture-vlan");
    let mut frames = common::read_capture(&testdata("lossy-path", "capture.pcap")).frames;
    let mut file = fs::read(testdata("lossy-path", "capture.pcap")).unwrap()[..24].to_vec();
    for frame in &mut frames {
        frame.data.splice(12..12, [0x81, 0, 0x60, 7]);
        frame.wire_len += 4;
        let length = u32::try_from(frame.data.len()).unwrap();
        file.extend([[0; 4], [0; 4], length.to_le_bytes(), length.to_le_bytes()].as_flattened());
        file.extend(&frame.data);
    }
    let tagged = data.write("tagged.pcap", &file);
    let capturing = Capturing::start(&data, Some(&wire.far), &["-i", "far0", "--json"]);
    replay(&wire, &tagged, 1);
    let summary = capturing.summary();
    assert_eq!(summary["dropped_by_kernel"], 0);
    let bytes = |frames: &[Frame]| frames.iter().map(|frame| frame.data.clone()).collect::<Vec<_>>();
    let ours = data.export().frames;
    assert_eq!((ours.len(), bytes(&ours) == bytes(&frames)), (frames.len(), true));
    assert!(data.streams(&[]).iter().all(|row| row["vlan"] == 7));
}

#[test]
fn a_filter_leaves_out_the_rest_on_all_interfaces_too() {
    if !may_capture() {
        return;
    }
    for (interface, link_type) in [("lo", 1), ("any", 276)] {
        let data = Data::new("capture-filter");
        let (listener, address, filter) = Pair::on_loopback();
        let (other, elsewhere, _) = Pair::on_loopback();
        let capturing = Capturing::start(&data, None, &["-i", interface, "--filter", &filter, "--json"]);
        Pair::connect(&other, elsewhere).download(b"not this");
        let mut pair = Pair::connect(&listener, address);
        pair.download(b"this");
        stream_to(&data, pair.port(), head(b"this").len() + 4);
        let summary = capturing.summary();
        assert_eq!(summary["connections"], 1, "{interface}: {summary}");
        let frames = data.export().frames;
        assert!(frames.iter().all(|frame| frame.interface.link_type == link_type), "{:?}", frames[0].interface);
        assert!(!frames.iter().any(|frame| frame.data.ends_with(b"not this")));
        data.is_well();
    }
}

#[test]
fn what_the_snap_length_cuts_is_a_gap() {
    if !may_capture() {
        return;
    }
    let data = Data::new("capture-snaplen");
    let (listener, address, filter) = Pair::on_loopback();
    let flags = ["-i", "lo", "--filter", &filter, "--snaplen", "200", "--json"];
    let capturing = Capturing::start(&data, None, &flags);
    let mut pair = Pair::connect(&listener, address);
    let body = noise(0, 20_000);
    pair.download(&body);
    let row = stream_to(&data, pair.port(), head(&body).len() + body.len());
    assert!(row["gap_bytes"].as_u64().unwrap() > 15_000, "{row}");
    let summary = capturing.summary();
    assert_eq!(summary["counters"]["gap_snaplen"], row["gap_bytes"]);
    assert!(data.export().frames.iter().all(|frame| frame.data.len() <= 200));
    data.is_well();
}

#[test]
fn buckets_end_by_the_clock_when_nothing_comes() {
    if !may_capture() {
        return;
    }
    let data = Data::new("capture-idle");
    let (listener, address, filter) = Pair::on_loopback();
    let capturing = Capturing::start(&data, None, &["-i", "lo", "--filter", &filter, "--bucket", "1s"]);
    let mut pair = Pair::connect(&listener, address);
    pair.download(b"and then silence");
    until("the bucket is sealed", || {
        let said = data.run("buckets", &["--json"]);
        let rows = if said.code == Some(0) { json_lines(&said.out) } else { Vec::new() };
        (!rows.is_empty() && rows.iter().all(|row| row["state"] == "sealed")).then_some(())
    });
    capturing.stop();
    data.is_well();
    assert_eq!(stream_to(&data, pair.port(), head(b"and then silence").len() + 16)["gap_bytes"], 0);
}

#[test]
fn silent_connections_end_by_the_clock() {
    let data = Data::new("capture-clock");
    let folder = Arc::new(WriteFolder::open(&data.path(), Box::new(DiskVolume)).unwrap());
    let writer = Writer::new(folder, 0, WriterConfig::default()).unwrap();
    let mut worker = Worker::new(writer, WorkerConfig { publish_at_ticks: true, ..WorkerConfig::default() });
    let mut file = CaptureFile::open(&testdata("lossy-path", "capture.pcap")).unwrap();
    let mut last = Timestamp::default();
    // Enough for a handshake and its first bytes.
    for _ in 0..8 {
        match file.next().unwrap().unwrap() {
            Item::Frame(frame) => {
                worker.frame(&frame).unwrap();
                last = frame.time;
            }
            Item::Interface(_, interface) => worker.interface(interface).unwrap(),
            other => panic!("{other:?}"),
        }
    }
    let mut open_after = |seconds: i64| {
        worker.clock(last.plus(seconds * 1_000_000_000)).unwrap();
        worker.open_connections()
    };
    assert_eq!(open_after(2), 1);
    // The store thread writes what the clock published.
    let reason = |wanted: &str| {
        until("the stream stands so", || data.streams(&["direction=s"]).into_iter().find(|row| row["reason"] == wanted))
    };
    reason("open");
    assert_eq!((open_after(299), open_after(330)), (1, 0));
    reason("i");
    worker.finish().unwrap();
    data.is_well();
}

#[test]
fn a_burst_adds_up_stored_and_dropped() {
    let Some(wire) = Wire::new() else { return };
    if !installed("tcpreplay") {
        return;
    }
    const LOOPS: u64 = 40;
    let capture = testdata("nginx-downloads", "capture.pcap");
    // The smallest ring overflows while nobody reads it, the usual one does not where there is a processor to spare.
    for buffer in ["64M", "1M"] {
        let is_small = buffer == "1M";
        let data = Data::new("capture-burst");
        let flags = ["-i", "far0", "--json", "--buffer", buffer];
        let capturing = Capturing::start(&data, Some(&wire.far), &flags);
        if is_small {
            capturing.signal("-STOP");
        }
        let sent = replay(&wire, &capture, LOOPS);
        capturing.signal("-CONT");
        let said = capturing.stop();
        let summary = &json_lines(&said.out)[0];
        let count = |name: &str| summary[name].as_u64().unwrap();
        let dropped = count("dropped_by_kernel");
        assert!(dropped > 0 || !is_small, "{summary}");
        assert_eq!(count("frames") + dropped, sent, "{summary}");
        assert_eq!(summary["unaccounted_payload_bytes"], 0);
        // Who lost something is told what to do about it.
        let advice =
            format!("streamdb: {dropped} frames were dropped by the kernel, as they came faster than they were ");
        assert_eq!(said.err.starts_with(&advice), dropped > 0, "{}", said.err);
        assert_eq!(data.export().frames.len() as u64, count("frames"));
        data.is_well();
    }
}

#[test]
fn an_interface_that_fails_ends_the_capture_and_what_came_before_is_kept() {
    for (how, wanted) in [
        ("link set near0 down", "near0: this interface is down; bring it up (ip link set near0 up) and start again"),
        ("link del near0", "near0: this interface went away; start again when it is back"),
    ] {
        let Some(wire) = Wire::with_addresses() else { return };
        let data = Data::new("capture-failing");
        let capturing = Capturing::start(&data, Some(&wire.near), &["-i", "near0"]);
        let mut pair = Pair::across(&wire, "10.9.0.2:0");
        pair.download(b"before");
        let length = head(b"before").len() + 6;
        stream_to(&data, pair.port(), length);
        ip(&format!("-n {} {how}", wire.near));
        let said = capturing.said();
        assert_eq!(said.sentence(), wanted);
        assert!(String::from_utf8_lossy(&said.out).contains(" frames, "), "{said:?}");
        data.is_well();
        let row = stream_to(&data, pair.port(), length);
        assert_eq!((text(&row, "reason"), data.get(text(&row, "oid"), &[])), ("e", b"before".to_vec()));
    }
}

#[test]
fn a_second_signal_ends_it_at_once_and_the_next_start_makes_it_whole() {
    if !may_capture() {
        return;
    }
    let data = Data::new("capture-twice");
    let (listener, address, filter) = Pair::on_loopback();
    let flags = ["-i", "lo", "--filter", &filter];
    let mut capturing = Capturing::start(&data, None, &flags);
    let mut pair = Pair::connect(&listener, address);
    pair.download(b"whatever happens");
    let length = head(b"whatever happens").len() + 16;
    stream_to(&data, pair.port(), length);
    // Draining waits for the last block of the ring; the second signal comes before that.
    capturing.signal("-INT");
    std::thread::sleep(Duration::from_millis(20));
    let _ = Command::new("kill").args(["-INT", &capturing.child.id().to_string()]).stderr(Stdio::null()).status();
    let status = wait(&mut capturing.child);
    if status.success() {
        return println!("skipped: this machine was so busy that the first signal was enough");
    }
    assert_eq!(status.signal(), Some(2), "{status}");
    let again = Capturing::start(&data, None, &flags);
    assert!(again.first.contains("its writer died before it was sealed"), "{}", again.first);
    again.stop();
    data.is_well();
    let row = stream_to(&data, pair.port(), length);
    assert_eq!(data.get(text(&row, "oid"), &[]), b"whatever happens");
}

/// That the program ended with this one sentence before it wrote anything.
#[track_caller]
fn assert_refused(data: &Data, command: &mut Command, wanted: &str) {
    let output = command.output().unwrap();
    let said = Said { code: output.status.code(), out: output.stdout, err: String::from_utf8(output.stderr).unwrap() };
    assert_eq!(said.sentence(), wanted);
    assert!(!data.path().exists());
}

#[test]
fn mistakes_are_refused_before_anything_is_written() {
    let data = Data::new("capture-mistakes");
    let said = data.run("capture", &["-i", "nonesuch0"]);
    assert!(said.sentence().starts_with("there is no interface nonesuch0; there are any, "), "{}", said.sentence());
    for (flags, wanted) in [
        (["--snaplen", "32"], "invalid value '32' for '--snaplen <BYTES>': 32 is not in 64..=262144"),
        (["--buffer", "3G"], "invalid value '3G' for '--buffer <SIZE>': a buffer has 1M to 2047M"),
    ] {
        let said = data.run("capture", &[&["-i", "lo"], &flags[..]].concat());
        let sentence = format!("streamdb: {wanted}; `streamdb capture --help` has more\n");
        assert_eq!((said.code, said.err), (Some(2), sentence));
    }
    let Some(wire) = Wire::new() else { return };
    let wrong = "the filter 'tcp prt 80' cannot be used on link type 1: can't parse filter expression: syntax error";
    assert_refused(&data, &mut data.command("capture", &["-i", "lo", "--filter", "tcp prt 80"]), wrong);
    ip(&format!("-n {} link set near0 down", wire.near));
    let down = "near0: this interface is down; bring it up (ip link set near0 up) and start again";
    assert_refused(&data, &mut inside(&wire.near, &data.command("capture", &["-i", "near0"])), down);
    if installed("setpriv") {
        let program = env!("CARGO_BIN_EXE_streamdb");
        let mut nobody = Command::new("setpriv");
        nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups", program, "capture", "-i", "lo", "--data"]);
        let rights = format!(
            "lo: this user may not capture (socket: Operation not permitted); run it as root, or once, as root: setcap \
             cap_net_raw,cap_net_admin+eip {program}"
        );
        assert_refused(&data, nobody.arg(data.path()), &rights);
    }
}

/// As a service manager shows it that hides what is not of processes (`ProcSubset=pid`).
#[test]
fn little_of_proc_is_enough_for_nanoseconds_and_true_sentences() {
    if !may_capture() || !installed("unshare") {
        return;
    }
    let data = Data::new("capture-proc");
    let inside = |flags: &[&str]| {
        let command = data.command("capture", flags);
        let mut inside = Command::new("unshare");
        let script = "mount -t proc -o subset=pid proc /proc && exec \"$@\"";
        inside.args(["-m", "sh", "-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
        inside
    };
    if !inside(&[]).arg("--help").output().unwrap().status.success() {
        return println!("skipped: this kernel does not hide the rest of /proc");
    }
    let said = inside(&["-i", "nonesuch0"]).output().unwrap();
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(said.contains("there is no interface nonesuch0; there are any, ") && said.contains("lo"), "{said}");
    let (listener, address, filter) = Pair::on_loopback();
    let capturing = Capturing::start_as(&mut inside(&["-i", "lo", "--filter", &filter]));
    let mut pair = Pair::connect(&listener, address);
    pair.download(b"something");
    stream_to(&data, pair.port(), head(b"something").len() + 9);
    capturing.stop();
    assert!(data.export().frames.iter().any(|frame| frame.nanos() % 1000 != 0), "in nanoseconds");
}
