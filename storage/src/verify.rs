//! Is everything there, and does it agree with itself? Quickly by headers and tables, or deeply down to every byte.

use std::path::PathBuf;
use std::sync::Arc;

use crc32fast::Hasher;
use streamdb_types::{BlockPlace, BucketId};

use crate::error::{Error, Result};
use crate::format::block::BlockKind;
use crate::format::directory::{BlockEntry, Directory};
use crate::format::record::{RecordKind, datagrams, records};
use crate::format::superblock::{SUPERBLOCK_LEN, TRAILER_LEN, Trailer};
use crate::ledger::SealedBucket;
use crate::read::bucket::Bucket;
use crate::read::chunks::{Part, read_chunk};
use crate::read::frames::BucketFrames;
use crate::read::store::Store;
use crate::write::bucket_file::file_name;

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Superblocks, block headers, directories, trailers; the ledger, and that the buckets are as it says.
    Quick,
    /// Every block's checksum, every record, every chunk list, every frame too.
    Deep,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// What, and where.
    pub what: String,
}

/// What was looked at and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Buckets.
    pub buckets: u64,
    /// Those of them that no writer has sealed.
    pub unsealed: u64,
    /// Blocks.
    pub blocks: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Parts of streams: one for each bucket that a stream reaches into.
    pub parts: u64,
    /// Frames; made again byte by byte when looking deeply.
    pub frames: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Store {
    /// Looks at everything in the folder. `progress` is told the bytes done and the bytes in all.
    ///
    /// # Errors
    /// When the folder cannot be listed; damage is a finding, not an error.
    pub fn verify(&self, how: Verify, progress: &mut dyn FnMut(u64, u64)) -> Result<Verified> {
        let mut verified = Verified::default();
        if let Err(error) = self.folder().verify_ledger() {
            verified.find(self.path().join("ledger"), &error);
        }
        // The ledger first: what is sealed while this goes on has its file by then.
        let sealed = self.folder().sealed();
        if let Err(error) = self.held() {
            verified.find(self.path().join("holds"), &error);
        }
        let ids = self.ids()?;
        let folder = self.folder().buckets();
        for (id, noted) in sealed {
            if let Err(error) = self.as_noted(id, noted) {
                verified.find(folder.join(file_name(id)), &error);
            }
        }
        let size = |id: &BucketId| std::fs::metadata(folder.join(file_name(*id))).map_or(0, |m| m.len());
        let total = ids.iter().map(size).sum();
        for id in ids {
            let path = folder.join(file_name(id));
            let result = self.bucket(id).and_then(|bucket| {
                let contents = self.contents(&bucket)?;
                verified.buckets += 1;
                verified.unsealed += u64::from(!bucket.is_sealed());
                verified.parts += contents.ends.len() as u64;
                let before = verified.bytes;
                let done = verified.bytes + bucket.file_len();
                let mut at = |position: u64| progress(before.saturating_add(position), total);
                if let Err(error) = bucket.is_readable() {
                    verified.find(path.clone(), &error);
                }
                verified.blocks += chain(&bucket, &contents, &mut at)?;
                match how {
                    Verify::Quick => verified.frames += contents.frames,
                    Verify::Deep => deep(&bucket, &contents, &mut verified, &mut at)?,
                }
                verified.bytes = done;
                Ok(())
            });
            match result {
                // Retention took it since the list was made.
                Ok(()) | Err(Error::NoBucket(_)) => {}
                Err(error) => verified.find(path, &error),
            }
            progress(verified.bytes, total);
        }
        Ok(verified)
    }

    /// A bucket that the ledger calls sealed is there, as long and with as many frames.
    fn as_noted(&self, id: BucketId, noted: SealedBucket) -> Result<()> {
        let path = self.folder().buckets().join(file_name(id));
        let len = std::fs::metadata(&path).map(|about| about.len());
        // It may have been dropped since the ledger was read.
        if self.folder().dropped(id).is_some() {
            return Ok(());
        }
        let bytes = noted.bytes;
        let Ok(len) = len else {
            let what = format!("the ledger has this bucket as sealed, with {bytes} bytes, and the file is not there");
            return Err(Error::damaged(&path, 0, what));
        };
        if len != bytes {
            let what = format!("the ledger has {bytes} bytes of this bucket, the file {len}");
            return Err(Error::damaged(&path, len, what));
        }
        // One that cannot be opened is found by itself.
        let Ok(bucket) = self.bucket(id) else { return Ok(()) };
        let Ok(frames) = self.contents(&bucket).map(|contents| contents.frames) else { return Ok(()) };
        if !bucket.is_sealed() || frames != noted.frames {
            let what = format!("the ledger has {} frames of this bucket, its directory {frames}", noted.frames);
            return Err(bucket.damaged(0, what));
        }
        Ok(())
    }
}

impl Verified {
    fn find(&mut self, path: PathBuf, error: &Error) {
        self.findings.push(Finding { path, what: error.to_string() });
    }
}

