//! Predict, then patch: how a header is made from what is known. One description for both sides: the encoder's [`Side`]
//! looks what is true and writes down where it differs, the decoder's reads that.

use streamdb_types::LinkType;

use super::layout::{HEAD, Head, Kind, Layout, put_lengths, sum_offset, walk, zero_sums};
use super::slot::{Facts, Past, Peer, Slot};
use super::sum::{fold, shifted, sum};

/// Transport checksums, the low bits of a slot's `sums`.
pub(super) mod sums {
    /// Computed over the true bytes.
    pub(in super::super) const RIGHT: u8 = 0;
    /// The sum of the pseudo-header alone, as a card that fills in the rest finds it.
    pub(in super::super) const PSEUDO: u8 = 1;
    pub(in super::super) const ZERO: u8 = 2;
    pub(in super::super) const AS_LAST: u8 = 3;
    pub(in super::super) const LITERAL: u8 = 4;
    pub(in super::super) const MASK: u8 = 7;
    /// The checksums of UDP tunnels are computed; else zero.
    pub(in super::super) const OUTER: u8 = 1 << 3;
    /// The checksums of IPv4 headers are zero; else computed.
    pub(in super::super) const NO_IPV4: u8 = 1 << 4;
}

/// The encoder or the decoder: says what is true where a prediction may fail.
pub(super) trait Side {
    type Error;
    fn flags(&mut self, expected: u8, at: u8) -> Result<u8, Self::Error>;
    fn seq(&mut self, expected: u32, at: u8) -> Result<u32, Self::Error>;
    fn ack(&mut self, expected: [u32; 3], at: u8) -> Result<u32, Self::Error>;
    fn window(&mut self, expected: u16, at: u8) -> Result<u16, Self::Error>;
    fn stamp(&mut self, expected: u32, at: u8) -> Result<u32, Self::Error>;
    fn echo(&mut self, expected: [u32; 2], at: u8) -> Result<u32, Self::Error>;
    fn id(&mut self, expected: u16, at: u8) -> Result<u16, Self::Error>;
    /// Makes the first `len` bytes true but for the checksums and the innermost IPv4 id of `layout`, which stay as they are.
    /// Whether anything changed.
    fn patch(&mut self, head: &mut Head, len: usize, layout: &Layout) -> Result<bool, Self::Error>;
    /// How checksums are made, given how they were, and the transport's at `at`, if there is one there, by `guess`.
    fn sums(
        &mut self,
        before: u8,
        layout: &Layout,
        at: Option<u8>,
        guess: impl Fn(&mut Self, u8) -> u16,
    ) -> Result<(u8, u16), Self::Error>;
    /// Makes the first `len` bytes true. Whether anything changed.
    fn late_patch(&mut self, head: &mut Head, len: usize) -> Result<bool, Self::Error>;
    /// Whether the checksums are wanted; if not, they may be left out.
    fn whole(&self) -> bool;
    /// The payload's sum.
    fn payload_sum(&mut self) -> u16;
    /// The header's bytes beyond [`HEAD`].
    fn tail(&self) -> &[u8];
}

/// What is remembered over all slots of a block.
pub(super) struct Shared {
    /// TCP options last seen, by their length in words.
    options: [[u8; 40]; 11],
    /// IPv4 sources and their last ids, each at the place its hash says.
    hosts: [(u32, u16); 256],
}

impl Shared {
    pub(super) const fn new() -> Self {
        Self { options: [[0; 40]; 11], hosts: [(0, 0); 256] }
    }

    fn host(&mut self, source: u32) -> Option<&mut (u32, u16)> {
        self.hosts.get_mut((source.wrapping_mul(0x9e37_79b1) >> 24) as usize)
    }
}

