//! Where the body of a message lies, once its framing is known; and what its first bytes say where the head does not.

use streamdb_types::StreamOffset;

use super::chunked::{Broken, Chunks, Step};
use super::facts::Facts;
use super::framing::Asked;
use super::line::{self, Role};
use super::scanner::{HEAD_READ, Scanner};
use super::search;
use crate::message::{Framing, Incomplete, Message};
use crate::notes::Notes;
use crate::span::Span;
use crate::window::Stop;

impl Scanner<'_> {
    /// Sets where the body of a message lies, and what is missing of it.
    pub(super) fn find_body(&mut self, message: &mut Message) {
        let (start, end) = (message.head.end, self.source.end());
        match message.framing {
            Framing::None | Framing::Unknown => self.at = start,
            Framing::Length(length) => {
                let wanted = start.add(length);
                self.at = wanted.min(end);
                message.body.end = self.at;
                message.count_gaps(self.source, message.body);
                if wanted > end {
                    message.missing = message.missing.saturating_add(wanted.since(end));
                    self.ends_early(message);
                }
            }
            Framing::UntilClose | Framing::Stream => {
                self.at = end;
                message.body.end = end;
                message.count_gaps(self.source, message.body);
                let why = Incomplete::unless_ended(self.source, self.other, self.direction);
                message.incomplete = message.incomplete.or(why);
            }
            Framing::Chunked => self.find_chunks(message),
        }
        message.trailers = if message.trailers.is_empty() { Span::empty(message.body.end) } else { message.trailers };
    }

    fn find_chunks(&mut self, message: &mut Message) {
        let end = self.source.end();
        let mut chunks = Chunks::new(message.body.start);
        loop {
            let step = chunks.next(&mut self.window, end);
            if chunks.is_odd() {
                message.notes.insert(Notes::ODD_CHUNKED);
            }
            match step {
                Step::Data(data) => message.count_gaps(self.source, data),
                Step::Last { trailers } => {
                    message.body.end = trailers.start;
                    message.trailers = trailers;
                    self.at = trailers.end;
                    return;
                }
                Step::Broken { at, why: Broken::Hole(gap) } => {
                    message.body.end = at;
                    message.missing = message.missing.saturating_add(gap.length);
                    message.incomplete.get_or_insert(Incomplete::Gap(gap.kind));
                    self.at = gap.end();
                    self.lose(Incomplete::Gap(gap.kind));
                    return;
                }
                Step::Broken { at, why: Broken::Malformed } => {
                    message.body.end = at;
                    message.incomplete.get_or_insert(Incomplete::Malformed);
                    self.at = at;
                    self.lose(Incomplete::Malformed);
                    return;
                }
                Step::Broken { at: _, why: Broken::Ended { missing } } => {
                    message.body.end = end;
                    message.missing = message.missing.saturating_add(missing);
                    self.ends_early(message);
                    self.at = end;
                    return;
                }
            }
        }
    }

    pub(super) fn ends_early(&self, message: &mut Message) {
        message.incomplete.get_or_insert(Incomplete::at_end(self.source, self.other, self.direction));
    }

    /// Whether the bytes after the head show that there is no body, where the head alone does not tell: an answer to a
    /// request that was not seen and may have been HEAD, or a client that waited for 100 Continue and was refused.
    pub(super) fn has_no_body(&mut self, facts: &Facts, asked: Asked, body: StreamOffset) -> bool {
        let doubtful = match self.role {
            Role::Responses => !asked.sure,
            Role::Requests => facts.expects,
        };
        if !doubtful {
            return false;
        }
        let view = self.window.look(body, HEAD_READ);
        let at_end = view.bytes.is_empty() && view.stop == Some(Stop::End);
        // The body of a request, and then the next request line, would read as one with a strange method.
        let known = self.role == Role::Responses || search::begins_with_method(view.bytes);
        (known && line::surely_begins(view.bytes, self.role)) || (at_end && asked.head)
    }

    /// What a body begins with if it is chunked.
    pub(super) fn first_chunk(&mut self, body: StreamOffset) -> Step {
        Chunks::new(body).next(&mut self.window, self.source.end())
    }
}
