//! Whether a content was seen before: by the index alone, as no one waits for what it does not have yet.

use streamdb_storage::index::{Bad, Reading, Table, object};
use streamdb_storage::{Error, Store};
use streamdb_types::ObjectRow;

/// Most objects that are looked at in one index file.
const MOST: usize = 1000;

/// Whether the index has an object with this content of which `is_it` says so. In an index file of very many objects with it,
/// only the first thousand are asked for; a file that is damaged has none.
///
/// # Errors
/// When the store cannot be listed.
pub fn seen_before(store: &Store, sha256: &[u8; 32], is_it: &dyn Fn(&ObjectRow) -> bool) -> Result<bool, Error> {
    let snapshot = store.snapshot()?;
    let reader = snapshot.read();
    Ok(reader.files.iter().any(|file| seen_in(file, sha256, is_it).unwrap_or(false)))
}

fn seen_in(file: &Reading<'_>, sha256: &[u8; 32], is_it: &dyn Fn(&ObjectRow) -> bool) -> Result<bool, Bad> {
    let Some(order) = Table::Objects.order_of(object::DIGESTS) else { return Ok(false) };
    let (mut run_rows, mut values, mut looked) = (Vec::new(), Vec::new(), 0);
    for digests in file.by_sha256(sha256)? {
        let key = digests.saturating_add(1);
        for rows in file.lists(Table::Objects, order, key..key.saturating_add(1))? {
            for run in 0..rows.runs() {
                rows.run(run, &mut run_rows)?;
                for row in &run_rows {
                    file.values(Table::Objects, *row, &mut values)?;
                    looked += 1;
                    if is_it(&file.object(&values)?) {
                        return Ok(true);
                    }
                    if looked == MOST {
                        return Ok(false);
                    }
                }
            }
        }
    }
    Ok(false)
}
