//! One line of the ledger: an event, its time and its checksum, as text.
//!
//! `<crc32, 8 hex digits> <time, RFC 3339 in UTC> <event>[ <key>=<value>]...` and a line feed. The checksum is that of the
//! bytes between the blank after it and the line feed. In events, keys and values every byte but the printable ASCII ones
//! is written as `%` and two hex digits, and so are `%` and `=`: a line has no control characters, and its blanks and equal
//! signs are those that divide it.

use std::fmt::Write;

use streamdb_types::{BucketId, Timestamp};

/// Longer lines are neither written nor read.
pub(super) const MAX_LINE: usize = 64 << 10;

/// Something that happened to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `store`: it was made.
    Store {
        /// The format it was made in.
        format: u16,
        /// The sensor's number, the high half of its bucket ids.
        sensor: u32,
    },
    /// `bucket`: an id was given; it is never given again, whatever becomes of the bucket.
    Bucket {
        /// The id.
        id: BucketId,
        /// The worker whose bucket it is.
        worker: u16,
    },
    /// `sealed`: a bucket got its directory and will not change any more.
    Sealed {
        /// The bucket.
        id: BucketId,
        /// Bytes of its file.
        bytes: u64,
        /// Frames in it.
        frames: u64,
    },
    /// `dropped`: a bucket is about to be removed.
    Dropped {
        /// The bucket.
        id: BucketId,
        /// Why.
        reason: String,
    },
    /// `ingesting`: a capture file begins to be stored, with others of the same number. What its worker is given from now on
    /// is of this ingest, until it has its `ingested`, or another one of that worker begins.
    Ingesting {
        /// The number of the ingest.
        ingest: u64,
        /// Whose buckets it comes into.
        worker: u16,
        /// What tells its content from any other; `None` of a pipe, which nobody can know again.
        fingerprint: Option<String>,
        /// What it is called.
        name: String,
    },
    /// `ingested`: a capture file is in the store, whole.
    Ingested {
        /// What tells its content from any other.
        fingerprint: String,
        /// What it was called.
        name: String,
        /// Frames in it.
        frames: u64,
        /// The first bucket that has some of them; `None` when it had none.
        first: Option<BucketId>,
        /// The last one.
        last: Option<BucketId>,
    },
    /// `held`: buckets that retention must not drop. It stands in `holds`, not in the ledger itself.
    Held {
        /// The hold's number. One of many buckets has several lines.
        hold: u64,
        /// The buckets.
        buckets: Vec<BucketId>,
        /// What they are held for, as it was asked for.
        what: String,
        /// What somebody said about it.
        note: String,
    },
    /// `released`: a hold is over. It stands in `holds` too.
    Released {
        /// Its number.
        hold: u64,
    },
    /// Any other event: another part of the program, or a later version, wrote it.
    Other {
        /// The event.
        name: String,
        /// Keys and values, in order.
        fields: Vec<(String, String)>,
    },
}

/// A line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was written.
    pub time: Timestamp,
    /// What it says.
    pub event: Event,
}

