//! What the hellos say (RFC 8446 §4.1, RFC 5246 §7.4.1).

use super::fields::{Fields, numbers};
use super::ja4::{Offer, first_protocol, is_meant};

/// Most bytes that are kept of a server's name: as long as a host name can be.
const NAME: usize = 253;
/// Most bytes that are kept of the application protocols.
const PROTOCOLS: usize = 1024;

/// A ClientHello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ClientHello {
    /// The highest version that is offered.
    pub(super) version: u16,
    /// The server that is asked for (RFC 6066 §3).
    pub(super) name: Option<Vec<u8>>,
    /// The application protocols that are offered.
    pub(super) protocols: Vec<Vec<u8>>,
    /// Its JA4; `None` when not all of it is there.
    pub(super) fingerprint: Option<String>,
}

/// A ServerHello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerHello {
    /// The version that was chosen.
    pub(super) version: u16,
    /// The cipher suite that was chosen.
    pub(super) cipher: Option<u16>,
    /// The application protocol that was chosen; in TLS 1.3 that is said in secret.
    pub(super) protocols: Vec<Vec<u8>>,
}

impl ClientHello {
    /// Reads the body of the message, `whole` or only its beginning.
    pub(super) fn read(body: &[u8], whole: bool) -> Self {
        let mut hello = Self::default();
        let all = hello.fill(body);
        hello.fingerprint = all.filter(|_| whole).map(|offer| offer.fingerprint());
        hello
    }

    /// Takes what is there; `None` when that is not all.
    fn fill<'a>(&mut self, body: &'a [u8]) -> Option<Offer<'a>> {
        let mut fields = Fields(body);
        self.version = fields.u16()?;
        let mut offer = Offer { version: self.version, ..Offer::default() };
        // The random, the session.
        fields.bytes(32)?;
        fields.vector8()?;
        offer.ciphers = fields.vector16()?;
        // The methods of compression.
        fields.vector8()?;
        if fields.0.is_empty() {
            return Some(offer);
        }
        let length = usize::from(fields.u16()?);
        let mut rest = Fields(fields.0.get(..length).unwrap_or(fields.0));
        while !rest.0.is_empty() {
            let (kind, length) = (rest.u16()?, usize::from(rest.u16()?));
            let data = rest.0.get(..length).unwrap_or(rest.0);
            offer.extensions.push(kind);
            match kind {
                0 => {
                    offer.named = true;
                    // A list of names, of which the first of type host_name counts.
                    if let [_, _, 0, high, low, name @ ..] = data {
                        let length = usize::from(u16::from_be_bytes([*high, *low])).min(NAME);
                        let name = name.get(..length).unwrap_or(name);
                        self.name = Some(name.to_vec()).filter(|name| !name.is_empty());
                    }
                }
                13 => offer.signatures = Fields(data).vector16().unwrap_or_default(),
                16 => {
                    offer.protocol = first_protocol(data).unwrap_or_default();
                    self.protocols = protocols(data);
                }
                43 => {
                    let versions = data.get(1..).unwrap_or_default();
                    let known = numbers(versions).filter(|version| (0x0300..=0x0304).contains(version)).max();
                    self.version = known.unwrap_or(self.version);
                    offer.version = numbers(versions).filter(is_meant).max().unwrap_or(offer.version);
                }
                _ => {}
            }
            rest.bytes(length)?;
        }
        (fields.0.len() >= length).then_some(offer)
    }
}

impl ServerHello {
    /// Reads the body of the message, or its beginning.
    pub(super) fn read(body: &[u8]) -> Self {
        let mut hello = Self::default();
        hello.fill(body);
        hello
    }

    /// Takes what is there; `None` when that is not all.
    fn fill(&mut self, body: &[u8]) -> Option<()> {
        let mut fields = Fields(body);
        self.version = fields.u16()?;
        fields.bytes(32)?;
        fields.vector8()?;
        self.cipher = Some(fields.u16()?);
        // The method of compression, the length of the extensions.
        fields.bytes(3)?;
        while !fields.0.is_empty() {
            let (kind, length) = (fields.u16()?, usize::from(fields.u16()?));
            let data = fields.0.get(..length).unwrap_or(fields.0);
            match kind {
                16 => self.protocols = protocols(data),
                43 => self.version = Fields(data).u16().unwrap_or(self.version),
                _ => {}
            }
            fields.bytes(length)?;
        }
        Some(())
    }
}

/// The list of an ALPN extension, as far as it is there.
fn protocols(extension: &[u8]) -> Vec<Vec<u8>> {
    let list = extension.get(2..).unwrap_or_default();
    let mut list = Fields(list.get(..PROTOCOLS).unwrap_or(list));
    std::iter::from_fn(|| {
        let length = usize::from(list.u8()?);
        let protocol = list.0.get(..length).unwrap_or(list.0);
        list.0 = list.0.get(length..).unwrap_or_default();
        Some(protocol.to_vec())
    })
    .collect()
}
