//! Goes through the contents that were joined of several objects since the last time. One that is complete is a new content like any
//! other. One of which that is not certain is no content to be looked into: only lists are asked about it, as a digest that is known says
//! that it was joined as it was meant.

use streamdb_derive::{Join, Joined};
use streamdb_query::{join_row, joined_row};
use streamdb_storage::{JoinMet, KnownContent};
use streamdb_submit::Fresh;
use streamdb_types::{Digests, ObjectRow, Scanner};

use super::contents::joined_content;
use super::round::{Halt, Keeping, Round, is_first};

impl Round<'_> {
    /// Scans and hands on what was joined.
    pub(super) fn joins(&mut self) -> Result<(), Halt> {
        let joins = self.store.joins()?;
        for (number, join) in joins.made_since(*self.joined) {
            if (self.stop)() {
                return Err(Halt::Told);
            }
            self.join(join)?;
            *self.joined = number;
        }
        Ok(())
    }

    fn join(&mut self, join: &Join) -> Result<(), Halt> {
        let Some(row) = join_row(join) else { return Ok(()) };
        let Some(digests) = row.digests else { return Ok(()) };
        let met = self.keeper.joined(join.id, &digests.sha256);
        // To see whether its parts are all there takes a while, and is not done again for each at each start.
        if met.is_some_and(|met| self.keeper.is_done(&met, row.complete)) {
            return Ok(());
        }
        let mut joined = Joined::new(self.store, join)?;
        let Some(row) = joined_row(&joined) else { return Ok(()) };
        if met.is_some_and(|met| self.keeper.is_done(&met, row.complete)) {
            return Ok(());
        }
        // Before anything is kept of its content, by which it would be known.
        let first_seen = match met {
            Some(met) => met.first_seen,
            None => {
                let known = self.keeper.known(&digests.sha256, row.oid).is_some();
                !known && is_first(self.store, self.keeper, &row, &digests.sha256)?
            }
        };
        let as_now = met.filter(|met| met.complete == row.complete);
        let new = as_now.unwrap_or_else(|| JoinMet::new(join.id, &digests.sha256));
        let met = JoinMet { complete: row.complete, first_seen, ..new };
        self.keeper.join(met)?;
        self.look_into(&mut joined, &row, &digests)?;
        let verdicts = self.keeper.known(&digests.sha256, row.oid).map(|known| known.verdicts).unwrap_or_default();
        let object = Fresh { row: &row, join: Some(join), first_seen, verdicts: &verdicts };
        self.handed.handed(self.store, &[object]).map_err(Halt::Trouble)?;
        self.tally.objects += 1;
        self.keeper.join_done(met)?;
        Ok(())
    }

    /// Has it scanned, unless that was done.
    fn look_into(&mut self, joined: &mut Joined<'_>, row: &ObjectRow, digests: &Digests) -> Result<(), Halt> {
        let needed = self.scanners.kinds() & !Scanner::HashList.bit();
        match self.keeper.known(&digests.sha256, row.oid) {
            Some(known) if !row.complete || known.looked & needed == needed => self.lists(row, digests, known),
            None if !row.complete => {
                let nothing = KnownContent { verdicts: Vec::new(), looked: 0, whole: true, first_seen: false };
                self.lists(row, digests, nothing)
            }
            _ => {
                self.scanners.look_again(self.say);
                let look = joined_content(joined, self.scanners, row);
                let Self { keeper, scanners, tally, say, .. } = self;
                let mut keeping = Keeping { keeper, tally, say, kinds: scanners.kinds() };
                // That it was seen first is kept with the join.
                keeping.keep(row, look, &mut |_, _| Ok(false))
            }
        }
    }
}
