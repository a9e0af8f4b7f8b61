//! What goes over a wire is stored as what is in a file: captures are sent by tcpreplay onto a veth pair and captured from it, and
//! ingested as files beside that. Their streams and objects are the same.
//!
//! The recorded captures here, and some of those in the folder that `STREAMDB_CORPUS` names; with STREAMDB_SOAK=1 all of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Capturing, Data, Frame, Wire, corpus, inside, installed, json_lines, testdata};
use serde_json::Value;

/// Frames are as long as an interface here takes them.
const LONGEST: usize = 9014;
/// Bytes of frames that the ring has room for in any case.
const MOST: usize = 40 << 20;
/// Captures with fewer frames are sent slowly, so that datagrams which were sent twice are not taken for copies of one frame.
const FEW: usize = 600;
/// Of the corpus one capture in so many is sent in a run of all tests.
const SAMPLE: usize = 40;

/// What is sent: the frames of a capture as they came, with times of their own.
fn plain(frames: &[Frame], step: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for field in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, 1] {
        out.extend(field.to_le_bytes());
    }
    for (frame, n) in frames.iter().zip(0_u64..) {
        let (time, length) = (n * step, frame.data.len() as u32);
        let seconds = 1_330_674_711 + (time / 1_000_000_000) as u32;
        for field in [seconds, (time % 1_000_000_000) as u32, length, length] {
            out.extend(field.to_le_bytes());
        }
        out.extend(&frame.data);
    }
    out
}

/// What the streams are, and what is in them, by who talks to whom, in their order.
fn said(data: &Data, with_udp: bool) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::<String, Vec<String>>::new();
    let mut of_udp = BTreeSet::new();
    for (what, fields) in [
        ("streams", &["length", "gap_bytes", "packets", "conflict", "vlan"][..]),
        ("objects", &["kind", "size", "sha256", "complete", "status"]),
    ] {
        for row in json_lines(&data.run(what, &["--json"]).well()) {
            let field = |name: &str| row.get(name).unwrap_or(&Value::Null).to_string();
            // HTTP may come in datagrams, too.
            let ends = ["src_ip", "src_port", "dst_ip", "dst_port"].map(field);
            if what == "streams" && field("protocol") == "\"udp\"" {
                of_udp.insert(ends.clone());
            }
            if with_udp || !of_udp.contains(&ends) {
                let names = ["protocol", "src_ip", "src_port", "dst_ip", "dst_port", "direction"];
                let key = format!("{what} {}", names.map(field).join(" "));
                let value = fields.iter().map(|name| field(name)).collect::<Vec<_>>().join(" ");
                all.entry(key).or_default().push(value);
            }
        }
    }
    all
}

/// Takes care that the kernel answers nothing, whatever is sent to whom.
fn silence(wire: &Wire) {
    for (namespace, interface) in [(&wire.near, "near0"), (&wire.far, "far0")] {
        let quiet =
            format!("echo 1 > /proc/sys/net/ipv6/conf/{interface}/disable_ipv6; ip link set {interface} arp off");
        let mut shell = Command::new("sh");
        shell.args(["-c", &quiet]);
        assert!(inside(namespace, &shell).status().unwrap().success());
    }
}

/// Sends a capture and compares; false when it cannot be sent. Where a connection is picked up in the middle, and what came first was
/// published when what lies before that came, that is outside of the stream: then it is sent once more.
fn is_the_same(wire: &Wire, path: &Path, wrong: &mut Vec<String>) -> bool {
    for _ in 0..3 {
        let mut differs = Vec::new();
        match compared(wire, path, &mut differs) {
            None => return false,
            Some(is_outside) if is_outside && !differs.is_empty() => {
                println!("{}: what came late was published before, so it is sent once more", path.display());
            }
            Some(_) => {
                wrong.append(&mut differs);
                return true;
            }
        }
    }
    wrong.push(format!("{}: each time what came late was published before", path.display()));
    true
}

/// Sends a capture and compares, and says whether bytes were outside of their stream that are inside in the file; nothing when it
/// cannot be sent.
fn compared(wire: &Wire, path: &Path, wrong: &mut Vec<String>) -> Option<bool> {
    let frames = common::read_capture(path).frames;
    let fits = |frame: &Frame| {
        frame.interface.link_type == 1
            && frame.data.len() as u32 == frame.wire_len
            && (14..=LONGEST).contains(&frame.data.len())
    };
    let bytes: usize = frames.iter().map(|frame| frame.data.len()).sum();
    if frames.is_empty() || !frames.iter().all(fits) || bytes > MOST {
        return None;
    }
    let few = frames.len() < FEW;
    let file = plain(&frames, if few { 3_000_000 } else { 10_000 });
    let (ingested, captured) = (Data::new("replay-file"), Data::new("replay-wire"));
    let capture = ingested.write("sent.pcap", &file);
    let said_of_file = json_lines(&ingested.ingest(&["--json"], &[&capture]).well()).remove(0);
    let capturing = Capturing::start(&captured, Some(&wire.far), &["-i", "far0", "--json", "--buffer", "256M"]);
    let mut tcpreplay = Command::new("tcpreplay");
    let rate = if few { "--pps=333" } else { "--mbps=200" };
    tcpreplay.args(["-q", "-i", "near0", rate]).arg(&capture);
    let sent = inside(&wire.near, &tcpreplay).output().unwrap();
    let report = String::from_utf8_lossy(&sent.stdout).into_owned();
    let summary = capturing.summary();
    if summary["dropped_by_kernel"] != 0 || !report.contains(&format!("Actual: {} packets", frames.len())) {
        println!("{}: not all of it was sent or captured: {report}", path.display());
        return None;
    }
    let mut differs = |what: String| wrong.push(format!("{}: {what}", path.display()));
    if summary["frames"] != frames.len() {
        differs(format!("{} frames of {}", summary["frames"], frames.len()));
    }
    let (from_file, from_wire) = (said(&ingested, few), said(&captured, few));
    for key in from_file.keys().chain(from_wire.keys().filter(|key| !from_file.contains_key(*key))) {
        if from_file.get(key) != from_wire.get(key) {
            differs(format!("{key}: {:?} of the file, {:?} of the wire", from_file.get(key), from_wire.get(key)));
        }
    }
    let outside = |said: &Value| said["counters"]["payload_outside"].as_u64().unwrap();
    Some(outside(&summary) > outside(&said_of_file))
}

#[test]
fn what_is_captured_is_what_is_ingested() {
    let Some(wire) = Wire::new() else { return };
    if !installed("tcpreplay") {
        return;
    }
    let mut paths: Vec<PathBuf> = ["imagedump", "lossy-path"].map(|case| testdata(case, "capture.pcap")).into();
    if let Some(folder) = corpus() {
        let soak = std::env::var_os("STREAMDB_SOAK").is_some_and(|v| v == "1");
        let mut all: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        all.sort();
        let is_capture = |path: &PathBuf| path.extension().is_some_and(|end| end == "pcap" || end == "pcapng");
        paths.extend(all.into_iter().filter(is_capture).step_by(if soak { 1 } else { SAMPLE }));
    }
    silence(&wire);
    let mut wrong = Vec::new();
    let sent = paths.iter().filter(|path| is_the_same(&wire, path, &mut wrong)).count();
    println!("{sent} of {} captures went over the wire; the others have frames that do not", paths.len());
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    assert!(sent >= 2);
}
