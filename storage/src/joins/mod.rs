//! What is known of contents that came in several responses: one append file, `derived/joins`.
//!
//! - `file` is what lies in it: frames with checksums, and commits that say how far it goes
//! - `known` is what all of it says, in memory
//! - `write` goes on with it, and makes it short again
//!
//! It is made from the rows of objects and from buckets, and says itself how far in the rows of each bucket it has come. So it is
//! no part of the truth, nothing here is synced, and a file that is damaged or stale begins anew.

mod file;
mod known;
mod write;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use streamdb_types::{ConnKey, Digests, Direction, Oid, StreamOffset, Timestamp, Tuple};

use crate::derived::KeptMark;

#[cfg(feature = "fuzzing")]
pub(crate) use file::decode_any;
pub use known::Joins;
pub(crate) use known::JoinsFile;
pub use write::JoinsWriter;

/// The file.
pub(crate) fn path(derived: &Path) -> PathBuf {
    derived.join("joins")
}

/// The name of a join: of what its parts have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JoinId(pub [u8; 16]);

impl fmt::Display for JoinId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// By what parts are known to be of one content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Evidence {
    /// By equal strong entity tags (RFC 9110 §8.8.3.2).
    Etag = 0,
    /// By equal Last-Modified, each at least a minute before its Date (RFC 9110 §8.8.2.2).
    Modified = 1,
    /// By less than that: not known, but likely.
    Weak = 2,
}

impl Evidence {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 3] = [Self::Etag, Self::Modified, Self::Weak];

    /// The word: in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Etag => "etag",
            Self::Modified => "last-modified",
            Self::Weak => "weak",
        }
    }
}

/// What the parts of a content have in common. Texts are as captured, but for bytes that are no UTF-8, and cut where they are long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinOf {
    /// In lower case.
    pub scheme: String,
    /// In lower case, without the port that the scheme has anyway.
    pub host: String,
    /// Path and query.
    pub target: String,
    /// Content codings in the order in which they were applied: ranges are of the coded bytes (RFC 9110 §14.2).
    pub codings: Vec<String>,
    /// Its length in bytes, as sent; `None` where no part says it.
    pub total: Option<u64>,
    /// By what they are known to belong together.
    pub evidence: Evidence,
    /// The entity tag, as sent.
    pub etag: Option<String>,
    /// Last-Modified, in seconds since 1970.
    pub modified: Option<i64>,
    /// The name that its sender gave the first part.
    pub filename: Option<String>,
    /// The media type that its sender declared.
    pub declared_type: Option<String>,
}

/// A part of a content: what one response had of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinPart {
    /// The object that it is.
    pub oid: Oid,
    /// The connection that it came over.
    pub key: ConnKey,
    /// Which way.
    pub direction: Direction,
    /// Where in its stream its message begins.
    pub begins: StreamOffset,
    /// The ends of the connection.
    pub tuple: Tuple,
    /// When its stream began.
    pub start: Timestamp,
    /// Its status: 206, or 200 of a whole one that broke off.
    pub status: u16,
    /// Where in the content its first byte belongs.
    pub first: u64,
    /// Where in the content there are bytes of it: in order, apart from each other, none of them empty.
    pub runs: Vec<Range<u64>>,
    /// Whether other bytes than its own were captured too, for some place of it.
    pub conflict: bool,
}

impl JoinPart {
    /// Whether this is that part, though perhaps as an earlier or later record names it.
    pub fn is(&self, other: &Self) -> bool {
        (self.key, self.direction, self.begins, self.oid.index >> 32)
            == (other.key, other.direction, other.begins, other.oid.index >> 32)
    }

    /// About what it takes in memory, in bytes.
    const fn size(&self) -> usize {
        size_of::<Self>() + 64 + 16 * self.runs.len()
    }
}

/// What is known of the parts that were seen and are not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinMore {
    /// How many: they had nothing new, or were too many.
    pub parts: u64,
    /// How many of them were not compared with those that are kept.
    pub unchecked: u64,
    /// Where others differ from these, in the bytes as sent.
    pub conflicts: Vec<Range<u64>>,
}

