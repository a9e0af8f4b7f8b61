//! Connections to servers of which an answer is read also when it comes before all was sent (RFC 9110 §10.1.1, RFC 9112 §9.6):
//! one that will not have a content says so at once, stops reading, and closes.
//!
//! What is left of the request counts as sent then, so that the client goes on to the answer; [`Cut`] says that it was not.
//! Below TLS it cannot be seen that there is an answer, so that there the first write that fails leads to it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};
use ureq::{Error, Timeout};

/// Less time no address gets to answer.
const LEAST: Duration = Duration::from_millis(10);
/// How long is waited at once.
const LOOK: Duration = Duration::from_secs(1);
/// What every answer begins with that is not the last one to its request (RFC 9110 §15.2), but for the minor version.
const INTERIM: &[u8] = b"HTTP/1.? 1";

/// Whether what is left of the request under way is not sent any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Cut(Arc<AtomicBool>);

impl Cut {
    pub(super) fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, cut: bool) {
        self.0.store(cut, Ordering::Relaxed);
    }
}

/// Opens them.
#[derive(Debug)]
pub(super) struct Connects(pub(super) Cut);

impl<In: Transport> Connector<In> for Connects {
    type Out = Connection;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<In>) -> Result<Option<Connection>, Error> {
        let until = Instant::now().checked_add(*details.timeout.after);
        let mut failed = Error::HostNotFound;
        for (n, address) in details.addrs.iter().enumerate() {
            let left = until.map_or(*details.timeout.after, |until| until.saturating_duration_since(Instant::now()));
            // One that does not answer leaves time for those behind it.
            let time = if n + 1 < details.addrs.len() { left / 2 } else { left };
            let opened = TcpStream::connect_timeout(address, time.max(LEAST)).and_then(|stream| {
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                Ok(stream)
            });
            match opened {
                Ok(stream) => {
                    let buffers =
                        LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
                    let (cut, watched) = (self.0.clone(), !details.needs_tls());
                    return Ok(Some(Connection { stream, buffers, cut, watched, interim: false, broken: None }));
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => failed = Error::Timeout(Timeout::Connect),
                Err(error) => failed = error.into(),
            }
        }
        Err(failed)
    }
}

/// A connection.
pub(super) struct Connection {
    stream: TcpStream,
    buffers: LazyBuffers,
    cut: Cut,
    /// Whether bytes that come are those of an answer.
    watched: bool,
    /// Whether an answer is there that is not the last.
    interim: bool,
    /// Why the rest was not sent.
    broken: Option<io::Error>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let until = Until::of(timeout);
        let mut sent = 0;
        while !self.cut.is() {
            let output: &[u8] = self.buffers.output();
            let Some(rest) = output.get(sent..amount).filter(|rest| !rest.is_empty()) else { break };
            let watched = self.watched && !self.interim;
            let wanted = if watched { PollFlags::OUT | PollFlags::IN } else { PollFlags::OUT };
            let ready = wait(&self.stream, wanted, &until)?;
            match if watched && ready.intersects(!PollFlags::OUT) { said(&self.stream) } else { Said::Nothing } {
                Said::Interim => self.interim = true,
                Said::Last => self.cut.set(true),
                Said::End => self.break_off(io::Error::new(io::ErrorKind::ConnectionAborted, "closed by the server")),
                Said::Nothing if !ready.intersects(!PollFlags::IN) => {}
                Said::Nothing => match (&self.stream).write(rest) {
                    Ok(n) => sent += n,
                    Err(error) if is_passing(&error) => {}
                    Err(error) => self.break_off(error),
                },
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let until = Until::of(timeout);
        self.interim = false;
        let read = loop {
            wait(&self.stream, PollFlags::IN, &until)?;
            match (&self.stream).read(self.buffers.input_append_buf()) {
                Err(error) if is_passing(&error) => {}
                read => break read,
            }
        };
        // Without an answer, that it could not be sent is what is to be said.
        let read = match (read, self.broken.take()) {
            (Ok(0) | Err(_), Some(broken)) => Err(broken),
            (read, broken) => {
                self.broken = broken;
                read
            }
        }?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        // Nothing was asked for now: bytes that are there belong to nothing, and no bytes are the end.
        let quiet = self.stream.peek(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        quiet && !self.cut.is()
    }
}

impl Connection {
    /// The rest of the request is not sent.
    fn break_off(&mut self, why: io::Error) {
        self.broken = Some(why);
        self.cut.set(true);
    }
}

/// What a server said while something was sent to it.
enum Said {
    Nothing,
    /// Something, and its answer is still to come.
    Interim,
    /// Its answer, or the beginning of it.
    Last,
    /// Nothing, and it closed its side.
    End,
}

fn said(stream: &TcpStream) -> Said {
    let mut begin = [0; INTERIM.len()];
    match stream.peek(&mut begin) {
        Ok(0) => Said::End,
        Ok(n) => {
            let like = |(byte, known): (&u8, &u8)| byte == known || *known == b'?';
            if begin.iter().take(n).zip(INTERIM).all(like) { Said::Interim } else { Said::Last }
        }
        // Writing says what is wrong.
        Err(_) => Said::Nothing,
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Until when something is waited for.
struct Until {
    when: Option<Instant>,
    reason: Timeout,
}

impl Until {
    fn of(timeout: NextTimeout) -> Self {
        Self { when: Instant::now().checked_add(*timeout.after), reason: timeout.reason }
    }
}

/// Waits for something.
fn wait(stream: &TcpStream, wanted: PollFlags, until: &Until) -> Result<PollFlags, Error> {
    loop {
        let left = until.when.map_or(LOOK, |when| when.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Err(Error::Timeout(until.reason));
        }
        let left = left.min(LOOK);
        let time = Timespec { tv_sec: if left < LOOK { 0 } else { 1 }, tv_nsec: left.subsec_nanos().into() };
        let mut polled = [PollFd::new(stream, wanted)];
        match poll(&mut polled, Some(&time)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(polled.iter().fold(PollFlags::empty(), |all, fd| all | fd.revents())),
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
}
