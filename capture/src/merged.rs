//! Several capture files as one sequence of frames.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs;
use std::path::PathBuf;

use streamdb_types::Timestamp;

use crate::error::Error;
use crate::file::{CaptureFile, is_rereadable};
use crate::item::{Drops, Found, Frame, Item, Span};

/// Several capture files merged by time, so that they may be given in any order.
///
/// Of all files the one whose next frame is the earliest goes on; a file's own order is never changed, even where its
/// times step back. Equal times are ordered by the files' first times, then names, then places in the argument list. Of a
/// file only the first frame's time is looked at beforehand; it is opened for good when that time is reached and closed
/// at its end, so that a thousand files of one capture need one open file at a time. Standard input and pipes, which
/// cannot be looked at beforehand, are opened first. Interfaces are numbered over all files, in the order in which they
/// are announced.
pub struct Merged {
    /// In the order that decides between equal times.
    files: Vec<Slot>,
    /// The next frame's time and the place in `files` of every file that is not at its end, but for the current one.
    waiting: BinaryHeap<Reverse<(Timestamp, usize)>>,
    current: Option<usize>,
    interfaces: u32,
}

struct Slot {
    path: PathBuf,
    size: Option<u64>,
    state: State,
}

enum State {
    Waiting,
    Open(Box<Reader>),
    /// At its end, or given up at a damage, after so many bytes.
    Done(u64),
}

struct Reader {
    file: CaptureFile,
    /// The numbers over all files of this file's interfaces.
    numbers: Vec<u32>,
    /// A frame that others have to go before.
    held: Option<Found>,
}

