//! Asks the daemon of ClamAV, as clamd(8) describes it: `zINSTREAM`, then chunks with their length in front, then one of none.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use streamdb_types::{Scanner, Verdict};

use crate::error::Error;

/// Bytes of a chunk.
const CHUNK: usize = 128 << 10;
/// Longest answer; more of one is not read.
const ANSWER: usize = 4096;
/// How long it may take to reach it.
const CONNECT: Duration = Duration::from_secs(5);
/// How long to wait for room in the queue of its socket, before it is looked again.
const QUEUED: Duration = Duration::from_millis(20);

/// Of its words before `ERROR`, those that say that it is the content that it gives up: a limit of its own, or bytes that it
/// cannot read. All others are about clamd itself: a full disk, no memory, no permission.
const ABOUT_THE_CONTENT: [&str; 8] = [
    "Heuristics.Limits.Exceeded",
    "size limit exceeded",
    "Time limit reached",
    "CL_EMAX",
    "CL_ETIMEOUT",
    "CL_EFORMAT",
    "Can't unpack some data",
    "Can't parse data",
];

/// Where clamd listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A host and a port.
    Tcp(String),
}

impl Address {
    /// What [`parse`](Self::parse) takes.
    pub const ACCEPTED: &str = "where clamd listens: the path of its socket, as in /run/clamav/clamd.ctl, or a host and a port, as in 127.0.0.1:3310";

    /// Reads a path or a host with a port; `None` when it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains('/') {
            return Some(Self::Unix(PathBuf::from(text)));
        }
        let (host, port) = text.rsplit_once(':')?;
        let port_is_one = port.parse::<u16>().is_ok_and(|port| port > 0);
        (port_is_one && !host.is_empty()).then(|| Self::Tcp(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(text) => text.fmt(f),
        }
    }
}

/// What clamd says of a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It found nothing.
    Clean,
    /// It found this.
    Found(Verdict),
    /// It takes no more bytes than it was given.
    TooLong,
    /// It looked, and could not tell: a content that it cannot read, or that takes it too long.
    GaveUp,
}

/// A clamd.
#[derive(Clone, Debug)]
pub struct Clamd {
    address: Address,
    timeout: Duration,
}

impl Clamd {
    /// The one that listens there. One content may take it so long.
    pub const fn new(address: Address, timeout: Duration) -> Self {
        Self { address, timeout }
    }

    /// Its version, and that of its signatures.
    ///
    /// # Errors
    /// When it is not there, or does not answer as clamd does.
    pub fn version(&self) -> Result<String, Error> {
        let until = Instant::now() + CONNECT;
        let mut stream = self.connect()?;
        let answer = stream.write(b"zVERSION\0", until).and_then(|()| stream.answer(until));
        let answer = answer.map_err(|error| self.wrong(&error.to_string()))?;
        if answer.starts_with("ClamAV") { Ok(answer) } else { Err(self.foreign(&answer)) }
    }

    /// What it says of a content.
    ///
    /// # Errors
    /// When it is not there, ends meanwhile, or does not answer as clamd does: the content is to be given to it once more.
    pub fn scan(&self, content: &[u8]) -> Result<Answer, Error> {
        let until = Instant::now() + self.timeout;
        let mut stream = self.connect()?;
        let sent = send(&mut stream, content, until);
        // Also when it did not take all: it has said why, or it is gone.
        match (sent, stream.answer(until)) {
            (_, Ok(answer)) => self.understood(&answer),
            (Err(error), Err(_)) | (Ok(()), Err(error)) if is_timeout(&error) => {
                // A clamd that hangs for all contents is another thing than one that this content keeps busy.
                self.version().map(|_| Answer::GaveUp)
            }
            (Err(error), Err(_)) | (Ok(()), Err(error)) if is_gone(&error) => {
                Err(Error::Left { address: self.address.to_string(), what: error.to_string() })
            }
            (Err(error), Err(_)) | (Ok(()), Err(error)) => Err(self.wrong(&error.to_string())),
        }
    }

    fn understood(&self, answer: &str) -> Result<Answer, Error> {
        read_answer(answer).ok_or_else(|| self.foreign(answer))
    }

    fn foreign(&self, answer: &str) -> Error {
        let shown: String = answer.chars().take(80).flat_map(char::escape_default).collect();
        let what = if answer.starts_with("stream: ") && answer.ends_with("ERROR") {
            "it could not look"
        } else {
            "it does not answer as clamd does"
        };
        self.wrong(&format!("{what}: \"{shown}\""))
    }

