//! Packets that Linux's packet filter logged: the attributes around an IP packet.

use crate::span::Span;
use crate::walk::{End, Layer, Next};

/// `NFULA_PAYLOAD` (`include/uapi/linux/netfilter/nfnetlink_log.h`).
const PAYLOAD: u16 = 9;
/// Address families as Linux numbers them.
const INET: u8 = 2;
const INET6: u8 = 10;
/// The bits of a type that are flags (`include/uapi/linux/netlink.h`).
const TYPE: u16 = 0x3fff;
/// The most attributes that are gone through; there are fewer kinds.
const MAX_ATTRIBUTES: usize = 64;

/// LINKTYPE_NFLOG (tcpdump.org/linktypes/LINKTYPE_NFLOG.html): family, version and resource, then attributes, of which one
/// is the packet. Attributes are in the byte order of the machine that captured, which nothing tells; types are small
/// numbers, so one that is large in one order is in the other.
pub(crate) fn nflog(span: Span<'_>) -> Next<'_> {
    let (&[family, version, _, _], mut rest) = span.take::<4>().ok_or(End::Malformed)?;
    let layer = match (family, version) {
        (INET, 0) => Layer::Ipv4,
        (INET6, 0) => Layer::Ipv6,
        _ => return Err(End::Other),
    };
    for _ in 0..MAX_ATTRIBUTES {
        if rest.bytes.is_empty() {
            return Err(End::Other);
        }
        let (&[l0, l1, t0, t1], value) = rest.take::<4>().ok_or(End::Malformed)?;
        let little = u16::from_le_bytes([t0, t1]) & TYPE <= 0xff;
        let number = |bytes| if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) };
        let length = usize::from(number([l0, l1]));
        let of_value = length.checked_sub(4).ok_or(End::Malformed)?;
        if number([t0, t1]) & TYPE == PAYLOAD {
            return Ok((layer, if of_value < value.wire { value.with_wire(of_value) } else { value }));
        }
        // Attributes begin at multiples of 4 bytes; the last one need not be padded.
        let padded = length.next_multiple_of(4).min(rest.bytes.len().max(length));
        rest = rest.skip(padded).ok_or(End::Malformed)?;
    }
    Err(End::Other)
}

#[cfg(test)]
mod tests {
    use streamdb_types::LinkType;

    use crate::frames::{cat, tcp4, tcp6};
    use crate::said::{self, hello4, hello6};

    fn attribute(big: bool, kind: u16, value: &[u8]) -> Vec<u8> {
        let length = (4 + value.len()) as u16;
        let head = if big { [length, kind].map(u16::to_be_bytes) } else { [length, kind].map(u16::to_le_bytes) };
        let padding = vec![0; value.len().next_multiple_of(4) - value.len()];
        cat(&[&head.concat(), value, &padding])
    }

    fn nflog(family: u8, attributes: &[Vec<u8>]) -> String {
        said::of(LinkType::NFLOG, &cat(&[&[family, 0, 0, 40], &attributes.concat()]))
    }

    #[test]
    fn the_packet_is_found_among_attributes_of_either_byte_order() {
        for big in [false, true] {
            let before = [attribute(big, 1, &[8, 0, 3, 0]), attribute(big, 10, b"odd\0\0"), attribute(big, 20, &[])];
            let with = |packet: &[u8]| [&before[..], &[attribute(big, 9, packet), attribute(big, 5, &[0; 4])]].concat();
            assert_eq!(nflog(2, &with(&tcp4(b"hello"))), hello4(""), "{big}");
            assert_eq!(nflog(10, &with(&tcp6(b"hello"))), hello6(""), "{big}");
            assert_eq!(nflog(2, &before), ": other", "no packet among them");
            assert_eq!(nflog(7, &with(&tcp4(b"hello"))), ": other", "a frame of a bridge");
        }
    }

    #[test]
    fn lengths_are_not_believed() {
        let whole = cat(&[&[2, 0, 0, 0], &attribute(false, 9, &tcp4(b"hello"))]);
        assert_eq!(said::of(LinkType::NFLOG, &whole), hello4(""));
        assert_eq!(said::of(LinkType::NFLOG, &whole[..3]), ": malformed");
        assert_eq!(said::of(LinkType::NFLOG, &[2, 0, 0, 0, 8, 0]), ": malformed", "half an attribute");
        assert_eq!(said::of(LinkType::NFLOG, &[2, 0, 0, 0, 3, 0, 1, 0]), ": malformed", "shorter than its own head");
        assert_eq!(said::of(LinkType::NFLOG, &[2, 0, 0, 0, 9, 0, 1, 0, 0]), ": malformed", "longer than the frame");
        assert_eq!(said::of(LinkType::NFLOG, &[2, 0, 0, 0, 5, 0, 1, 0, 0]), ": other", "the last one is not padded");
    }
}
