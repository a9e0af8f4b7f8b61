//! HPACK (RFC 7541): blocks of header fields, each of which goes on from the ones before it in its direction.
//!
//! After a loss the decoder goes on with what is certain: names and values that are written out, those of the static table, and
//! those that were sent since; the rest is [`Text::Lost`].

use std::sync::Arc;

use super::huffman;
use super::table::{Table, Text};

/// The longest integer, in bytes; zeros may be put before its end (RFC 7541 §5.1).
const INTEGER_BYTES: u32 = 8;

/// The decoder of one direction.
pub(super) struct Decoder {
    table: Table,
}

/// The block breaks the format, or goes beyond a limit: the fields before that place are right, and none after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

impl Decoder {
    pub(super) const fn new() -> Self {
        Self { table: Table::new() }
    }

    /// Bytes of a block are missing, or could not be read.
    pub(super) fn lose(&mut self) {
        self.table.lose();
    }

    /// Hands out the fields of a block.
    pub(super) fn decode(&mut self, block: &[u8], field: &mut dyn FnMut(&Text, &Text)) -> Result<(), Broken> {
        let mut rest = block;
        while let Some(first) = rest.first() {
            match first {
                // Indexed (RFC 7541 §6.1).
                0x80.. => {
                    let (name, value) = self.table.get(integer(&mut rest, 7)?).ok_or(Broken)?;
                    field(&name, &value);
                }
                // Literal, added to the table (§6.2.1).
                0x40.. => {
                    let (name, value) = self.literal(&mut rest, 6)?;
                    field(&name, &value);
                    self.table.add(name, value);
                }
                // A new size of the table (§6.3).
                0x20.. => {
                    if !self.table.resize(integer(&mut rest, 5)?) {
                        return Err(Broken);
                    }
                }
                // Literal, not added, or never to be (§6.2.2, §6.2.3).
                _ => {
                    let (name, value) = self.literal(&mut rest, 4)?;
                    field(&name, &value);
                }
            }
        }
        Ok(())
    }

    fn literal(&self, rest: &mut &[u8], bits: u32) -> Result<(Text, Text), Broken> {
        let name = match integer(rest, bits)? {
            0 => Text::Sent(string(rest)?),
            index => self.table.get(index).ok_or(Broken)?.0,
        };
        Ok((name, Text::Sent(string(rest)?)))
    }
}

