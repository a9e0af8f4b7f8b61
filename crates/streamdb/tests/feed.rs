//! Captures that others send over TCP while they capture them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{
    Capturing, Data, Made, Pair, Talk, head, installed, json_lines, may_capture, noise, read_capture, stream_to,
    testdata, text, until,
};
use serde_json::Value;

/// A port that is free now.
fn address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A capture of a download, with the times of now.
fn download(port: u16, body: &[u8]) -> Vec<u8> {
    let mut made = Made::default();
    let mut talk = Talk::new(port);
    talk.open(&mut made, 0).ask(&mut made, 10, b"GET /tool.exe HTTP/1.1\r\nHost: files.example\r\n\r\n");
    talk.answer(&mut made, 20, &[head(body).as_bytes(), body].concat());
    talk.close(&mut made, 30);
    let now = now();
    let records = made.frames.iter().flat_map(|(time, frame)| record(now + time, frame));
    Made::header().into_iter().chain(records).collect()
}

/// In nanoseconds.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// A frame in a capture, as one that was captured at this time.
fn record(time: u64, frame: &[u8]) -> Vec<u8> {
    let length = frame.len() as u32;
    let fields = [(time / 1_000_000_000) as u32, (time % 1_000_000_000) as u32, length, length];
    [&fields.map(u32::to_le_bytes).concat()[..], frame].concat()
}

#[test]
fn what_is_sent_is_stored_and_who_is_broken_costs_the_others_nothing() {
    let data = Data::new("feed");
    let address = address();
    let capturing = Capturing::start(&data, None, &["--listen-pcap", &address, "--json"]);
    let bodies = [noise(1, 300_000), noise(2, 300_000)];
    // One that is slow, one that lies, one that is none; and two that are good.
    let slow = TcpStream::connect(&address).unwrap();
    let mut lies = TcpStream::connect(&address).unwrap();
    lies.write_all(&[&Made::header()[..], &Made::record(&(0, vec![0; 60]))].concat()).unwrap();
    let mut other = TcpStream::connect(&address).unwrap();
    other.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut senders: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(&address).unwrap()).collect();
    for ((sender, body), port) in senders.iter_mut().zip(&bodies).zip(41_000..) {
        sender.write_all(&download(port, body)).unwrap();
    }
    for (body, port) in bodies.iter().zip(41_000..) {
        // While its sender is still there.
        let row = stream_to(&data, port, head(body).len() + body.len());
        assert!(data.get(text(&row, "oid"), &[]) == *body);
    }
    drop(senders);
    capturing.signal("-TERM");
    let said = capturing.said();
    assert_eq!(said.code, Some(0), "{said:?}");
    let lines: Vec<&str> = said.err.lines().filter(|line| line.contains("a capture that was sent ends")).collect();
    assert_eq!(lines.len(), 2, "{}", said.err);
    assert!(said.err.contains("a frame of 2012-03-02T07:51:51"), "{}", said.err);
    let summary = json_lines(&said.out).remove(0);
    assert_eq!(summary["interfaces"][0]["interface"], "pcap over TCP");
    assert_eq!((&summary["connections"], &summary["unaccounted_payload_bytes"]), (&2.into(), &0.into()));
    data.is_well();
    // Each is an interface.
    let named: std::collections::BTreeSet<_> =
        data.export().frames.iter().map(|frame| frame.interface.options.clone()).collect();
    assert_eq!(named.len(), 2);
    drop(slow);
}

