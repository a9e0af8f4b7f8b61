//! When processes that are looked after were not there: counted, and kept for others to show.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use streamdb_storage::{DiskVolume, Status, StatusWriter, Teller, now};
use streamdb_types::Timestamp;

use crate::output::complain;

/// Most gaps that are kept.
const GAPS: usize = 64;

/// A process that is looked after.
#[derive(Clone, Copy, Debug, Default)]
struct Process {
    /// Since when it is there, or was last.
    since: Timestamp,
    restarts: u64,
    down_millis: u64,
    /// Since when it is not there, if it died.
    down: Option<Timestamp>,
}

/// The account of all.
pub(crate) struct Account {
    writer: Option<StatusWriter>,
    processes: BTreeMap<&'static str, Process>,
    /// Which one, from when, and until when; the oldest first.
    gaps: VecDeque<(String, i64, i64)>,
}

impl Account {
    /// Of a data folder; what was known of gaps before goes on.
    pub(crate) fn open(data: &Path) -> Self {
        let before = Status::read(data, Teller::Supervisor).ok().flatten().unwrap_or_default();
        let mut gaps: Vec<(String, i64, i64)> = before
            .values
            .iter()
            .filter(|(name, _)| name.starts_with("gap."))
            .filter_map(|(_, value)| {
                let mut words = value.split(' ');
                Some((words.next()?.to_owned(), words.next()?.parse().ok()?, words.next()?.parse().ok()?))
            })
            .collect();
        gaps.sort_by_key(|(_, from, _)| *from);
        let writer = StatusWriter::open(&DiskVolume, data, Teller::Supervisor);
        let writer = writer.inspect_err(|error| complain(&format!("{error}; restarts are not shown to others"))).ok();
        Self { writer, processes: BTreeMap::new(), gaps: gaps.into() }
    }

    /// A process died.
    pub(crate) fn died(&mut self, name: &'static str) {
        self.processes.entry(name).or_default().down.get_or_insert(now());
    }

    /// There is no such process any more, and nobody misses it.
    pub(crate) fn ended(&mut self, name: &'static str) {
        self.processes.remove(name);
    }

    /// A process does what it is there for, for the first time or again.
    pub(crate) fn began(&mut self, name: &'static str) {
        let process = self.processes.entry(name).or_default();
        let to = now();
        process.since = to;
        let Some(from) = process.down.take() else { return };
        process.restarts += 1;
        process.down_millis += u64::try_from(to.since(from) / 1_000_000).unwrap_or(0);
        self.gaps.push_back((name.to_owned(), from.0, to.0));
        while self.gaps.len() > GAPS {
            self.gaps.pop_front();
        }
    }

    /// Says how it stands.
    pub(crate) fn tell(&self) {
        let Some(writer) = &self.writer else { return };
        let mut status = Status::default();
        let now = now();
        for (name, process) in &self.processes {
            let still = process.down.map_or(0, |from| u64::try_from(now.since(from) / 1_000_000).unwrap_or(0));
            status.set(&format!("process.{name}.restarts"), process.restarts);
            status.set(&format!("process.{name}.down_millis"), process.down_millis + still);
            status.set(&format!("process.{name}.since"), process.since.0);
            if let Some(down) = process.down {
                status.set(&format!("process.{name}.down"), down.0);
            }
            status.set(&format!("process.{name}.up"), u8::from(process.down.is_none()));
        }
        for (at, (name, from, to)) in self.gaps.iter().enumerate() {
            status.set(&format!("gap.{at:02}"), format_args!("{name} {from} {to}"));
        }
        // Whoever wants to know sees that it is old.
        _ = writer.write(status.values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamdb_testkit::TestFolder;

    #[test]
    fn deaths_are_counted_and_remembered() {
        let folder = TestFolder::new("account");
        let mut account = Account::open(folder.path());
        account.began("capture");
        account.began("serve");
        for _ in 0..GAPS + 2 {
            account.died("capture");
            account.began("capture");
        }
        account.died("serve");
        account.tell();
        let status = Status::read(folder.path(), Teller::Supervisor).unwrap().unwrap();
        assert_eq!(status.number("process.capture.restarts"), GAPS as u64 + 2);
        assert_eq!((status.number("process.capture.up"), status.number("process.serve.up")), (1, 0));
        assert!(status.text("gap.00").unwrap().starts_with("capture "));
        let mut next = Account::open(folder.path());
        assert_eq!(next.gaps.len(), GAPS);
        next.began("capture");
        next.began("scan");
        next.died("scan");
        next.ended("scan");
        next.tell();
        let status = Status::read(folder.path(), Teller::Supervisor).unwrap().unwrap();
        assert_eq!((status.number("process.capture.restarts"), status.text("gap.63").is_some()), (0, true));
        assert!(status.values.keys().all(|name| !name.contains("scan")));
    }
}