/// Makes a frame's header (its first [`HEAD`] bytes) in `whole` and teaches the slot. A side that does not want checksums
/// leaves `whole` alone.
pub(super) fn header<S: Side>(
    side: &mut S,
    slot: &mut Slot,
    peer: Peer,
    shared: &mut Shared,
    link: LinkType,
    facts: &Facts,
    whole: &mut Head,
) -> Result<(), S::Error> {
    let header_len = facts.header_len as usize;
    let len = header_len.min(HEAD);
    let same = slot.header_len == facts.header_len;
    if !same {
        resize(slot, shared, header_len, link);
    }
    let Slot { head, layout, past, .. } = slot;
    if !(same && facts.loose) {
        put_lengths(head, layout, facts.size);
    }
    let old_outer = outer_id(head, layout);
    fields(side, past, peer, layout, head, facts)?;
    if side.patch(head, len, layout)? || !same {
        *layout = walk(head, header_len, link);
        zero_sums(head, layout);
        if let Some(tcp) = layout.tcp {
            keep_options(shared, head, header_len.saturating_sub(usize::from(tcp)), tcp);
        }
    }
    if let Some(at) = layout.ipv4 {
        id(side, past, shared, head, at)?;
    }
    let at = layout.transport().and_then(|(kind, at, _)| Some(at + sum_offset(kind)?));
    let last_sum = past.last_sum;
    let guess = |side: &mut S, code: u8| match code {
        sums::RIGHT => transport_sum(side, head, layout, facts),
        sums::PSEUDO => pseudo_sum(head, layout, facts),
        sums::AS_LAST => last_sum,
        _ => 0,
    };
    let (code, value) = side.sums(past.sums, layout, at, guess)?;
    past.sums = code;
    if side.whole() {
        past.last_sum = value;
        *whole = *head;
        put_sums(side, whole, layout, code, value, facts);
        if side.late_patch(whole, len)? {
            *head = *whole;
            zero_sums(head, layout);
        }
    } else if side.late_patch(head, len)? {
        zero_sums(head, layout);
    }
    if let (Some(new), Some(old)) = (outer_id(head, layout), old_outer) {
        past.learn_outer_id(new, old);
    }
    if let Some(tcp) = layout.tcp {
        past.learn_tcp(head, tcp, facts);
    }
    if let Some(at) = layout.stamps {
        past.learn_stamp(facts.time, head.u32(at));
        past.echo = head.u32(at + 4);
    }
    past.learn_payload(facts);
    past.seen = true;
    Ok(())
}

/// Gives the slot's header another length: the front part as it was, other TCP options.
fn resize(slot: &mut Slot, shared: &Shared, header_len: usize, link: LinkType) {
    let len = header_len.min(HEAD);
    let keep = len.min(slot.header_len as usize);
    let mut head = Head::new(slot.head.slice(0, keep));
    if let Some(tcp) = slot.layout.tcp {
        let at = usize::from(tcp) + 20;
        let words = len.saturating_sub(at) / 4;
        if keep >= at
            && at + words * 4 == len
            && let Some(known) = shared.options.get(words)
        {
            head.put(tcp + 12, [((words as u8 + 5) << 4) | head.byte(tcp + 12) & 15]);
            for (to, from) in head.0.iter_mut().skip(at).zip(known.iter().take(words * 4)) {
                *to = *from;
            }
        }
    }
    slot.layout = walk(&head, header_len, link);
    zero_sums(&mut head, &slot.layout);
    slot.head = head;
    slot.header_len = header_len as u32;
}

fn keep_options(shared: &mut Shared, head: &Head, tcp_len: usize, tcp: u8) {
    let words = tcp_len.saturating_sub(20) / 4;
    if let Some(known) = shared.options.get_mut(words) {
        for (to, from) in known.iter_mut().zip(head.slice(usize::from(tcp) + 20, words * 4)) {
            *to = *from;
        }
    }
}

/// The fields that have columns of their own.
fn fields<S: Side>(
    side: &mut S,
    past: &Past,
    peer: Peer,
    layout: &Layout,
    head: &mut Head,
    facts: &Facts,
) -> Result<(), S::Error> {
    if let Some(at) = layout.tcp {
        let flags = side.flags(past.expect_flags(facts), at + 13)?;
        head.put(at + 13, [flags]);
        let seq = side.seq(past.expect_seq(facts), at + 4)?;
        head.put(at + 4, seq.to_be_bytes());
        let ack = side.ack(past.expect_ack(flags, peer), at + 8)?;
        head.put(at + 8, ack.to_be_bytes());
        let window = side.window(head.u16(at + 14), at + 14)?;
        head.put(at + 14, window.to_be_bytes());
        if let Some(at) = layout.stamps {
            let stamp = side.stamp(past.expect_stamp(facts.time), at)?;
            head.put(at, stamp.to_be_bytes());
            let echo = side.echo(past.expect_echo(peer), at + 4)?;
            head.put(at + 4, echo.to_be_bytes());
        }
    }
    for &(kind, at) in layout.layers() {
        if kind == Kind::Ipv4 && layout.ipv4 != Some(at) {
            head.put(at + 4, past.expect_outer_id(head.u16(at + 4)).to_be_bytes());
        }
    }
    Ok(())
}

/// The innermost IPv4 id, by the slot's count or its sender's.
fn id<S: Side>(side: &mut S, past: &mut Past, shared: &mut Shared, head: &mut Head, at: u8) -> Result<(), S::Error> {
    let (source, last) = (head.u32(at + 12), head.u16(at + 4));
    let host = shared.host(source).filter(|(known, _)| *known == source).map(|(_, id)| *id);
    let id = side.id(past.expect_id(last, host), at + 4)?;
    head.put(at + 4, id.to_be_bytes());
    past.learn_id(id, last, host);
    if let Some(place) = shared.host(source) {
        *place = (source, id);
    }
    Ok(())
}

