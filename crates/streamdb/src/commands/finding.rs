//! What the commands that search have in common: Ctrl-C ends the search and keeps what was found, and each damage is said once.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use streamdb_derive::Rows;
use streamdb_query::{Filter, Looked, Looking, Searched, Troubles};

use super::Error;
use crate::output::{Output, complain};
use crate::stop::stop_flag;
use crate::units::bytes;

/// Where what is found goes.
pub(super) struct Lines {
    out: Output,
    /// Somebody waits for each line: it is there as soon as it is found.
    at_once: bool,
    refused: Option<io::Error>,
}

impl Lines {
    /// Writes one line; breaks off when the output refuses it.
    pub(super) fn put(&mut self, write: impl FnOnce(&mut Output) -> io::Result<()>) -> ControlFlow<()> {
        let written = write(&mut self.out);
        match written.and_then(|()| if self.at_once { self.out.flush() } else { Ok(()) }) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.refused = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

/// Runs a search to its end, or until Ctrl-C, and says what it could not read.
pub(super) fn run(
    filter: &Filter,
    search: impl FnOnce(Looking<'_>, &mut Lines) -> Result<Looked, streamdb_derive::Error>,
) -> Result<ExitCode, Error> {
    let stop = stop_flag()?;
    let out = Output::open(None)?;
    let failed = out.error();
    // To look into contents takes its time.
    let at_once = filter.objects.pcre.is_some() || io::stdout().is_terminal();
    let mut lines = Lines { out, at_once, refused: None };
    let mut troubles = Troubles::default();
    let go_on = &|| !stop.load(Ordering::Relaxed);
    let looked = search(Looking { made: Rows::new(), go_on, troubles: &mut troubles }, &mut lines)?;
    let Lines { mut out, refused, .. } = lines;
    if let Some(error) = refused {
        return Err(failed(error));
    }
    out.flush().map_err(failed)?;
    troubles.sentences().for_each(|trouble| complain(&trouble));
    if looked.searched.unread > 0 {
        complain(&format!("{} could not be looked into for that", count(looked.searched.unread, "object")));
    }
    if looked.stopped {
        complain(&how_far(&looked, filter.objects.pcre.is_some()));
    }
    Ok(if troubles.is_empty() && !looked.stopped { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a search looked at that was told to end.
fn how_far(looked: &Looked, contents: bool) -> String {
    let Searched { streams, objects, bytes: size, .. } = looked.searched;
    if contents {
        let (streams, objects, size) = (count(streams, "stream"), count(objects, "object"), bytes(size));
        format!("{streams} and {objects} ({size}) were looked into, then it was told to end")
    } else {
        format!("only the first {} were looked at, as it was told to end", count(looked.streams, "stream"))
    }
}

/// A number of things.
pub(super) fn count(number: u64, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ends_a_search_is_told_what_was_looked_at() {
        let mut searched = Searched::default();
        (searched.streams, searched.objects, searched.bytes) = (3, 1, 12_345_678);
        let looked = Looked { streams: 9, stopped: true, searched, until: None };
        assert_eq!(
            how_far(&looked, true),
            "3 streams and 1 object (12.3 MB) were looked into, then it was told to end"
        );
        assert_eq!(how_far(&looked, false), "only the first 9 streams were looked at, as it was told to end");
    }
}
