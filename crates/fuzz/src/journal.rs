//! Any bytes as a journal block; and any frames there and back.

use streamdb_storage::fuzzing::{JournalRow, journal_block, journal_round_trip, stream_bytes};
use streamdb_types::Direction;

use super::script::Script;

/// The most bytes of payload that the frames of one block are given; a block of a megabyte can ask for much more.
const PAYLOAD: usize = 1 << 20;
/// The most frames of one input.
const ROWS: usize = 200;

/// The first byte says which of the two; the rest are the block's bytes, or a script for frames.
pub fn journal(data: &[u8]) {
    match data.split_first() {
        Some((0, block)) => journal_block(block, PAYLOAD),
        Some((_, script)) => round_trip(script),
        None => {}
    }
}

/// A direction of a connection, as the script goes on.
#[derive(Clone, Default)]
struct Side {
    header: Vec<u8>,
    offset: u64,
}

struct Row {
    time: i64,
    interface: u32,
    wire_len: u32,
    header: Vec<u8>,
    trailer: Vec<u8>,
    payload: Vec<u8>,
    connection: Option<(u32, Direction)>,
    stream: Option<(u64, usize)>,
}

/// Frames that are mostly like the one before them of their connection, with numbers that go on as they should, or not.
fn round_trip(data: &[u8]) {
    let mut script = Script(data);
    let target = 300 + usize::from(script.byte()) * 64;
    let links = [1, [1u16, 101, 113, 276, 0, 12, 228, 9][usize::from(script.byte() & 7)]];
    let mut sides: Vec<[Side; 2]> = vec![Default::default(); 4];
    let mut rows: Vec<Row> = Vec::new();
    let mut time = 1_700_000_000_000_000_000_i64;
    while !script.is_over() && rows.len() < ROWS {
        let (how, what) = (script.byte(), script.byte());
        let (number, direction) = (u32::from(how & 3), Direction::from_bit(how >> 2));
        let side = &mut sides[number as usize][direction.index()];
        if side.header.is_empty() || how & 8 != 0 {
            side.header = template(script.byte(), number as u8, direction);
        }
        let mut interface = 0;
        let mut trailer = Vec::new();
        let len = match what & 3 {
            0 => 0,
            1 => usize::from(script.byte()),
            2 => 1460,
            _ => usize::from(script.short()),
        };
        if what & 4 != 0 {
            for _ in 0..script.byte() & 7 {
                let (at, value) = (usize::from(script.byte()), script.byte());
                match side.header.get_mut(at) {
                    Some(byte) => *byte = value,
                    None => side.header.push(value),
                }
            }
        }
        if what & 8 != 0 {
            let cut = usize::from(script.byte());
            side.header.truncate(cut);
        }
        if what & 16 != 0 {
            let odd = script.byte();
            interface = u32::from(odd & 3);
            trailer = vec![odd >> 7; usize::from(odd >> 2 & 15)];
        }
        time = time.wrapping_add(match how >> 4 & 3 {
            0 => 1000,
            1 => i64::from(script.byte()) * 1_000_000,
            2 => -i64::from(script.word()),
            _ => i64::from(script.word()) << 32 | i64::from(script.word()),
        });
        if what & 32 != 0 {
            side.offset = side.offset.wrapping_add_signed(i64::from(script.word() as i32));
        }
        let connection = (how & 64 == 0).then_some((number, direction));
        let stream = (what & 64 == 0 && connection.is_some()).then_some((side.offset, len));
        let payload = match stream {
            Some((offset, len)) => stream_bytes(number, direction, offset, len),
            None => (0..len).map(|at| (at % 7) as u8).collect(),
        };
        if how & 128 == 0 {
            make_right(&mut side.header, &payload);
        }
        let whole = side.header.len() + payload.len() + trailer.len();
        let wire_len = if what & 128 != 0 { script.word() } else { whole as u32 };
        rows.push(Row { time, interface, wire_len, header: side.header.clone(), trailer, payload, connection, stream });
        if stream.is_some() {
            side.offset = side.offset.wrapping_add(len as u64);
        }
        advance(&mut side.header, len as u32);
    }
    let rows: Vec<JournalRow<'_>> = rows
        .iter()
        .map(|row| JournalRow {
            time: row.time,
            interface: row.interface,
            wire_len: row.wire_len,
            header: &row.header,
            trailer: &row.trailer,
            payload: &row.payload,
            connection: row.connection,
            stream: row.stream,
        })
        .collect();
    journal_round_trip(&rows, &links, target);
}