/// Each block header follows the one before it, and all of them are those that the trailer vouches for.
fn chain(bucket: &Bucket, contents: &Directory, progress: &mut dyn FnMut(u64)) -> Result<u64> {
    let trailer = bucket.trailer();
    let end = match &trailer {
        Some(trailer) => trailer.end,
        None => contents.blocks.last().map_or(SUPERBLOCK_LEN as u64, |b| b.position.saturating_add(1)),
    };
    let mut hasher = Hasher::new();
    let (mut position, mut number, mut prev_len) = (SUPERBLOCK_LEN as u64, 0u32, 0u32);
    let mut listed = contents.blocks.iter();
    while position < end {
        let header = bucket.header(position)?;
        number += 1;
        if header.number != number || header.prev_len != prev_len {
            return Err(bucket.damaged(position, "the block does not follow the one before it"));
        }
        if header.kind != BlockKind::Directory && listed.next() != Some(&BlockEntry::of(&header, position)) {
            return Err(bucket.damaged(position, "the block and its entry in the directory differ"));
        }
        hasher.update(&header.encode(bucket.id(), position));
        prev_len = header.span() as u32;
        position = position.saturating_add(header.span());
        if number % 256 == 0 {
            progress(position);
        }
    }
    if let Some(Trailer { blocks, headers_crc, end, .. }) = trailer {
        if blocks != number || headers_crc != hasher.finalize() || position != end {
            return Err(bucket.damaged(end, "the trailer and the blocks differ"));
        }
        if bucket.file_len() != end + TRAILER_LEN as u64 {
            return Err(bucket.damaged(end, "there are bytes after the trailer"));
        }
    }
    Ok(number.into())
}

/// Every record, every chunk, every frame. Damage of one block is one finding, and the others are looked at all the same.
fn deep(
    bucket: &Arc<Bucket>,
    contents: &Directory,
    verified: &mut Verified,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let mut frames = BucketFrames::new(&**bucket, contents)?;
    let mut made = 0u64;
    for entry in &contents.blocks {
        progress(entry.position);
        let result = match entry.kind {
            BlockKind::Shared | BlockKind::Long => whole_records(bucket, entry),
            BlockKind::Journal => {
                let mut next = entry.first_frame.0;
                frames.block(entry.position, None, &mut |number, _| {
                    let expected = std::mem::replace(&mut next, number.0.wrapping_add(1));
                    made += 1;
                    if expected == number.0 {
                        Ok(())
                    } else {
                        Err(bucket.damaged(entry.position, "frames are not in order"))
                    }
                })
            }
            BlockKind::Directory => Err(bucket.damaged(entry.position, "the directory lists itself")),
        };
        if let Err(error) = result {
            verified.find(bucket.path.clone(), &error);
        }
    }
    for end in &contents.ends {
        if let Err(error) = whole_stream(bucket, end.place) {
            verified.find(bucket.path.clone(), &error);
        }
    }
    verified.frames += made;
    if made != contents.frames {
        let what = format!("{} frames are listed and {made} could be made again", contents.frames);
        verified.find(bucket.path.clone(), &bucket.damaged(0, what));
    }
    if contents.counters.unaccounted() != 0 {
        let what = format!("{} payload bytes are not accounted for", contents.counters.unaccounted());
        verified.find(bucket.path.clone(), &bucket.damaged(0, what));
    }
    Ok(())
}

fn whole_records(bucket: &Bucket, entry: &BlockEntry) -> Result<()> {
    let block = bucket.block(entry.position)?;
    let mut count = 0;
    for record in records(block.bytes()) {
        let unreadable = |_| bucket.damaged(entry.position, "a record of the block is not readable");
        let record = record.map_err(unreadable)?;
        count += 1;
        match record.kind {
            RecordKind::Open | RecordKind::End => {
                let (head, _) = record.stream(bucket.id()).map_err(unreadable)?;
                let datagrams = datagrams(record.table(&head).map_err(unreadable)?, head.first).map_err(unreadable)?;
                let listed: u64 = datagrams.iter().map(|datagram| u64::from(datagram.captured)).sum();
                let there = record.bytes(&head).map_err(unreadable)?.len() as u64;
                if !datagrams.is_empty() && listed != there {
                    let what = format!("a record lists {listed} bytes of datagrams and has {there}");
                    return Err(bucket.damaged(entry.position, what));
                }
            }
            RecordKind::List => drop(record.previous_list().map_err(unreadable)?),
            RecordKind::Interface => drop(record.interface().map_err(unreadable)?),
            RecordKind::Secrets => drop(record.secrets_kind().map_err(unreadable)?),
            RecordKind::Names => {}
            RecordKind::Loss => drop(record.loss().map_err(unreadable)?),
        }
    }
    bucket.still_whole(entry.position)?;
    if count == entry.records {
        Ok(())
    } else {
        Err(bucket.damaged(entry.position, format!("{} records are listed and {count} are there", entry.records)))
    }
}

/// Every chunk of a stream can be read, and they are as many bytes as its record says.
fn whole_stream(bucket: &Bucket, place: BlockPlace) -> Result<()> {
    let part = Part::read(bucket, place)?;
    let mut stored = 0u64;
    let mut byte = [0u8; 1];
    for chunk in &part.chunks {
        stored += u64::from(chunk.len);
        read_chunk(bucket, chunk, chunk.offset, &mut byte)?;
    }
    if stored == part.head.stored {
        Ok(())
    } else {
        let what =
            format!("a stream says that {} of its bytes are stored, and its chunks are {stored}", part.head.stored);
        Err(bucket.damaged(place.position(), what))
    }
}
