//! The VLANs and tunnels around a connection. They are part of what names it: the same addresses in two VLANs are two
//! networks.

use std::fmt;

/// The most hops that are kept; what lies deeper is not decoded.
pub const MAX_HOPS: usize = 6;

/// What kind of wrapping. MPLS is none: its labels differ by direction, and often only one direction has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum HopKind {
    /// 802.1Q, 802.1ad; the id is the VLAN id (12 bits; priority is not part of it).
    Vlan = 1,
    /// PPP over Ethernet session (RFC 2516); the id is the session id.
    Pppoe = 3,
    /// IP in IP (RFC 2003, 2473, 4213); the id is a hash of the unordered outer addresses.
    Ip = 4,
    /// GRE (RFC 2784, 2890, 2637); the id is the key, or without one the hash as in [`Ip`](Self::Ip). Of NVGRE (RFC 7637) the virtual
    /// subnet (24 bits).
    Gre = 5,
    /// ERSPAN; id 0, as a mirror may have a session for each direction.
    Erspan = 6,
    /// VXLAN (RFC 7348); the id is the VNI.
    Vxlan = 7,
    /// GENEVE (RFC 8926); the id is the VNI.
    Geneve = 8,
    /// GTP-U; id 0, as endpoint ids differ by direction and with a handover, or the endpoint id where these are told apart.
    Gtp = 9,
    /// Teredo (RFC 4380); the id is the hash as in [`Ip`](Self::Ip).
    Teredo = 10,
    /// Provider backbone bridging (IEEE 802.1Q, I-TAG); the id is the backbone service instance (24 bits).
    Backbone = 11,
}

impl HopKind {
    /// The kind with this number on disk.
    pub const fn from_u8(n: u8) -> Option<Self> {
        Some(match n {
            1 => Self::Vlan,
            3 => Self::Pppoe,
            4 => Self::Ip,
            5 => Self::Gre,
            6 => Self::Erspan,
            7 => Self::Vxlan,
            8 => Self::Geneve,
            9 => Self::Gtp,
            10 => Self::Teredo,
            11 => Self::Backbone,
            _ => return None,
        })
    }

    /// One word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Vlan => "vlan",
            Self::Pppoe => "pppoe",
            Self::Ip => "ip",
            Self::Gre => "gre",
            Self::Erspan => "erspan",
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Gtp => "gtp",
            Self::Teredo => "teredo",
            Self::Backbone => "backbone",
        }
    }
}

/// One VLAN or tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// What kind.
    pub kind: HopKind,
    /// Which one, in the terms of its kind.
    pub id: u32,
}

/// The hops from the outside in; at most [`MAX_HOPS`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Path {
    hops: [Option<Hop>; MAX_HOPS],
}

impl Path {
    /// No VLAN, no tunnel.
    pub const EMPTY: Self = Self { hops: [None; MAX_HOPS] };

    /// Adds a hop at the inner end. False, and nothing added, when the path is full.
    #[must_use]
    pub fn push(&mut self, hop: Hop) -> bool {
        match self.hops.iter_mut().find(|h| h.is_none()) {
            Some(free) => {
                *free = Some(hop);
                true
            }
            None => false,
        }
    }

    /// Whether there is no hop.
    pub const fn is_empty(&self) -> bool {
        let [first, ..] = self.hops;
        first.is_none()
    }

    /// The hops from the outside in.
    pub fn hops(&self) -> impl Iterator<Item = Hop> + '_ {
        self.hops.iter().map_while(|h| *h)
    }

    /// The id of the outermost VLAN.
    pub fn vlan(&self) -> Option<u16> {
        self.hops().find(|h| h.kind == HopKind::Vlan).map(|h| h.id as u16)
    }
}

/// `vlan 7, vxlan 4242`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, hop) in self.hops().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{} {}", hop.kind.word(), hop.id)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}