impl Entry {
    /// The line, line feed included. A time that has no RFC 3339 spelling which can be read back (before 1678, after 2261)
    /// is written as the nearest that has. `None` when the line would be too long, or would be read as another event:
    /// `Other` must not have the name of a known one, and its name and keys must not be empty.
    pub(super) fn encode(&self) -> Option<String> {
        let earliest = Timestamp::from_civil(1678, 1, 1, 0, 0, 0)?;
        let latest = Timestamp::from_civil(2261, 12, 31, 23, 59, 59)?;
        let time = self.time.clamp(earliest, latest);
        let mut text = time.to_string();
        text.push(' ');
        let (name, fields) = self.event.fields();
        escape(name, &mut text);
        for (key, value) in &fields {
            text.push(' ');
            escape(key, &mut text);
            text.push('=');
            escape(value, &mut text);
        }
        let line = format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes()));
        let as_read = Self { time, event: self.event.clone() };
        let same = line.len() <= MAX_LINE && Self::decode(line.as_bytes().strip_suffix(b"\n")?) == Ok(as_read);
        if same { Some(line) } else { None }
    }

    /// The entry of a line without its line feed, or what is wrong with it.
    pub(super) fn decode(line: &[u8]) -> Result<Self, &'static str> {
        if line.len() >= MAX_LINE {
            return Err("it is too long");
        }
        let line = std::str::from_utf8(line).map_err(|_| "it is no text")?;
        let (crc, text) = line.split_once(' ').ok_or("it has no checksum")?;
        if !(crc.len() == 8 && crc.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))) {
            return Err("it has no checksum");
        }
        if u32::from_str_radix(crc, 16) != Ok(crc32fast::hash(text.as_bytes())) {
            return Err("its checksum is wrong");
        }
        let mut words = text.split(' ');
        let time = words.next().and_then(|time| time.parse().ok()).ok_or("it has no time")?;
        let name = words.next().and_then(unescape).filter(|name| !name.is_empty()).ok_or("it has no event")?;
        let fields = words.map(|word| {
            let (key, value) = word.split_once('=')?;
            Some((unescape(key).filter(|key| !key.is_empty())?, unescape(value)?))
        });
        let fields: Option<Vec<_>> = fields.collect();
        let event = Event::from_fields(name, fields.ok_or("it has a field that is no key=value")?);
        Ok(Self { time, event: event.ok_or("its event lacks a field that such events have")? })
    }
}

impl Event {
    fn fields(&self) -> (&str, Vec<(&str, String)>) {
        match self {
            Self::Store { format, sensor } => {
                ("store", vec![("format", format.to_string()), ("sensor", sensor.to_string())])
            }
            Self::Bucket { id, worker } => ("bucket", vec![("id", id.to_string()), ("worker", worker.to_string())]),
            Self::Sealed { id, bytes, frames } => {
                let (bytes, frames) = (bytes.to_string(), frames.to_string());
                ("sealed", vec![("id", id.to_string()), ("bytes", bytes), ("frames", frames)])
            }
            Self::Dropped { id, reason } => ("dropped", vec![("id", id.to_string()), ("reason", reason.clone())]),
            Self::Ingesting { ingest, worker, fingerprint, name } => {
                let mut fields = vec![("ingest", ingest.to_string()), ("worker", worker.to_string())];
                fields.extend(fingerprint.clone().map(|fingerprint| ("fingerprint", fingerprint)));
                fields.push(("name", name.clone()));
                ("ingesting", fields)
            }
            Self::Ingested { fingerprint, name, frames, first, last } => {
                let mut fields =
                    vec![("fingerprint", fingerprint.clone()), ("name", name.clone()), ("frames", frames.to_string())];
                fields.extend(first.map(|id| ("first", id.to_string())));
                fields.extend(last.map(|id| ("last", id.to_string())));
                ("ingested", fields)
            }
            Self::Held { hold, buckets, what, note } => {
                let ids: Vec<String> = buckets.iter().map(BucketId::to_string).collect();
                let (what, note) = (("what", what.clone()), ("note", note.clone()));
                ("held", vec![("hold", hold.to_string()), ("buckets", ids.join(",")), what, note])
            }
            Self::Released { hold } => ("released", vec![("hold", hold.to_string())]),
            Self::Other { name, fields } => {
                (name, fields.iter().map(|(key, value)| (key.as_str(), value.clone())).collect())
            }
        }
    }

