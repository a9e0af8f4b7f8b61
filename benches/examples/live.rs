//! How long it takes until others can read what was sent: the sender and the readers of `benches/live.sh`, which see to the
//! wire, the capture and the server between them.
//!
//! - `live send INTERFACE CONNECTIONS SECONDS GBITS`: so many TCP connections, which stay open, to each in turn a full frame;
//!   each payload begins with the moment at which it was sent
//! - `live library DATA SECONDS`, `live http ADDRESS SECONDS`: read a few of the connections all the time, as a search finds
//!   them (`search`) and as an old oid leads to what is new (`oid`). A frame counts from the moment at which it was sent until its
//!   bytes were read: the time between two looks is in that.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench that fails can only stop"
)]

use std::io::{BufRead, BufReader, Read as _, Write};
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use streamdb_benches::{ACK, Host, PSH, Random, SYN, tcp};
use streamdb_derive::Rows;
use streamdb_query::{Filter, Looking, Troubles, find_streams};
use streamdb_storage::{Read, Store, Stream};
use streamdb_types::{Oid, StreamOffset};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Payload of a frame of 1514 bytes with time stamps.
const PAYLOAD: usize = 1448;
/// What a payload begins with; the moment in nanoseconds since 1970 comes after it.
const MARK: &[u8; 8] = b"SENT AT ";
const SERVER: [u8; 4] = [198, 51, 100, 1];
/// How many connections each reader watches, and how long it rests after each look.
const WATCHED: usize = 4;
const REST: Duration = Duration::from_millis(5);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["send", interface, connections, seconds, gbits] => {
            send(interface, connections.parse().unwrap(), seconds.parse().unwrap(), gbits.parse().unwrap());
        }
        ["library", data, connections, seconds] => {
            let data = Path::new(data);
            watch(connections.parse().unwrap(), seconds.parse().unwrap(), || Library(Store::open(data).unwrap()));
        }
        ["http", address, connections, seconds] => {
            watch(connections.parse().unwrap(), seconds.parse().unwrap(), || Http::connect(address));
        }
        _ => panic!(
            "live send INTERFACE CONNECTIONS SECONDS GBITS | library DATA CONNECTIONS SECONDS | http ADDRESS ..."
        ),
    }
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// The client's address and port of a connection.
fn client(n: usize) -> ([u8; 4], u16) {
    ([10, 1, (n >> 8) as u8, n as u8], 20_000 + (n % 40_000) as u16)
}

struct Connection {
    client: Host,
    server: Host,
}

