//! PostgreSQL: the client asks for TLS before anything else, and the server answers with one letter
//! (<https://www.postgresql.org/docs/current/protocol-flow.html>, "SSL Session Encryption").

/// What asks for TLS, and what for the encryption of GSSAPI, which may be asked for, and refused, before.
const SSL: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const GSS: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];

/// Where TLS begins on both sides.
pub(super) fn place([client, server]: [&[u8]; 2]) -> Option<[usize; 2]> {
    if client.starts_with(SSL) && server.first() == Some(&b'S') {
        return Some([SSL.len(), 1]);
    }
    let after = client.strip_prefix(GSS)?.starts_with(SSL);
    (after && server.starts_with(b"NS")).then_some([GSS.len() + SSL.len(), 2])
}
