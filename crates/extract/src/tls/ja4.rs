//! JA4, FoxIO's fingerprint of TLS clients: what a ClientHello offers, with the order of its parts and GREASE left out.

use sha2::{Digest, Sha256};

use super::fields::{Fields, numbers};

/// What a ClientHello says that the fingerprint is made of, as it stands there.
#[derive(Clone, Debug, Default)]
pub(super) struct Offer<'a> {
    /// The highest of supported_versions, or else the version of the hello itself.
    pub(super) version: u16,
    pub(super) named: bool,
    pub(super) ciphers: &'a [u8],
    /// Their types.
    pub(super) extensions: Vec<u16>,
    /// The first one.
    pub(super) protocol: &'a [u8],
    pub(super) signatures: &'a [u8],
}

impl Offer<'_> {
    /// The fingerprint: `t13d1516h2_8daaf6152771_e5627efa2ab1`.
    pub(super) fn fingerprint(&self) -> String {
        let version = match self.version {
            0x0304 => "13",
            0x0303 => "12",
            0x0302 => "11",
            0x0301 => "10",
            0x0300 => "s3",
            0x0002 => "s2",
            _ => "00",
        };
        let mut ciphers: Vec<u16> = numbers(self.ciphers).filter(is_meant).collect();
        let mut extensions: Vec<u16> = self.extensions.iter().copied().filter(is_meant).collect();
        let (many, more) = (ciphers.len().min(99), extensions.len().min(99));
        ciphers.sort_unstable();
        // Whether there is a name and a protocol has been said; the rest of them changes from server to server.
        extensions.retain(|extension| !matches!(extension, 0 | 16));
        extensions.sort_unstable();
        let mut second = list(ciphers.into_iter());
        let mut third = list(extensions.into_iter());
        let signatures = list(numbers(self.signatures).filter(is_meant));
        if !signatures.is_empty() {
            third.push('_');
            third.push_str(&signatures);
        }
        second = hash(&second);
        third = hash(&third);
        let [begins, ends] = ends(self.protocol);
        let named = if self.named { 'd' } else { 'i' };
        format!("t{version}{named}{many:02}{more:02}{begins}{ends}_{second}_{third}")
    }
}

/// Whether a number is none of those that mean nothing (RFC 8701 §2).
pub(super) const fn is_meant(number: &u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high != low || low & 15 != 10
}

/// The first and the last character of a protocol's name; where either is no letter or digit, those of the name in hex.
fn ends(protocol: &[u8]) -> [char; 2] {
    let (Some(first), Some(last)) = (protocol.first(), protocol.last()) else { return ['0', '0'] };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(*first), char::from(*last)];
    }
    let digit = |n: u8| char::from_digit(n.into(), 16).unwrap_or('0');
    [digit(first >> 4), digit(last & 15)]
}

fn list(numbers: impl Iterator<Item = u16>) -> String {
    numbers.map(|number| format!("{number:04x}")).collect::<Vec<_>>().join(",")
}

/// The first twelve digits of a hash, and zeros for that of nothing.
fn hash(list: &str) -> String {
    if list.is_empty() {
        return "0".repeat(12);
    }
    Sha256::digest(list.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The first protocol of an ALPN extension (RFC 7301 §3.1).
pub(super) fn first_protocol(extension: &[u8]) -> Option<&[u8]> {
    Fields(Fields(extension).vector16()?).vector8()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(list: &str) -> Vec<u8> {
        numbers_of(list).into_iter().flat_map(u16::to_be_bytes).collect()
    }

    fn numbers_of(list: &str) -> Vec<u16> {
        list.split(',').map(|number| u16::from_str_radix(number, 16).unwrap()).collect()
    }

    /// The two vectors of FoxIO's description and tests: the first list of ciphers and extensions in the order of the wire.
    #[test]
    fn published_fingerprints() {
        let ciphers = bytes("1a1a,1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035");
        let signatures = bytes("0403,0804,0401,0503,0805,0501,0806,0601");
        let offer = Offer {
            version: 0x0304,
            named: true,
            ciphers: &ciphers,
            extensions: numbers_of(
                "3a3a,001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015,8a8a",
            ),
            protocol: b"h2",
            signatures: &signatures,
        };
        assert_eq!(offer.fingerprint(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        let ciphers = bytes("1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035,000a");
        let signatures = bytes("0403,0804,0401,0503,0805,0501,0806,0601,0201");
        let offer = Offer {
            ciphers: &ciphers,
            extensions: numbers_of("0000,0017,ff01,000a,000b,0023,0010,0005,000d,0012,0033,002d,002b,001b,0015"),
            signatures: &signatures,
            ..offer
        };
        assert_eq!(offer.fingerprint(), "t13d1615h2_46e7e9700bed_45f260be83e2");
        // GREASE among the signature algorithms too.
        let signatures = bytes("2a2a,0904,0905,0906,0403,0804,0401,0503,0805,0501,0806,0601");
        let ciphers = bytes("1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035");
        let offer = Offer {
            ciphers: &ciphers,
            extensions: numbers_of(
                "fe0d,0010,0017,0033,44cd,ff01,000a,000d,0023,002b,000b,ca34,002d,0000,0005,001b,0012",
            ),
            signatures: &signatures,
            ..offer
        };
        assert_eq!(offer.fingerprint(), "t13d1517h2_8daaf6152771_cb7bf5808d99");
    }

    #[test]
    fn nothing_is_zeros() {
        let offer = Offer { version: 0x0303, ..Offer::default() };
        assert_eq!(offer.fingerprint(), "t12i000000_000000000000_000000000000");
    }

    /// The examples of the description.
    #[test]
    fn protocols_that_are_no_words() {
        let ends = |protocol: &[u8]| ends(protocol).iter().collect::<String>();
        assert_eq!(ends(b"http/1.1"), "h1");
        assert_eq!(ends(b"x"), "xx");
        assert_eq!(ends(&[0xab]), "ab");
        assert_eq!(ends(&[0xab, 0xcd]), "ad");
        assert_eq!(ends(&[0x30, 0xab]), "3b");
        assert_eq!(ends(&[0x30, 0x31, 0xab, 0xcd]), "3d");
        assert_eq!(ends(&[0x30, 0xab, 0xcd, 0x31]), "01");
    }
}
