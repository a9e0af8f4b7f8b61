//! Several workers and interfaces: whoever sees a frame, both directions of each connection are one pair of streams, and every
//! frame is stored once, as it was. Where the user may not capture, it says so and passes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::flows::{Flow, Sent, frames, frames_of, frames_without_known_ports};
use common::{
    Capturing, Data, Made, Pair, Talk, Wire, head, inside, installed, ip, noise, stream_to, text, until, wait, within,
};
use serde_json::Value;
use streamdb::sharing::parts;
use streamdb::worker::{Worker, WorkerConfig};
use streamdb_capture::{Batch, Frame, Item, Live, LiveSettings};
use streamdb_storage::{DiskVolume, WriteFolder, Writer, WriterConfig};
use streamdb_types::{Counters, Interface, LinkType, Resolution, Timestamp};

fn count_of_flows() -> u32 {
    if std::env::var_os("STREAMDB_SOAK").is_some() { 10_000 } else { 2_000 }
}

/// A tcpdump beside ours.
struct Tcpdump {
    child: Child,
    file: std::path::PathBuf,
}

impl Tcpdump {
    fn start(data: &Data, wire: &Wire, interface: &str) -> Option<Self> {
        if !installed("tcpdump") {
            return None;
        }
        let file = data.beside(&format!("{interface}.pcap"));
        let mut tcpdump = Command::new("tcpdump");
        tcpdump
            .args(["-i", interface, "--time-stamp-precision=nano", "-B", "65536", "-U", "-Z", "root", "-w"])
            .arg(&file);
        let mut child = inside(&wire.far, &tcpdump).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("listening on"), "{line}");
        Some(Self { child, file })
    }

    /// How many times it has each frame, when it has so many.
    fn frames(mut self, wanted: usize) -> BTreeMap<Vec<u8>, u64> {
        until("tcpdump has written as much", || {
            (common::read_capture(&self.file).frames.len() >= wanted).then_some(())
        });
        assert!(Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap().success());
        assert!(wait(&mut self.child).success());
        counted(common::read_capture(&self.file).frames.into_iter().map(|frame| frame.data))
    }
}

fn counted(frames: impl IntoIterator<Item = Vec<u8>>) -> BTreeMap<Vec<u8>, u64> {
    let mut all = BTreeMap::new();
    for frame in frames {
        *all.entry(frame).or_default() += 1;
    }
    all
}

/// The streams of each flow, by the client's address and port.
fn by_flow(data: &Data) -> BTreeMap<(String, u64), Vec<Value>> {
    let mut all: BTreeMap<_, Vec<Value>> = BTreeMap::new();
    for row in data.streams(&[]) {
        let ends = [("src_ip", "src_port"), ("dst_ip", "dst_port")]
            .map(|(ip, port)| (text(&row, ip).to_owned(), row[port].as_u64().unwrap()));
        let client = ends.into_iter().find(|(_, port)| *port >= 20_000).unwrap();
        all.entry(client).or_default().push(row);
    }
    all
}

/// That there is one pair of streams for each flow, with all that was said in it, and that who sent a SYN is the client.
fn assert_pairs(data: &Data, flows: u32, what: &str) {
    assert_pairs_of(data, &(0..flows).map(Flow::new).collect::<Vec<_>>(), what);
}

