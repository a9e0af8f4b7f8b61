//! A search in contents that takes long: what it has found is there at once, and it ends when nobody waits for it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Data, Made, Server, Talk, noise, until, wait};

/// As dear as is taken: of each byte of noise it takes many microseconds, and is not in it.
const DEAR: &str = "(?s)(?:[a-m].{0,40}){90}[^a-z]{9}[0-9A-F]{9}";
/// A search that takes minutes ends so soon.
const SOON: Duration = Duration::from_secs(5);

/// A store with a line that has a mark, and noise behind it: in several streams, so that every core has one.
fn store(name: &str) -> Data {
    let data = Data::new(name);
    let mut made = Made::default();
    let mut first = Talk::new(1);
    first.open(&mut made, 0).ask(&mut made, 10, b"a line with zzmark in it\n");
    first.close(&mut made, 20);
    for port in 2..8 {
        let begun = u64::from(port) * 100;
        let mut talk = Talk::new(port);
        talk.open(&mut made, begun).ask(&mut made, begun + 10, &noise(port.into(), 2 << 20));
        talk.close(&mut made, begun + 20);
    }
    let capture = data.write("noise.pcap", &made.file());
    data.ingest(&[], &[&capture]).well();
    data
}

#[test]
fn ctrl_c_ends_a_search_and_what_was_found_is_there() {
    let data = store("search-ctrl-c");
    for command in ["objects", "streams"] {
        let pcre = format!("pcre=zzmark|{DEAR}");
        let mut searching = data.command(command, &[&pcre]);
        let mut child = searching.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        // It comes while the rest is being looked into.
        out.read_line(&mut line).unwrap();
        assert!(line.contains("10.0.0.5:1 -> 203.0.113.9:80 25 bytes"), "{line}");
        sleep(Duration::from_millis(300));
        assert!(child.try_wait().unwrap().is_none(), "{command}: the search is to take longer");

        let told = Instant::now();
        let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(status.success());
        let code = wait(&mut child).code();
        println!("{command}: it ended after {:?}", told.elapsed());
        assert!(told.elapsed() < SOON, "{:?}", told.elapsed());
        let (mut rest, mut said) = (String::new(), String::new());
        out.read_to_string(&mut rest).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((code, rest.as_str()), (Some(1), ""), "{said}");
        let said = said.strip_prefix("streamdb: 2 streams and 1 object (").unwrap_or_else(|| panic!("{said}"));
        assert!(said.ends_with(") were looked into, then it was told to end\n"), "{said}");
    }
}

#[test]
fn an_object_that_cannot_be_read_costs_no_other_one() {
    let data = Data::new("search-damage");
    let (mut made, mut talk) = (Made::default(), Talk::new(1));
    let body = noise(1, 3 << 20);
    talk.open(&mut made, 0);
    for (n, body) in [&b"one zzmark"[..], &body[..], &b"and another zzmark"[..]].into_iter().enumerate() {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        talk.ask(&mut made, 10 + n as u64, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        talk.answer(&mut made, 10 + n as u64, &[answer.as_bytes(), body].concat());
    }
    talk.close(&mut made, 100);
    let capture = data.write("answers.pcap", &made.file());
    data.ingest(&[], &[&capture]).well();
    let (name, mut bucket) = data.buckets().remove(0);
    let within = &body[3 << 19..][..32];
    let place = bucket.windows(within.len()).position(|window| window == within).expect("noise is stored as it is");
    bucket[place] ^= 1;
    fs::write(data.path().join("buckets").join(name), bucket).unwrap();

    let said = data.run("objects", &["pcre=zzmark"]);
    let out = String::from_utf8(said.out).unwrap();
    assert_eq!((said.code, out.lines().count()), (Some(1), 2), "{out}{}", said.err);
    let lines: Vec<&str> = said.err.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("the checksum of the long block is wrong"), "{lines:?}");
    assert_eq!(lines[1], "streamdb: 1 object could not be looked into for that");
}

#[test]
fn a_search_ends_when_its_client_goes() {
    let data = store("search-client-goes");
    let server = Server::start(&data);
    // Hundredths of a second of CPU that the server has taken.
    let spent = || -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", server.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let pcre: String = DEAR.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for accept in ["text/html", "*/*"] {
        let mut socket = TcpStream::connect(server.address).unwrap();
        let host = server.address;
        write!(socket, "GET /streamdb/?ip=10.0.0.5&pcre={pcre} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n")
            .unwrap();
        let before = spent();
        until("the search is under way", || (spent() > before + 50).then_some(()));

        let gone = Instant::now();
        drop(socket);
        const QUIET: Duration = Duration::from_millis(300);
        loop {
            let before = spent();
            sleep(QUIET);
            if spent() <= before + 1 {
                break;
            }
            assert!(gone.elapsed() < SOON, "{accept}: it goes on");
        }
        println!("{accept}: idle {:?} after the client went", gone.elapsed().saturating_sub(QUIET));
    }
    assert_eq!(server.get("/streamdb/?ip=10.0.0.5&limit=1").status, 200);
}