/// What the bytes of all parts together are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinMade {
    /// Of the content, codings undone.
    pub digests: Digests,
    /// Of the bytes as sent, where a coding makes them differ.
    pub digests_encoded: Option<Digests>,
    /// Bytes, codings undone.
    pub size: u64,
    /// The MIME type by content.
    pub mime: String,
    /// What it is, as file(1) says it today.
    pub description: String,
    /// What spoils it as it is decoded, in a sentence.
    pub problem: Option<String>,
    /// Where parts that are kept differ, in the bytes as sent: the first of them, one at least when they do.
    pub conflicts: Vec<Range<u64>>,
    /// Whether all parts that are kept could be compared where they have the same bytes.
    pub compared: bool,
}

/// A content, and the parts of it that were seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Its name.
    pub id: JoinId,
    /// What the parts have in common.
    pub of: JoinOf,
    /// The parts, in the order in which they were found: where several have the same byte, the first one's counts.
    pub parts: Vec<JoinPart>,
    /// Those that were seen and are not kept.
    pub more: JoinMore,
    /// What they are together, once all of it is there.
    pub made: Option<JoinMade>,
}

impl Join {
    /// When the first and the last stream began that has a part which is kept.
    pub fn times(&self) -> Option<(Timestamp, Timestamp)> {
        let starts = || self.parts.iter().map(|part| part.start);
        starts().min().zip(starts().max())
    }

    /// Whether other bytes than those that are handed out were captured too: in one of its parts, or as parts differ.
    pub fn is_conflicting(&self) -> bool {
        let made = self.made.as_ref().is_some_and(|made| !made.conflicts.is_empty());
        made || !self.more.conflicts.is_empty() || self.parts.iter().any(|part| part.conflict)
    }

    /// Whether every part that was seen was compared where others have the same bytes. What is not made is not compared.
    pub fn is_compared(&self) -> bool {
        self.more.unchecked == 0 && self.made.as_ref().is_some_and(|made| made.compared)
    }

    /// Where other bytes were captured too, in the bytes as sent: where parts differ, and what a part with other bytes in it has.
    pub fn conflicts(&self) -> Vec<Range<u64>> {
        let within = self.parts.iter().filter(|part| part.conflict).flat_map(|part| &part.runs);
        let made = self.made.iter().flat_map(|made| &made.conflicts);
        let mut all: Vec<Range<u64>> = made.chain(&self.more.conflicts).chain(within).cloned().collect();
        all.sort_unstable_by_key(|range| range.start);
        all.dedup_by(|next, last| {
            let touch = next.start <= last.end;
            if touch {
                last.end = last.end.max(next.end);
            }
            touch
        });
        all
    }

    /// About what it takes in memory, in bytes.
    pub fn size(&self) -> usize {
        let JoinOf { scheme, host, target, codings, etag, filename, declared_type, .. } = &self.of;
        let texts = [Some(scheme), Some(host), Some(target), etag.as_ref(), filename.as_ref(), declared_type.as_ref()];
        let made = |made: &JoinMade| made.mime.len() + made.description.len() + 16 * made.conflicts.len();
        size_of::<Self>()
            + texts.into_iter().flatten().chain(codings).map(String::len).sum::<usize>()
            + self.parts.iter().map(JoinPart::size).sum::<usize>()
            + 16 * self.more.conflicts.len()
            + self.made.as_ref().map_or(0, made)
    }
}