    /// `None` when a field is missing or no number. Fields that we do not know are a later version's.
    fn from_fields(name: String, fields: Vec<(String, String)>) -> Option<Self> {
        let text = |key: &str| fields.iter().find(|(k, _)| k == key).map(|(_, value)| value);
        let number = |key: &str| text(key)?.parse::<u64>().ok();
        let bucket = |key: &str| number(key).map(BucketId);
        Some(match name.as_str() {
            "store" => {
                Self::Store { format: number("format")?.try_into().ok()?, sensor: number("sensor")?.try_into().ok()? }
            }
            "bucket" => Self::Bucket { id: bucket("id")?, worker: number("worker")?.try_into().ok()? },
            "sealed" => Self::Sealed { id: bucket("id")?, bytes: number("bytes")?, frames: number("frames")? },
            "dropped" => Self::Dropped { id: bucket("id")?, reason: text("reason")?.clone() },
            "ingesting" => Self::Ingesting {
                ingest: number("ingest")?,
                worker: number("worker")?.try_into().ok()?,
                fingerprint: text("fingerprint").cloned(),
                name: text("name")?.clone(),
            },
            "ingested" => Self::Ingested {
                fingerprint: text("fingerprint")?.clone(),
                name: text("name")?.clone(),
                frames: number("frames")?,
                first: bucket("first"),
                last: bucket("last"),
            },
            "held" => {
                let ids = text("buckets")?.split(',').map(|id| id.parse().ok().map(BucketId));
                let buckets = ids.collect::<Option<Vec<_>>>()?;
                Self::Held { hold: number("hold")?, buckets, what: text("what")?.clone(), note: text("note")?.clone() }
            }
            "released" => Self::Released { hold: number("hold")? },
            _ => Self::Other { name, fields },
        })
    }
}

fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' && byte != b'=' {
            out.push(byte.into());
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            bytes.push(u8::try_from(high << 4 | low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any entry that can be written.
    fn entries() -> impl Strategy<Value = Entry> {
        let id = || any::<u64>().prop_map(BucketId);
        let maybe = || proptest::option::of(any::<u64>().prop_map(BucketId));
        let text = || proptest::collection::vec(any::<char>(), 0..20).prop_map(String::from_iter);
        let key = || text().prop_filter("not empty", |key| !key.is_empty());
        let event = prop_oneof![
            any::<(u16, u32)>().prop_map(|(format, sensor)| Event::Store { format, sensor }),
            (id(), any::<u16>()).prop_map(|(id, worker)| Event::Bucket { id, worker }),
            (id(), any::<(u64, u64)>()).prop_map(|(id, (bytes, frames))| Event::Sealed { id, bytes, frames }),
            (id(), text()).prop_map(|(id, reason)| Event::Dropped { id, reason }),
            (any::<(u64, u16)>(), proptest::option::of(text()), text()).prop_map(
                |((ingest, worker), fingerprint, name)| Event::Ingesting { ingest, worker, fingerprint, name }
            ),
            (text(), text(), any::<u64>(), maybe(), maybe()).prop_map(|(fingerprint, name, frames, first, last)| {
                Event::Ingested { fingerprint, name, frames, first, last }
            }),
            (any::<u64>(), proptest::collection::vec(id(), 1..4), text(), text())
                .prop_map(|(hold, buckets, what, note)| Event::Held { hold, buckets, what, note }),
            any::<u64>().prop_map(|hold| Event::Released { hold }),
            (key(), proptest::collection::vec((key(), text()), 0..4))
                .prop_filter("a known event", |(name, _)| {
                    !["store", "bucket", "sealed", "dropped", "ingesting", "ingested", "held", "released"]
                        .contains(&name.as_str())
                })
                .prop_map(|(name, fields)| Event::Other { name, fields }),
        ];
        (-9_000_000_000_000_000_000..9_000_000_000_000_000_000_i64, event)
            .prop_map(|(time, event)| Entry { time: Timestamp(time), event })
    }

    fn cases(n: u32) -> ProptestConfig {
        let soak = std::env::var_os("STREAMDB_SOAK").is_some_and(|v| v == "1");
        ProptestConfig { cases: if soak { n * 100 } else { n }, failure_persistence: None, ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(cases(500))]

        #[test]
        fn what_is_written_is_read(entry in entries()) {
            let line = entry.encode().unwrap();
            prop_assert!(line.ends_with('\n'));
            let inner = &line.as_bytes()[..line.len() - 1];
            prop_assert!(inner.iter().all(|b| *b == b' ' || b.is_ascii_graphic()));
            prop_assert_eq!(Entry::decode(inner), Ok(entry));
        }

        #[test]
        fn no_damage_goes_unseen(entry in entries(), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
            let mut line = entry.encode().unwrap().into_bytes();
            line.pop();
            let at = at.index(line.len());
            line[at] ^= 1_u8 << bit;
            prop_assert!(Entry::decode(&line).is_err());
        }

        #[test]
        fn any_bytes_are_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Entry::decode(&bytes);
            let text = String::from_utf8_lossy(&bytes);
            let _ = Entry::decode(format!("{:08x} {text}", crc32fast::hash(text.as_bytes())).as_bytes());
        }
    }

    #[test]
    fn a_line_looks_like_this() {
        let id = BucketId(1 << 32 | 7);
        let entry =
            Entry { time: Timestamp(0), event: Event::Dropped { id, reason: "50 % of disk=full\n".to_owned() } };
        let line = entry.encode().unwrap();
        let text = "1970-01-01T00:00:00.000000000Z dropped id=4294967303 reason=50%20%25%20of%20disk%3Dfull%0A";
        assert_eq!(line, format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes())));
    }

    #[test]
    fn what_could_not_be_read_back_is_not_written() {
        let other =
            |name: &str, key: &str| Event::Other { name: name.into(), fields: vec![(key.into(), String::new())] };
        let encode = |event| Entry { time: Timestamp(0), event }.encode();
        assert!(encode(other("token", "id")).is_some());
        for event in [other("", "id"), other("token", ""), other("bucket", "id"), other("store", "x")] {
            assert_eq!(encode(event.clone()), None, "{event:?}");
        }
        assert_eq!(encode(Event::Dropped { id: BucketId(1), reason: "x".repeat(MAX_LINE) }), None);
    }

    #[test]
    fn times_that_have_no_spelling_become_the_nearest() {
        for (time, read) in [(i64::MIN, "1678-01-01T00:00:00Z"), (i64::MAX, "2261-12-31T23:59:59Z")] {
            let event = Event::Store { format: 1, sensor: 0 };
            let line = Entry { time: Timestamp(time), event: event.clone() }.encode().unwrap();
            assert_eq!(Entry::decode(line.trim_end().as_bytes()), Ok(Entry { time: read.parse().unwrap(), event }));
        }
    }

    #[test]
    fn what_is_missing_is_an_error_and_what_is_new_is_not() {
        let decode = |text: &str| Entry::decode(format!("{:08x} {text}", crc32fast::hash(text.as_bytes())).as_bytes());
        let day = "2026-01-02T03:04:05Z";
        assert!(decode(&format!("{day} bucket id=5 worker=1 colour=blue")).is_ok());
        assert!(decode(&format!("{day} beginning")).is_ok());
        for bad in [
            "bucket id=5",
            "bucket id=x worker=1",
            "store format=65536 sensor=1",
            "sealed",
            "held hold=1 buckets= what=x note=",
            "held hold=1 buckets=1,x what=x note=",
            "released hold=x",
            "",
            "x y",
            "x =y",
            "x y=%4",
        ] {
            assert!(decode(&format!("{day} {bad}")).is_err(), "{bad}");
        }
        assert!(decode("yesterday bucket id=5 worker=1").is_err());
        assert_eq!(Entry::decode(b"\xff"), Err("it is no text"));
        assert_eq!(Entry::decode(b"+0000000 x"), Err("it has no checksum"));
        assert_eq!(Entry::decode(b"00000000 x"), Err("its checksum is wrong"));
    }
}