impl Merged {
    /// Looks at the first frame of each file; `-` is standard input.
    ///
    /// # Errors
    /// When a file is not there, is a folder, or may not be read: nothing has been read by then. What is wrong inside a
    /// file is said by [`next`](Self::next).
    pub fn open(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let (first, size) = if is_rereadable(path)? {
                let size = fs::metadata(path).ok().map(|about| about.len());
                match first_time(path) {
                    Err(error @ Error::Open { .. }) => return Err(error),
                    // What is wrong will be met again and said then.
                    Err(_) => (None, size),
                    Ok(time) => (time, size),
                }
            } else {
                (None, None)
            };
            files.push((first, Slot { path: path.clone(), size, state: State::Waiting }));
        }
        // Stable, so that equal ones stay in the order given.
        files.sort_by(|(a_first, a), (b_first, b)| (a_first, &a.path).cmp(&(b_first, &b.path)));
        let first = |(rank, (time, _)): (usize, &(Option<Timestamp>, Slot))| {
            Reverse((time.unwrap_or(Timestamp(i64::MIN)), rank))
        };
        let waiting = files.iter().enumerate().map(first).collect();
        Ok(Self { files: files.into_iter().map(|(_, slot)| slot).collect(), waiting, current: None, interfaces: 0 })
    }

    /// The next thing that the captures say; `None` at the end of all.
    ///
    /// # Errors
    /// Once for each file that is damaged, truncated or no capture, when all that is before the damage was handed out.
    /// The other files go on: call it again until it gives `None`, and keep the errors.
    #[expect(clippy::should_implement_trait, reason = "an iterator's items cannot borrow from it")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Item<'_>>, Error> {
        if let Some((rank, (time, wire_len, data))) = self.frame_at_hand() {
            let Some(Slot { state: State::Open(reader), .. }) = self.files.get(rank) else { return Ok(None) };
            let interface = reader.numbers.first().copied().unwrap_or_default();
            return Ok(Some(Item::Frame(Frame { time, interface, wire_len, data: reader.file.bytes(data) })));
        }
        self.next_of_any()
    }

    /// The next thing, when it is what nearly all are: a frame of the one file that is left, and in its buffer.
    #[inline]
    fn frame_at_hand(&mut self) -> Option<(usize, (Timestamp, u32, Span))> {
        let rank = self.current.filter(|_| self.waiting.is_empty())?;
        match self.files.get_mut(rank) {
            Some(Slot { state: State::Open(reader), .. }) if reader.held.is_none() => {
                Some((rank, reader.file.frame_at_hand()?))
            }
            _ => None,
        }
    }

    /// The next thing, whatever it is and whichever file has it.
    fn next_of_any(&mut self) -> Result<Option<Item<'_>>, Error> {
        let Some((rank, found)) = self.step()? else { return Ok(None) };
        let Some(Slot { state: State::Open(reader), .. }) = self.files.get_mut(rank) else { return Ok(None) };
        if let Found::Interface(_) = found {
            reader.numbers.push(self.interfaces);
            self.interfaces = self.interfaces.saturating_add(1);
        }
        let number = |n: u32| reader.numbers.get(n as usize).copied().unwrap_or(n);
        Ok(Some(match reader.file.item(found) {
            Item::Interface(n, interface) => Item::Interface(number(n), interface),
            Item::Frame(frame) => Item::Frame(Frame { interface: number(frame.interface), ..frame }),
            Item::Drops(drops) => Item::Drops(Drops { interface: number(drops.interface), ..drops }),
            item @ (Item::Secrets { .. } | Item::Names(_)) => item,
        }))
    }

    /// Bytes of the files used up so far, and the bytes of all; `None` when the size of one is not known.
    pub fn progress(&self) -> (u64, Option<u64>) {
        let used = self.files.iter().map(|slot| match &slot.state {
            State::Waiting => 0,
            State::Open(reader) => reader.file.position(),
            State::Done(bytes) => *bytes,
        });
        (used.sum(), self.files.iter().map(|slot| slot.size).sum())
    }

    /// Finds the file that goes on and lets it.
    fn step(&mut self) -> Result<Option<(usize, Found)>, Error> {
        loop {
            let rank = match self.current {
                Some(rank) => rank,
                None => match self.waiting.pop() {
                    Some(Reverse((_, rank))) => rank,
                    None => return Ok(None),
                },
            };
            self.current = None;
            let Some(slot) = self.files.get_mut(rank) else { continue };
            let Some(reader) = slot.reader()? else { continue };
            // It was taken from the heap as the earliest.
            if let Some(found) = reader.held.take() {
                self.current = Some(rank);
                return Ok(Some((rank, found)));
            }
            match reader.file.step() {
                Ok(Some(found)) => {
                    if let Found::Frame { time, .. } = found
                        && self.waiting.peek().is_some_and(|Reverse(next)| *next < (time, rank))
                    {
                        reader.held = Some(found);
                        self.waiting.push(Reverse((time, rank)));
                        continue;
                    }
                    self.current = Some(rank);
                    return Ok(Some((rank, found)));
                }
                Ok(None) => slot.close(),
                Err(error) => {
                    slot.close();
                    return Err(error);
                }
            }
        }
    }
}

impl Slot {
    /// The reader of the file, opened if it was waiting; `None` when it is done.
    fn reader(&mut self) -> Result<Option<&mut Reader>, Error> {
        if let State::Waiting = self.state {
            self.state = State::Done(0);
            let file = CaptureFile::open(&self.path)?;
            self.state = State::Open(Box::new(Reader { file, numbers: Vec::new(), held: None }));
        }
        match &mut self.state {
            State::Open(reader) => Ok(Some(reader)),
            State::Waiting | State::Done(_) => Ok(None),
        }
    }

    fn close(&mut self) {
        if let State::Open(reader) = &self.state {
            self.state = State::Done(reader.file.position());
        }
    }
}

/// The time of a file's first frame; `None` when it has none.
fn first_time(path: &std::path::Path) -> Result<Option<Timestamp>, Error> {
    let mut file = CaptureFile::open(path)?;
    while let Some(found) = file.step()? {
        if let Found::Frame { time, .. } = found {
            return Ok(Some(time));
        }
    }
    Ok(None)
}
