//! What a frame turned out to carry: the outcome of decoding.

use streamdb_types::{Endpoint, Path, SeqNum};

/// The flag bits of a TCP header (RFC 9293 §3.1), as in its 14th byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x20);

    /// Whether every flag of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct TcpSegment<'a> {
    /// The sender.
    pub src: Endpoint,
    /// The receiver.
    pub dst: Endpoint,
    /// The sequence number of the first byte of `payload`, or of the SYN.
    pub seq: SeqNum,
    /// The acknowledgement number; counts only with [`TcpFlags::ACK`].
    pub ack: SeqNum,
    /// The flags.
    pub flags: TcpFlags,
    /// The window as it stands in the header, not scaled.
    pub window: u16,
    /// The shift count of the window scale option (RFC 7323 §2), which only a SYN carries.
    pub window_scale: Option<u8>,
    /// The payload as captured.
    pub payload: &'a [u8],
    /// Bytes of payload on the wire: at least `payload.len()`, more when the snap length cut the frame.
    pub wire_len: u32,
    /// Whether the checksum is right; `None` when it was not looked at or cannot be known (cut frames).
    pub checksum_ok: Option<bool>,
}

/// A UDP datagram.
#[derive(Clone, Copy, Debug)]
pub struct UdpDatagram<'a> {
    /// The sender.
    pub src: Endpoint,
    /// The receiver.
    pub dst: Endpoint,
    /// The payload as captured.
    pub payload: &'a [u8],
    /// Bytes of payload on the wire: at least `payload.len()`.
    pub wire_len: u32,
    /// Whether the checksum is right; `None` when it was not looked at, is absent, or cannot be known.
    pub checksum_ok: Option<bool>,
    /// The identification of its IPv4 packet (RFC 791 §3.1), which the same sender does not use again soon; 0 when it has none, as
    /// in IPv6 and where nothing may be fragmented (RFC 6864).
    pub id: u16,
}

/// A frame that one of the pieces of a packet came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The tag that the caller gave with that frame.
    pub tag: u64,
    /// Where in that frame the piece's share of the transport payload begins.
    pub frame_at: u32,
    /// Where in the transport payload it belongs.
    pub payload_at: u32,
    /// How many bytes of it. These bytes of the frame and of the payload are equal.
    pub len: u32,
}

/// What is in a frame.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// A TCP segment.
    Tcp(TcpSegment<'a>),
    /// A UDP datagram.
    Udp(UdpDatagram<'a>),
    /// A fragment of a packet that is not complete; it is remembered under the frame's tag.
    Fragment,
    /// Something that is not decoded further: another protocol, an unknown link type.
    Other,
    /// Headers that are cut short or contradict themselves.
    Malformed,
}

/// The outcome of decoding one frame.
#[derive(Clone, Copy, Debug)]
pub struct Decoded<'a> {
    /// The VLANs and tunnels around it.
    pub path: Path,
    /// What it carries.
    pub content: Content<'a>,
    /// Where in the frame the payload begins; meaningless for `Fragment`, `Other`, `Malformed`, and when `pieces` is not
    /// empty.
    pub payload_at: usize,
    /// When this frame completed a fragmented packet: the frames that its payload came in, this one included. The payload
    /// then lies in the decoder's memory, not in this frame. Every byte of the payload is in at least one piece; frames that
    /// came twice are listed twice, and one that lost some of its bytes to another copy may have several pieces. Empty otherwise.
    pub pieces: &'a [Piece],
    /// Whether frames of the packet had different bytes for the same place: those of the ones that lost are in no piece.
    pub differs: bool,
}