    fn wrong(&self, what: &str) -> Error {
        Error::Clamd { address: self.address.to_string(), what: what.to_owned() }
    }

    fn connect(&self) -> Result<Stream, Error> {
        let connected = match &self.address {
            Address::Unix(path) => unix(path, Instant::now() + CONNECT).map(Stream::Unix),
            Address::Tcp(text) => tcp(text).map(Stream::Tcp),
        };
        connected.map_err(|error| self.wrong(&format!("no connection: {error}")))
    }
}

fn tcp(text: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "no address has this name");
    for address in resolve(text)? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The addresses of a name. Whoever knows them may not answer at all.
fn resolve(text: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = text.parse() {
        return Ok(vec![address]);
    }
    let (found, wait) = channel();
    let name = text.to_owned();
    thread::Builder::new().name("clamd-name".into()).spawn(move || {
        // Nobody may wait for it any more.
        let _ = found.send(name.to_socket_addrs().map(Iterator::collect));
    })?;
    let late = |_| io::Error::new(ErrorKind::TimedOut, "its name could not be looked up in time");
    wait.recv_timeout(CONNECT).map_err(late)?
}

/// A connection to a socket in the file system. One whose queue is full would be waited for without an end.
fn unix(path: &Path, until: Instant) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    loop {
        match connect(&socket, &address) {
            Ok(()) => break,
            // unix(7) tells nobody when there is room.
            Err(Errno::AGAIN) if Instant::now() < until => thread::sleep(QUEUED),
            Err(Errno::AGAIN) => return Err(io::Error::new(ErrorKind::TimedOut, "it takes no more connections")),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn send(stream: &mut Stream, content: &[u8], until: Instant) -> io::Result<()> {
    stream.write(b"zINSTREAM\0", until)?;
    for chunk in content.chunks(CHUNK) {
        stream.write(&(chunk.len() as u32).to_be_bytes(), until)?;
        stream.write(chunk, until)?;
    }
    stream.write(&[0; 4], until)
}

/// What an answer to INSTREAM means; `None` when it is none.
pub(crate) fn read_answer(answer: &str) -> Option<Answer> {
    if answer.starts_with("INSTREAM size limit exceeded") {
        return Some(Answer::TooLong);
    }
    let said = answer.strip_prefix("stream: ")?;
    if said == "OK" {
        return Some(Answer::Clean);
    }
    if let Some(name) = said.strip_suffix(" FOUND") {
        let name = name.to_owned();
        return Some(Answer::Found(Verdict { scanner: Scanner::Clamd, name, details: String::new() }));
    }
    let why = said.strip_suffix("ERROR")?;
    ABOUT_THE_CONTENT.iter().any(|known| why.contains(known)).then_some(Answer::GaveUp)
}

/// Whether the other side is there no more.
fn is_gone(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof, WriteZero};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof | WriteZero)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Either kind of connection, each step until a moment.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    fn write(&mut self, mut bytes: &[u8], until: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            self.limit(until)?;
            let written = match self {
                Self::Unix(stream) => stream.write(bytes),
                Self::Tcp(stream) => stream.write(bytes),
            };
            match written {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads up to the zero byte with which an answer ends.
    fn answer(&mut self, until: Instant) -> io::Result<String> {
        let mut answer = Vec::new();
        let mut buffer = [0; 512];
        while answer.len() < ANSWER {
            self.limit(until)?;
            let read = match self {
                Self::Unix(stream) => stream.read(&mut buffer),
                Self::Tcp(stream) => stream.read(&mut buffer),
            };
            match read {
                Ok(0) => break,
                Ok(read) => answer.extend(buffer.iter().take(read)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if let Some(end) = answer.iter().position(|byte| *byte == 0) {
                answer.truncate(end);
                return Ok(String::from_utf8_lossy(&answer).trim_end().to_owned());
            }
        }
        if answer.len() >= ANSWER {
            return Err(io::Error::new(ErrorKind::InvalidData, "its answer has no end"));
        }
        Err(io::Error::new(ErrorKind::UnexpectedEof, "it went away before it answered"))
    }

    fn limit(&self, until: Instant) -> io::Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        match self {
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(left))?;
                stream.set_write_timeout(Some(left))
            }
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(left))?;
                stream.set_write_timeout(Some(left))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A clamd that says this to each that asks, after so many bytes, with such a pause.
    fn clamd(answers: &[&[u8]], takes: usize, pause: Duration) -> Clamd {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap().to_string());
        let answers: Vec<Vec<u8>> = answers.iter().map(|answer| answer.to_vec()).collect();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                stream.read_exact(&mut vec![0; takes]).unwrap();
                thread::sleep(pause);
                let _ = stream.write_all(&answer);
            }
        });
        Clamd::new(address, Duration::from_millis(400))
    }

    #[test]
    fn every_answer_has_its_meaning() {
        let all = "zINSTREAM\0".len() + 4 + 5 + 4;
        type Case<'c> = (&'c [&'c [u8]], Result<Answer, &'c str>);
        let cases: [Case<'_>; 9] = [
            (&[b"stream: OK\0"], Ok(Answer::Clean)),
            (&[b"INSTREAM size limit exceeded. ERROR\0"], Ok(Answer::TooLong)),
            (&[b"stream: Heuristics.Limits.Exceeded ERROR\0"], Ok(Answer::GaveUp)),
            (&[b"stream: CL_ETIMEOUT: Time limit reached ERROR\0"], Ok(Answer::GaveUp)),
            (
                &[b"stream: Can't create temporary file ERROR\0"],
                Err("it could not look: \"stream: Can\\'t create temporary file ERROR\""),
            ),
            (&[&[b'x'; 2 * ANSWER]], Err("its answer has no end")),
            (&[b"HTTP/1.1 400\r\n\0"], Err("it does not answer as clamd does: \"HTTP/1.1 400\"")),
            (&[b"stream: O"], Err("it went away before it answered")),
            (&[b""], Err("it went away before it answered")),
        ];
        for (answer, wanted) in cases {
            let clamd = clamd(answer, all, Duration::ZERO);
            let said = clamd.scan(b"12345");
            match (said, wanted) {
                (Ok(said), Ok(wanted)) => assert_eq!(said, wanted),
                (Err(error), Err(wanted)) => {
                    assert_eq!(error.to_string(), format!("clamd at {}: {wanted}", clamd.address));
                }
                (said, wanted) => panic!("{said:?} instead of {wanted:?}"),
            }
        }
        let found = clamd(&[b"stream: Eicar-Test-Signature FOUND\0"], all, Duration::ZERO).scan(b"12345").unwrap();
        let Answer::Found(verdict) = found else { panic!("{found:?}") };
        assert_eq!(verdict.to_string(), "clamd:Eicar-Test-Signature");
    }

    #[test]
    fn a_full_socket_is_not_waited_for_without_an_end() {
        let path = std::env::temp_dir().join(format!("streamdb-clamd-full-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        // It never takes a connection, and its queue has an end.
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let mut waiting = Vec::new();
        let full = loop {
            match unix(&path, Instant::now() + Duration::from_millis(100)) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
            assert!(waiting.len() < 100_000);
        };
        assert_eq!(full.to_string(), "it takes no more connections");
        drop((listener, waiting));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn one_that_takes_no_more_is_understood_all_the_same() {
        let content = vec![0; 8 << 20];
        let said = clamd(&[b"INSTREAM size limit exceeded. ERROR\0"], 100, Duration::ZERO).scan(&content);
        // It may have been cut off before the answer came: then it is tried again.
        assert!(matches!(said, Ok(Answer::TooLong) | Err(Error::Left { .. })), "{said:?}");
    }

    #[test]
    fn a_content_that_takes_too_long_is_given_up_but_no_clamd_that_hangs() {
        let long = Duration::from_secs(2);
        let busy = clamd(&[b"stream: OK\0", b"ClamAV 1.4.3/27000/Mon\0"], 9, Duration::ZERO);
        assert!(busy.version().is_err(), "that was the answer to another question");
        assert_eq!(busy.version().unwrap(), "ClamAV 1.4.3/27000/Mon");
        let hangs = clamd(&[b"stream: OK\0"], 9, long);
        let begun = Instant::now();
        assert!(hangs.scan(b"x").is_err());
        assert!(begun.elapsed() < CONNECT + long);
    }

    #[test]
    fn an_address_is_a_path_or_a_host_with_a_port() {
        assert_eq!(Address::parse("/run/clamd.ctl"), Some(Address::Unix("/run/clamd.ctl".into())));
        assert_eq!(Address::parse("[::1]:3310"), Some(Address::Tcp("[::1]:3310".into())));
        for bad in ["", "clamd", "host:", ":3310", "host:0", "host:99999"] {
            assert_eq!(Address::parse(bad), None, "{bad}");
        }
        let said = Clamd::new(Address::parse("/nowhere/ctl").unwrap(), CONNECT).version().unwrap_err().to_string();
        assert_eq!(said, "clamd at /nowhere/ctl: no connection: No such file or directory (os error 2)");
    }
}