fn assert_pairs_of(data: &Data, flows: &[Flow], what: &str) {
    let rows = by_flow(data);
    let mut wrong = Vec::new();
    for flow in flows {
        let rows = rows.get(&(flow.client(), flow.ports()[0].into())).map_or(&[][..], Vec::as_slice);
        let mut lengths: Vec<_> = rows.iter().map(|row| (row["length"].as_u64(), row["gap_bytes"].as_u64())).collect();
        lengths.sort_unstable();
        let swapped = |row: &Value| {
            let said = if text(row, "direction") == "s" { 0 } else { 1 };
            row["src_port"] != flow.ports()[0] || row["length"] != flow.says(said).len()
        };
        if lengths != [0, 1].map(|side| (Some(flow.says(side).len() as u64), Some(0)))
            || flow.tcp && rows.iter().any(swapped)
        {
            wrong.push(format!("{flow:?}: {rows:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{what}: {} of {} flows, as {}",
        wrong.len(),
        flows.len(),
        wrong[..wrong.len().min(3)].join("\n")
    );
    assert_eq!(rows.len(), flows.len(), "{what}: and no others");
    for flow in flows.iter().step_by(flows.len() / 24 + 1) {
        for row in &rows[&(flow.client(), flow.ports()[0].into())] {
            let content = data.get(text(row, "oid"), &["--raw"]);
            assert!([0, 1].iter().any(|side| content == flow.says(*side)), "{what}: {flow:?}");
        }
    }
}

/// Captures what is sent over these interfaces, the frames of each side over one of them, with so many workers each.
fn captured(interfaces: usize, workers: usize, flows: u32) {
    let Some(wire) = Wire::new() else { return };
    let names = ["far0", "far1"];
    if interfaces > 1 {
        wire.second();
    }
    let data = Data::new(&format!("workers-{interfaces}-{workers}"));
    let sent: Vec<Sent> = frames(flows).into_iter().map(|(side, frame)| (side % interfaces, frame)).collect();
    let dumps: Vec<_> = names[..interfaces].iter().map(|name| Tcpdump::start(&data, &wire, name)).collect();
    let count = workers.to_string();
    let mut flags = vec!["--json", "--no-derive", "--workers", &count, "--buffer", "64M"];
    names[..interfaces].iter().for_each(|name| flags.extend(["-i", name]));
    let capturing = Capturing::start(&data, Some(&wire.far), &flags);
    wire.send(&["near0", "near1"][..interfaces], &sent);
    let summary = capturing.summary();
    let what = format!("{interfaces} interfaces, {workers} workers: {summary}");
    for zero in ["dropped_by_kernel", "shed", "unaccounted_payload_bytes"] {
        assert_eq!(summary[zero], 0, "{what}");
    }
    assert_eq!(summary["frames"], sent.len(), "{what}");
    let of_workers: Vec<&Value> =
        summary["interfaces"].as_array().unwrap().iter().flat_map(|one| one["workers"].as_array().unwrap()).collect();
    assert_eq!(of_workers.len(), interfaces * workers);
    let sum = |name: &str| of_workers.iter().map(|one| one[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum("frames"), sent.len() as u64, "{what}");
    assert_eq!(sum("handed_over") > 0, of_workers.len() > 1, "{what}");
    assert!(of_workers.iter().all(|one| one["frames"] != 0), "each has something to do: {what}");

    let ours = data.export().frames;
    for (number, (name, dump)) in names[..interfaces].iter().zip(dumps).enumerate() {
        let here = ours.iter().filter(|frame| frame.interface.options.contains(&(2, name.as_bytes().to_vec())));
        let here = counted(here.map(|frame| frame.data.clone()));
        let wanted: Vec<_> = sent.iter().filter(|(on, _)| *on == number).map(|(_, frame)| frame.clone()).collect();
        let all = wanted.len();
        assert!(here == counted(wanted), "the frames of {name} are those that were sent: {what}");
        if let Some(dump) = dump {
            assert!(here == dump.frames(all), "the frames of {name} are those that tcpdump saw: {what}");
        }
    }
    assert_pairs(&data, flows, &what);
    data.is_well();
    println!("{what}");
}

#[test]
fn one_worker_keeps_every_flow_together() {
    captured(1, 1, count_of_flows());
}

#[test]
fn two_workers_keep_every_flow_together() {
    captured(1, 2, count_of_flows());
}

#[test]
fn three_workers_keep_every_flow_together() {
    captured(1, 3, count_of_flows() / 2);
}

#[test]
fn two_interfaces_with_a_direction_each_keep_every_flow_together() {
    captured(2, 1, count_of_flows());
}

#[test]
fn two_interfaces_with_two_workers_each_keep_every_flow_together() {
    captured(2, 2, count_of_flows() / 2);
}

/// Three workers of one store, without a wire.
fn workers_of(data: &Data, count: usize) -> Vec<Worker> {
    let folder = Arc::new(WriteFolder::open(&data.path(), Box::new(DiskVolume)).unwrap());
    let interface = Interface {
        link_type: LinkType::ETHERNET,
        snap_length: 262_144,
        resolution: Resolution::NANOS,
        time_offset: 0,
        fcs_length: None,
        options: Vec::new(),
    };
    let worker = |(part, number)| {
        let writer = Writer::new(Arc::clone(&folder), number, WriterConfig::default()).unwrap();
        let mut worker = Worker::sharing(writer, WorkerConfig::default(), part);
        worker.interface(&interface).unwrap();
        worker
    };
    parts(count, 10_000).unwrap().into_iter().zip([0, 3, 4]).map(worker).collect()
}

/// The frame of this number, ten microseconds after the one before.
fn numbered(n: usize, data: &[u8]) -> Frame<'_> {
    let time = Timestamp(1_700_000_000_000_000_000 + n as i64 * 10_000);
    Frame { time, interface: 0, wire_len: data.len() as u32, data }
}

/// One that has ended takes nothing any more, and what others have for it then is told as let go.
#[test]
fn what_is_for_a_worker_that_has_left_is_counted() {
    let data = Data::new("workers-leaving");
    let mut workers = workers_of(&data, 2);
    let sent = frames(40);
    let (half, rest) = sent.split_at(sent.len() / 2);
    // The first one begins all connections, and so has them.
    for (n, (_, data)) in half.iter().enumerate() {
        workers[0].frame(&numbered(n, data)).unwrap();
    }
    let mut late = workers.pop().unwrap();
    let first = workers.pop().unwrap();
    // One batch comes in time, and nobody looks for it before the end; another one is sent after that.
    for (n, (_, data)) in (half.len()..).zip(rest) {
        late.frame(&numbered(n, data)).unwrap();
        assert!(n != half.len() + rest.len() / 2 || late.send_handed());
    }
    let (mut all, _) = first.finish().unwrap();
    assert!(!late.send_handed(), "it is sent to nobody");
    while !late.ends_round().unwrap() {}
    let (counters, _) = late.finish().unwrap();
    let (handed, shed) = (counters.handed_frames, counters.shed_frames);
    assert!(handed > 0 && shed > 0, "{handed} {shed}");
    assert_eq!(counters.frames + handed + shed, rest.len() as u64);
    all.add(&counters);
    assert_eq!(all.frames + all.shed_frames, sent.len() as u64);
}

/// Also when much of it was stored by then. No port tells the server from the client.
#[test]
fn who_sent_the_syn_is_the_client_although_it_came_late() {
    let data = Data::new("workers-late-syn");
    let (asks, says) = (noise(1, 3_000), noise(2, 60_000));
    let mut made = Made::default();
    let mut talk = Talk::new(500);
    talk.open(&mut made, 0).ask(&mut made, 1, &asks).answer(&mut made, 2, &says).close(&mut made, 3);
    // What the server said comes first, and then all else.
    let (first, last) = (3 + asks.len().div_ceil(1400), made.frames.len() - 3);
    let times: Vec<u64> = made.frames.iter().map(|(time, _)| *time).collect();
    made.frames[..last].rotate_left(first);
    made.frames.iter_mut().zip(times).for_each(|(frame, time)| frame.0 = time);
    data.ingest(&[], &[&data.write("late.pcap", &made.file())]).well();
    let rows = data.streams(&[]);
    let [one, two] = &rows[..] else { panic!("{rows:?}") };
    for row in [one, two] {
        assert_eq!((&row["src_port"], &row["dst_port"], &row["gap_bytes"]), (&500.into(), &80.into(), &0.into()));
        let said = if text(row, "direction") == "s" { &asks } else { &says };
        assert!(data.get(text(row, "oid"), &["--raw"]) == *said, "{row}");
    }
    assert_ne!(one["direction"], two["direction"]);
    let sent = made.frames.into_iter().map(|(_, frame)| frame);
    assert!(data.export().frames.into_iter().map(|frame| frame.data).eq(sent));
    data.is_well();
}

/// Whether a worker is alone or not, each frame that has no content has one reason for it.
#[test]
fn why_frames_have_no_content_is_counted_once() {
    let data = Data::new("workers-refused");
    let mut workers = workers_of(&data, 2);
    let arp = [&[2; 12][..], &[8, 6], &[0; 28]].concat();
    let cut = [&[2; 12][..], &[8, 0], &[0x45; 5]].concat();
    let other = frames(1).into_iter().next().map(|(_, mut frame)| {
        // A protocol that is not gone into.
        frame[23] = 89;
        frame
    });
    let sent = [arp, cut, other.unwrap()];
    for (n, frame) in sent.iter().cycle().take(300).enumerate() {
        workers[n / 7 % 2].frame(&numbered(n, frame)).unwrap();
    }
    let mut all = Counters::default();
    for mut worker in workers {
        assert!(worker.send_handed());
        while !worker.ends_round().unwrap() {}
        all.add(&worker.finish().unwrap().0);
    }
    assert_eq!((all.frames, all.malformed_frames, all.other_frames), (300, 100, 200));
    assert_eq!((all.malformed_ip, all.other_not_ip, all.other_protocol), (100, 100, 100), "{all:?}");
}

/// By what a kernel chooses who sees a frame: addresses; and ports, or the addresses in a tunnel of IP, of what is no fragment.
fn who_sees(frame: &[u8]) -> [&[u8]; 2] {
    if frame[12] != 8 {
        return [&frame[22..54], &[]];
    }
    let is_fragment = (frame[20], frame[21]) != (0, 0);
    let inside = match frame[23] {
        _ if is_fragment => 0..0,
        6 | 17 => 34..38,
        4 => 46..54,
        41 => 42..74,
        _ => 0..0,
    };
    [&frame[26..34], &frame[inside]]
}

/// A number below this one, by chance, and the same each time.
fn chance(seed: u64, what: impl Hash, of: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, what).hash(&mut hasher);
    hasher.finish() % of
}

/// Gives each frame to a worker, which hands over what it has now and then; what all of them counted.
fn given<'f>(seed: u64, workers: Vec<Worker>, frames: impl Iterator<Item = (usize, &'f [u8])>) -> Counters {
    given_at(seed, workers, frames, |n| n)
}

