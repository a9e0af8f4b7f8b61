//! `streamdb serve`, really started, and a client of ten lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use super::{Data, PATIENCE};

/// A running server; it ends with the test.
pub struct Server {
    pub child: Child,
    pub address: SocketAddr,
}

/// An answer, its body put together.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Server {
    /// Starts one on a free port, and reads from what it says where it listens.
    pub fn start(data: &Data) -> Self {
        Self::start_with(data, &["--listen", "127.0.0.1:0"])
    }

    /// Starts one with these flags.
    pub fn start_with(data: &Data, flags: &[&str]) -> Self {
        let mut child = data.command("serve", flags).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let said = format!("streamdb: serving {} on http://", data.path().display());
        let address = line.trim_end().strip_prefix(&said).and_then(|rest| rest.strip_suffix('/'));
        let address = address.unwrap_or_else(|| panic!("where does it listen? {line}")).parse().unwrap();
        Self { child, address }
    }

    /// The one of a sensor, which ends with that.
    pub fn of_sensor(address: SocketAddr) -> Self {
        Self { child: Command::new("true").spawn().unwrap(), address }
    }

    /// Asks for a path with its query.
    pub fn get(&self, path: &str) -> Answer {
        self.get_as(path, &self.address.to_string())
    }

    /// The same; nothing when it ends before it has answered.
    pub fn try_get(&self, path: &str) -> Option<Answer> {
        let mut socket = TcpStream::connect(self.address).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let host = self.address;
        write!(socket, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).ok()?;
        (!bytes.is_empty()).then(|| Answer::parse(&bytes))
    }

    /// The same, by another name of the server.
    pub fn get_as(&self, path: &str, host: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    }

    /// Sends a request as it is; it has to ask that the connection be closed.
    pub fn send(&self, request: &str) -> Answer {
        let mut socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).unwrap();
        Answer::parse(&bytes)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
        let mut lines = std::str::from_utf8(&bytes[..end]).unwrap().split("\r\n");
        let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        let mut answer = Self { status, headers, body: bytes[end + 4..].to_vec() };
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = joined(&answer.body);
        } else {
            let length: usize = answer.header("content-length").expect("a length").parse().unwrap();
            assert_eq!(answer.body.len(), length);
        }
        answer
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// The chunks of a body (RFC 9112 §7.1), joined.
fn joined(mut chunked: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = chunked.windows(2).position(|w| w == b"\r\n").expect("a chunk's length");
        let length = usize::from_str_radix(std::str::from_utf8(&chunked[..end]).unwrap(), 16).unwrap();
        chunked = &chunked[end + 2..];
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&chunked[..length]);
        assert_eq!(&chunked[length..length + 2], b"\r\n");
        chunked = &chunked[length + 2..];
    }
}
