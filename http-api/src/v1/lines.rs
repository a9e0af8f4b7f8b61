//! A list row by row, as rows are found: one a line, and a last line that says that this was all, and how far was looked.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode};
use serde::Serialize;
use streamdb_derive::{Error, Rows, Store};
use streamdb_query::{Filter, Looking, Troubles, json_line};
use utoipa::ToSchema;

use super::accept::Shape;
use super::asked::MOST;
use super::find::{Kind, each};
use crate::answer::{failed, whole};
use crate::channel::{BodyWriter, Maker};

/// Milliseconds for which a row may wait for others.
const WAITS: u64 = 200;

/// The last line: without it the answer is not whole.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LastLine {
    end: End,
}

/// How a list ended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct End {
    /// When there may be more: the value of `after` with which the same search goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Whether the search ended before it was done.
    stopped: bool,
    /// Streams that were looked at.
    streams_looked_at: u64,
    /// What could not be read: one sentence each.
    remarks: Vec<String>,
}

/// Sends what the filter finds, for as long as the client takes it.
pub(super) fn send(store: &Store, kind: Kind, filter: &Filter, maker: Maker) {
    let lines = Lines::new(maker);
    let mut troubles = Troubles::default();
    let (mut sent, mut last) = (0, None);
    let looking = Looking { made: Rows::new(), go_on: &|| lines.keep_up(), troubles: &mut troubles };
    let looked = each(store, kind, filter, looking, &mut |found| {
        sent += 1;
        last = Some(found.position());
        if lines.put(&found) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    match looked {
        Err(error) => lines.fail(&error),
        Ok(looked) => {
            let more = looked.stopped || sent >= filter.limit.unwrap_or(MOST);
            lines.end(&LastLine {
                end: End {
                    next: last.filter(|_| more).map(|position| position.to_string()),
                    stopped: looked.stopped,
                    streams_looked_at: looked.streams,
                    remarks: troubles.sentences().collect(),
                },
            });
        }
    }
}

/// Lines on their way. The search writes them, and whichever of its threads is asked next whether to go on sends them off.
struct Lines {
    out: Mutex<Out>,
    begun: Instant,
    /// When lines were sent off last, in milliseconds since it began; 0 before the first time.
    sent: AtomicU64,
    gone: AtomicBool,
}

/// The answer: nothing of it is sent before there is something to send, so that an error can still be one.
enum Out {
    Unbegun(Maker),
    Begun(BodyWriter),
    Gone,
}

impl Lines {
    fn new(maker: Maker) -> Self {
        let out = Mutex::new(Out::Unbegun(maker));
        Self { out, begun: Instant::now(), sent: AtomicU64::new(0), gone: AtomicBool::new(false) }
    }

    /// Writes a line; whether somebody takes it. The first one is sent at once.
    fn put(&self, line: &impl Serialize) -> bool {
        let written = self.lock().body().and_then(|body| json_line(body, line));
        let is_first = self.sent.load(Ordering::Relaxed) == 0;
        self.noted(written) && self.send_after(if is_first { 0 } else { WAITS })
    }

    /// Sends off what has waited long enough; whether somebody takes it.
    fn keep_up(&self) -> bool {
        self.send_after(WAITS)
    }

    /// Sends off what was written, if the last time is so many milliseconds ago; whether somebody takes it.
    fn send_after(&self, wait: u64) -> bool {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let sent = self.sent.load(Ordering::Relaxed);
        // One of those who ask does it.
        let due = now.saturating_sub(sent) >= wait
            && self.sent.compare_exchange(sent, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if due {
            let flushed = self.lock().body().and_then(|body| match body.is_gone() {
                true => Err(io::ErrorKind::BrokenPipe.into()),
                false => body.flush(),
            });
            self.noted(flushed);
        }
        !self.gone.load(Ordering::Relaxed)
    }

    fn noted(&self, result: io::Result<()>) -> bool {
        if result.is_err() {
            self.gone.store(true, Ordering::Relaxed);
        }
        result.is_ok()
    }

    /// Says that this was all.
    fn end(self, line: &LastLine) {
        let mut out = self.out.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Whoever asked may have gone.
        if out.body().and_then(|body| json_line(body, line)).is_ok()
            && let Out::Begun(body) = out
        {
            let _ = body.finish();
        }
    }

    /// Says why there is no more; what has begun breaks off, and the client sees that.
    fn fail(self, error: &Error) {
        match self.out.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Out::Unbegun(maker) => maker.whole(failed(error)),
            Out::Begun(mut body) => {
                let _ = body.flush();
            }
            Out::Gone => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Out {
    /// Where lines are written. Sends the head of the answer, if that is still to be done.
    fn body(&mut self) -> io::Result<&mut BodyWriter> {
        if let Self::Unbegun(_) = self
            && let Self::Unbegun(maker) = std::mem::replace(self, Self::Gone)
        {
            let head = whole(StatusCode::OK, HeaderValue::from_static(Shape::Lines.media_type()), Body::empty());
            if let Some(body) = maker.begin(head) {
                *self = Self::Begun(body);
            }
        }
        match self {
            Self::Begun(body) => Ok(body),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}