/// An integer in the last `bits` of a byte and, where they are all set, in the bytes after it (RFC 7541 §5.1).
fn integer(rest: &mut &[u8], bits: u32) -> Result<usize, Broken> {
    let (first, mut after) = rest.split_first().ok_or(Broken)?;
    let most = (1u64 << bits) - 1;
    let mut number = u64::from(*first) & most;
    if number == most {
        for place in 0..=INTEGER_BYTES {
            let (byte, next) = after.split_first().filter(|_| place < INTEGER_BYTES).ok_or(Broken)?;
            after = next;
            number += u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = after;
    usize::try_from(number).map_err(|_| Broken)
}

/// A string, written out or in Huffman code (RFC 7541 §5.2).
fn string(rest: &mut &[u8]) -> Result<Arc<[u8]>, Broken> {
    let coded = rest.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer(rest, 7)?;
    let (bytes, after) = rest.split_at_checked(length).ok_or(Broken)?;
    *rest = after;
    if coded { huffman::decode(bytes).map(Arc::from).ok_or(Broken) } else { Ok(bytes.into()) }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http2::table::TABLE_BYTES;

    type Fields = Vec<(Option<Vec<u8>>, Option<Vec<u8>>)>;

    fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Fields, Broken> {
        let mut fields = Vec::new();
        let owned = |text: &Text| text.get().map(<[u8]>::to_vec);
        decoder.decode(block, &mut |name, value| fields.push((owned(name), owned(value))))?;
        Ok(fields)
    }

    fn fields(of: &[(&str, &str)]) -> Fields {
        of.iter().map(|(name, value)| (Some(name.as_bytes().to_vec()), Some(value.as_bytes().to_vec()))).collect()
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn requests_of_the_rfc_are_decoded() {
        // RFC 7541 §C.3 and, in Huffman code, §C.4.
        let plain = [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ];
        let coded = [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ];
        for blocks in [plain, coded] {
            let mut decoder = Decoder::new();
            let begin = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
            assert_eq!(decode(&mut decoder, &hex(blocks[0])), Ok(fields(&begin)));
            let second = [&begin[..], &[("cache-control", "no-cache")]].concat();
            assert_eq!(decode(&mut decoder, &hex(blocks[1])), Ok(fields(&second)));
            let third = [
                (":method", "GET"),
                (":scheme", "https"),
                (":path", "/index.html"),
                (":authority", "www.example.com"),
                ("custom-key", "custom-value"),
            ];
            assert_eq!(decode(&mut decoder, &hex(blocks[2])), Ok(fields(&third)));
            assert_eq!(decoder.table.size(), 164);
        }
    }

    #[test]
    fn responses_of_the_rfc_are_decoded() {
        // RFC 7541 §C.6: a table of 256 bytes, out of which entries fall.
        let mut decoder = Decoder::new();
        assert_eq!(decode(&mut decoder, &hex("3fe101")), Ok(vec![]));
        let first = "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d
            29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3";
        let date = "Mon, 21 Oct 2013 20:13:21 GMT";
        let common = [("cache-control", "private"), ("date", date), ("location", "https://www.example.com")];
        assert_eq!(decode(&mut decoder, &hex(first)), Ok(fields(&[&[(":status", "302")], &common[..]].concat())));
        assert_eq!(decoder.table.size(), 222);
        let second = decode(&mut decoder, &hex("4883 640e ffc1 c0bf"));
        assert_eq!(second, Ok(fields(&[&[(":status", "307")], &common[..]].concat())));
        let third = "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d
            d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07";
        let cookie = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
        let all = [
            (":status", "200"),
            ("cache-control", "private"),
            ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
            ("location", "https://www.example.com"),
            ("content-encoding", "gzip"),
            ("set-cookie", cookie),
        ];
        assert_eq!(decode(&mut decoder, &hex(third)), Ok(fields(&all)));
        assert_eq!(decoder.table.size(), 215);
    }

    #[test]
    fn what_is_no_block_is_refused() {
        // Index 0; one beyond the table; strings and integers that break off; an integer without end; a table beyond all measure.
        for block in ["80", "be", "40 0161", "0003 6162", "ff", "ff80808080808080808000", "3fffffff7f", "0081ff00"] {
            assert_eq!(decode(&mut Decoder::new(), &hex(block)), Err(Broken), "{block}");
        }
        // Zeros before its end do not change an integer.
        assert_eq!(
            decode(&mut Decoder::new(), &hex("0f8180808000 0178")),
            decode(&mut Decoder::new(), &hex("0f01 0178"))
        );
    }

    #[test]
    fn after_a_loss_only_what_is_certain_is_told() {
        let mut decoder = Decoder::new();
        decode(&mut decoder, &hex("4001 61 01 62")).unwrap();
        decoder.lose();
        // What stood there; what is written out; the static table; a name that stood there with a new value.
        let found = decode(&mut decoder, &hex("be 4001 63 01 64 82 be 7f01 0165 be bf")).unwrap();
        let known = |name: &str, value: &str| (Some(name.as_bytes().to_vec()), Some(value.as_bytes().to_vec()));
        let nameless = (None, Some(b"e".to_vec()));
        assert_eq!(
            found,
            [
                (None, None),
                known("c", "d"),
                known(":method", "GET"),
                known("c", "d"),
                nameless.clone(),
                nameless,
                known("c", "d")
            ]
        );
    }

    type Entry = (Vec<u8>, Vec<u8>);

    /// An encoder that chooses freely between the forms, and keeps its own table as a plain list.
    #[derive(Default)]
    pub(crate) struct Encoder {
        pub(crate) sent: Vec<Entry>,
        pub(crate) most: Option<usize>,
    }

    impl Encoder {
        fn most(&self) -> usize {
            self.most.unwrap_or(4096)
        }

        pub(crate) fn field(&mut self, name: &[u8], value: &[u8], form: u8, out: &mut Vec<u8>) {
            let place = |same: &dyn Fn(&Entry) -> bool| self.sent.iter().position(same).map(|at| at + 62);
            if let Some(index) = place(&|(n, v)| n == name && v == value).filter(|_| form & 1 == 0) {
                return put(index, 7, 0x80, out);
            }
            let index = place(&|(n, _)| n == name).filter(|_| form & 2 == 0).unwrap_or(0);
            let added = form & 4 == 0;
            let (bits, mark) = if added { (6, 0x40) } else { (4, if form & 8 == 0 { 0 } else { 0x10 }) };
            put(index, bits, mark, out);
            let text = |text: &[u8], out: &mut Vec<u8>| {
                let coded = crate::http2::huffman::tests::encode(text);
                let (text, mark) = if form & 16 == 0 { (text, 0) } else { (&coded[..], 0x80) };
                put(text.len(), 7, mark, out);
                out.extend_from_slice(text);
            };
            if index == 0 {
                text(name, out);
            }
            text(value, out);
            if added {
                self.sent.insert(0, (name.to_vec(), value.to_vec()));
                self.cut();
            }
        }

        pub(crate) fn resize(&mut self, most: usize, out: &mut Vec<u8>) {
            put(most, 5, 0x20, out);
            self.most = Some(most);
            self.cut();
        }

        fn cut(&mut self) {
            while self.sent.iter().map(|(n, v)| n.len() + v.len() + 32).sum::<usize>() > self.most() {
                self.sent.pop();
            }
        }
    }

    fn put(number: usize, bits: u32, mark: u8, out: &mut Vec<u8>) {
        let most = (1usize << bits) - 1;
        if number < most {
            return out.push(mark | number as u8);
        }
        out.push(mark | most as u8);
        let mut rest = number - most;
        while rest >= 0x80 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }

    proptest! {
        /// What an encoder made comes back. After a loss every field that is told is right.
        #[test]
        fn fields_come_back(
            blocks in prop::collection::vec(
                (prop::option::of(0usize..400), prop::collection::vec(("[a-c]{1,20}", "[a-z]{0,60}", 0u8..32), 0..8)),
                1..8,
            ),
            lost in prop::option::of(0usize..8),
        ) {
            let (mut encoder, mut decoder) = (Encoder::default(), Decoder::new());
            for (n, (size, sent)) in blocks.iter().enumerate() {
                let mut block = Vec::new();
                if let Some(size) = size {
                    encoder.resize(*size, &mut block);
                }
                for (name, value, form) in sent {
                    encoder.field(name.as_bytes(), value.as_bytes(), *form, &mut block);
                }
                if lost == Some(n) {
                    decoder.lose();
                    continue;
                }
                let found = decode(&mut decoder, &block).unwrap();
                prop_assert_eq!(found.len(), sent.len());
                for ((name, value), (sent_name, sent_value, _)) in found.iter().zip(sent) {
                    let whole = lost.is_none_or(|lost| lost > n);
                    prop_assert!(name.as_deref() == Some(sent_name.as_bytes()) || (name.is_none() && !whole));
                    prop_assert!(value.as_deref() == Some(sent_value.as_bytes()) || (value.is_none() && !whole));
                }
            }
        }

        #[test]
        fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..300), lost: bool) {
            let mut decoder = Decoder::new();
            if lost {
                decoder.lose();
            }
            let _ = decode(&mut decoder, &bytes);
            prop_assert!(decoder.table.size() <= TABLE_BYTES);
        }
    }
}
