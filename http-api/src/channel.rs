//! Long answers: made by a thread that may block, sent piece by piece, never whole in memory.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use http_body::Frame;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Pieces that wait to be sent.
const WAITING: usize = 4;
/// Bytes of a piece.
pub(crate) const PIECE: usize = 128 << 10;
/// A client that takes nothing for this long is given up.
const STALLED: Duration = Duration::from_secs(60);

enum Part {
    Bytes(Bytes),
    /// All was sent. A channel that closes without it broke off, and the client is told so.
    End,
}

/// What makes an answer: first its head, then its body.
pub(crate) struct Maker {
    head: oneshot::Sender<Response>,
}

/// What writes the body. It has to be [`finish`](Self::finish)ed, or the client learns that the answer is not whole.
pub(crate) struct BodyWriter {
    parts: mpsc::Sender<Part>,
    runtime: Handle,
    piece: Vec<u8>,
}

/// A maker for a thread, and where its answer's head comes out.
pub(crate) fn maker() -> (Maker, oneshot::Receiver<Response>) {
    let (head, answer) = oneshot::channel();
    (Maker { head }, answer)
}

impl Maker {
    /// Sends an answer that is whole.
    pub(crate) fn whole(self, response: Response) {
        // Whoever asked may have gone.
        let _ = self.head.send(response);
    }

    /// Sends the head, and goes on with the body. `None` when nobody waits for it. On a thread of the runtime.
    pub(crate) fn begin(self, mut head: Response) -> Option<BodyWriter> {
        let (parts, received) = mpsc::channel(WAITING);
        *head.body_mut() = Body::new(ChannelBody { received, ended: false });
        self.head.send(head).ok()?;
        Some(BodyWriter { parts, runtime: Handle::current(), piece: Vec::new() })
    }
}

impl BodyWriter {
    /// Says that the body is whole.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.send(Part::End)
    }

    /// Whether nobody takes it any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.parts.is_closed()
    }

    /// Writes this many zero bytes.
    pub(crate) fn zeros(&mut self, mut count: u64) -> io::Result<()> {
        const ZEROS: [u8; 4096] = [0; 4096];
        while count > 0 {
            let n = count.min(ZEROS.len() as u64);
            self.write_all(ZEROS.get(..n as usize).unwrap_or_default())?;
            count -= n;
        }
        Ok(())
    }

    fn send(&self, part: Part) -> io::Result<()> {
        let sent = self.runtime.block_on(async { timeout(STALLED, self.parts.send(part)).await });
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Write for BodyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.capacity() == 0 {
            self.piece.reserve_exact(PIECE);
        }
        let n = bytes.len().min(PIECE.saturating_sub(self.piece.len()));
        self.piece.extend_from_slice(bytes.get(..n).unwrap_or_default());
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.piece);
        self.send(Part::Bytes(piece.into()))
    }
}

/// The receiving side.
struct ChannelBody {
    received: mpsc::Receiver<Part>,
    ended: bool,
}

impl HttpBody for ChannelBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.received.poll_recv(context).map(|part| match part {
            Some(Part::Bytes(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Part::End) => {
                self.ended = true;
                None
            }
            None => {
                self.ended = true;
                Some(Err(io::Error::other("the answer broke off")))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}
