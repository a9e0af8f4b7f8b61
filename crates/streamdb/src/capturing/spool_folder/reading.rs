//! A file of a folder as it is read: by who asks the folder, a part ahead.

use std::io::{self, ErrorKind, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::asking::{Asked, Asker, Held};

/// So much of a file is asked for at once.
const PART: usize = 128 << 10;

/// Why no more of a file was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// All is to end, and there was no time for more.
    Ends,
    /// Its folder does not answer.
    Silent,
    /// The system says why.
    Failed(String),
}

/// A file that is read. What comes next is asked for ahead. A capture may have much in it that is nothing to take, in few bytes:
/// whoever reads it says that it goes on, and stops when there is no time left.
pub(super) struct Reading {
    asker: Asker,
    /// How long a sign of the folder is waited for.
    patience: Duration,
    ahead: Option<Asked<Part>>,
    bytes: Vec<u8>,
    /// What of them was taken.
    taken: usize,
    cut: Arc<Mutex<Option<Cut>>>,
}

/// Some bytes of a file, how many they are, and the file for more.
struct Part(Held, Vec<u8>, io::Result<usize>);

impl Reading {
    /// Reads from where the file is now.
    pub(super) fn new(asker: &Asker, file: Held, patience: Duration) -> Self {
        let asker = asker.clone();
        let ahead = Some(ask_part(&asker, file, Vec::new()));
        Self { asker, patience, ahead, bytes: Vec::new(), taken: 0, cut: Arc::default() }
    }

    /// Where it is said why no more was read, if anything kept it from that.
    pub(super) fn cut(&self) -> Arc<Mutex<Option<Cut>>> {
        Arc::clone(&self.cut)
    }

    /// No more is read.
    fn is_cut(&mut self, why: Cut) -> io::Error {
        self.ahead = None;
        let text = match &why {
            Cut::Ends => "the capture is to end",
            Cut::Silent => "its folder does not answer",
            Cut::Failed(text) => text,
        };
        let error = io::Error::other(text.to_owned());
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        error
    }
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let waits = &self.asker.pace.waits;
        waits.seen.goes_on();
        if waits.time_is_up() {
            return Err(self.is_cut(Cut::Ends));
        }
        if self.taken >= self.bytes.len() {
            let Some(ahead) = self.ahead.take() else { return Ok(0) };
            let Some(Part(file, mut bytes, read)) = ahead.wait(self.patience) else {
                let ends = self.asker.pace.waits.is_ending();
                return Err(self.is_cut(if ends { Cut::Ends } else { Cut::Silent }));
            };
            match read {
                Ok(0) => return Ok(0),
                Ok(read) => bytes.truncate(read),
                Err(error) => return Err(self.is_cut(Cut::Failed(error.to_string()))),
            }
            let before = std::mem::replace(&mut self.bytes, bytes);
            self.taken = 0;
            self.ahead = Some(ask_part(&self.asker, file, before));
        }
        let mut rest = self.bytes.get(self.taken..).unwrap_or_default();
        let read = rest.read(buffer)?;
        self.taken += read;
        Ok(read)
    }
}

/// Asks for the next bytes of a file, in this memory.
fn ask_part(asker: &Asker, mut file: Held, mut bytes: Vec<u8>) -> Asked<Part> {
    asker.ask(move |_| {
        bytes.resize(PART, 0);
        let read = loop {
            match file.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        Part(file, bytes, read)
    })
}
