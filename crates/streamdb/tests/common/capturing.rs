//! A running capture, and connections for it to see.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};

use serde_json::Value;

use super::{Data, Said, Wire, inside, json_lines, until, wait, within};

/// A running `streamdb capture`.
pub struct Capturing {
    pub child: Child,
    err: BufReader<ChildStderr>,
    /// What it said before it began.
    pub first: String,
}

impl Capturing {
    /// Starts one in the namespace, if any, and waits until it captures.
    pub fn start(data: &Data, namespace: Option<&str>, flags: &[&str]) -> Self {
        let mut command = data.command("capture", flags);
        if let Some(namespace) = namespace {
            command = inside(namespace, &command);
        }
        Self::start_as(&mut command)
    }

    /// Starts it by this command.
    pub fn start_as(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let err = BufReader::new(child.stderr.take().unwrap());
        let mut capturing = Self { child, err, first: String::new() };
        loop {
            let mut line = String::new();
            assert!(capturing.err.read_line(&mut line).unwrap() > 0, "it did not begin: {}", capturing.first);
            if line.starts_with("streamdb: capturing from ") {
                return capturing;
            }
            capturing.first += &line;
        }
    }

    /// The next thing that it says.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.err.read_line(&mut line).unwrap();
        line
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// What it said from its beginning on, when it has ended.
    pub fn said(mut self) -> Said {
        let (mut out, mut err) = (Vec::new(), String::new());
        self.child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
        self.err.read_to_string(&mut err).unwrap();
        let code = wait(&mut self.child).code();
        Said { code, out, err }
    }

    /// Asks it to end, which must go well.
    pub fn stop(self) -> Said {
        self.signal("-TERM");
        let said = self.said();
        assert_eq!(said.code, Some(0), "{said:?}");
        said
    }

    /// The summary of one with `--json`.
    pub fn summary(self) -> Value {
        json_lines(&self.stop().out).remove(0)
    }
}

impl Drop for Capturing {
    /// None is left over from a test that failed.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server for one connection, and a client connected to it.
pub struct Pair {
    pub client: TcpStream,
    pub server: TcpStream,
}

impl Pair {
    pub fn on_loopback() -> (TcpListener, SocketAddr, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address, format!("tcp port {}", address.port()))
    }

    pub fn connect(listener: &TcpListener, address: SocketAddr) -> Self {
        let client = TcpStream::connect(address).unwrap();
        Self { client, server: listener.accept().unwrap().0 }
    }

    pub fn across(wire: &Wire, address: &str) -> Self {
        let listener = within(&wire.far, || TcpListener::bind(address).unwrap());
        let address = listener.local_addr().unwrap();
        let client = within(&wire.near, || TcpStream::connect(address).unwrap());
        Self { client, server: listener.accept().unwrap().0 }
    }

    /// The client asks for the body and gets it; both stay connected.
    pub fn download(&mut self, body: &[u8]) {
        self.client.write_all(b"GET /tool.exe HTTP/1.1\r\nHost: files.example\r\n\r\n").unwrap();
        let mut asked = [0; 1024];
        assert!(self.server.read(&mut asked).unwrap() > 0);
        let answer = [head(body).as_bytes(), body].concat();
        let server = &mut self.server;
        std::thread::scope(|scope| {
            scope.spawn(|| server.write_all(&answer).unwrap());
            let mut got = vec![0; answer.len()];
            self.client.read_exact(&mut got).unwrap();
            assert!(got == answer);
        });
    }

    pub fn port(&self) -> u16 {
        self.client.local_addr().unwrap().port()
    }
}

pub fn head(body: &[u8]) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {}\r\n\r\n", body.len())
}

/// The stream to a client, once it is there with this length.
pub fn stream_to(data: &Data, port: u16, length: usize) -> Value {
    let filter = format!("srcport={port}");
    until("the stream can be read", || {
        let said = data.run("streams", &["--json", &filter, "direction=c"]);
        // Until the first tick there is no bucket to read.
        let rows = if said.code == Some(0) { json_lines(&said.out) } else { Vec::new() };
        rows.into_iter().find(|row| row["length"] == length)
    })
}
