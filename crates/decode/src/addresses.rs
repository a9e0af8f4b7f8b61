//! Only the addresses: for frames of no connection, which are selected by them.

use std::net::IpAddr;

use streamdb_types::LinkType;

use crate::link;
use crate::span::Span;
use crate::walk::{Rules, Walk};

/// The source and the destination of the innermost IP packet that a frame carries; `None` when it carries none. Of a
/// fragment they are those of the packet that it is part of.
pub fn addresses(link: LinkType, frame: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let mut walk = Walk::new(Rules::default());
    let (layer, span) = link::open(link, Span::frame(frame, frame.len())).ok()?;
    let nowhere = (walk.net.src, walk.net.dst);
    // What the walk comes to does not matter here: the addresses it met on its way do.
    let _ = walk.run(layer, span);
    let met = (walk.net.src, walk.net.dst);
    (met != nowhere).then_some(met)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_request_has_addresses_and_arp_has_none() {
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0, 0, 28, 0, 1, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 8, 0, 0, 0, 0, 0, 0, 0]);
        let expected = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        assert_eq!(addresses(LinkType::ETHERNET, &frame), Some(expected));
        frame[12..14].copy_from_slice(&[8, 6]);
        assert_eq!(addresses(LinkType::ETHERNET, &frame), None);
        assert_eq!(addresses(LinkType::ETHERNET, &frame[..5]), None);
    }
}
