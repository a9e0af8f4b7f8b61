//! Whom a mail is from and for, as its client says.

/// The longest target, in bytes; recipients that do not fit are left out.
const TARGET_BYTES: usize = 2 << 10;

/// Whom a mail is from and for.
#[derive(Clone, Debug, Default)]
pub(super) struct Envelope {
    pub sender: Option<Vec<u8>>,
    /// Those that the server did not refuse, as far as is known.
    pub recipients: Vec<Vec<u8>>,
    /// Bytes of them.
    pub bytes: usize,
}

impl Envelope {
    /// Adds a recipient, if there is room.
    pub(super) fn add(&mut self, recipient: &[u8]) {
        self.bytes += recipient.len() + 1;
        if self.bytes <= TARGET_BYTES {
            self.recipients.push(recipient.to_vec());
        }
    }

    /// `mailto:RECIPIENT,RECIPIENT?from=SENDER` (RFC 6068 §2).
    pub(super) fn target(&self) -> Box<[u8]> {
        let mut target = b"mailto:".to_vec();
        for (n, recipient) in self.recipients.iter().enumerate() {
            if n > 0 {
                target.push(b',');
            }
            escape(recipient, &mut target);
        }
        if let Some(sender) = &self.sender {
            target.extend(b"?from=");
            escape(sender, &mut target);
        }
        target.into()
    }
}

/// Adds an address with what has a meaning in a URL escaped (RFC 6068 §2, `addr-spec`).
fn escape(address: &[u8], to: &mut Vec<u8>) {
    for byte in address {
        match byte {
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'\'' | b'*' | b'+' | b'@' => to.push(*byte),
            byte if byte.is_ascii_alphanumeric() => to.push(*byte),
            byte => to.extend(format!("%{byte:02X}").bytes()),
        }
    }
}
