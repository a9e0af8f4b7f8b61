//! One sender: what it says is read until it ends, cannot be read, or cannot be true.

use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use streamdb_types::Timestamp;

use super::chunk::Chunk;
use super::{Held, Shared, WAIT, clock};
use crate::error::Error;
use crate::file::{CaptureFile, Limits};
use crate::item::Item;

/// A connection that does not begin a capture in this time is closed.
const BEGIN: Duration = Duration::from_secs(10);
/// One that says nothing for so long is asked whether it is still there; so often, each so long after the other.
const ASK: Duration = Duration::from_secs(60);
const ASK_AGAIN: Duration = Duration::from_secs(15);
const ASKED: u32 = 4;
/// No block is longer, and no more bytes are looked back at to decompress one: what all senders may make us hold is bounded.
const LIMITS: Limits = Limits { block: 1 << 20, window_log: 23 };
/// More frames than these do not go over any wire in a second.
const FASTEST: u64 = 1_000_000_000;
/// The clocks of two machines, and a capture that began a little before it is sent.
const BEFORE: Duration = Duration::from_secs(10);
/// A frame is not of the future: clocks differ by less.
const AHEAD: i64 = 60_000_000_000;
/// And not of the past: what is sent is sent as it comes.
const BEHIND: i64 = 600_000_000_000;
/// The most interfaces of one sender.
const INTERFACES: u32 = 16;

/// Reads everything.
pub(super) fn run(stream: TcpStream, peer: SocketAddr, chunks: &SyncSender<Chunk>, shared: &Arc<Shared>) {
    if let Err(sentence) = read(stream, peer, chunks, shared)
        && !shared.is_stopped()
    {
        shared.say(format!("a capture that was sent ends: {sentence}"));
    }
}

fn read(stream: TcpStream, peer: SocketAddr, chunks: &SyncSender<Chunk>, shared: &Arc<Shared>) -> Result<(), String> {
    let failed = |error: io::Error| format!("{peer}: {error}");
    stream.set_nonblocking(false).map_err(failed)?;
    stream.set_read_timeout(Some(WAIT)).map_err(failed)?;
    // One that lost its power says nothing any more, and its place would never be free.
    let ask = sockopt::set_socket_keepalive(&stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(&stream, ASK))
        .and_then(|()| sockopt::set_tcp_keepintvl(&stream, ASK_AGAIN))
        .and_then(|()| sockopt::set_tcp_keepcnt(&stream, ASKED));
    ask.map_err(|error| failed(error.into()))?;
    let begun = Arc::new(AtomicBool::new(false));
    let since = Instant::now();
    let socket = Socket { stream, shared: Arc::clone(shared), since, begun: Arc::clone(&begun) };
    let name = PathBuf::from(peer.to_string());
    let told = |error: Error| error.to_string();
    let mut capture = match CaptureFile::with_limits(&name, socket, LIMITS) {
        // It came to look whether somebody listens.
        Err(Error::Empty { .. }) => return Ok(()),
        capture => capture.map_err(told)?,
    };
    begun.store(true, Ordering::Relaxed);
    let mut chunk = Chunk::default();
    let mut said = Said { peer, now: clock(), since, dropped: 0 };
    loop {
        let read = match capture.next() {
            Ok(Some(item)) => said.check(&item).map(|()| {
                chunk.push(&item);
                true
            }),
            Ok(None) => Ok(false),
            Err(error) => Err(told(error)),
        };
        let over = !matches!(read, Ok(true));
        if over || chunk.is_full() || !capture.is_at_hand() {
            // What comes next may take its time.
            if !chunk.records.is_empty() && !give(std::mem::take(&mut chunk), chunks, shared) {
                return Ok(());
            }
            // A little that is compressed can be very much: at the end what is unpacked is taken, and no more unpacked.
            if shared.is_stopped() {
                return Ok(());
            }
            said.now = clock();
        }
        if over {
            return read.map(drop);
        }
    }
}

/// What a sender has said, and whether it can be true.
struct Said {
    peer: SocketAddr,
    now: Timestamp,
    since: Instant,
    /// Frames that it says it dropped.
    dropped: u64,
}

impl Said {
    fn check(&mut self, item: &Item<'_>) -> Result<(), String> {
        let Self { peer, now, .. } = *self;
        match item {
            Item::Frame(frame) => {
                let late = now.since(frame.time);
                if late < -AHEAD {
                    Err(format!(
                        "{peer}: a frame of {} is of the future: the clock of one of the two is wrong",
                        frame.time
                    ))
                } else if late > BEHIND {
                    Err(format!(
                        "{peer}: a frame of {} is of the past: captures of the past are stored by streamdb ingest",
                        frame.time
                    ))
                } else {
                    Ok(())
                }
            }
            Item::Interface(number, _) if *number >= INTERFACES => {
                Err(format!("{peer}: it has more than {INTERFACES} interfaces"))
            }
            Item::Drops(drops) => {
                self.dropped = self.dropped.saturating_add(drops.by_kernel).saturating_add(drops.by_interface);
                if self.dropped > (self.since.elapsed() + BEFORE).as_secs().saturating_mul(FASTEST) {
                    Err(format!(
                        "{peer}: it says that it dropped {} frames, and so many cannot have come",
                        self.dropped
                    ))
                } else {
                    Ok(())
                }
            }
            _ => Ok(()),
        }
    }
}

/// Hands a chunk on, waiting as long as there is no room; false when nobody takes it any more.
fn give(chunk: Chunk, chunks: &SyncSender<Chunk>, shared: &Arc<Shared>) -> bool {
    let size = chunk.size();
    let mut chunk = chunk;
    while !shared.is_over() {
        if chunk.held.is_none() {
            chunk.held = Held::take(shared, size);
        }
        if chunk.held.is_some() {
            chunk = match chunks.try_send(chunk) {
                Ok(()) => {
                    shared.ring();
                    return true;
                }
                Err(TrySendError::Disconnected(_)) => return false,
                // Whoever takes stops taking only when all is over.
                Err(TrySendError::Full(chunk)) => chunk,
            };
        }
        thread::sleep(Duration::from_millis(2));
    }
    false
}

/// A socket whose reads end when all is to end, or when no capture has begun in time.
struct Socket {
    stream: TcpStream,
    shared: Arc<Shared>,
    since: Instant,
    begun: Arc<AtomicBool>,
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.shared.is_stopped() || !self.begun.load(Ordering::Relaxed) && self.since.elapsed() > BEGIN {
                return Ok(0);
            }
            match self.stream.read(buffer) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                read => return read,
            }
        }
    }
}