#[test]
fn others_than_this_machine_need_to_be_named() {
    let data = Data::new("feed-public");
    let said = data.run("capture", &["--listen-pcap", "0.0.0.0:0"]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.err.contains("captures over TCP know no authentication, so 0.0.0.0:0 is listened on only with a list"),
        "{}",
        said.err
    );
    let said = data.run("capture", &["--listen-pcap", "0.0.0.0:0", "--listen-pcap-from", "0.0.0.0/0"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert_eq!(data.run("capture", &[]).code, Some(2), "there is nothing to capture from");
}

#[test]
fn tcpdump_sends_what_it_sees() {
    if !may_capture() || !installed("tcpdump") {
        return;
    }
    let data = Data::new("feed-tcpdump");
    let address = address();
    let capturing = Capturing::start(&data, None, &["--listen-pcap", &address, "--json"]);
    let (listener, server, filter) = Pair::on_loopback();
    let feed = TcpStream::connect(&address).unwrap();
    let mut tcpdump = Command::new("tcpdump");
    // As `tcpdump -U -w - | nc`.
    tcpdump.args(["-i", "lo", "-U", "-Z", "root", "-s", "0", "-w", "-", &filter]);
    let mut tcpdump = tcpdump.stdout(std::os::fd::OwnedFd::from(feed)).stderr(Stdio::piped()).spawn().unwrap();
    let mut err = std::io::BufReader::new(tcpdump.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut err, &mut line).unwrap();
    let body = noise(0, 200_000);
    // It listens a moment after it says so.
    until("it is captured", || {
        let mut pair = Pair::connect(&listener, server);
        pair.download(&body);
        let filter = format!("srcport={}", pair.port());
        (0..20).find_map(|_| {
            std::thread::sleep(Duration::from_millis(100));
            let said = data.run("streams", &["--json", &filter, "direction=c"]);
            let rows = if said.code == Some(0) { json_lines(&said.out) } else { Vec::new() };
            let row = rows.into_iter().find(|row| row["length"] == head(&body).len() + body.len())?;
            (data.get(text(&row, "oid"), &[]) == body).then_some(())
        })
    });
    tcpdump.kill().unwrap();
    tcpdump.wait().unwrap();
    assert_eq!(capturing.summary()["unaccounted_payload_bytes"], 0);
    data.is_well();
}

/// Files of FTP, whose rows are made while they come: they say what the control connection says later, as those of the whole capture
/// do.
#[test]
fn how_a_transfer_ended_is_waited_for() {
    let path = testdata("servers", "ftp.pcap");
    let said = |data: &Data| -> Vec<String> {
        let fields = ["protocol", "src_port", "dst_port", "direction", "sha256", "complete", "status", "uri"];
        let rows = data.json("objects", &[]);
        let mut said: Vec<String> = rows
            .iter()
            .map(|row| fields.map(|field| row.get(field).unwrap_or(&Value::Null).to_string()).join(" "))
            .collect();
        said.sort();
        said
    };
    let whole = said(&Data::with("feed-ftp-whole", &[&path]));
    assert!(
        whole.iter().filter(|row| row.starts_with("\"ftp\"") && row.contains("true 226")).count() > 10,
        "{whole:#?}"
    );
    let data = Data::new("feed-ftp");
    let address = address();
    let capturing = Capturing::start(&data, None, &["--listen-pcap", &address, "--bucket", "1s", "--json"]);
    let mut sender = TcpStream::connect(&address).unwrap();
    sender.write_all(&Made::header()).unwrap();
    let mut pauses = 0;
    for frame in read_capture(&path).frames {
        // The server says it when all else of the transfer is stored, and its rows could be made.
        let reply = frame.data.windows(4).any(|bytes| bytes == b"226 ");
        if reply {
            pauses += 1;
            std::thread::sleep(Duration::from_millis(if pauses % 5 == 0 { 1200 } else { 10 }));
        }
        sender.write_all(&record(now(), &frame.data)).unwrap();
        // After one of them the client is silent for longer than it is waited.
        if reply && pauses == 5 {
            std::thread::sleep(Duration::from_millis(4500));
        }
    }
    assert!(pauses > 10, "{pauses}");
    drop(sender);
    assert_eq!(capturing.summary()["frames"], 568);
    assert_eq!(said(&data), whole);
    data.is_well();
}
