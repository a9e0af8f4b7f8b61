//! MySQL and MariaDB: the client answers the server's greeting with the beginning of its own, in which it asks for TLS.
//!
//! Packets have a length of three bytes, little-endian, and a number
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html>).

/// The capability to go on in TLS.
const SSL: u8 = 0x08;

/// Where TLS begins on both sides.
pub(super) fn place([client, server]: [&[u8]; 2]) -> Option<[usize; 2]> {
    let (greeting, after) = packet(server, 0)?;
    let (asked, from) = packet(client, 1)?;
    // Of the tenth version of the protocol, or the ninth of old servers.
    let sound = matches!(greeting.first(), Some(9 | 10)) && greeting.len() > 20;
    // Four bytes of capabilities and what makes 32 with them; or two, and the longest packet in three, as before 4.1.
    let asks = matches!(asked, [_, second, ..] if second & SSL != 0) && matches!(asked.len(), 32 | 5);
    (sound && asks).then_some([from, after])
}

/// The first packet, which has this number, and where the next one begins.
fn packet(bytes: &[u8], number: u8) -> Option<(&[u8], usize)> {
    let (&[low, middle, high, is], rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes([low, middle, high, 0])).ok()?;
    let packet = rest.get(..length).filter(|_| is == number)?;
    Some((packet, 4 + length))
}
