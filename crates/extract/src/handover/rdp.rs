//! Remote desktops (MS-RDPBCGR §2.2.1.1, §2.2.1.2): behind the request for a connection, and the answer that takes TLS.

/// The kind of an answer that selects a protocol.
const TAKEN: u8 = 2;

/// Where TLS begins on both sides.
pub(super) fn place([client, server]: [&[u8]; 2]) -> Option<[usize; 2]> {
    let (_, asked) = unit(client, 0xe0)?;
    let (answer, taken) = unit(server, 0xd0)?;
    // References and class, then what was negotiated (little-endian): kind, flags, length 8, the protocol. All but 0, the security
    // of RDP's own, lie in TLS.
    matches!(answer, [_, _, _, _, _, TAKEN, _, 8, 0, 1..=15, 0, 0, 0]).then_some([asked, taken])
}

/// What follows the code of the first unit, which has this one, and where the next begins (RFC 1006 §6, X.224 §13).
fn unit(bytes: &[u8], code: u8) -> Option<(&[u8], usize)> {
    let (&[3, 0, high, low, indicator, is], _) = bytes.split_first_chunk()? else { return None };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let body = bytes.get(6..length)?;
    (is == code && usize::from(indicator) + 5 == length).then_some((body, length))
}