/// The same of frames that have the times of these numbers.
fn given_at<'f>(
    seed: u64,
    mut workers: Vec<Worker>,
    frames: impl Iterator<Item = (usize, &'f [u8])>,
    times: impl Fn(usize) -> usize,
) -> Counters {
    for (n, (at, data)) in frames.enumerate() {
        workers[at].frame(&numbered(times(n), data)).unwrap();
        for (number, worker) in workers.iter_mut().enumerate() {
            if chance(seed, (n, number), 12) == 0 {
                worker.send_handed();
            }
            if chance(seed, (number, n, 1), 12) == 0 {
                worker.take_handed().unwrap();
            }
        }
    }
    let mut is_last = false;
    while !is_last {
        for worker in &mut workers {
            assert!(worker.send_handed());
            is_last = worker.ends_round().unwrap();
        }
        for worker in &mut workers {
            assert!(!worker.others_send());
            while worker.take_handed().unwrap() {}
        }
    }
    let mut all = Counters::default();
    for worker in workers {
        let (counters, written) = worker.finish().unwrap();
        assert_eq!((counters.unaccounted(), written.troubles.len()), (0, 0));
        all.add(&counters);
    }
    all
}

/// Without a wire: each direction of each pair of addresses comes to any worker, of the outermost ones in fragments, else of the
/// innermost ones; and what is handed over arrives now or then.
#[test]
fn whoever_sees_a_frame_its_connection_is_one() {
    const FLOWS: u32 = 540;
    for seed in 0..if common::soak() { 50 } else { 3 } {
        let data = Data::new("workers-handing");
        let sent = frames_without_known_ports(FLOWS);
        let at = |frame: &[u8]| chance(seed, who_sees(frame), 3) as usize;
        let all = given(seed, workers_of(&data, 3), sent.iter().map(|(_, frame)| (at(frame), &frame[..])));
        assert_eq!((all.frames, all.shed_frames, all.expired_fragments), (sent.len() as u64, 0, 0), "{all:?}");
        assert!(all.handed_frames > all.frames / 8 && all.handed_frames < all.frames * 3, "{all:?}");
        // Although they are in three buckets, and some came late to theirs.
        let frames: Vec<Vec<u8>> = data.export().frames.into_iter().map(|frame| frame.data).collect();
        assert!(frames.iter().eq(sent.iter().map(|(_, frame)| frame)), "they come back in their order");
        assert_pairs(&data, FLOWS, &format!("seed {seed}: {all:?}"));
        data.is_well();
    }
}

