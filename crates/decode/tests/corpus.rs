//! Captures that others made: how many TCP segments and UDP datagrams each one has, and how many bytes they carry, as an
//! independent tool counts them (tshark 4.0.17; every frame's ports and length were compared when `corpus.tsv` was made).
//!
//! The captures are read from the folder that `STREAMDB_CORPUS` names; without it the test says so and passes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "only tests")]

use std::path::Path;

use pcap_parser::{Block, PcapBlockOwned, create_reader};
use streamdb_decode::{Config, Content, Decoder};
use streamdb_types::{LinkType, Timestamp};

/// Capture, TCP segments and their bytes, UDP datagrams and their bytes.
const EXPECTED: &str = include_str!("corpus.tsv");

/// Calls `each` with the link type, the bytes, and the wire length of every frame.
fn frames(data: &[u8], mut each: impl FnMut(u16, &[u8], u32)) {
    let mut reader = create_reader(data.len().max(1 << 16), data).unwrap();
    let mut links = Vec::new();
    loop {
        // The whole file is in the reader's buffer, so that an incomplete block is the end of a cut file.
        let Ok((used, block)) = reader.next() else { return };
        match block {
            PcapBlockOwned::LegacyHeader(header) => links.push(header.network.0 as u16),
            PcapBlockOwned::Legacy(packet) => each(links[0], packet.data, packet.origlen),
            PcapBlockOwned::NG(Block::SectionHeader(_)) => links.clear(),
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => links.push(interface.linktype.0 as u16),
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                // The data still has its padding.
                let captured = packet.data.get(..packet.caplen as usize).unwrap_or(packet.data);
                each(links[packet.if_id as usize], captured, packet.origlen);
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                let captured = packet.data.get(..packet.origlen as usize).unwrap_or(packet.data);
                each(links[0], captured, packet.origlen);
            }
            PcapBlockOwned::NG(_) => {}
        }
        reader.consume(used);
    }
}

#[test]
fn captures_have_what_they_have() {
    let Some(folder) = std::env::var_os("STREAMDB_CORPUS").filter(|f| Path::new(f).is_dir()) else {
        println!("STREAMDB_CORPUS names no folder: skipped");
        return;
    };
    let mut wrong = Vec::new();
    let mut seen = 0;
    for line in EXPECTED.lines() {
        let (name, expected) = line.split_once('\t').unwrap();
        let Ok(data) = std::fs::read(Path::new(&folder).join(name)) else { continue };
        seen += 1;
        let mut decoder = Decoder::new(Config::default());
        let mut counts = [0u64; 4];
        frames(&data, |link, frame, wire_len| {
            // Without times: all fragments of a capture are of one moment.
            let (at, bytes) = match decoder.decode(LinkType(link), frame, wire_len, Timestamp(0), 0).content {
                Content::Tcp(segment) => (0, segment.wire_len),
                Content::Udp(datagram) => (2, datagram.wire_len),
                Content::Fragment | Content::Other | Content::Malformed => return,
            };
            counts[at] += 1;
            counts[at + 1] += u64::from(bytes);
        });
        let found = counts.map(|n| n.to_string()).join("\t");
        if found != expected {
            wrong.push(format!("{name}: found {found}, expected {expected}"));
        }
    }
    assert!(seen > 0, "none of the captures is there");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{seen} captures");
}