/// What changes in what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinChange {
    /// A content that was not known: without parts. One of the same name is replaced.
    New(JoinId, JoinOf),
    /// A part more, or one in place of what it [is](JoinPart::is).
    Part(JoinId, JoinPart),
    /// What is known of those that are not kept.
    More(JoinId, JoinMore),
    /// What the parts are together; `None`: not known.
    Made(JoinId, Option<JoinMade>),
    /// It is forgotten.
    Gone(JoinId),
    /// The parts in a bucket are forgotten, and how far its rows were read.
    Forget(streamdb_types::BucketId),
    /// The rows of a bucket were read so far.
    Read(streamdb_types::BucketId, KeptMark),
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use streamdb_testkit::TestFolder;
    use streamdb_types::{BlockPlace, BucketId, Endpoint, Protocol};

    use super::*;
    use crate::volume::DiskVolume;

    pub(super) const fn id(n: u8) -> JoinId {
        JoinId([n; 16])
    }

    pub(super) fn of() -> JoinOf {
        JoinOf {
            scheme: "http".to_owned(),
            host: "a.example".to_owned(),
            target: "/x".to_owned(),
            codings: vec!["gzip".to_owned()],
            total: Some(10),
            evidence: Evidence::Etag,
            etag: Some("\"a\"".to_owned()),
            modified: Some(-1),
            filename: None,
            declared_type: Some("text/plain".to_owned()),
        }
    }

    pub(super) fn part(number: u32, run: Range<u64>) -> JoinPart {
        JoinPart {
            oid: Oid { bucket: BucketId(7), place: BlockPlace(number.into()), length: 100, index: 1 },
            key: ConnKey { bucket: BucketId(7), number },
            direction: Direction::ToClient,
            begins: StreamOffset(3),
            tuple: Tuple {
                protocol: Protocol::TCP,
                client: Endpoint::new([10, 0, 0, 5].into(), 1),
                server: Endpoint::new([10, 0, 0, 6].into(), 80),
            },
            start: Timestamp(5),
            status: 206,
            first: run.start,
            runs: vec![run],
            conflict: false,
        }
    }

    fn writer(folder: &Path) -> JoinsWriter {
        JoinsWriter::open(Arc::new(DiskVolume), folder).unwrap()
    }

    fn read(folder: &Path) -> Vec<Join> {
        let file = JoinsFile::open(&path(folder)).unwrap();
        file.map(|file| file.known().all().cloned().collect()).unwrap_or_default()
    }

    #[test]
    fn what_is_kept_is_what_was_committed_wherever_it_is_cut() {
        let folder = TestFolder::new("joins-cut");
        let mut one = writer(folder.path());
        one.change(JoinChange::New(id(1), of()));
        one.change(JoinChange::Part(id(1), part(1, 0..4)));
        one.commit().unwrap();
        let first = std::fs::metadata(path(folder.path())).unwrap().len() as usize;
        let before = read(folder.path());
        one.change(JoinChange::Part(id(1), part(2, 4..10)));
        // The same part, by a later record.
        let later = JoinPart { oid: Oid { length: 200, ..part(1, 0..4).oid }, ..part(1, 0..4) };
        one.change(JoinChange::Part(id(1), later.clone()));
        one.commit().unwrap();
        let after = read(folder.path());
        assert_eq!((before[0].parts.len(), &after[0].parts), (1, &vec![later, part(2, 4..10)]));
        let bytes = std::fs::read(path(folder.path())).unwrap();
        for end in 0..bytes.len() {
            std::fs::write(path(folder.path()), &bytes[..end]).unwrap();
            let known = read(folder.path());
            assert_eq!(known, if end < first { vec![] } else { before.clone() }, "cut at {end}");
            if end % 16 == 0 {
                // Whoever goes on with it goes on with that.
                let mut next = writer(folder.path());
                assert!(next.known().all().eq(&known));
                next.change(JoinChange::New(id(9), of()));
                next.commit().unwrap();
                assert_eq!(read(folder.path()).len(), known.len() + 1);
            }
        }
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 4;
            std::fs::write(path(folder.path()), &other).unwrap();
            let known = read(folder.path());
            assert!(known.is_empty() || known == before, "changed at {at}");
        }
    }

    #[test]
    fn what_grows_long_is_made_short_and_followed() {
        let folder = TestFolder::new("joins-long");
        let mut one = writer(folder.path());
        one.commit().unwrap();
        let mut follower = JoinsFile::open(&path(folder.path())).unwrap().unwrap();
        let (mut longest, mut anew) = (0, 0);
        for n in 0..2500u32 {
            one.change(JoinChange::New(id((n % 5) as u8), of()));
            for number in 0..10 {
                one.change(JoinChange::Part(id((n % 5) as u8), part(n * 10 + number, 0..4)));
            }
            one.commit().unwrap();
            if n % 7 == 0 {
                if !follower.refresh() {
                    follower = JoinsFile::open(&path(folder.path())).unwrap().unwrap();
                    anew += 1;
                }
                assert!(follower.known().all().eq(one.known().all()), "{n}");
                longest = longest.max(std::fs::metadata(path(folder.path())).unwrap().len());
            }
        }
        assert!(anew > 0 && longest < 2 << 20, "{anew} {longest}");
        assert_eq!((one.known().len(), one.known().parts()), (5, 50));
        assert!(JoinsFile::open(&path(folder.path())).unwrap().unwrap().known().all().eq(one.known().all()));
    }

    fn made() -> JoinMade {
        JoinMade {
            digests: Digests { md5: [1; 16], sha1: [2; 20], sha256: [3; 32] },
            digests_encoded: None,
            size: 9,
            mime: String::new(),
            description: String::new(),
            problem: None,
            conflicts: Vec::new(),
            compared: true,
        }
    }

    #[test]
    fn what_was_made_is_gone_through_in_the_order_in_which_it_was_found() {
        let folder = TestFolder::new("joins-order");
        let mut one = writer(folder.path());
        let ids = |joins: &Joins, since: u64| joins.made_since(since).map(|(_, join)| join.id.0[0]).collect::<Vec<_>>();
        for n in [5, 1, 9, 3] {
            one.change(JoinChange::New(id(n), of()));
            one.change(JoinChange::Part(id(n), part(n.into(), 0..10)));
            one.change(JoinChange::Made(id(n), Some(made())));
        }
        one.commit().unwrap();
        let mut follower = JoinsFile::open(&path(folder.path())).unwrap().unwrap();
        assert_eq!(ids(follower.known(), 0), [5, 1, 9, 3]);
        let last = follower.known().made_since(0).last().unwrap().0;
        // What changed comes again, what is not made any more does not.
        one.change(JoinChange::Made(id(1), Some(JoinMade { compared: false, ..made() })));
        one.change(JoinChange::Made(id(9), None));
        one.change(JoinChange::Made(id(7), Some(made())));
        one.change(JoinChange::Gone(id(5)));
        one.commit().unwrap();
        assert!(follower.refresh());
        assert_eq!((ids(follower.known(), last), ids(follower.known(), 0)), (vec![1], vec![3, 1]));
        // A file that is written anew keeps the order, and whoever remembers a number of the old one misses nothing.
        one.shorten().unwrap();
        assert!(!follower.refresh());
        let anew = JoinsFile::open(&path(folder.path())).unwrap().unwrap();
        assert_eq!(ids(anew.known(), last), [3, 1]);
        one.change(JoinChange::Forget(BucketId(7)));
        assert_eq!(ids(one.known(), 0), [0; 0]);
    }

    #[test]
    fn parts_of_a_bucket_are_forgotten_and_what_they_made_too() {
        let mut known = Joins::default();
        let elsewhere = JoinPart { oid: Oid { bucket: BucketId(8), ..part(2, 4..10).oid }, ..part(2, 4..10) };
        for change in [
            JoinChange::New(id(1), of()),
            JoinChange::Part(id(1), part(1, 0..4)),
            JoinChange::Part(id(1), elsewhere.clone()),
            JoinChange::Made(id(1), Some(made())),
            JoinChange::New(id(2), of()),
            JoinChange::Part(id(2), part(1, 0..4)),
            JoinChange::Read(BucketId(7), KeptMark::NOTHING),
        ] {
            known.apply(change);
        }
        assert_eq!(known.with_sha256(&[3; 32]).count(), 1);
        assert_eq!(known.with_part(part(1, 0..4).key, Direction::ToClient, part(1, 0..4).oid).count(), 2);
        known.apply(JoinChange::Forget(BucketId(7)));
        assert_eq!((known.len(), known.parts(), known.read().len()), (1, 1, 0));
        assert_eq!((&known.get(id(1)).unwrap().parts, &known.get(id(1)).unwrap().made), (&vec![elsewhere], &None));
    }
}