/// The same where each frame is seen a second time, by any worker. Not of datagrams: those that are copies are told from others
/// for a short while only.
#[test]
fn whoever_sees_a_frame_and_its_copy_its_connection_is_one() {
    let flows: Vec<Flow> = (0..540).map(Flow::new).filter(|flow| flow.tcp).collect();
    for seed in 0..if common::soak() { 50 } else { 3 } {
        let data = Data::new("workers-doubled");
        let sent = frames_of(&flows);
        let at = |frame: &[u8], copy: u8| chance(seed, (who_sees(frame), copy), 3) as usize;
        let both = sent.iter().flat_map(|(_, frame)| [0, 1].map(|copy| (at(frame, copy), &frame[..])));
        let all = given(seed, workers_of(&data, 3), both);
        assert_eq!((all.frames, all.shed_frames), (sent.len() as u64 * 2, 0), "{all:?}");
        assert_pairs_of(&data, &flows, &format!("seed {seed}: {all:?}"));
        data.is_well();
    }
}

/// Frames that were made to be looked at for ever, and fragments within fragments within fragments, whose numbers are used again and
/// again, at any time.
#[test]
fn what_carries_itself_is_handed_on_no_more_than_there_are_ways() {
    let circles = [[7, 7], [7, 8], [8, 7]].map(|[one, other]| {
        let header = |next, number| [next, 0, 0, 1, 0, 0, 0, number];
        let rest = [&header(44, one)[..], &header(58, other), &[0; 16]].concat();
        [&[2; 12][..], &[0x86, 0xdd, 0x60, 0, 0, 0, 0, rest.len() as u8, 44, 64], &[0xfd; 32], &rest].concat()
    });
    for seed in 0..if common::soak() { 500 } else { 10 } {
        let data = Data::new("workers-circles");
        let mut sent = circles.to_vec();
        for n in 0..1500_u64 {
            let pick = |what: u8, of: u64| chance(seed, (n, what), of) as u8;
            let mut packet = vec![5, 6, 7, pick(0, 3), 0, 32, 0, 0];
            packet.extend([0; 24]);
            for level in 1..=1 + pick(1, 4) {
                let pick = |what, of| pick(level * 10 + what, of);
                let mut header = vec![0x45, 0, 0, 20 + packet.len() as u8, 0, pick(2, 3)];
                // A later fragment, a first one, or none.
                header.extend([[0, pick(3, 3)], [0x20, pick(3, 3)], [0x20, 0], [0, 0]][usize::from(pick(4, 4))]);
                header.extend([64, if level == 1 { 17 } else { 4 }, 0, 0]);
                header.extend([10, 9, level, pick(5, 2), 10, 9, level, pick(6, 2)]);
                packet.splice(..0, header);
            }
            let tag: &[u8] = if pick(2, 4) == 0 { &[0x81, 0, 0, 1, 8, 0] } else { &[8, 0] };
            sent.push([&[2; 12][..], tag, &packet].concat());
        }
        let at = |n: usize| chance(seed, n, 3) as usize;
        // Now and then nothing comes for a while.
        let slow = seed.is_multiple_of(2);
        let all =
            given_at(seed, workers_of(&data, 3), sent.iter().enumerate().map(|(n, frame)| (at(n), &frame[..])), |n| {
                n + if slow { n / 200 * 70_000 } else { 0 }
            });
        assert_eq!((all.frames, all.shed_frames), (sent.len() as u64, 0), "seed {seed}: {all:?}");
        assert!(all.handed_frames > 0 && all.handed_frames <= all.frames * 3, "seed {seed}: {all:?}");
        let stored = counted(data.export().frames.into_iter().map(|frame| frame.data));
        assert!(stored == counted(sent), "seed {seed}");
    }
}

