//! Fragments of IPv4 and IPv6 packets in any order, overlapping, contradicting each other: what is put together is made of
//! the frames it says, and when nobody lied it is what was sent.

use std::collections::HashMap;

use streamdb_decode::{Config, Content, Decoder, FragmentOverlap};
use streamdb_types::{LinkType, Timestamp};

use super::decode::true_of;
use super::script::Script;

/// Bytes of a UDP header.
const UDP: usize = 8;
/// The most fragments of one input.
const FRAGMENTS: usize = 400;

/// The sender's byte at a place of the packet: a UDP header whose length is right for `length` bytes, then a pattern.
fn byte_at(id: u8, length: u16, at: usize) -> u8 {
    let [high, low] = length.to_be_bytes();
    match at {
        0 => 0x80,
        1 => id,
        2 => 0,
        3 => 53,
        4 => high,
        5 => low,
        6 | 7 => 0,
        _ => (at as u8).wrapping_mul(31) ^ (at >> 8) as u8 ^ id,
    }
}

/// Decodes fragments of six bytes each: which packet and how, offset, length, oddities, time.
pub fn fragments(data: &[u8]) {
    let mut script = Script(data);
    let setting = script.byte();
    let mut decoder = Decoder::new(Config {
        verify_checksums: setting & 1 != 0,
        max_fragment_packets: 1 + usize::from(setting >> 1 & 3),
        max_fragment_bytes: if setting & 8 != 0 { 4096 } else { 1 << 20 },
        fragment_timeout: 1000,
        overlap: [FragmentOverlap::First, FragmentOverlap::Last, FragmentOverlap::Linux, FragmentOverlap::First]
            [usize::from(setting >> 4 & 3)],
        ..Config::default()
    });
    // All packets of one input have this length, so that those of one id agree.
    let length = 64 + (script.short() & 0x1ff8);
    let mut frames: Vec<Vec<u8>> = Vec::new();
    let mut honest: HashMap<(bool, u8), bool> = HashMap::new();
    let mut time = 0_i64;
    let (mut counted, mut whole) = (0, 0);
    while !script.is_over() && frames.len() < FRAGMENTS {
        let [who, at, len, odd] = [script.byte(), script.byte(), script.byte(), script.byte()];
        let (six, id) = (who & 1 != 0, who >> 1 & 3);
        let offset = usize::from(at) * 8 * (1 + usize::from(who >> 3 & 3));
        let mut len = usize::from(len) * 8;
        let mut more = offset + len < usize::from(length);
        if more || odd & 1 != 0 {
            // As it should be.
        } else {
            len = usize::from(length).saturating_sub(offset);
        }
        let mut lies = false;
        let mut bytes: Vec<u8> = (offset..offset + len).map(|at| byte_at(id, length, at)).collect();
        if odd & 1 != 0 {
            more = odd & 2 != 0;
            lies = true;
        }
        if odd & 4 != 0 {
            // Other bytes in the same place.
            let from = usize::from(odd >> 4) * 8;
            bytes.iter_mut().skip(from).take(5).for_each(|byte| *byte ^= 0x55);
            lies = true;
        }
        if odd & 8 != 0 {
            // Cut to a length that is no multiple of 8.
            bytes.truncate(bytes.len().saturating_sub(3));
            lies = true;
        }
        if bytes.len() > 1400 {
            bytes.truncate(1400);
            more = true;
        }
        if lies {
            honest.insert((six, id), false);
        }
        let honest_so_far = *honest.entry((six, id)).or_insert(true);
        let mut frame = if six { ipv6(id, offset, more, &bytes) } else { ipv4(id, offset, more, &bytes) };
        let wire_len = frame.len() as u32;
        if who & 0x20 != 0 {
            let cut = usize::from(script.byte());
            frame.truncate(frame.len().saturating_sub(cut));
        }
        if who & 0x40 != 0 {
            time += i64::from(script.byte() as i8) * 20;
        }
        frames.push(frame);
        let known: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let tag = known.len() as u64 - 1;
        let decoded = decoder.decode(LinkType::RAW, known[known.len() - 1], wire_len, Timestamp(time), tag);
        true_of(&decoded, &known);
        match decoded.content {
            Content::Udp(datagram) => {
                if !decoded.pieces.is_empty() {
                    whole += 1;
                }
                if honest_so_far {
                    assert!(datagram.wire_len as usize <= usize::from(length) - UDP);
                    for (i, byte) in datagram.payload.iter().enumerate() {
                        assert_eq!(*byte, byte_at(id, length, UDP + i), "byte {i} of a packet about which nobody lied");
                    }
                }
            }
            Content::Fragment => counted += 1,
            Content::Tcp(_) => panic!("there is no TCP here"),
            Content::Other | Content::Malformed => {}
        }
    }
    assert!(decoder.reassembled_packets() >= whole);
    decoder.tick(Timestamp(i64::MAX));
    assert!(decoder.expired_fragments() <= frames.len() as u64, "of {counted} fragments");
}

fn ipv4(id: u8, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    let field = (offset / 8) as u16 & 0x1fff | u16::from(more) << 13;
    let total = (20 + payload.len()) as u16;
    let mut out = vec![0x45, 0];
    out.extend(total.to_be_bytes());
    out.extend([0, id]);
    out.extend(field.to_be_bytes());
    out.extend([64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    out.extend(payload);
    out
}

fn ipv6(id: u8, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    let field = offset as u16 & !7 | u16::from(more);
    let mut out = vec![0x60, 0, 0, 0];
    out.extend(((8 + payload.len()) as u16).to_be_bytes());
    out.extend([44, 64]);
    for last in [1, 2] {
        out.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    out.extend([17, 0]);
    out.extend(field.to_be_bytes());
    out.extend([0, 0, 0, id]);
    out.extend(payload);
    out
}
