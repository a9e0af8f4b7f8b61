//! One direction of a WebSocket, message after message.

use std::ops::Range;
use std::sync::Arc;

use streamdb_types::{Direction, StreamOffset};

use super::PROTOCOL;
use super::context::Contexts;
use super::extension::Extension;
use super::frame::{Frame, RSV1, Seen, Type};
use crate::limits::Limits;
use crate::message::{Incomplete, Kind, Message};
use crate::part::{Context, Part, PartKind, Undo};
use crate::source::{Source, gaps};
use crate::span::Span;
use crate::window::{Stop, Window};

/// What is read at a time.
const READ: usize = 4 << 10;

/// One direction, and how far it has been gone through.
pub(super) struct Half<'a> {
    source: &'a dyn Source,
    limits: Limits,
    window: Window<'a>,
    extension: Extension,
    /// What the handshake was for.
    target: Option<Box<[u8]>>,
    host: Option<Arc<[u8]>>,
    parts: Vec<Part>,
    /// The keys of the last part's ranges.
    masks: Vec<[u8; 4]>,
    /// Whether the last part has more to come.
    open: bool,
    contexts: Contexts,
    /// What each part refers to.
    windows: Vec<Option<Range<usize>>>,
    kept: usize,
    /// Why a message that is not ended at the end is not whole.
    why: Incomplete,
}

impl<'a> Half<'a> {
    pub(super) fn new(
        streams: [&'a dyn Source; 2],
        direction: Direction,
        extension: Extension,
        request: Option<&Message>,
        limits: &Limits,
    ) -> Self {
        let (source, other) = (*direction.of(&streams), *direction.flip().of(&streams));
        let target = request.and_then(|request| match &request.kind {
            Kind::Request { target, .. } => Some(target.clone()),
            Kind::Response { .. } | Kind::Stream => None,
        });
        Self {
            source,
            limits: *limits,
            window: Window::new(source, READ),
            extension,
            target,
            host: request.and_then(|request| request.host.clone()),
            parts: Vec::new(),
            masks: Vec::new(),
            open: false,
            contexts: Contexts::new(),
            windows: Vec::new(),
            kept: 0,
            why: Incomplete::at_end(source, other, direction),
        }
    }

    /// All messages.
    pub(super) fn run(mut self) -> Vec<Part> {
        self.frames();
        if self.open {
            let why = self.why;
            self.end(Some(why));
        }
        let kept: Arc<[u8]> = std::mem::take(&mut self.contexts.kept).into();
        for (part, window) in self.parts.iter_mut().zip(self.windows) {
            if let Some(window) = window.filter(|window| !window.is_empty()) {
                part.context = Context::Window(Arc::clone(&kept), window);
            }
        }
        self.parts
    }

    fn frames(&mut self) {
        let mut at = StreamOffset(0);
        while at < self.source.end() {
            let frame = match Frame::read(&mut self.window, at) {
                Seen::Frame(frame) => frame,
                Seen::Cut(Stop::Hole(gap)) => {
                    self.why = Incomplete::Gap(gap.kind);
                    return;
                }
                Seen::Cut(Stop::End) => return,
                Seen::No => {
                    self.why = Incomplete::Malformed;
                    return;
                }
            };
            let begin = at;
            let start = at.add(frame.header);
            at = start.add(frame.length);
            // A message is not begun within another, and not gone on with outside of one (RFC 6455 §5.4).
            let lawful = match frame.kind {
                Type::Data => !self.open && self.begin(frame, begin),
                Type::Continuation => self.open,
                Type::Close => return,
                Type::Control => continue,
            };
            if !lawful {
                self.why = Incomplete::Malformed;
                return;
            }
            if self.kept > self.limits.kept || self.parts.len() >= self.limits.messages as usize {
                self.why = Incomplete::Limit;
                return;
            }
            self.payload(frame, Span::new(start, at));
            if frame.last && at <= self.source.end() {
                self.end(None);
            }
        }
    }

    /// Begins a message; false when it may not be.
    fn begin(&mut self, frame: Frame, begin: StreamOffset) -> bool {
        let mut part = Part::new(0, PROTOCOL, PartKind::File, Vec::new());
        let mut window = None;
        match (&self.extension, frame.reserved) {
            (_, 0) => {}
            (Extension::Deflate { takeover }, RSV1) => {
                part.content_codings.push("permessage-deflate".to_owned());
                if *takeover {
                    match self.contexts.lost {
                        Some(why) => {
                            part.context = Context::Lost;
                            part.incomplete = Some(why);
                        }
                        None => window = Some(self.contexts.window()),
                    }
                }
            }
            (Extension::Other(name), _) => part.content_codings.push(name.clone()),
            _ => return false,
        }
        part.number = u32::try_from(self.parts.len()).unwrap_or(u32::MAX).saturating_add(1);
        part.begins = begin.0;
        part.target.clone_from(&self.target);
        part.host.clone_from(&self.host);
        let names = self.target.as_deref().map_or(0, <[u8]>::len);
        self.kept = self.kept.saturating_add(size_of::<Part>() + names);
        self.parts.push(part);
        self.windows.push(window);
        self.open = true;
        true
    }

    /// Adds a frame's payload to the message.
    fn payload(&mut self, frame: Frame, payload: Span) {
        let Some(part) = self.parts.last_mut() else { return };
        let end = self.source.end();
        let there = Span::new(payload.start.min(end), payload.end.min(end));
        for gap in gaps(self.source, there) {
            part.missing = part.missing.saturating_add(gap.length);
            part.incomplete.get_or_insert(Incomplete::Gap(gap.kind));
        }
        part.missing = part.missing.saturating_add(payload.len() - there.len());
        if !there.is_empty() {
            part.content.push(there.start.0..there.end.0);
            self.masks.push(frame.mask);
            self.kept = self.kept.saturating_add(size_of::<Range<u64>>() + size_of::<[u8; 4]>());
        }
    }

    /// Ends the message.
    fn end(&mut self, why: Option<Incomplete>) {
        self.open = false;
        let masks = std::mem::take(&mut self.masks);
        let Some(part) = self.parts.last_mut() else { return };
        if masks.iter().any(|mask| *mask != [0; 4]) {
            part.undo = Undo::Masks(masks);
        }
        part.incomplete = part.incomplete.or(why);
        if self.windows.last().is_some_and(Option::is_some) {
            self.contexts.pass(part, &mut self.window, self.limits.kept);
        }
    }
}
