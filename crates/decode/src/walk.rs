//! From header to header: the loop that goes through a frame, with its bounds and its way back out of what only looked
//! like a tunnel.

use std::net::{IpAddr, Ipv4Addr};

use streamdb_types::{Hop, HopKind, LinkType, Path};

use crate::fragments::Share;
use crate::packet::Content;
use crate::span::Span;
use crate::{gre, ip, link, transport};

/// The most headers that are gone through in one frame.
const MAX_LAYERS: u32 = 16;

/// The header that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// Ethernet, or 802.3 with LLC.
    Ethernet,
    /// A VLAN tag after its ethertype.
    Vlan,
    /// An I-TAG after its ethertype.
    Backbone,
    /// A VN-Tag after its ethertype.
    VnTag,
    /// An E-TAG after its ethertype.
    ETag,
    /// 802.2 LLC, perhaps with SNAP.
    Llc,
    /// A label stack.
    Mpls,
    /// A PPPoE session header.
    Pppoe,
    /// PPP, perhaps with HDLC address and control.
    Ppp,
    /// IP of either version.
    Ip,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// What the IP protocol number says.
    Protocol(u8),
}

/// Why the walk ends without content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is nothing that is decoded further.
    Other,
    /// Nor is this, as too much lies around it.
    Deep,
    /// A header is cut short or contradicts itself.
    Malformed,
}

/// The next header and where it begins, or the end.
pub(crate) type Next<'s> = Result<(Layer, Span<'s>), End>;

/// What one header led to.
#[derive(Debug)]
pub(crate) enum Step<'s> {
    /// Another header.
    Next(Layer, Span<'s>),
    /// The content.
    Found(Found),
    /// A fragment of an IP packet.
    Share(Share),
    /// Neither.
    End(End),
}

impl<'s> From<Next<'s>> for Step<'s> {
    fn from(next: Next<'s>) -> Self {
        match next {
            Ok((layer, span)) => Step::Next(layer, span),
            Err(end) => Step::End(end),
        }
    }
}

/// What the walk found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// The content, its payload still empty.
    pub content: Content<'static>,
    /// Where its payload begins.
    pub at: usize,
    /// How many bytes of it are there.
    pub len: usize,
}

/// How the walk ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// With content, or with none.
    Found(Found),
    /// At a fragment, which belongs into the pool.
    Share(Share),
}

/// The innermost IP header so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Net {
    /// The sender.
    pub src: IpAddr,
    /// The receiver.
    pub dst: IpAddr,
    /// Whether a checksum over this packet's payload can be judged.
    pub summable: bool,
    /// The identification of an IPv4 packet; 0 of others.
    pub id: u16,
}

/// What of the configuration a walk needs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    /// Whether checksums are looked at.
    pub verify: bool,
    /// Whether VLANs are no hops.
    pub fold_vlans: bool,
    /// Whether GTP-U tunnels are told apart by their endpoint ids.
    pub split_teids: bool,
}

/// The state of one walk through one frame.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The hops so far.
    pub path: Path,
    /// The innermost IP header.
    pub net: Net,
    /// What of the configuration a walk needs.
    pub rules: Rules,
    /// Whether the checksums of all IPv4 headers so far are right.
    pub headers_ok: bool,
    /// The datagram that may be a tunnel, and the path that it has if it is none.
    pub plain: Option<(Found, Path)>,
    /// Why there is no content, and at which header, when there is none.
    pub refused: Option<(End, Option<Layer>)>,
    layers: u32,
}

impl Walk {
    pub fn new(rules: Rules) -> Self {
        let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self {
            path: Path::EMPTY,
            net: Net { src: nowhere, dst: nowhere, summable: true, id: 0 },
            rules,
            headers_ok: true,
            plain: None,
            refused: None,
            layers: MAX_LAYERS,
        }
    }

    /// Adds a hop; a full path ends the walk.
    pub fn push(&mut self, hop: Hop) -> Result<(), End> {
        let folded = self.rules.fold_vlans && hop.kind == HopKind::Vlan;
        if folded || self.path.push(hop) { Ok(()) } else { Err(End::Deep) }
    }

    /// Goes through a frame of this link type.
    pub fn begin(&mut self, link: LinkType, frame: Span<'_>) -> Outcome {
        match link::open(link, frame) {
            Ok((layer, span)) => self.run(layer, span),
            Err(end) => {
                self.refused = Some((end, None));
                Outcome::Found(end.into())
            }
        }
    }

    /// Goes on from this header to the end.
    pub fn run(&mut self, layer: Layer, span: Span<'_>) -> Outcome {
        let (mut layer, mut span) = (layer, span);
        loop {
            let Some(layers) = self.layers.checked_sub(1) else { return self.end(End::Deep, layer) };
            self.layers = layers;
            match self.step(layer, span) {
                Step::Next(next, rest) => (layer, span) = (next, rest),
                Step::Found(found) => return Outcome::Found(found),
                Step::Share(share) => return Outcome::Share(share),
                Step::End(end) => return self.end(end, layer),
            }
        }
    }

    fn step<'s>(&mut self, layer: Layer, span: Span<'s>) -> Step<'s> {
        match layer {
            Layer::Ethernet => link::ethernet(span).into(),
            Layer::Vlan => link::vlan(self, span).into(),
            Layer::Backbone => link::backbone(self, span).into(),
            Layer::VnTag => link::port_tag(span, 4).into(),
            Layer::ETag => link::port_tag(span, 6).into(),
            Layer::Llc => link::llc(span).into(),
            Layer::Mpls => link::mpls(span).into(),
            Layer::Pppoe => link::pppoe(self, span).into(),
            Layer::Ppp => link::ppp(span).into(),
            Layer::Ip => match span.nibble() {
                Some(4) => ip::ipv4(self, span),
                Some(6) => ip::ipv6(self, span).into(),
                _ => Step::End(End::Malformed),
            },
            Layer::Ipv4 => ip::ipv4(self, span),
            Layer::Ipv6 => ip::ipv6(self, span).into(),
            Layer::Protocol(number) => self.protocol(number, span),
        }
    }

    fn protocol<'s>(&mut self, number: u8, span: Span<'s>) -> Step<'s> {
        match (number, self.net.src) {
            (ip::TCP, _) => transport::tcp(self, span),
            (ip::UDP, _) => transport::udp(self, span),
            (ip::GRE, _) => gre::gre(self, span).into(),
            (ip::IPV4, _) => ip::tunnel(self, Layer::Ipv4, span).into(),
            (ip::IPV6, _) => ip::tunnel(self, Layer::Ipv6, span).into(),
            (ip::AUTHENTICATION, _) => ip::authentication(span).into(),
            (ip::HOP_BY_HOP | ip::ROUTING | ip::DESTINATION, IpAddr::V6(_)) => ip::extension(self, number, span).into(),
            (ip::FRAGMENT, IpAddr::V6(_)) => ip::fragment(self, span),
            _ => Step::End(End::Other),
        }
    }

    /// No content: unless this was inside of what only looked like a tunnel, which then is a plain datagram.
    fn end(&mut self, end: End, at: Layer) -> Outcome {
        Outcome::Found(match self.plain.take() {
            Some((datagram, path)) => {
                self.path = path;
                datagram
            }
            None => {
                self.refused = Some((end, Some(at)));
                end.into()
            }
        })
    }
}

impl From<End> for Found {
    fn from(end: End) -> Self {
        let content = match end {
            End::Other | End::Deep => Content::Other,
            End::Malformed => Content::Malformed,
        };
        Self { content, at: 0, len: 0 }
    }
}