fn send(interface: &str, connections: usize, seconds: f64, gbits: f64) {
    let mut wire = pcap::Capture::from_device(interface).unwrap().open().unwrap();
    let host = |addr, port| Host { addr, port, seq: 1, ip_id: 1, stamp: 1, echo: 1 };
    let mut all: Vec<Connection> = (0..connections)
        .map(|n| {
            let (addr, port) = client(n);
            Connection { client: host(addr, port), server: host(SERVER, 80) }
        })
        .collect();
    let mut random = Random(1);
    let noise: Vec<u8> = (0..(1 << 17) + 256).flat_map(|_| random.draw().to_le_bytes()).collect();
    let mut frame = Vec::new();
    let (mut frames, mut bytes) = (0_u64, 0_u64);
    let mut put = |frame: &mut Vec<u8>| {
        // A full queue of the interface is no failure: the frame is sent a moment later.
        while wire.sendpacket(&frame[..]).is_err() {
            std::thread::sleep(Duration::from_micros(50));
        }
        frames += 1;
        bytes += frame.len() as u64;
        frame.clear();
    };
    for (n, connection) in all.iter_mut().enumerate() {
        let Connection { client, server } = connection;
        tcp(&mut frame, client, server, SYN, b"");
        put(&mut frame);
        tcp(&mut frame, server, client, SYN | ACK, b"");
        put(&mut frame);
        tcp(&mut frame, client, server, ACK, b"");
        put(&mut frame);
        tcp(&mut frame, client, server, PSH | ACK, b"GET /feed HTTP/1.1\r\nHost: feed.example\r\n\r\n");
        put(&mut frame);
        if n % 64 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let begun = Instant::now();
    let mut payload = vec![0; PAYLOAD];
    let (mut turn, mut sent, mut data) = (0_usize, 0_u64, 0_u64);
    while begun.elapsed().as_secs_f64() < seconds {
        let connection = turn % connections;
        let Connection { client, server } = &mut all[connection];
        let at = (random.draw() & 0xf_ffff) as usize;
        payload.copy_from_slice(&noise[at..at + PAYLOAD]);
        payload[..8].copy_from_slice(MARK);
        payload[8..16].copy_from_slice(&now().to_le_bytes());
        tcp(&mut frame, server, client, PSH | ACK, &payload);
        sent += frame.len() as u64;
        data += 1;
        put(&mut frame);
        if turn.is_multiple_of(8) {
            tcp(&mut frame, client, server, ACK, b"");
            sent += frame.len() as u64;
            put(&mut frame);
        }
        turn += 1;
        // What is due by now is sent at once, and then there is a pause.
        if turn.is_multiple_of(32) {
            let due = Duration::from_secs_f64(sent as f64 * 8.0 / (gbits * 1e9));
            if let Some(early) = due.checked_sub(begun.elapsed()) {
                std::thread::sleep(early);
            }
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let rate = sent as f64 * 8.0 / took / 1e9;
    println!(
        "sent {frames} frames, {bytes} bytes; {connections} connections opened, then {data} payloads in {took:.1} s, {rate:.3} Gbit/s"
    );
}

/// A way to what is stored.
trait Look {
    /// The stream to this client as a search finds it: its oid, and its bytes from `from` on.
    fn search(&mut self, client: &str, port: u16, from: u64) -> Option<(Oid, Vec<u8>)>;
    /// What the stream that this oid names has by now, from `from` on.
    fn go_on(&mut self, oid: Oid, from: u64) -> Option<Vec<u8>>;
}

struct Library(Store);

/// The bytes of a stream from here on; zeros for holes.
fn bytes(stream: &Stream, from: u64) -> Vec<u8> {
    let mut out = vec![0; stream.len().0.saturating_sub(from) as usize];
    let mut at = 0;
    while at < out.len() {
        match stream.read_at(StreamOffset(from + at as u64), &mut out[at..]).unwrap() {
            Read::Bytes(n) => at += n,
            Read::Gap(n, _) => at += n as usize,
            Read::End => break,
        }
    }
    out
}

impl Look for Library {
    fn search(&mut self, client: &str, port: u16, from: u64) -> Option<(Oid, Vec<u8>)> {
        let words = [format!("srcip={client}"), format!("srcport={port}"), "direction=c".to_owned()];
        let filter = Filter::parse_words(&words).unwrap();
        let (mut oid, mut troubles) = (None, Troubles::default());
        let looking = Looking { made: Rows::new(), go_on: &|| true, troubles: &mut troubles };
        find_streams(&self.0, &filter, looking, &mut |stream, _| {
            oid = Some(stream.oid);
            ControlFlow::Break(())
        })
        .unwrap();
        let oid = oid?;
        Some((oid, bytes(&self.0.stream(oid).unwrap(), from)))
    }

    fn go_on(&mut self, oid: Oid, from: u64) -> Option<Vec<u8>> {
        let known = self.0.stream(oid).unwrap();
        let stream = self.0.newest(known.info().key, known.info().direction).unwrap()?;
        Some(bytes(&stream, from))
    }
}

struct Http {
    socket: BufReader<TcpStream>,
    address: String,
}

impl Http {
    fn connect(address: &str) -> Self {
        Self { socket: BufReader::new(TcpStream::connect(address).unwrap()), address: address.to_owned() }
    }

    /// Status and body of a request on the one connection.
    fn get(&mut self, path: &str, more: &str) -> (u16, Vec<u8>) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{more}\r\n", self.address);
        self.socket.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut status, mut length) = (0, 0_usize);
        loop {
            let mut line = String::new();
            self.socket.read_line(&mut line).unwrap();
            if line.trim_end().is_empty() {
                break;
            }
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest[..3].parse().unwrap();
            }
            if let Some((_, value)) =
                line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).unwrap();
        (status, body)
    }

    fn range(&mut self, path: &str, from: u64) -> Vec<u8> {
        let (status, body) = self.get(path, &format!("Range: bytes={from}-\r\n"));
        match status {
            206 => body,
            416 => Vec::new(),
            other => panic!("{other}: {}", String::from_utf8_lossy(&body)),
        }
    }
}

