//! As much of an X.509 certificate as it takes to call it by its name (RFC 5280 §4.1, X.690).

/// Most elements that are looked at in one sequence: fields of a certificate, or parts of a name.
const ELEMENTS: usize = 64;
/// Longest name, in bytes; X.520 allows 64 characters.
const NAME: usize = 200;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT: u8 = 0x06;
/// id-at-commonName: 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];

/// The last common name of the subject of a certificate that begins with these bytes.
pub(super) fn common_name(head: &[u8]) -> Option<String> {
    let (_, certificate, _) = element(head).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, mut fields, _) = element(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    // An explicit version, or none; serial number, algorithm, issuer, validity.
    let (first, _, after) = element(fields)?;
    if first == 0xa0 {
        fields = after;
    }
    for _ in 0..4 {
        fields = element(fields)?.2;
    }
    let (_, subject, _) = element(fields).filter(|(tag, ..)| *tag == SEQUENCE)?;
    elements(subject)
        .filter(|(tag, _)| *tag == SET)
        .flat_map(|(_, set)| elements(set).filter(|(tag, _)| *tag == SEQUENCE))
        .filter_map(|(_, pair)| {
            let (kind, name, after) = element(pair)?;
            let (text, value, _) = element(after)?;
            (kind == OBJECT && name == COMMON_NAME).then(|| string(text, value)).flatten()
        })
        .last()
}

/// Tag, contents as far as they are there, and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = bytes.split_first_chunk()?;
    // Tags of more bytes occur in no part of a certificate that is looked at.
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |n, digit| n << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
    Some((tag, contents, rest))
}

fn elements(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, contents, rest) = element(bytes)?;
        bytes = rest;
        Some((tag, contents))
    })
    .take(ELEMENTS)
}

/// A string of one of the kinds that a name may have (RFC 5280 §4.1.2.4); `None` when it is empty.
fn string(tag: u8, value: &[u8]) -> Option<String> {
    let value = value.get(..NAME).unwrap_or(value);
    let text = match tag {
        // UTF8String, NumericString, PrintableString, IA5String, VisibleString.
        12 | 18 | 19 | 22 | 26 => String::from_utf8_lossy(value).into_owned(),
        // TeletexString, in practice ISO 8859-1.
        20 => value.iter().map(|byte| char::from(*byte)).collect(),
        // BMPString.
        30 => {
            let units = value.as_chunks::<2>().0.iter().map(|unit| u16::from_be_bytes(*unit));
            char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        _ => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An element of less than 64 KiB.
    fn made(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
        let contents = contents.concat();
        let [high, low] = u16::try_from(contents.len()).unwrap().to_be_bytes();
        let length = match contents.len() {
            0..128 => vec![low],
            128..256 => vec![0x81, low],
            _ => vec![0x82, high, low],
        };
        [&[tag][..], &length, &contents].concat()
    }

    fn pair(object: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        made(SET, &[&made(SEQUENCE, &[&made(OBJECT, &[object]), &made(tag, &[value])])])
    }

    fn certificate(version: bool, subject: &[&[u8]]) -> Vec<u8> {
        let version = if version { made(0xa0, &[&[2, 1, 2]]) } else { Vec::new() };
        let issuer = made(SEQUENCE, &[&pair(COMMON_NAME, 19, b"The issuer")]);
        let (empty, subject) = (made(SEQUENCE, &[]), made(SEQUENCE, subject));
        let fields = made(SEQUENCE, &[&version, &[2, 1, 7], &empty, &issuer, &empty, &subject, &[0; 300]]);
        made(SEQUENCE, &[&fields, &empty])
    }

    #[test]
    fn the_subject_has_the_name() {
        let common = |tag, value: &[u8]| pair(COMMON_NAME, tag, value);
        let name = |subject: &[&[u8]]| common_name(&certificate(true, subject));
        assert_eq!(name(&[&pair(&[0x55, 4, 6], 19, b"CA"), &common(12, "é.example".as_bytes())]).unwrap(), "é.example");
        assert_eq!(name(&[&common(19, b"first"), &common(19, b"last")]).unwrap(), "last");
        assert_eq!(name(&[&common(20, b"\xe9")]).unwrap(), "é");
        assert_eq!(name(&[&common(30, b"\0a\0b")]).unwrap(), "ab");
        assert_eq!(name(&[&common(19, b"")]), None);
        assert_eq!(name(&[&pair(&[0x55, 4, 10], 19, b"Only an organization")]), None);
        assert_eq!(common_name(&certificate(false, &[&common(19, b"old")])).unwrap(), "old");
        assert_eq!(name(&[&common(12, &[b'x'; 1000])]).unwrap().len(), NAME);
    }

    #[test]
    fn it_may_end_anywhere() {
        let all = certificate(true, &[&pair(COMMON_NAME, 19, b"here")]);
        for cut in 0..all.len() {
            let _ = common_name(&all[..cut]);
        }
        assert_eq!(common_name(&all[..all.len() - 300]).unwrap(), "here", "what follows need not be there");
    }
}
