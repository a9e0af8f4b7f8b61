//! Every variant of the two formats, built by hand: what is read is what was written.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use common::{Build, Said, frame, frames, gzip, read_whole, sentence};
use streamdb_capture::Drops;
use streamdb_types::{Interface, LinkType, Resolution};

const SECOND: i64 = 1_000_000_000;
const MICRO: u32 = 0xa1b2_c3d4;
const NANO: u32 = 0xa1b2_3c4d;
const MODIFIED: u32 = 0xa1b2_cd34;
/// `if_tsresol`, `if_tsoffset`.
const TSRESOL: u16 = 9;
const TSOFFSET: u16 = 14;

fn classic(resolution: Resolution, fcs_length: Option<u8>) -> Interface {
    let (link_type, snap_length) = (LinkType::ETHERNET, 65_535);
    Interface { link_type, snap_length, resolution, time_offset: 0, fcs_length, options: Vec::new() }
}

#[test]
fn classic_files_of_both_orders_and_resolutions() {
    for big in [false, true] {
        let file = |magic| {
            let head = Build::new(big).pcap(magic, 1);
            head.record(1, 500_000, 3, b"abc").record(u32::MAX, 7, 1500, b"").bytes
        };
        let far = i64::from(u32::MAX) * SECOND;
        let expected = |resolution, first: i64, unit: i64| {
            vec![
                Said::Interface(0, classic(resolution, None)),
                frame(SECOND + first, 0, 3, b"abc"),
                frame(far + 7 * unit, 0, 1500, b""),
            ]
        };
        assert_eq!(read_whole(&file(MICRO)), expected(Resolution::MICROS, 500_000_000, 1000));
        assert_eq!(read_whole(&file(NANO)), expected(Resolution::NANOS, 500_000, 1));
    }
}

#[test]
fn the_modified_format_has_longer_record_headers() {
    for big in [false, true] {
        let record =
            |b: Build, data: &[u8]| b.u32(1).u32(2).u32(data.len() as u32).u32(99).u32(3).u16(8).raw(&[4, 0]).raw(data);
        let file = record(record(Build::new(big).pcap(MODIFIED, 1), b"one"), b"three").bytes;
        assert_eq!(frames(&file), [frame(SECOND + 2000, 0, 99, b"one"), frame(SECOND + 2000, 0, 99, b"three")]);
    }
}

#[test]
fn the_link_type_word_has_the_length_of_the_check_sequence() {
    let interface = |network| match read_whole(&Build::new(false).pcap(MICRO, network).bytes).remove(0) {
        Said::Interface(0, interface) => interface,
        other => panic!("{other:?}"),
    };
    assert_eq!(interface(0x2400_0001), classic(Resolution::MICROS, Some(4)));
    assert_eq!(interface(0x0400_0001), classic(Resolution::MICROS, Some(0)));
    assert_eq!(interface(0x2000_0001), classic(Resolution::MICROS, None), "a length that is not marked as given");
    assert_eq!(interface(0x0400_0114).link_type, LinkType::LINUX_SLL2);
}

#[test]
fn old_versions_have_the_lengths_the_other_way_round() {
    // Two bytes of five were captured.
    let file = |major, minor, first, second| {
        let head = Build::new(true).pcap_version(MICRO, 1, major, minor);
        head.u32(1).u32(0).u32(first).u32(second).raw(b"ab").bytes
    };
    let expected = [frame(SECOND, 0, 5, b"ab")];
    for (major, minor, first, second) in
        [(2, 0, 5, 2), (2, 1, 5, 2), (2, 2, 5, 2), (2, 3, 5, 2), (2, 3, 2, 5), (2, 4, 2, 5), (543, 0, 5, 2)]
    {
        assert_eq!(frames(&file(major, minor, first, second)), expected, "{major}.{minor}");
    }
}

#[test]
fn a_wire_length_below_the_captured_one_is_kept() {
    let file = Build::new(false).pcap(MICRO, 1).record(1, 0, 2, b"abc").bytes;
    assert_eq!(frames(&file), [frame(SECOND, 0, 2, b"abc")]);
}

#[test]
fn sections_have_their_own_order_and_interfaces() {
    let plain = |b: Build| b;
    let file = Build::default()
        .section(false)
        .interface(1, 0, plain)
        .interface(101, 96, |b| b.option(TSRESOL, &[9]).option(2, b"eth1").option_u64(8, 0x0102).option(0, &[]))
        .packet(1, 5, 4, b"IPv4")
        .packet(0, 5, 10, b"abcde")
        .section(true)
        .interface(276, 0, |b| b.option(13, &[32]).option(2, b"any").option_u64(8, 0x0102))
        .packet(0, 6, 3, b"sll")
        .bytes;
    let interface = |link_type, snap_length, resolution, fcs_length, options: &[u8]| Interface {
        link_type,
        snap_length,
        resolution,
        time_offset: 0,
        fcs_length,
        options: options.to_vec(),
    };
    let speed = b"\x08\0\x08\0\x02\x01\0\0\0\0\0\0";
    let named = [b"\x02\0\x04\0eth1".as_slice(), speed].concat();
    let checked = [b"\x0d\0\x01\0\x20\0\0\0\x02\0\x03\0any\0".as_slice(), speed].concat();
    let expected = [
        Said::Interface(0, interface(LinkType::ETHERNET, 0, Resolution::MICROS, None, b"")),
        Said::Interface(1, interface(LinkType::RAW, 96, Resolution::NANOS, None, &named)),
        frame(5, 1, 4, b"IPv4"),
        frame(5000, 0, 10, b"abcde"),
        Said::Interface(2, interface(LinkType::LINUX_SLL2, 0, Resolution::MICROS, Some(4), &checked)),
        frame(6000, 2, 3, b"sll"),
    ];
    assert_eq!(read_whole(&file), expected);
}

