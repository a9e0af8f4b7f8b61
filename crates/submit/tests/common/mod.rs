//! A sandbox for tests: a real HTTP server that reads forms as strictly as it can. Used by the tests of `streamdb` too.
#![allow(dead_code, reason = "each test program uses its part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A server that takes files.
pub struct TestSandbox {
    pub address: SocketAddr,
    state: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    uploads: Vec<Upload>,
    answers: VecDeque<Reply>,
}

/// How it answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// With this status line's rest and headers, and this body.
    Says(&'static str, &'static str),
    /// Takes all, and never answers.
    Hangs,
}

/// A form with a file that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub field: String,
    pub file_name: String,
    pub content: Vec<u8>,
}

impl Upload {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl TestSandbox {
    /// One that gives these answers, and then always says that all is well.
    pub fn new(answers: impl IntoIterator<Item = Reply>) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), answers)
    }

    /// The same at this address.
    pub fn at(address: SocketAddr, answers: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(Shared { uploads: Vec::new(), answers: answers.into_iter().collect() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (socket, shared) = (socket.unwrap(), Arc::clone(&shared));
                std::thread::spawn(move || take(socket, &shared));
            }
        });
        Self { address, state }
    }

    /// An address at which nobody listens.
    pub fn nowhere() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    pub fn url(&self) -> String {
        format!("http://{}/api/tasks?x=1", self.address)
    }

    /// What came so far.
    pub fn uploads(&self) -> Vec<Upload> {
        self.state.lock().unwrap().uploads.clone()
    }

    /// Waits until so many came.
    pub fn wait_for(&self, count: usize) -> Vec<Upload> {
        let begun = Instant::now();
        loop {
            let uploads = self.uploads();
            if uploads.len() >= count {
                return uploads;
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "waited in vain for upload {count}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn take(socket: TcpStream, shared: &Mutex<Shared>) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let line = line.strip_suffix("\r\n").unwrap().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let path = lines[0].strip_prefix("POST ").and_then(|rest| rest.strip_suffix(" HTTP/1.1")).unwrap().to_owned();
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let header = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    assert_eq!(header("transfer-encoding"), None);
    let mut body = vec![0; header("content-length").unwrap().parse().unwrap()];
    if reader.read_exact(&mut body).is_err() {
        // Whoever sent it was killed.
        return;
    }
    let boundary = header("content-type").unwrap().strip_prefix("multipart/form-data; boundary=").unwrap().to_owned();
    let (field, file_name, content) = parse(&body, &boundary);
    let reply = {
        let mut shared = shared.lock().unwrap();
        shared.uploads.push(Upload { path, headers, field, file_name, content });
        shared.answers.pop_front().unwrap_or(Reply::Says("200 OK", "{\"task_id\": 7}"))
    };
    match reply {
        Reply::Says(status, said) => {
            let mut socket = socket;
            let _ = write!(
                socket,
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{said}",
                said.len()
            );
        }
        Reply::Hangs => {
            // Until the other side goes.
            let _ = reader.read(&mut [0]);
        }
    }
}

/// RFC 2046 §5.1.1, RFC 7578 §4.2: one part, with a field's name and a file's.
fn parse(body: &[u8], boundary: &str) -> (String, String, Vec<u8>) {
    let rest = body.strip_prefix(format!("--{boundary}\r\n").as_bytes()).unwrap();
    let end = rest.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&rest[..end]).unwrap();
    let content = rest[end + 4..].strip_suffix(format!("\r\n--{boundary}--\r\n").as_bytes()).unwrap();
    let mut lines = head.split("\r\n");
    let disposition = lines.next().unwrap().strip_prefix("Content-Disposition: form-data; name=\"").unwrap();
    let (field, rest) = disposition.split_once("\"; filename=\"").unwrap();
    assert_eq!(lines.next(), Some("Content-Type: application/octet-stream"));
    assert_eq!(lines.next(), None);
    (field.to_owned(), rest.strip_suffix('"').unwrap().to_owned(), content.to_vec())
}
