//! The options of pcapng blocks: walked, and turned to little-endian (draft-ietf-opsawg-pcapng §3.5).

use crate::bytes::{Order, padded};

/// `opt_endofopt`.
const END: u16 = 0;

/// One option (or one record of a name resolution block, which is laid out alike).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tlv<'a> {
    pub(crate) code: u16,
    pub(crate) value: &'a [u8],
}

/// What a walk over options met after the last good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// The end mark, or the end of the block; some writers leave the mark out.
    End,
    /// An option that is longer than what the block has left.
    Overlong { code: u16, length: u16 },
}

/// Calls `each` for every option, and says how the list ended.
pub(crate) fn walk<'a>(mut bytes: &'a [u8], order: Order, mut each: impl FnMut(Tlv<'a>)) -> Rest {
    while let Some(([a, b, c, d], rest)) = bytes.split_first_chunk::<4>() {
        let (code, length) = (order.u16([*a, *b]), order.u16([*c, *d]));
        if code == END {
            return Rest::End;
        }
        let Some(value) = rest.get(..usize::from(length)) else { return Rest::Overlong { code, length } };
        each(Tlv { code, value });
        bytes = rest.get(padded(value.len())..).unwrap_or_default();
    }
    Rest::End
}

/// Appends an option of an interface description in little-endian, padded with zeros.
pub(crate) fn push_interface_option(out: &mut Vec<u8>, option: Tlv<'_>, order: Order) {
    out.extend_from_slice(&option.code.to_le_bytes());
    // The length came from 16 bits.
    out.extend_from_slice(&(option.value.len() as u16).to_le_bytes());
    let start = out.len();
    out.extend_from_slice(option.value);
    if order == Order::Big
        && let Some(value) = out.get_mut(start..)
    {
        turn_interface_option(option.code, value);
    }
    out.resize(start + padded(option.value.len()), 0);
}

/// Turns the numbers in an option of an interface description; what is text or an address stays.
fn turn_interface_option(code: u16, value: &mut [u8]) {
    const SPEED: u16 = 8;
    const TIME_ZONE: u16 = 10;
    const FILTER: u16 = 11;
    const TRANSMIT_SPEED: u16 = 16;
    const RECEIVE_SPEED: u16 = 17;
    match (code, value) {
        (SPEED | TRANSMIT_SPEED | RECEIVE_SPEED, value) if value.len() == 8 => value.reverse(),
        (TIME_ZONE, value) if value.len() == 4 => value.reverse(),
        // Kind 1 is a BPF program: of each instruction the code (16 bits) and the operand (32 bits) are numbers.
        (FILTER, [1, program @ ..]) => {
            for [c0, c1, _, _, k @ ..] in program.as_chunks_mut::<8>().0 {
                std::mem::swap(c0, c1);
                k.reverse();
            }
        }
        // Custom options begin with an enterprise number; what follows is known to its maker only.
        (2988 | 2989 | 19372 | 19373, number) => {
            if let Some(number) = number.first_chunk_mut::<4>() {
                number.reverse();
            }
        }
        _ => {}
    }
}

/// Turns the headers of the records and options of a big-endian name resolution block to little-endian, in place, as far
/// as they are well-formed. The values are addresses, names and text, which have no byte order.
pub(crate) fn turn_names(mut body: &mut [u8]) {
    // Records, their end mark, then options: both lists are laid out alike, and an end mark is turned by doing nothing.
    while let Some((header, rest)) = body.split_first_chunk_mut::<4>() {
        let [a, b, c, d] = header;
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        std::mem::swap(a, b);
        std::mem::swap(c, d);
        body = rest.get_mut(padded(length)..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_walked_to_their_end_mark_or_the_end_of_the_block() {
        let walked = |bytes: &[u8]| {
            let mut seen = Vec::new();
            let rest = walk(bytes, Order::Little, |o| seen.push((o.code, o.value.to_vec())));
            (seen, rest)
        };
        let two = [(2, b"eth0!".to_vec()), (9, vec![6])];
        assert_eq!(walked(b"\x02\0\x05\0eth0!\0\0\0\x09\0\x01\0\x06\0\0\0"), (two.to_vec(), Rest::End));
        assert_eq!(walked(b"\x02\0\x05\0eth0!\0\0\0\x09\0\x01\0\x06"), (two.to_vec(), Rest::End), "padding left out");
        assert_eq!(walked(b"\x02\0\x05\0eth0!\0\0\0\x09\0\x01\0\x06\0\0\0\0\0\0\0garbage!"), (two.to_vec(), Rest::End));
        assert_eq!(walked(b"\x02\0\x09\0eth0!\0\0\0"), (vec![], Rest::Overlong { code: 2, length: 9 }));
    }

    #[test]
    fn numbers_in_options_are_turned_and_text_is_not() {
        let turned = |code: u16, value: &[u8]| {
            let mut out = Vec::new();
            push_interface_option(&mut out, Tlv { code, value }, Order::Big);
            out
        };
        assert_eq!(turned(2, b"eth0!"), b"\x02\0\x05\0eth0!\0\0\0");
        assert_eq!(turned(8, &[0, 0, 0, 0, 1, 2, 3, 4]), [8, 0, 8, 0, 4, 3, 2, 1, 0, 0, 0, 0]);
        assert_eq!(turned(11, &[1, 0, 0x28, 5, 6, 0, 0, 0, 12]), [11, 0, 9, 0, 1, 0x28, 0, 5, 6, 12, 0, 0, 0, 0, 0, 0]);
        assert_eq!(turned(11, b"\0port 80"), b"\x0b\0\x08\0\0port 80");
        assert_eq!(turned(2988, &[0, 0, 0x80, 0, 7]), [0xac, 0x0b, 5, 0, 0, 0x80, 0, 0, 7, 0, 0, 0]);
        assert_eq!(turned(8, &[1, 2]), [8, 0, 2, 0, 1, 2, 0, 0], "of the wrong length: left as it is");
    }
}