#[test]
fn what_a_worker_cannot_take_any_more_is_let_go_and_counted() {
    let data = Data::new("workers-behind");
    let mut workers = workers_of(&data, 2);
    let mut flow = frames(1);
    let (last, longest) =
        (flow.pop().unwrap().1, flow.iter().map(|(_, frame)| frame.clone()).max_by_key(Vec::len).unwrap());
    workers[0].frame(&numbered(0, &flow[0].1)).unwrap();
    let mut sent = 1;
    for _ in 0..40_000 {
        workers[1].frame(&numbered(sent, &longest)).unwrap();
        sent += 1;
    }
    assert!(!workers[1].send_handed(), "there is no room");
    let shed = workers[1].counters().shed_frames;
    assert!(shed > 1000, "{shed}");
    // It catches up, and takes what comes then.
    while workers[0].take_handed().unwrap() {
        workers[1].send_handed();
    }
    workers[1].frame(&numbered(sent, &last)).unwrap();
    sent += 1;
    assert!(workers[1].send_handed());
    let mut all = Counters::default();
    for worker in &mut workers {
        while !worker.ends_round().unwrap() {}
    }
    for mut worker in workers {
        while worker.take_handed().unwrap() {}
        all.add(&worker.finish().unwrap().0);
    }
    assert_eq!((all.frames + all.shed_frames, all.shed_frames), (sent as u64, shed), "{all:?}");
    assert_eq!((all.handed_frames, all.unaccounted()), (all.frames - 1, 0));
    assert_eq!(data.export().frames.len() as u64, all.frames);
    let stats: Value = serde_json::from_slice(&data.run("stats", &["--json"]).well()).unwrap();
    assert_eq!(stats["counters"]["shed_frames"], shed, "{stats}");
    // It stands beside the stream that it is missing in, which another worker has.
    let rows = data.streams(&[]);
    assert!(!rows.is_empty());
    for row in rows {
        assert_eq!(row["loss"]["shed"], shed, "{row}");
    }
    data.is_well();
}