#[test]
fn times_have_any_resolution_and_an_offset() {
    for big in [false, true] {
        let time = |resolution: u8, offset: i64, ticks| {
            let file = Build::default()
                .section(big)
                .interface(1, 0, |b| b.option(TSRESOL, &[resolution]).option_u64(TSOFFSET, offset as u64))
                .packet(0, ticks, 1, b"x")
                .bytes;
            match read_whole(&file).as_slice() {
                [Said::Interface(0, i), Said::Frame(time, ..)] => {
                    assert_eq!((i.resolution, i.time_offset), (Resolution(resolution), offset));
                    assert!(i.options.is_empty());
                    *time
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(time(0, 0, 1_700_000_000), 1_700_000_000 * SECOND);
        assert_eq!(time(3, 0, 1500), 1_500_000_000);
        assert_eq!(time(6, 0, 1_700_000_000_123_456), 1_700_000_000_123_456_000);
        assert_eq!(time(6, -1, 1_500_000), 500_000_000);
        assert_eq!(time(9, 100, u64::from(u32::MAX) + 1), 100 * SECOND + 4_294_967_296);
        assert_eq!(time(12, 0, 1_999), 1, "picoseconds are rounded down");
        assert_eq!(time(30, 0, 1 << 62), 0);
        assert_eq!(time(0x80, 0, 3), 3 * SECOND);
        assert_eq!(time(0x80 | 20, 0, 1 << 19), 500_000_000);
        assert_eq!(time(0x80 | 20, 0, 1), 954, "953.67 to the nearest");
        assert_eq!(time(0x80 | 32, 0, 3 << 31), 1_500_000_000);
        assert_eq!(time(9, 0, u64::MAX), -1, "a time before 1970 is below zero");
        assert_eq!(time(6, 0, i64::MAX as u64), i64::MAX, "a time that does not fit stands at the end of time");
        assert_eq!(time(6, i64::MIN, 0), i64::MIN);
    }
}

#[test]
fn simple_packets_have_the_time_of_the_frame_before_and_are_cut_at_the_snap_length() {
    for big in [false, true] {
        let file = Build::default()
            .section(big)
            .interface(1, 4, |b| b)
            .simple(3, b"abc")
            .packet(0, 77, 1, b"x")
            .simple(60, b"abcd")
            .bytes;
        let expected = [frame(0, 0, 3, b"abc"), frame(77_000, 0, 1, b"x"), frame(77_000, 0, 60, b"abcd")];
        assert_eq!(frames(&file), expected);
    }
}

#[test]
fn drops_are_said_before_the_frame_and_only_once() {
    let drops = |by_kernel, by_interface| Said::Drops(Drops { interface: 1, by_kernel, by_interface, between: None });
    for big in [false, true] {
        let old = |b: Build, dropped| b.block(2, |b| b.u16(1).u16(dropped).u32(0).u32(9).u32(3).u32(3).padded(b"old"));
        let statistics = |b: Build, system, interface| {
            b.block(5, |b| b.u32(1).u32(0).u32(9).option_u64(4, 1000).option_u64(5, interface).option_u64(7, system))
        };
        let mut file = Build::default().section(big).interface(1, 0, |b| b).interface(1, 0, |b| b);
        file = old(old(old(file, 0), 3), 0xffff);
        file = file.packet_with(1, 9, 3, b"new", |b| b.option(2, &[0, 0, 0, 1]).option_u64(4, 4).option(0, &[]));
        file = statistics(statistics(file, 10, 2), 10, 2);
        let (old, new) = (frame(9000, 1, 3, b"old"), frame(9000, 1, 3, b"new"));
        let expected = [old.clone(), drops(3, 0), old.clone(), old, drops(4, 0), new, drops(3, 2)];
        assert_eq!(read_whole(&file.bytes)[2..], expected);
    }
}

#[test]
fn secrets_and_names_are_handed_on_and_other_blocks_passed_over() {
    for big in [false, true] {
        let file = Build::default()
            .section(big)
            .block(10, |b| b.u32(0x544c_534b).u32(5).padded(b"keys!").option(1, b"a comment"))
            .block(4, |b| b.u16(1).u16(8).padded(b"\x0a\0\0\x01abc\0").u16(0).u16(0).option(2, b"dns"))
            .block(0x0bad, |b| b.u32(32_473).raw(&[1; 40]))
            .block(0x7777_7777, |b| b.raw(&[7; 600_000]))
            .interface(1, 0, |b| b)
            .packet(0, 1, 1, b"x")
            .bytes;
        let names = b"\x01\0\x08\0\x0a\0\0\x01abc\0\0\0\0\0\x02\0\x03\0dns\0";
        let said = read_whole(&file);
        assert_eq!(said[..2], [Said::Secrets(0x544c_534b, b"keys!".to_vec()), Said::Names(names.to_vec())]);
        assert_eq!(said[3..], [frame(1000, 0, 1, b"x")]);
    }
}

#[test]
fn the_largest_frames_are_read_and_none_beyond() {
    let largest = vec![5; 262_144];
    let classic = Build::new(false).pcap(MICRO, 1).record(1, 0, 262_144, &largest).record(1, 0, 262_144, &largest);
    assert_eq!(frames(&classic.bytes), vec![frame(SECOND, 0, 262_144, &largest); 2]);
    let section = || Build::default().section(true).interface(1, 0, |b| b);
    let file = section().packet(0, 1, 262_144, &largest).bytes;
    assert_eq!(frames(&file), [frame(1000, 0, 262_144, &largest)]);
    let larger = vec![5; 262_145];
    assert!(sentence(&classic.record(1, 0, 0, &larger).bytes).contains("at most 262144 captured bytes, found 262145"));
    assert!(
        sentence(&section().packet(0, 1, 0, &larger).bytes).contains("at most 262144 captured bytes, found 262145")
    );
}

/// Many frames of many lengths, so that records lie across every edge of the buffers.
fn many() -> (Build, Vec<Said>) {
    let mut file = Build::new(false).pcap(NANO, 1);
    let mut expected = Vec::new();
    let mut state = 1_u32;
    for n in 0..3000 {
        let data: Vec<u8> = (0..n % 1500)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8 & 0x3f
            })
            .collect();
        file = file.record(n, n, n, &data);
        expected.push(frame(i64::from(n) * SECOND + i64::from(n), 0, n, &data));
    }
    (file, expected)
}

#[test]
fn compressed_files_are_told_by_their_bytes() {
    let (file, expected) = many();
    assert!(frames(&file.bytes) == expected);
    assert!(frames(&file.gzip()) == expected);
    assert!(frames(&file.zstd()) == expected);
    let mut stored = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    std::io::Write::write_all(&mut stored, &file.bytes).unwrap();
    assert!(frames(&stored.finish().unwrap()) == expected);
}

#[test]
fn compressed_files_may_come_in_pieces() {
    let (file, expected) = many();
    let (one, rest) = file.bytes.split_at(10);
    let (two, three) = rest.split_at(900_000);
    let compress = |bytes: &[u8]| zstd::bulk::compress(bytes, 1).unwrap();
    let skippable = b"\x52\x2a\x4d\x18\x04\0\0\0\x01\x02\x03\x04";
    let frames_of_zstd = [skippable, &compress(one)[..], &compress(b""), skippable, &compress(two), &compress(three)];
    assert!(frames(&frames_of_zstd.concat()) == expected);
    let members = [gzip(one), gzip(b""), gzip(two), gzip(three), vec![0; 1000]];
    assert!(frames(&members.concat()) == expected, "padding of zeros is none of gzip's business");
    // Every optional field of a gzip header: extra bytes, name, comment, header check.
    let plain = gzip(&file.bytes);
    let mut header = plain[..10].to_vec();
    header[3] = 0x1e;
    let fields = [&header, b"\x03\0abc".as_slice(), b"name\0", b"comment\0", b"\x12\x34", &plain[10..]];
    assert!(frames(&fields.concat()) == expected);
}

#[test]
fn bytes_may_trickle_in() {
    struct Trickle(std::io::Cursor<Vec<u8>>, bool);
    impl std::io::Read for Trickle {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            let length = out.len().min(7);
            self.0.read(&mut out[..length])
        }
    }
    let file = Build::default().section(true).interface(1, 0, |b| b).packet(0, 1, 9, b"in pieces").bytes;
    for bytes in [file.clone(), gzip(&file), zstd::bulk::compress(&file, 3).unwrap()] {
        let path = std::path::Path::new("-");
        let reader = Trickle(std::io::Cursor::new(bytes.clone()), false);
        let mut file = streamdb_capture::CaptureFile::from_reader(path, reader).unwrap();
        assert!(matches!(file.next(), Ok(Some(streamdb_capture::Item::Interface(0, _)))));
        let item = file.next().unwrap().unwrap();
        assert_eq!(Said::of(item), frame(1000, 0, 9, b"in pieces"));
        assert!(file.next().unwrap().is_none());
        assert_eq!(file.position(), bytes.len() as u64);
        assert_eq!(file.size(), None);
    }
}
