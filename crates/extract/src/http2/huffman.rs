//! The Huffman code of header strings (RFC 7541 §5.2, Appendix B). It is canonical: the lengths alone tell it.

/// How many bits the code of each byte has. The longest, 30 ones, is the end of string, which no string may hold.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26,
];
/// The longest code.
const LONGEST: usize = 30;

/// The codes of one length follow each other, by the value of their bytes.
#[derive(Clone, Copy)]
struct Row {
    /// The first code of this length.
    code: u32,
    /// Where its byte stands in `SORTED`.
    at: u16,
    /// How many there are.
    count: u16,
}

const ROWS: [Row; LONGEST + 1] = rows();
/// All bytes, by the length of their codes, then by value.
const SORTED: [u8; 256] = sorted();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where it would fail")]
const fn rows() -> [Row; LONGEST + 1] {
    let mut rows = [Row { code: 0, at: 0, count: 0 }; LONGEST + 1];
    let (mut length, mut code, mut at) = (1, 0, 0);
    while length <= LONGEST {
        let (mut byte, mut count) = (0, 0);
        while byte < 256 {
            if LENGTHS[byte] as usize == length {
                count += 1;
            }
            byte += 1;
        }
        rows[length] = Row { code, at, count };
        code = (code + count as u32) << 1;
        at += count;
        length += 1;
    }
    rows
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where it would fail")]
const fn sorted() -> [u8; 256] {
    let mut sorted = [0; 256];
    let (mut length, mut at) = (1, 0);
    while length <= LONGEST {
        let mut byte = 0;
        while byte < 256 {
            if LENGTHS[byte] as usize == length {
                sorted[at] = byte as u8;
                at += 1;
            }
            byte += 1;
        }
        length += 1;
    }
    sorted
}

/// Decodes a string; `None` when it is none: it holds the end of string, or ends in what is no padding (at most seven ones).
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    // The shortest codes have five bits.
    let mut plain = Vec::with_capacity(coded.len().saturating_mul(8) / 5);
    let (mut code, mut bits) = (0u32, 0usize);
    for byte in coded {
        for shift in (0..8).rev() {
            code = code << 1 | u32::from(byte >> shift & 1);
            bits += 1;
            let row = ROWS.get(bits)?;
            if let Some(nth) = code.checked_sub(row.code)
                && nth < u32::from(row.count)
            {
                plain.push(*SORTED.get(usize::from(row.at) + usize::try_from(nth).ok()?)?);
                (code, bits) = (0, 0);
            }
        }
    }
    (bits < 8 && code == (1 << bits) - 1).then_some(plain)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The slow twin: each code written out in zeros and ones.
    pub(crate) fn encode(plain: &[u8]) -> Vec<u8> {
        let mut bits = String::new();
        for byte in plain {
            let length = usize::from(LENGTHS[usize::from(*byte)]);
            let before = |other: u8| {
                let theirs = LENGTHS[usize::from(other)];
                (usize::from(theirs), other) < (length, *byte)
            };
            // The canonical rule from its beginning: each code is the one before it and one, longer where its length is.
            let code: u64 = (0..=255u8)
                .filter(|other| before(*other))
                .map(|other| 1u64 << (40 - LENGTHS[usize::from(other)]))
                .sum();
            bits += &format!("{:0length$b}", code >> (40 - length));
        }
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        bits.as_bytes()
            .chunks(8)
            .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
            .collect()
    }

    #[test]
    fn strings_of_the_rfc_are_decoded() {
        // RFC 7541 §C.4 and §C.6.
        let cases: &[(&[u8], &[u8])] = &[
            (b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", b"www.example.com"),
            (b"\xa8\xeb\x10\x64\x9c\xbf", b"no-cache"),
            (b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf", b"custom-value"),
            (
                b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
                b"Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            (b"", b""),
        ];
        for (coded, plain) in cases {
            assert_eq!(decode(coded).as_deref(), Some(*plain));
            assert_eq!(encode(plain), *coded);
        }
    }

    #[test]
    fn what_is_no_string_is_refused() {
        // A whole byte of padding; padding with a zero; the end of string (RFC 7541 §5.2).
        for coded in [&b"\xff"[..], b"\xf1\xff\xff", b"\x18", b"\xff\xff\xff\xff", b"\xff\xff\xff\xfc"] {
            assert_eq!(decode(coded), None, "{}", coded.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn every_string_comes_back(plain in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(decode(&encode(&plain)), Some(plain));
        }
    }
}
