//! What is kept of which connections: captures are stored under rules, and what comes back is compared with the captures, cut
//! by a slow twin that knows nothing but sequence numbers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::collections::HashMap;
use std::path::Path;

use common::{Data, Frame, Made, Server, Talk, corpus, read_capture, soak, testdata, text};
use serde_json::Value;
use streamdb_decode::{Config, Content, Decoder, TcpFlags};
use streamdb_types::{Endpoint, LinkType, SeqNum, Timestamp};

/// The frames as they should come back, when so many bytes are kept of what has this end and that.
fn cut(frames: &[Frame], first: impl Fn(Endpoint, Endpoint) -> Option<u64>) -> Vec<Frame> {
    let mut decoder = Decoder::new(Config::default());
    let mut begun: HashMap<(Endpoint, Endpoint), SeqNum> = HashMap::new();
    let mut datagrams: HashMap<(Endpoint, Endpoint), u64> = HashMap::new();
    let mut out = frames.to_vec();
    for (n, frame) in frames.iter().enumerate() {
        let link = LinkType(u16::try_from(frame.interface.link_type).unwrap());
        let decoded = decoder.decode(link, &frame.data, frame.wire_len, Timestamp(frame.nanos()), n as u64);
        let (ends, offset, len) = match &decoded.content {
            Content::Tcp(segment) => {
                let syn = segment.flags.contains(TcpFlags::SYN);
                let start = segment.seq.add(u32::from(syn));
                let zero = *begun.entry((segment.src, segment.dst)).or_insert(start);
                ((segment.src, segment.dst), i64::from(start.distance(zero)), segment.payload.len())
            }
            Content::Udp(datagram) => {
                let place = datagrams.entry((datagram.src, datagram.dst)).or_default();
                let offset = *place as i64;
                *place += datagram.payload.len() as u64;
                ((datagram.src, datagram.dst), offset, datagram.payload.len())
            }
            _ => continue,
        };
        let Some(first) = first(ends.0, ends.1) else { continue };
        let kept = usize::try_from((first as i64 - offset).max(0)).unwrap();
        if decoded.pieces.is_empty() && kept < len {
            out[n].data.truncate(decoded.payload_at + kept);
        }
        for piece in decoded.pieces {
            let left = kept.saturating_sub(piece.payload_at as usize);
            if left < piece.len as usize {
                out[piece.tag as usize].data.truncate(piece.frame_at as usize + left);
            }
        }
    }
    out
}

fn on_port(port: u16, first: u64) -> impl Fn(Endpoint, Endpoint) -> Option<u64> {
    move |a, b| [a.port, b.port].contains(&port).then_some(first)
}

/// Stores the capture under these rules, twice, and compares. Gives the store, and the counters.
fn kept(capture: &Path, rules: &[&str], first: impl Fn(Endpoint, Endpoint) -> Option<u64>) -> (Data, Value) {
    let flags: Vec<&str> = rules.iter().flat_map(|rule| ["--cutoff", rule]).chain(["--json"]).collect();
    let data = Data::new("cutoff");
    let said = common::json_lines(&data.ingest(&flags, &[capture]).well());
    assert_eq!(said[0]["unaccounted_payload_bytes"], 0);
    data.is_well();
    let again = Data::new("cutoff-again");
    again.ingest(&flags, &[capture]).well();
    assert!(data.buckets() == again.buckets(), "the same input gives the same buckets");
    let wanted = cut(&read_capture(capture).frames, first);
    assert_eq!(data.export().differs(&wanted), None, "{rules:?}");
    let stats = &data.json("stats", &[])[0]["counters"];
    assert_eq!(stats, &said[0]["counters"], "the buckets' trailers add up to what was said");
    (data, stats.clone())
}

