//! What a frame came from: link type and interface, as capture files describe them.

use crate::Resolution;

/// A link type: the LINKTYPE_ number of capture files (tcpdump.org/linktypes.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: a 4-byte address family in the capturing machine's byte order.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// PPP, perhaps with HDLC framing (RFC 1662).
    pub const PPP: Self = Self(9);
    /// PPP in HDLC-like framing, always with the HDLC address and control bytes.
    pub const PPP_HDLC: Self = Self(50);
    /// PPP over Ethernet, session packets without the Ethernet header.
    pub const PPP_ETHER: Self = Self(51);
    /// Raw IP, version by its first nibble.
    pub const RAW: Self = Self(101);
    /// Cisco's HDLC (RFC 1547 §4.3.1), or PPP in HDLC-like framing.
    pub const C_HDLC: Self = Self(104);
    /// OpenBSD loopback: as NULL, in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked capture v1.
    pub const LINUX_SLL: Self = Self(113);
    /// PPP with a direction byte before the address and control bytes.
    pub const PPP_WITH_DIR: Self = Self(204);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Attributes that Linux's packet filter logged, the IP packet among them.
    pub const NFLOG: Self = Self(239);
    /// Linux cooked capture v2.
    pub const LINUX_SLL2: Self = Self(276);
}

/// One interface of a capture, as the capture described it. Kept so that an export says the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Interface {
    /// What the frames of this interface begin with.
    pub link_type: LinkType,
    /// The most bytes of a frame that were kept; 0 is "no limit".
    pub snap_length: u32,
    /// Units of time per second as the capture file has them (10^6, 10^9, or another power of 10 or of 2).
    pub resolution: Resolution,
    /// Seconds to add to each of the file's times (pcapng `if_tsoffset`); stored times have it added already.
    pub time_offset: i64,
    /// Bytes of frame check sequence at the end of each frame, if the capture says so.
    pub fcs_length: Option<u8>,
    /// The pcapng options of its description block as they stood (name, description, filter, ...), in the file's byte
    /// order turned to little-endian, `if_tsresol` and `if_tsoffset` left out; empty for classic pcap.
    pub options: Vec<u8>,
}
