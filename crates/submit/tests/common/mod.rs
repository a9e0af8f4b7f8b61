//! A sandbox for tests: a real HTTP server that reads forms as strictly as it can. To who speaks to it as to a CAPE or a
//! Cuckoo it answers as one. Used by the tests of `streamdb` too.
#![allow(dead_code, reason = "each test program uses its part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use streamdb_submit::{About, Choice, Error, Item, Queue, Receipt};

/// Puts bytes into a queue, without an object.
pub fn put(queue: &Queue, bytes: &[u8], extension: &str, targets: &[Choice], room: u64) -> Result<Receipt, Error> {
    let mut batch = queue.batch(1);
    let mut incoming = batch.copy()?;
    incoming.write_all(bytes).unwrap();
    let (oid, extension) = ("1-2-3-4".parse().unwrap(), extension.to_owned());
    batch.add((), incoming, &Item { oid, complete: true, extension, about: About::default() }, targets)?;
    let mut answered = None;
    batch.take(false, room, &mut |(), answer| answered = Some(answer));
    answered.unwrap()
}

/// A server that takes files.
pub struct TestSandbox {
    pub address: SocketAddr,
    state: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    uploads: Vec<Upload>,
    answers: VecDeque<Reply>,
    /// How often somebody asked for a content, and how often it was there.
    asked: [usize; 2],
    /// How long it takes to take a file, and then to say so.
    slow: Duration,
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
    /// The fields before the file.
    pub fields: Vec<(String, String)>,
    pub field: String,
    pub file_name: String,
    pub content: Vec<u8>,
}

impl Upload {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn sha256(&self) -> String {
        Sha256::digest(&self.content).iter().map(|byte| format!("{byte:02x}")).collect()
    }

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
        let state = Arc::new(Mutex::new(Shared { answers: answers.into_iter().collect(), ..Shared::default() }));
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

    /// The address alone, as of a CAPE.
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets it take so long for what it does.
    pub fn slow(&self, time: Duration) {
        self.state.lock().unwrap().slow = time;
    }

    /// How often somebody asked for a content, and how often it was there.
    pub fn asked(&self) -> [usize; 2] {
        self.state.lock().unwrap().asked
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
    if let Some(rest) = lines[0].strip_prefix("GET ") {
        let path = rest.strip_suffix(" HTTP/1.1").unwrap();
        return says(socket, "200 OK", &look(path, &mut shared.lock().unwrap()));
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
    let (fields, field, file_name, content) = parse(&body, &boundary);
    let slow = shared.lock().unwrap().slow;
    std::thread::sleep(slow / 2);
    let (reply, id) = {
        let mut shared = shared.lock().unwrap();
        shared.uploads.push(Upload { path: path.clone(), headers, fields, field, file_name, content });
        (shared.answers.pop_front(), shared.uploads.len())
    };
    std::thread::sleep(slow);
    match reply {
        Some(Reply::Says(status, said)) => says(socket, status, said),
        // Until the other side goes.
        Some(Reply::Hangs) => drop(reader.read(&mut [0])),
        None if path == "/apiv2/tasks/create/file/" => says(
            socket,
            "200 OK",
            &format!("{{\"error\": [], \"data\": {{\"task_ids\": [{id}], \"message\": \"\"}}, \"errors\": []}}"),
        ),
        None if path == "/tasks/create/file" => says(socket, "200 OK", &format!("{{\"task_id\": {id}}}")),
        None => says(socket, "200 OK", "{\"task_id\": 7}"),
    }
}

fn says(mut socket: TcpStream, status: &str, said: &str) {
    let length = said.len();
    let _ = write!(socket, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{said}");
}

/// The answer to who asks for tasks.
fn look(path: &str, shared: &mut Shared) -> String {
    let tasks = shared.uploads.iter().enumerate();
    let (found, cape) = if let Some(hash) = path.strip_prefix("/apiv2/tasks/search/sha256/") {
        let hash = hash.strip_suffix('/').unwrap();
        let of = tasks.filter(|(_, upload)| upload.sha256() == hash);
        let task = |(n, upload): (usize, &Upload)| {
            format!("{{\"id\": {}, \"custom\": \"{}\"}}", n + 1, upload.field("custom").unwrap())
        };
        (of.map(task).collect::<Vec<_>>(), true)
    } else {
        let owner = path.strip_prefix("/tasks/list/100?owner=").unwrap();
        let of = tasks.filter(|(_, upload)| upload.field("owner") == Some(owner));
        (of.map(|(n, _)| format!("{{\"id\": {}, \"owner\": \"{owner}\"}}", n + 1)).collect(), false)
    };
    shared.asked[0] += 1;
    shared.asked[1] += usize::from(!found.is_empty());
    let found = found.join(", ");
    if cape { format!("{{\"error\": false, \"data\": [{found}]}}") } else { format!("{{\"tasks\": [{found}]}}") }
}

/// RFC 2046 §5.1.1, RFC 7578 §4.2: fields, and then a part with a field's name and a file's.
#[allow(clippy::type_complexity, reason = "the parts of a form")]
fn parse(body: &[u8], boundary: &str) -> (Vec<(String, String)>, String, String, Vec<u8>) {
    let mut rest = body.strip_prefix(format!("--{boundary}\r\n").as_bytes()).unwrap();
    let mut fields = Vec::new();
    loop {
        let end = rest.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&rest[..end]).unwrap();
        let content = &rest[end + 4..];
        let mut lines = head.split("\r\n");
        let disposition = lines.next().unwrap().strip_prefix("Content-Disposition: form-data; name=\"").unwrap();
        if let Some((field, name)) = disposition.split_once("\"; filename=\"") {
            assert_eq!(lines.next(), Some("Content-Type: application/octet-stream"));
            assert_eq!(lines.next(), None);
            let content = content.strip_suffix(format!("\r\n--{boundary}--\r\n").as_bytes()).unwrap();
            return (fields, field.to_owned(), name.strip_suffix('"').unwrap().to_owned(), content.to_vec());
        }
        let between = format!("\r\n--{boundary}\r\n");
        let end = content.windows(between.len()).position(|w| w == between.as_bytes()).unwrap();
        let value = String::from_utf8(content[..end].to_vec()).unwrap();
        fields.push((disposition.strip_suffix('"').unwrap().to_owned(), value));
        rest = &content[end + between.len()..];
    }
}