/// Where the IPv4 header of a frame made here begins.
const IP: usize = 14;

/// Headers to begin from: TCP with and without time stamps, UDP, IPv6, and something else.
fn template(kind: u8, number: u8, direction: Direction) -> Vec<u8> {
    let (a, b) = if direction == Direction::ToServer { (5, 9) } else { (9, 5) };
    let mut out = vec![2, 0, 0, 0, 0, a, 2, 0, 0, 0, 0, b];
    let ports = if a == 5 { [0xc0, number, 0, 80] } else { [0, 80, 0xc0, number] };
    if kind & 7 == 4 {
        out.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        return out;
    }
    if kind & 7 == 3 {
        out.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
        for last in [a, b] {
            out.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
    } else {
        let protocol = if kind & 7 == 2 { 17 } else { 6 };
        out.extend([8, 0, 0x45, 0, 0, 40, 0x12, 0x34, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, a, 10, 0, 0, b]);
    }
    out.extend(ports);
    if kind & 7 == 2 {
        out.extend([0, 8, 0, 0]);
        return out;
    }
    out.extend([0, 0, 1, number, 0, 0, 2, number, 0x50, 0x18, 0x20, 0, 0, 0, 0, 0]);
    if kind & 7 == 1 {
        // RFC 7323 §3.2, padded in front.
        let words = out.len() - 8;
        out[words] = 0x80;
        out.extend([1, 1, 8, 10, 0, 0, 9, 9, 0, 0, 8, 8]);
    }
    out
}

/// Lengths and checksums of plain IPv4, as a sender makes them.
fn make_right(header: &mut [u8], payload: &[u8]) {
    let whole = (header.len() + payload.len()).saturating_sub(IP);
    let Some(ip) = header.get_mut(IP..).filter(|ip| ip.len() >= 28 && ip[0] == 0x45) else { return };
    ip[2..4].copy_from_slice(&(whole as u16).to_be_bytes());
    ip[10..12].fill(0);
    let sum = checksum(&[&ip[..20]]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let (ip, segment) = ip.split_at_mut(20);
    let (protocol, at) = match ip[9] {
        6 if segment.len() >= 20 => (6, 16),
        17 => (17, 6),
        _ => return,
    };
    let len = ((segment.len() + payload.len()) as u16).to_be_bytes();
    if protocol == 17 {
        segment[4..6].copy_from_slice(&len);
    }
    segment[at..at + 2].fill(0);
    let sum = checksum(&[&ip[12..20], &[0, protocol], &len, segment, payload]);
    segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// RFC 1071; all parts but the last have even lengths here, or the sum is wrong, which is as well.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut total = 0u64;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        total += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

/// The next header of the same sender.
fn advance(header: &mut [u8], len: u32) {
    if let Some(ip) = header.get_mut(IP..).filter(|ip| ip.len() >= 40 && ip[0] == 0x45 && ip[9] == 6) {
        let id = u16::from_be_bytes([ip[4], ip[5]]).wrapping_add(1);
        ip[4..6].copy_from_slice(&id.to_be_bytes());
        let seq = u32::from_be_bytes([ip[24], ip[25], ip[26], ip[27]]).wrapping_add(len);
        ip[24..28].copy_from_slice(&seq.to_be_bytes());
    }
}