#[test]
fn a_burst_adds_up_to_the_frame() {
    let Some(wire) = Wire::new() else { return };
    let data = Data::new("workers-burst");
    // The smallest ring overflows while nobody reads it.
    let flags = ["-i", "far0", "--workers", "2", "--json", "--no-derive", "--buffer", "1M"];
    let capturing = Capturing::start(&data, Some(&wire.far), &flags);
    let burst = only_on_0(&frames(1000));
    wire.send(&["near0"], &burst);
    capturing.signal("-STOP");
    (0..8).for_each(|_| wire.send(&["near0"], &burst));
    capturing.signal("-CONT");
    wire.send(&["near0"], &burst);
    let said = capturing.stop();
    let summary = &common::json_lines(&said.out)[0];
    let count = |name: &str| summary[name].as_u64().unwrap();
    let sent = 10 * burst.len() as u64;
    assert_eq!(count("frames") + count("dropped_by_kernel") + count("shed"), sent, "{summary}");
    assert!(count("dropped_by_kernel") > 0, "{summary}");
    assert_eq!((&summary["unaccounted_payload_bytes"], &summary["dropped_by_interface"]), (&0.into(), &0.into()));
    assert_eq!(data.export().frames.len() as u64, count("frames"));
    data.is_well();
}

/// The kernel takes tags out of frames, and makes one large frame of many small ones: both come back as tcpdump shows them.
#[test]
fn tags_and_large_frames_are_kept() {
    let Some(wire) = Wire::new() else { return };
    let mut tagged = true;
    for (namespace, interface, host) in [(&wire.near, "near0", 1), (&wire.far, "far0", 2)] {
        let mut add = Command::new("ip");
        add.args(["-n", namespace, "link", "add", "link", interface, "name", "vlan7", "type", "vlan", "id", "7"]);
        tagged &= add.output().unwrap().status.success();
        let device = if tagged { "vlan7" } else { interface };
        ip(&format!("-n {namespace} link set {device} addrgenmode none"));
        ip(&format!("-n {namespace} address add 10.9.0.{host}/24 dev {device}"));
        ip(&format!("-n {namespace} link set {device} up"));
    }
    if !tagged {
        println!("skipped: this kernel has no VLAN devices; large frames alone are looked at");
    }
    let data = Data::new("workers-vlan");
    let dump = Tcpdump::start(&data, &wire, "far0");
    let capturing = Capturing::start(&data, Some(&wire.far), &["-i", "far0", "--workers", "2", "--json"]);
    let body = noise(0, 2_000_000);
    let mut pair = Pair::across(&wire, "10.9.0.2:0");
    pair.download(&body);
    let row = stream_to(&data, pair.port(), head(&body).len() + body.len());
    assert_eq!((row["vlan"] == 7, &row["gap_bytes"]), (tagged, &0.into()));
    let summary = capturing.summary();
    assert_eq!((&summary["dropped_by_kernel"], &summary["shed"]), (&0.into(), &0.into()));
    let ours = data.export().frames;
    assert!(!tagged || ours.iter().all(|frame| frame.data[12..14] == [0x81, 0]), "every frame has its tag");
    assert!(ours.iter().any(|frame| frame.data.len() > 9100), "and some are larger than the wire allows");
    assert!(ours.iter().any(|frame| frame.nanos() % 1000 != 0), "in nanoseconds");
    let all = ours.len();
    let ours = counted(ours.into_iter().map(|frame| frame.data));
    assert!(dump.is_none_or(|dump| dump.frames(all) == ours), "as tcpdump sees them");
    assert_eq!(data.get(text(&row, "oid"), &[]), body);
    data.is_well();
}

fn flow(n: u32, on: usize) -> Vec<Sent> {
    frames(n + 1).into_iter().filter(|(_, frame)| frame.len() < 100).map(|(_, frame)| (on, frame)).collect()
}

/// That what is stored is what was sent over both wires, each time.
fn assert_stored(data: &Data, sent: &[&[Sent]], what: &Value) {
    let sent = counted(sent.concat().into_iter().map(|(_, frame)| frame));
    assert!(counted(data.export().frames.into_iter().map(|frame| frame.data)) == sent, "{what}");
    data.is_well();
}