impl Look for Http {
    fn search(&mut self, client: &str, port: u16, from: u64) -> Option<(Oid, Vec<u8>)> {
        let path = format!("/streamdb/?srcip={client}&srcport={port}&direction=c&raw=1&as_json=1");
        let (status, body) = self.get(&path, "");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let text = String::from_utf8_lossy(&body);
        let (_, rest) = text.split_once("\"oid\":\"")?;
        let oid = rest.split('"').next().unwrap().parse().unwrap();
        Some((oid, self.range(&format!("/streamdb/?oid={oid}&raw=1"), from)))
    }

    fn go_on(&mut self, oid: Oid, from: u64) -> Option<Vec<u8>> {
        Some(self.range(&format!("/streamdb/?oid={oid}&raw=1&newest=1"), from))
    }
}

/// What a reader knows of one connection.
struct Watched {
    address: String,
    port: u16,
    oid: Option<Oid>,
    from: u64,
    looked: bool,
}

impl Watched {
    /// Takes what is new, and how old each frame of it is.
    fn take(&mut self, bytes: &[u8], ages: &mut Vec<u64>) {
        let read = now();
        // What was there before the first look could have been read before.
        let begins = std::mem::replace(&mut self.looked, true);
        for payload in bytes.chunks_exact(PAYLOAD) {
            // Elsewise the kernel dropped it.
            if let Some(sent) = payload.strip_prefix(MARK).filter(|_| begins) {
                ages.push(read.saturating_sub(u64::from_le_bytes(sent[..8].try_into().unwrap())));
            }
        }
        self.from += (bytes.len() / PAYLOAD * PAYLOAD) as u64;
    }
}

fn watch<L: Look>(connections: usize, seconds: f64, look: impl Fn() -> L + Sync) {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let watched = |shift: usize| -> Vec<Watched> {
        let of = |n: usize| {
            let ([a, b, c, d], port) = client((connections / WATCHED * n + shift) % connections);
            Watched { address: format!("{a}.{b}.{c}.{d}"), port, oid: None, from: 0, looked: false }
        };
        (0..WATCHED).map(of).collect()
    };
    std::thread::scope(|scope| {
        let searching = scope.spawn(|| {
            let (mut look, mut all, mut ages, mut looks) = (look(), watched(1), Vec::new(), Vec::new());
            while Instant::now() < end {
                for one in &mut all {
                    let begun = Instant::now();
                    if let Some((_, bytes)) = look.search(&one.address, one.port, one.from) {
                        one.take(&bytes, &mut ages);
                    }
                    looks.push(begun.elapsed().as_nanos() as u64);
                    std::thread::sleep(REST);
                }
            }
            (ages, looks)
        });
        let following = scope.spawn(|| {
            let (mut look, mut all, mut ages, mut looks) = (look(), watched(2), Vec::new(), Vec::new());
            while Instant::now() < end {
                for one in &mut all {
                    let begun = Instant::now();
                    match one.oid {
                        Some(oid) => {
                            let bytes = look.go_on(oid, one.from).unwrap();
                            looks.push(begun.elapsed().as_nanos() as u64);
                            one.take(&bytes, &mut ages);
                        }
                        None => one.oid = look.search(&one.address, one.port, 0).map(|(oid, _)| oid),
                    }
                    std::thread::sleep(REST);
                }
            }
            (ages, looks)
        });
        for (name, thread) in [("search", searching), ("oid", following)] {
            let (ages, looks) = thread.join().unwrap();
            report(&format!("{name}: sent until read"), ages);
            report(&format!("{name}: one look"), looks);
        }
    });
}

fn report(what: &str, mut nanos: Vec<u64>) {
    nanos.sort_unstable();
    let at = |share: f64| {
        let place = (nanos.len() as f64 * share) as usize;
        nanos.get(place.min(nanos.len().saturating_sub(1))).map_or(0.0, |nanos| *nanos as f64 / 1e6)
    };
    println!(
        "{what:24} {:6} times: p50 {:7.1} ms, p99 {:7.1} ms, p99.9 {:7.1} ms, max {:7.1} ms",
        nanos.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}
