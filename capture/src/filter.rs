//! Capture filters in libpcap's language: for frames from files, and what they have in common with live ones.

use std::fmt;

use pcap::{BpfProgram, Capture, Linktype};
use streamdb_types::LinkType;

use crate::error::Error;

/// Link types of interfaces, beside Ethernet: PPP, raw IP, 802.11 with and without radiotap, Linux cooked, IP over InfiniBand, and cooked
/// of the second version.
const OTHERS: [u16; 7] = [9, 101, 105, 127, 113, 242, 276];

/// A filter expression compiled for the frames of one link type.
///
/// `len`, `less` and `greater` look at the bytes that were captured, not at the length on the wire.
pub struct Filter {
    program: BpfProgram,
}

impl Filter {
    /// Compiles an expression as in pcap-filter(7); an empty one matches every frame.
    ///
    /// # Errors
    /// When libpcap does not take it: its syntax is wrong, or it asks for what frames of this link type do not have.
    pub fn compile(expression: &str, link_type: LinkType) -> Result<Self, Error> {
        let fail = |reason| error(expression, link_type, reason);
        let capture = Capture::dead(Linktype(dlt(link_type))).map_err(fail)?;
        Ok(Self { program: capture.compile(expression, true).map_err(fail)? })
    }

    /// Whether an expression is one for frames of any kind, where it is not known yet of which they are.
    ///
    /// # Errors
    /// When libpcap takes it for none: why not for Ethernet.
    pub fn check(expression: &str) -> Result<(), Error> {
        // What is asked of a wireless network, or of an interface's direction, Ethernet has not.
        let others = || OTHERS.iter().any(|number| Self::compile(expression, LinkType(*number)).is_ok());
        Self::compile(expression, LinkType::ETHERNET)
            .map(drop)
            .or_else(|error| if others() { Ok(()) } else { Err(error) })
    }

    /// Whether a frame is wanted.
    pub fn matches(&self, data: &[u8]) -> bool {
        self.program.filter(data)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").field("instructions", &self.program.get_instructions().len()).finish()
    }
}

/// Why libpcap does not take an expression.
pub(crate) fn error(expression: &str, link_type: LinkType, reason: pcap::Error) -> Error {
    let message = match reason {
        pcap::Error::PcapError(message) => message,
        other => other.to_string(),
    };
    Error::Filter { expression: expression.into(), link_type, message }
}

/// libpcap's own number of a link type. They differ from those in files for a few that systems number differently
/// (libpcap, pcap-common.c); these are Linux's.
const fn dlt(link_type: LinkType) -> i32 {
    match link_type.0 {
        100 => 11,
        101 => 12,
        102 => 15,
        103 => 16,
        106 => 19,
        n => n as i32,
    }
}

/// The link type of libpcap's own number; the counterpart of [`dlt`].
pub(crate) fn link_type(Linktype(dlt): Linktype) -> LinkType {
    LinkType(match dlt {
        11 => 100,
        12 => 101,
        15 => 102,
        16 => 103,
        19 => 106,
        n => u16::try_from(n).unwrap_or(u16::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ethernet, IPv4, UDP from port 53.
    fn frame() -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([
            8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 53, 1, 0, 0, 8, 0, 0,
        ]);
        frame
    }

    #[test]
    fn frames_are_judged_by_their_link_type() {
        let frame = frame();
        let matches =
            |expression, link_type, data: &[u8]| Filter::compile(expression, link_type).unwrap().matches(data);
        assert!(matches("udp port 53 and host 10.0.0.1", LinkType::ETHERNET, &frame));
        assert!(!matches("udp port 54", LinkType::ETHERNET, &frame));
        assert!(matches("src port 53", LinkType::RAW, &frame[14..]));
        assert!(!matches("src port 53", LinkType::RAW, &frame));
        assert!(matches("", LinkType::ETHERNET, &frame));
        assert!(!matches("udp", LinkType::ETHERNET, &[]), "a frame too short for what is asked is not wanted");
    }

    #[test]
    fn libpcaps_numbers_go_there_and_back() {
        for number in (0..=300).filter(|number| ![11, 12, 15, 16, 19].contains(number)) {
            assert_eq!(link_type(Linktype(dlt(LinkType(number)))), LinkType(number));
        }
        assert_eq!(link_type(Linktype(12)), LinkType::RAW);
    }

    #[test]
    fn what_libpcap_does_not_take_is_said_with_the_expression() {
        let said = |expression, link_type| Filter::compile(expression, link_type).unwrap_err().to_string();
        let text = said("tcp prot 80", LinkType::ETHERNET);
        assert!(text.starts_with("the filter 'tcp prot 80' cannot be used on link type 1: "), "{text}");
        assert!(text.len() > 60, "{text}");
        let text = said("ether host 1:2:3:4:5:6", LinkType::RAW);
        assert!(text.starts_with("the filter 'ether host 1:2:3:4:5:6' cannot be used on link type 101: "), "{text}");
        assert!(said("a\0b", LinkType::ETHERNET).starts_with("the filter 'a\\u{0}b' cannot"));
    }

    #[test]
    fn an_expression_is_one_for_some_link_type() {
        for expression in ["", "tcp port 80", "ether host 1:2:3:4:5:6", "wlan type mgt subtype beacon"] {
            Filter::check(expression).unwrap();
        }
        let text = Filter::check("tcp prt 80").unwrap_err().to_string();
        assert!(text.starts_with("the filter 'tcp prt 80' cannot be used on link type 1: "), "{text}");
    }
}
