//! Filters as the kernel takes them. libpcap's own way to another filter lets nothing pass for a moment, which no counter shows;
//! the kernel changes from one to the other between two frames.

use libc::sock_filter;
use pcap::{Active, Capture, Error};

use crate::item::MAX_FRAME;

/// An instruction that ends the program, and what is a constant in it (linux/filter.h).
const RETURN: u16 = 0x06;

/// The expression as a program for the kernel, for frames as this socket has them.
pub(super) fn compile(capture: &Capture<Active>, expression: &str) -> Result<Vec<sock_filter>, Error> {
    let program = capture.compile(expression, true)?;
    // The fields of an instruction can be had by its text alone.
    let all = program.get_instructions().iter().map(|one| instruction(&one.to_string()));
    all.collect::<Option<_>>().ok_or(Error::InvalidString)
}

fn instruction(text: &str) -> Option<sock_filter> {
    let mut fields = text.split(' ').map(|field| field.parse::<u32>().ok());
    let mut next = || fields.next().flatten();
    let code = u16::try_from(next()?).ok()?;
    let (jt, jf) = (u8::try_from(next()?).ok()?, u8::try_from(next()?).ok()?);
    let k = next()?;
    // How much of a frame is kept is libpcap's to say, once the tag that the kernel took out of it is back.
    let k = if code == RETURN && k != 0 { MAX_FRAME as u32 } else { k };
    Some(sock_filter { code, jt, jf, k })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_is_read_from_its_text() {
        let of = |text| instruction(text).map(|one| (one.code, one.jt, one.jf, one.k));
        assert_eq!(of("40 0 0 12"), Some((40, 0, 0, 12)));
        assert_eq!(of("21 3 255 4294967295"), Some((21, 3, 255, u32::MAX)));
        assert_eq!(of("6 0 0 96"), Some((6, 0, 0, MAX_FRAME as u32)));
        assert_eq!(of("6 0 0 0"), Some((6, 0, 0, 0)));
        for wrong in ["", "6 0 0", "6 0 0 -1", "6 256 0 0", "70000 0 0 0"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