fn lengths(data: &Data) -> Vec<(String, Value)> {
    let row = |row: &Value| {
        let names = ["src_ip", "src_port", "dst_ip", "dst_port", "protocol", "direction", "start"];
        (names.map(|name| row[name].to_string()).join(" "), row["length"].clone())
    };
    let mut rows: Vec<_> = data.streams(&[]).iter().map(row).collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

#[test]
fn tls_is_told_by_its_first_bytes() {
    let capture = testdata("imagedump", "capture.pcap");
    // TLS is on port 443 there, and nothing else is; HTTP on port 80.
    for first in [0, 1, 517, 1400, 1_000_000] {
        let first_bytes = read_capture(&capture);
        let (data, counters) = kept(&capture, &[&format!("protocol=tls:{first}")], |a, b| {
            // The first payload decides, with all of it undecided before.
            [a.port, b.port].contains(&443).then_some(first)
        });
        assert_eq!(counters["frames"], first_bytes.frames.len());
        assert_eq!(counters["payload_not_kept"], counters["gap_cutoff"]);
        assert_eq!(counters["gap_missing"], 0);
        let whole = Data::with("cutoff-whole", &[&capture]);
        assert_eq!(lengths(&data), lengths(&whole), "the true lengths are always known");
        for stream in data.streams(&["port=443"]) {
            let length = stream["length"].as_u64().unwrap();
            assert_eq!(stream["gap_bytes"].as_u64().unwrap_or(0), length.saturating_sub(first));
            assert_eq!(text(&stream, "reason"), if length > first { "l" } else { "c" });
        }
        assert!(data.streams(&["port=80"]).iter().all(|stream| stream["gap_bytes"] == 0 && stream["reason"] != "l"));
    }
}

#[test]
fn ports_networks_and_filters_decide_with_the_first_frame() {
    let capture = testdata("imagedump", "capture.pcap");
    for first in [0, 200, 2000] {
        kept(&capture, &[&format!("port=80:{first}")], on_port(80, first));
        kept(&capture, &[&format!("port=50-60,443:{first}")], move |a, b| {
            on_port(53, first)(a, b).or(on_port(443, first)(a, b))
        });
        let host = "198.51.100.21".parse().unwrap();
        let of_host = move |a: Endpoint, b: Endpoint| [a.addr, b.addr].contains(&host).then_some(first);
        kept(&capture, &[&format!("net=198.51.100.21:{first}")], of_host);
        kept(&capture, &[&format!("filter=tcp and host 198.51.100.21:{first}")], of_host);
        // The first rule that matches decides.
        let rules = ["net=198.51.100.21:all".to_owned(), format!("port=80:{first}")];
        kept(&capture, &rules.each_ref().map(String::as_str), move |a, b| {
            if of_host(a, b).is_some() { None } else { on_port(80, first)(a, b) }
        });
    }
}

#[test]
fn with_losses_and_copies_the_rest_is_as_it_was() {
    let capture = testdata("lossy-path", "capture.pcap");
    let whole = Data::with("cutoff-lossy", &[&capture]);
    let whole = &whole.json("stats", &[])[0]["counters"];
    for first in [0, 5_000, 100_000] {
        let (_, counters) = kept(&capture, &[&format!("protocol=tcp,udp:{first}")], move |_, _| Some(first));
        assert_eq!(counters["payload_captured"], whole["payload_captured"]);
        let of = |name: &str| counters[name].as_u64().unwrap();
        assert!(of("payload_not_kept") > 0 && of("gap_cutoff") > 0);
        assert_eq!(counters["payload_conflicting"], 0);
        if first == 0 {
            assert_eq!((of("payload_stored"), of("payload_duplicate")), (0, 0));
        }
    }
}

#[test]
fn objects_beyond_the_cut_say_that_it_was_no_loss() {
    let capture = testdata("nginx-downloads", "capture.pcap");
    let data = Data::new("cutoff-objects");
    data.ingest(&["--cutoff", "port=8080,80:3000"], &[&capture]).well();
    let whole = Data::with("cutoff-objects-whole", &[&capture]);
    let objects = data.json("objects", &["protocol=tcp"]);
    let incomplete: Vec<&Value> = objects.iter().filter(|object| object["complete"] == false).collect();
    assert!(!incomplete.is_empty() && incomplete.len() < objects.len());
    let whole_ones = whole.json("objects", &[]);
    for object in &incomplete {
        let reasons = (object["reason"].as_str(), object["missing_bytes"].as_u64());
        assert!(matches!(reasons, (Some("cutoff"), Some(1..))), "{object}");
    }
    // What lies before the cut is what it was.
    let name = |object: &Value| ["src_port", "method", "uri", "start"].map(|name| object[name].to_string()).join(" ");
    for object in objects.iter().filter(|object| object["complete"] == true) {
        let same = whole_ones.iter().filter(|other| name(other) == name(object));
        assert!(same.into_iter().any(|other| other["sha256"] == object["sha256"]), "{object}");
    }
    let row = incomplete.iter().find(|object| object["kind"] == "response").unwrap();
    let said = data.run("get", &[text(row, "oid")]);
    assert!(said.err.contains("incomplete"), "{said:?}");
    let server = Server::start(&data);
    let query = format!("/streamdb/?srcip={}&dstip={}&limit=100", text(row, "src_ip"), text(row, "dst_ip"));
    let plain = String::from_utf8(server.get(&query).body).unwrap();
    assert!(plain.contains(" Size cutoff\n") && plain.contains(" bytes missing: cutoff]"), "{plain}");
    let json = String::from_utf8(server.get(&format!("{query}&as_json=1")).body).unwrap();
    assert!(json.contains("cutoff"), "{json}");
    let page = server.send(&format!(
        "GET {query} HTTP/1.1\r\nHost: {}\r\nAccept: text/html\r\nConnection: close\r\n\r\n",
        server.address
    ));
    let page = String::from_utf8(page.body).unwrap();
    assert!(page.contains("cutoff, ") && page.contains(" bytes missing"), "{page}");
}

#[test]
fn a_connection_that_goes_on_over_buckets_stays_cut() {
    let mut made = Made::default();
    let mut talk = Talk::new(40_000);
    talk.open(&mut made, 0);
    let body: Vec<u8> = (0..3_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for second in 1..20 {
        talk.ask(&mut made, second * 1000, b"more");
        talk.answer(&mut made, second * 1000 + 3, &body);
    }
    talk.close(&mut made, 21_000);
    let place = Data::new("cutoff-made");
    let capture = place.write("made.pcap", &made.file());
    let data = Data::new("cutoff-buckets");
    data.ingest(&["--bucket", "5s", "--cutoff", "port=80:4000"], &[&capture]).well();
    data.is_well();
    assert!(data.buckets().len() > 3);
    let wanted = cut(&read_capture(&capture).frames, on_port(80, 4000));
    assert_eq!(data.export().differs(&wanted), None);
    let streams = data.streams(&["direction=c"]);
    let last = streams.last().unwrap();
    assert_eq!((&last["length"], text(last, "reason")), (&Value::from(57_000), "l"));
    let raw = data.run("get", &[text(last, "oid"), "--raw"]);
    assert_eq!((raw.out.len(), &raw.out[..3000]), (57_000, &body[..]));
    assert!(raw.out[4000..].iter().all(|byte| *byte == 0));
    assert!(raw.err.contains("53000 bytes from 4000 on are missing (cutoff)"), "{}", raw.err);
}

#[test]
fn datagrams_keep_their_boundaries_and_fragments_are_cut_too() {
    let mut made = Made::default();
    let payload: Vec<u8> = (0..4000_u32).map(|n| n as u8).collect();
    for n in 0..200 {
        made.datagram(n * 10, 53, &payload[..(n * 17 % 900) as usize + 1], 65_000);
    }
    let place = Data::new("cutoff-datagrams");
    let capture = place.write("datagrams.pcap", &made.file());
    let (data, counters) = kept(&capture, &["protocol=udp:1000"], |_, _| Some(1000));
    assert_eq!((&counters["payload_stored"], &counters["streams"]), (&Value::from(1000), &Value::from(1)));
    assert_eq!(data.streams(&[])[0]["packets"], 200);
    // A datagram in three frames: the cut is in the second.
    let mut made = Made::default();
    made.datagram(0, 53, &payload, 1480);
    let capture = place.write("fragments.pcap", &made.file());
    let data = Data::new("cutoff-fragments");
    data.ingest(&["--cutoff", "port=53:2000"], &[&capture]).well();
    data.is_well();
    let mut wanted = read_capture(&capture).frames;
    // Ethernet and IPv4 take 34 bytes of each, UDP 8 of the first.
    wanted[1].data.truncate(34 + 2000 - (1480 - 8));
    wanted[2].data.truncate(34);
    assert_eq!(data.export().differs(&wanted), None);
}

#[test]
fn rules_are_asked_from_the_command_line_and_then_from_the_file() {
    let capture = testdata("imagedump", "capture.pcap");
    let data = Data::new("cutoff-config");
    let config = data.write(
        "streamdb.toml",
        b"[[cutoff]]\nport = 443\nfirst = 0\n[[cutoff]]\nprotocol = \"http\"\nfirst = \"1K\"\n",
    );
    data.ingest(&["--bucket", "1h", "--config", config.to_str().unwrap(), "--cutoff", "port=443:100"], &[&capture])
        .well();
    for (port, first) in [("port=443", 100), ("port=80", 1024)] {
        let streams = data.streams(&[port]);
        assert!(streams.iter().any(|stream| stream["reason"] == "l"));
        for stream in streams {
            let length = stream["length"].as_u64().unwrap();
            assert_eq!(stream["gap_bytes"], length.saturating_sub(first), "{stream}");
        }
    }
}

/// Of captures that others made: every frame comes back, and what comes back of it is how it began.
#[test]
fn captures_that_others_made_are_cut_and_nothing_else() {
    let Some(folder) = corpus() else { return };
    let mut captures: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    captures.retain(|path| path.extension().is_some_and(|e| e != "tsv" && e != "md"));
    captures.sort();
    let rules = ["protocol=tls,ssh:50", "port=53:0", "protocol=http:500", "protocol=udp:100", "protocol=tcp:1K"];
    let flags: Vec<&str> = rules.iter().flat_map(|rule| ["--cutoff", rule]).chain(["--json"]).collect();
    let mut cut = 0;
    for capture in captures.iter().step_by(if soak() { 1 } else { 16 }) {
        let wanted = read_capture(capture);
        let data = Data::new("cutoff-corpus");
        let said = common::json_lines(&data.ingest(&flags, &[capture]).out);
        let name = capture.display();
        if wanted.frames.is_empty() || said.is_empty() {
            continue;
        }
        assert_eq!(said[0]["unaccounted_payload_bytes"], 0, "{name}");
        cut += said[0]["counters"]["payload_not_kept"].as_u64().unwrap();
        data.is_well();
        let ours = data.export().frames;
        assert_eq!(ours.len(), wanted.frames.len(), "{name}");
        for (n, (ours, theirs)) in ours.iter().zip(&wanted.frames).enumerate() {
            assert_eq!((ours.ticks, ours.wire_len), (theirs.ticks, theirs.wire_len), "{name}, frame {n}");
            assert!(theirs.data.starts_with(&ours.data), "{name}, frame {n}");
        }
    }
    println!("{cut} bytes were not kept");
    assert!(cut > 0);
}
