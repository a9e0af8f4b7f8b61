//! The rows of an index file, as they were given.

use streamdb_types::{
    BlockPlace, BucketId, Endpoint, Marks, ObjectRow, Oid, Protocol, Reason, StreamOffset, Timestamp, Tuple,
};

use super::{Reading, key};
use crate::format::record::path_of_bytes;
use crate::index::build::{direction, unzigzag};
use crate::index::class::Class;
use crate::index::layout::{Lexicon, object as o, stream as s, time_of};
use crate::index::view::Bad;
use crate::read::stream::StreamInfo;

impl Reading<'_> {
    fn tuple(&self, value: &dyn Fn(usize) -> u64) -> Result<Tuple, Bad> {
        let end = |address: usize, port: usize| {
            Ok::<_, Bad>(Endpoint::new(self.address(value(address))?, value(port) as u16))
        };
        Ok(Tuple {
            protocol: Protocol(value(s::PROTOCOL) as u8),
            client: end(s::CLIENT, s::CLIENT_PORT)?,
            server: end(s::SERVER, s::SERVER_PORT)?,
        })
    }

    /// A stream's row as it was given. `goes_on` when it was to go on after its bucket.
    pub fn stream(&self, values: &[u64]) -> Result<StreamInfo, Bad> {
        let value = &|column: usize| values.get(column).copied().unwrap_or_default();
        let bucket = self.covered(value(s::BUCKET))?.bucket;
        let place = BlockPlace(value(s::PLACE));
        let oid = Oid { bucket, place, length: value(s::LENGTH), index: 0 };
        let peer = value(s::PEER_PLACE).checked_sub(1).map(|n| Oid {
            place: BlockPlace(place.0.wrapping_add(unzigzag(n))),
            length: value(s::PEER_LENGTH),
            ..oid
        });
        let first = time_of(value(s::TIME));
        let reason = match value(s::REASON) {
            0 => None,
            letter => {
                let found = u8::try_from(letter).ok().and_then(|letter| Reason::from_letter(letter.into()));
                Some(found.ok_or(Bad { position: 0, what: "a stream has no possible reason" })?)
            }
        };
        let path = match value(s::PATH).checked_sub(1) {
            Some(n) => path_of_bytes(self.string(Lexicon::Paths, n as u32)?).map_err(Bad::at(0))?,
            None => streamdb_types::Path::EMPTY,
        };
        Ok(StreamInfo {
            oid,
            peer,
            key: key(value),
            direction: direction(value(s::DIRECTION)),
            tuple: self.tuple(value)?,
            path,
            first,
            last: Timestamp(first.0.wrapping_add(unzigzag(value(s::DURATION)) as i64)),
            length: StreamOffset(oid.length),
            gap_bytes: value(s::GAP_BYTES),
            packets: value(s::PACKETS),
            marks: Marks(value(s::MARKS) as u16),
            reason,
            part: value(s::PART) as u32,
            goes_on: reason.is_none(),
        })
    }

    /// An object's row as it was given.
    pub fn object(&self, values: &[u64]) -> Result<ObjectRow, Bad> {
        let value = &|column: usize| values.get(column).copied().unwrap_or_default();
        let group = self.covered(value(o::BUCKET))?.bucket;
        let class = value(o::CLASS).checked_sub(1).ok_or(Bad { position: 0, what: "an object is nothing" })?;
        let Class { kind, status, complete, conflict, declared_type, mime, description, legacy } =
            self.class(class as u32)?;
        let xor_key = match value(o::XOR_KEY).checked_sub(1) {
            Some(n) => Some(self.string(Lexicon::Texts, n as u32)?.to_vec()),
            None => None,
        };
        Ok(ObjectRow {
            oid: Oid {
                bucket: BucketId(group.0.wrapping_sub(value(o::OID_BUCKET))),
                place: BlockPlace(value(o::PLACE).wrapping_add(unzigzag(value(o::OID_PLACE)))),
                length: value(o::OID_LENGTH),
                index: value(o::INDEX),
            },
            key: key(value),
            direction: direction(value(o::DIRECTION)),
            begins: StreamOffset(value(o::BEGINS)),
            tuple: self.tuple(value)?,
            start: time_of(value(o::TIME)),
            kind,
            protocol: self.text(value(o::FOUND_IN))?.unwrap_or_default(),
            method: self.text(value(o::METHOD))?,
            host: self.text(value(o::HOST))?,
            uri: self.text(value(o::URI))?,
            status,
            declared_type,
            mime,
            description,
            legacy,
            xor_key,
            filename: self.text(value(o::FILENAME))?,
            facts: self.text(value(o::FACTS))?.unwrap_or_default(),
            size: value(o::SIZE),
            encoded_size: value(o::SIZE).wrapping_add(unzigzag(value(o::ENCODED))),
            complete,
            missing_bytes: value(o::MISSING),
            reason: self.text(value(o::WHY))?,
            conflict,
            digests: self.digests_of(value(o::DIGESTS))?,
            digests_encoded: self.digests_of(value(o::DIGESTS_ENCODED))?,
        })
    }
}
