//! Are the rows that are kept those that the buckets give?

use std::collections::HashSet;

use streamdb_storage::{Store, StreamInfo};
use streamdb_types::{BlockPlace, BucketId, ConnKey};

use crate::error::Error;
use crate::ftp::as_told;
use crate::rows::Rows;

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Connections whose rows were made again and compared.
    pub connections: u64,
    /// Rows of them.
    pub objects: u64,
}

/// Makes the rows again of every connection whose rows are kept, and compares. `wrong` gets a sentence for each bucket whose
/// rows differ; `each` is told of every bucket: how many are done, and how many there are.
///
/// # Errors
/// When the store cannot be listed. A bucket that cannot be read is left out: its own check says so.
pub fn check(
    store: &Store,
    wrong: &mut dyn FnMut(String),
    each: &mut dyn FnMut(usize, usize),
) -> Result<Checked, Error> {
    let mut checked = Checked::default();
    let mut rows = Rows::new();
    let ids = store.bucket_ids()?;
    for (at, id) in ids.iter().enumerate() {
        if let Some(difference) = bucket(store, *id, &mut rows, &mut checked)? {
            let path = store.derived_path(*id);
            wrong(format!("{}: {difference}; `streamdb reindex` makes them again", path.display()));
        }
        each(at + 1, ids.len());
    }
    Ok(checked)
}

/// How the rows of a bucket differ, if they do.
fn bucket(store: &Store, id: BucketId, rows: &mut Rows, checked: &mut Checked) -> Result<Option<String>, Error> {
    // In this order, as a deriver may be at work: what is kept is covered.
    let mut kept: HashSet<ConnKey> = store.derived_connections(id)?.into_iter().collect();
    let covered = store.covered(id)?;
    let mut ended: Vec<StreamInfo> = Vec::new();
    let looked = store.ended_since(id, BlockPlace::NONE, &mut |stream| {
        if covered.whole || stream.oid.place <= covered.to {
            ended.push(stream);
        }
        Ok(())
    });
    if looked.is_err() {
        return Ok(None);
    }
    let (mut missing, mut other) = (0u64, 0u64);
    let mut example: Option<ConnKey> = None;
    for stream in &ended {
        kept.remove(&stream.key);
        let Ok(made) = rows.of(store, stream) else { continue };
        let differs = match store.derived_rows(id, stream.key)? {
            None => {
                missing += 1;
                true
            }
            // Retention took a part of it, so its rows cannot be made again as they were.
            Some(_) if store.cut_at(stream).is_some() => false,
            Some(kept) => {
                checked.connections += 1;
                checked.objects += made.len() as u64;
                let differs = made.len() != kept.len()
                    || made.into_iter().zip(&kept).any(|(made, kept)| as_told(made, kept) != *kept);
                other += u64::from(differs);
                differs
            }
        };
        if differs {
            example.get_or_insert(stream.key);
        }
    }
    // In a bucket that goes on, a connection may have ended, have its rows, and end once more by a later record. What fell silent
    // at a bucket's end has its rows there, too.
    if covered.whole && !kept.is_empty() {
        let all = store.unindexed(id, BlockPlace::NONE, covered, usize::MAX)?;
        all.streams.iter().for_each(|stream| _ = kept.remove(&stream.key));
    }
    let spare = if covered.whole { kept.len() as u64 } else { 0 };
    let example =
        example.map(|key| format!(", as connection {} of bucket {}", key.number, key.bucket)).unwrap_or_default();
    Ok((missing + other + spare > 0).then(|| {
        format!(
            "the rows of {missing} connections are missing, those of {other} are not what the bucket gives, and {spare} are of \
             no connection that ended in it{example}"
        )
    }))
}
