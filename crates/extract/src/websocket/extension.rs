//! Extensions of a WebSocket, as the server's Sec-WebSocket-Extensions has them (RFC 6455 §9, RFC 7692 §7.1).

/// Longest name of an extension that is remembered.
const NAME_BYTES: usize = 64;

/// What one direction's messages may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Extension {
    /// As they are.
    None,
    /// Compressed one by one, or each going on from the ones before it.
    Deflate { takeover: bool },
    /// Changed in a way that is not known here.
    Other(String),
}

impl Extension {
    /// What was agreed upon for what the server sends, or else for what the client sends.
    pub(super) fn agreed(value: &[u8], server: bool) -> Self {
        let mut offers = value.split(|b| *b == b',').filter_map(|offer| {
            let mut parts = offer.split(|b| *b == b';').map(<[u8]>::trim_ascii);
            Some((parts.next().filter(|name| !name.is_empty())?, parts))
        });
        // Where several change messages, their names would have to be known all.
        match (offers.next(), offers.next()) {
            (None, _) => Self::None,
            (Some((name, mut parameters)), None) if name.eq_ignore_ascii_case(b"permessage-deflate") => {
                let own: &[u8] = if server { b"server_no_context_takeover" } else { b"client_no_context_takeover" };
                Self::Deflate { takeover: !parameters.any(|parameter| parameter.eq_ignore_ascii_case(own)) }
            }
            (Some((name, _)), _) => {
                let name = name.get(..NAME_BYTES).unwrap_or(name);
                Self::Other(String::from_utf8_lossy(name).to_ascii_lowercase())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_agreed_upon_is_read() {
        let both = |value: &[u8]| [true, false].map(|server| Extension::agreed(value, server));
        let deflate = |takeover| Extension::Deflate { takeover };
        assert_eq!(both(b""), [Extension::None, Extension::None]);
        assert_eq!(both(b"permessage-deflate"), [deflate(true), deflate(true)]);
        let value = b" Permessage-Deflate ; server_no_context_takeover; client_max_window_bits=12";
        assert_eq!(both(value), [deflate(false), deflate(true)]);
        assert_eq!(both(b"permessage-deflate;client_no_context_takeover"), [deflate(true), deflate(false)]);
        assert_eq!(both(b"X-Webkit-deflate-frame; a")[0], Extension::Other("x-webkit-deflate-frame".into()));
        assert!(matches!(both(b"permessage-deflate, other")[0], Extension::Other(_)));
    }
}