/// The id of the outermost IPv4 layer that is not the innermost.
fn outer_id(head: &Head, layout: &Layout) -> Option<u16> {
    let (_, at) = layout.layers().iter().find(|(kind, _)| *kind == Kind::Ipv4)?;
    if layout.ipv4 == Some(*at) { None } else { Some(head.u16(at + 4)) }
}

/// The length of the transport's header and data: to the end of the payload, or, when all is header, as IP says.
fn transport_len(head: &Head, at: u8, ip: (Kind, u8), facts: &Facts) -> u32 {
    let here = (facts.header_len + facts.payload_len).saturating_sub(u32::from(at));
    if facts.payload_len > 0 {
        return here;
    }
    let (kind, ip) = ip;
    let end =
        u32::from(ip) + if kind == Kind::Ipv4 { u32::from(head.u16(ip + 2)) } else { 40 + u32::from(head.u16(ip + 4)) };
    match end.checked_sub(u32::from(at)) {
        Some(said) if said <= here => said,
        _ => here,
    }
}

/// The sum of the pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1).
fn pseudo(head: &Head, kind: Kind, ip: (Kind, u8), len: u32) -> u32 {
    let (ip_kind, ip) = ip;
    let protocol = match kind {
        Kind::Tcp => 6,
        Kind::Udp => 17,
        _ if ip_kind == Kind::Ipv6 => 58,
        // ICMP over IPv4 has none (RFC 792).
        _ => return 0,
    };
    let (at, addresses) = if ip_kind == Kind::Ipv4 { (12, 8) } else { (8, 32) };
    u32::from(sum(head.slice(usize::from(ip) + at, addresses))) + protocol + (len >> 16) + (len & 0xffff)
}

fn pseudo_sum(head: &Head, layout: &Layout, facts: &Facts) -> u16 {
    let Some((kind, at, ip)) = layout.transport() else { return 0 };
    fold(pseudo(head, kind, ip, transport_len(head, at, ip, facts)))
}

/// The sum of everything from `at` on for `len` bytes; the payload counts wholly or, when it is empty, not.
fn sum_from<S: Side>(side: &mut S, head: &Head, at: u8, len: u32, facts: &Facts) -> u32 {
    let at = usize::from(at);
    let in_head = (facts.header_len as usize).min(HEAD).saturating_sub(at).min(len as usize);
    let mut total = u32::from(sum(head.slice(at, in_head)));
    let tail_len = (len as usize - in_head).min(side.tail().len());
    if tail_len > 0 {
        total += shifted(sum(side.tail().get(..tail_len).unwrap_or_default()), in_head % 2 == 1);
    }
    if facts.payload_len > 0 {
        let odd = (facts.header_len as usize - at) % 2 == 1;
        total += shifted(side.payload_sum(), odd);
    }
    total
}

/// The right checksum of the innermost layer.
fn transport_sum<S: Side>(side: &mut S, head: &Head, layout: &Layout, facts: &Facts) -> u16 {
    let Some((kind, at, ip)) = layout.transport() else { return 0 };
    let len = transport_len(head, at, ip, facts);
    finish(kind, pseudo(head, kind, ip, len) + sum_from(side, head, at, len, facts))
}

/// UDP sends a computed zero as all ones (RFC 768).
fn finish(kind: Kind, total: u32) -> u16 {
    match !fold(total) {
        0 if kind == Kind::Udp => 0xffff,
        sum => sum,
    }
}

/// Puts in all checksums, the innermost first, as outer ones are over inner ones.
fn put_sums<S: Side>(side: &mut S, head: &mut Head, layout: &Layout, code: u8, transport: u16, facts: &Facts) {
    let mut inner = layout.transport().map(|(kind, at, _)| (kind, at));
    for (i, &(kind, at)) in layout.layers().iter().enumerate().rev() {
        if inner.take() == Some((kind, at)) {
            head.put(at + sum_offset(kind).unwrap_or(0), transport.to_be_bytes());
        } else if kind == Kind::Ipv4 && code & sums::NO_IPV4 == 0 {
            let header = usize::from(head.byte(at) & 15) * 4;
            head.put(at + 10, (!sum(head.slice(usize::from(at), header))).to_be_bytes());
        } else if kind == Kind::Udp && code & sums::OUTER != 0 {
            let ip = i.checked_sub(1).and_then(|i| layout.layers().get(i)).copied();
            if let Some(ip @ (Kind::Ipv4 | Kind::Ipv6, _)) = ip {
                let len = (facts.header_len + facts.payload_len).saturating_sub(u32::from(at));
                let total = pseudo(head, kind, ip, len) + sum_from(side, head, at, len, facts);
                head.put(at + 6, finish(kind, total).to_be_bytes());
            }
        }
    }
}