/// Also where the process may open nothing any more, as those that `streamdb run` starts.
#[test]
fn an_interface_that_is_down_ends_no_other_and_is_taken_when_it_is_up() {
    for confine in [&[][..], &["--confine"]] {
        let Some(wire) = Wire::new() else { return };
        wire.second();
        let data = Data::new("workers-down");
        let flags = [&["-i", "far0", "-i", "far1", "--workers", "2", "--json", "--no-derive"], confine].concat();
        let mut capturing = Capturing::start(&data, Some(&wire.far), &flags);
        let (first, second, third) = (flow(6, 0), flow(7, 1), flow(8, 0));
        let send = |frames: &[Sent]| wire.send(&["near0", "near1"], frames);
        send(&first);
        ip(&format!("-n {} link set far0 down", wire.far));
        let down = "streamdb: far0: this interface is down; the capture goes on without it until it is up again\n";
        assert_eq!(capturing.line(), down);
        send(&second);
        ip(&format!("-n {} link set far0 up", wire.far));
        // From when it is up, not from when that is said.
        send(&third);
        assert_eq!(capturing.line(), "streamdb: capturing from far0 again\n");
        send(&third);
        let summary = capturing.summary();
        assert_stored(&data, &[&first, &second, &third, &third], &summary);
    }
}

#[test]
fn an_interface_that_goes_away_ends_no_other_and_is_taken_again() {
    for confine in [&[][..], &["--confine"]] {
        let Some(wire) = Wire::new() else { return };
        wire.second();
        let data = Data::new("workers-gone");
        let flags = [&["-i", "far0", "-i", "far1", "--workers", "2", "--json", "--no-derive"], confine].concat();
        let mut capturing = Capturing::start(&data, Some(&wire.far), &flags);
        let (first, second, third) = (flow(6, 0), flow(7, 1), flow(8, 0));
        wire.send(&["near0", "near1"], &first);
        // What the kernel has not handed over yet goes with the interface.
        std::thread::sleep(Duration::from_millis(500));
        ip(&format!("-n {} link del far0", wire.far));
        let line = capturing.line();
        let gone =
            "streamdb: far0: this interface went away; the capture goes on without it, and looks for it each 5 s\n";
        assert_eq!(line, gone);
        wire.send(&["near1"], &second.iter().map(|(_, frame)| (0, frame.clone())).collect::<Vec<_>>());
        wire.add(0);
        if confine.is_empty() {
            assert_eq!(capturing.line(), "streamdb: capturing from far0 again\n");
            wire.send(&["near0", "near1"], &third);
            let summary = capturing.summary();
            assert_stored(&data, &[&first, &second, &third], &summary);
        } else {
            let line = capturing.line();
            assert!(line.starts_with("streamdb: far0 is up again: this capture may not open it, and ends"), "{line}");
            let said = capturing.said();
            assert_eq!(said.code, Some(75), "it wants to be started again");
            assert_stored(&data, &[&first, &second], &common::json_lines(&said.out)[0]);
        }
    }
}

/// One worker sees first that the interface is gone. What the kernel has for the other one is no less there.
#[test]
fn what_has_come_by_an_interface_that_went_away_is_stored() {
    const BURST: usize = 150_000;
    let Some(wire) = Wire::new() else { return };
    wire.second();
    let data = Data::new("workers-left");
    let flags = ["-i", "far0", "-i", "far1", "--workers", "2", "--json", "--no-derive", "--buffer", "64M"];
    let capturing = Capturing::start(&data, Some(&wire.far), &flags);
    // All of one flow, so that one worker of the interface has nothing to do.
    let burst: Vec<Sent> = (0..BURST).map(|n| (0, lone(n as u32))).collect();
    capturing.signal("-STOP");
    wire.send(&["near0"], &burst);
    // The kernel hands a part of its ring over when it is full, or after a while.
    std::thread::sleep(Duration::from_millis(500));
    ip(&format!("-n {} link del far0", wire.far));
    capturing.signal("-CONT");
    std::thread::sleep(Duration::from_secs(1));
    let summary = capturing.summary();
    assert_eq!((&summary["frames"], &summary["shed"]), (&BURST.into(), &0.into()), "{summary}");
}

