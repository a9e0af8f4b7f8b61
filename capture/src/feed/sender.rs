//! One sender: what it says is read until it ends, cannot be read, or cannot be true.

use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use streamdb_types::Timestamp;

use super::chunk::Chunk;
use super::{Shared, WAIT, clock};
use crate::error::Error;
use crate::file::CaptureFile;
use crate::item::Item;

/// A connection that does not begin a capture in this time is closed.
const BEGIN: Duration = Duration::from_secs(10);
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
    let socket = Socket { stream, shared: Arc::clone(shared), begun: Instant::now(), silent: true };
    let name = PathBuf::from(peer.to_string());
    let told = |error: Error| error.to_string();
    let mut capture = match CaptureFile::from_reader(&name, socket) {
        // It came to look whether somebody listens.
        Err(Error::Empty { .. }) => return Ok(()),
        capture => capture.map_err(told)?,
    };
    let mut chunk = Chunk::default();
    let mut now = clock();
    loop {
        let read = match capture.next() {
            Ok(Some(item)) => check(&item, peer, now).map(|()| {
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
            now = clock();
        }
        if over {
            return read.map(drop);
        }
    }
}

/// Whether what a sender says can be true.
fn check(item: &Item<'_>, peer: SocketAddr, now: Timestamp) -> Result<(), String> {
    match item {
        Item::Frame(frame) => {
            let late = now.since(frame.time);
            if late < -AHEAD {
                Err(format!("{peer}: a frame of {} is of the future: the clock of one of the two is wrong", frame.time))
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
        _ => Ok(()),
    }
}

/// Hands a chunk on, waiting as long as there is no room; false when nobody takes it any more.
fn give(chunk: Chunk, chunks: &SyncSender<Chunk>, shared: &Shared) -> bool {
    let mut chunk = chunk;
    loop {
        chunk = match chunks.try_send(chunk) {
            Ok(()) => {
                shared.ring();
                return true;
            }
            Err(TrySendError::Disconnected(_)) => return false,
            // Whoever takes stops taking only when all is over.
            Err(TrySendError::Full(chunk)) => chunk,
        };
        thread::sleep(Duration::from_millis(2));
    }
}

/// A socket whose reads end when all is to end.
struct Socket {
    stream: TcpStream,
    shared: Arc<Shared>,
    begun: Instant,
    silent: bool,
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.shared.is_stopped() {
                return Ok(0);
            }
            match self.stream.read(buffer) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.silent && self.begun.elapsed() > BEGIN {
                        return Ok(0);
                    }
                }
                read => {
                    self.silent &= !read.as_ref().is_ok_and(|count| *count > 0);
                    return read;
                }
            }
        }
    }
}
