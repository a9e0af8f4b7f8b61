//! Handshakes of TLS: any records with holes give parts that lie within the stream, and are whole only when all is there.

use super::talk::Talk;

/// As [`Talk::read`] has it.
pub fn tls(data: &[u8]) {
    Talk::read(data).check();
}