#[test]
fn what_is_changed_by_a_signal_holds_for_all_workers() {
    let Some(wire) = Wire::new() else { return };
    let data = Data::new("workers-reload");
    let text_of = |filter: &str| format!("[capture]\ninterface = \"far0\"\nfilter = \"{filter}\"\n");
    let config = data.write("streamdb.toml", text_of("ip or ip6").as_bytes());
    let config = config.to_str().unwrap();
    let mut capturing =
        Capturing::start(&data, Some(&wire.far), &["-i", "far0", "--workers", "2", "--json", "--config", config]);
    let sent = frames(240);
    wire.send(&["near0"], &only_on_0(&sent));
    until("all of it is stored", || {
        let said = data.run("export", &["--pcap", data.beside("seen.pcapng").to_str().unwrap()]);
        let seen =
            if said.code == Some(0) { common::read_capture(&data.beside("seen.pcapng")).frames.len() } else { 0 };
        (seen == sent.len()).then_some(())
    });
    data.write("streamdb.toml", text_of("ip6").as_bytes());
    capturing.signal("-HUP");
    assert_eq!(capturing.line(), "streamdb: the configuration was read again\n");
    wire.send(&["near0"], &only_on_0(&sent));
    let summary = capturing.summary();
    let of_v6 = sent.iter().filter(|(_, frame)| frame[12..14] == [0x86, 0xdd]).count();
    assert!(of_v6 > 0);
    assert_eq!(summary["frames"], sent.len() + of_v6, "{summary}");
    data.is_well();
}

fn only_on_0(frames: &[Sent]) -> Vec<Sent> {
    frames.iter().map(|(_, frame)| (0, frame.clone())).collect()
}

/// Frames with a number each and nothing else, at a steady rate, while something is done; says how many there were.
fn steadily<T>(wire: &Wire, act: impl FnOnce() -> T) -> (u32, T) {
    let over = AtomicBool::new(false);
    let send = || {
        let mut sender = pcap::Capture::from_device("near0").unwrap().snaplen(64).open().unwrap();
        let mut number = 0_u32;
        while !over.load(Ordering::Relaxed) {
            for _ in 0..20 {
                sender.sendpacket(&lone(number)[..]).unwrap();
                number += 1;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        number
    };
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| within(&wire.near, send));
        let done = act();
        over.store(true, Ordering::Relaxed);
        (sender.join().unwrap(), done)
    })
}

/// A frame of a kind that is for experiments, with a number.
fn lone(number: u32) -> Vec<u8> {
    [&[2; 12][..], &[0x88, 0xb5], &number.to_be_bytes(), &[0; 42]].concat()
}

#[test]
fn a_configuration_that_is_read_again_costs_no_frame() {
    const FILTERS: [&str; 2] = ["ether proto 0x88b5", "ip or ether proto 0x88b5"];
    let Some(wire) = Wire::new() else { return };
    let data = Data::new("workers-reloads");
    let write = |filter: &str| {
        let text = format!("[capture]\ninterface = \"far0\"\nfilter = \"{filter}\"\n");
        data.write("streamdb.toml", text.as_bytes())
    };
    let config = write(FILTERS[0]);
    let flags = ["-i", "far0", "--workers", "2", "--json", "--no-derive", "--filter", FILTERS[0], "--config"];
    let flags = [&flags[..], &[config.to_str().unwrap()]].concat();
    let mut capturing = Capturing::start(&data, Some(&wire.far), &flags);
    let (sent, ()) = steadily(&wire, || {
        // The same one some times, and then one and the other.
        for n in 0..40 {
            write(FILTERS[if n < 10 { 0 } else { n % 2 }]);
            capturing.signal("-HUP");
            assert_eq!(capturing.line(), "streamdb: the configuration was read again\n");
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let summary = capturing.summary();
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert!(sent > 10_000, "{sent}");
    assert_eq!(count("frames") + count("dropped_by_kernel") + count("shed"), u64::from(sent), "{summary}");
}

#[test]
fn a_frame_is_one_sockets_however_late_it_is_read() {
    let Some(wire) = Wire::new() else { return };
    let (_, mut lives) = steadily(&wire, || {
        let settings = LiveSettings { filter: Some("ether proto 0x88b5".into()), ..LiveSettings::new("far0") };
        std::thread::sleep(Duration::from_millis(100));
        let lives = within(&wire.far, || Live::open_shared(&settings, 4).unwrap());
        // As when buckets are made whole before the first frame is read.
        std::thread::sleep(Duration::from_millis(1500));
        lives
    });
    let mut numbers = Vec::new();
    for live in &mut lives {
        live.stop();
        while live
            .batch(|item| {
                if let Item::Frame(frame) = item {
                    numbers.push(u32::from_be_bytes(frame.data[14..18].try_into().unwrap()));
                }
            })
            .unwrap()
            != Batch::End
        {}
    }
    numbers.sort_unstable();
    assert!(numbers.len() > 1000, "{}", numbers.len());
    // Of one flow all come by one socket: none twice, and none left out after the first.
    assert!(numbers.windows(2).all(|two| two[1] == two[0] + 1), "{numbers:?}");
}
