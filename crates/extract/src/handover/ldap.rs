//! LDAP (RFC 4511 §4.14): behind an extended request and the response that grants it.

/// Of the request (§4.14.1).
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
/// Tags of messages, of their numbers, of extended requests and responses, of the request's name, of the result.
const MESSAGE: u8 = 0x30;
const NUMBER: u8 = 0x02;
const REQUEST: u8 = 0x77;
const RESPONSE: u8 = 0x78;
const NAME: u8 = 0x80;
const RESULT: u8 = 0x0a;

/// Where TLS begins on both sides.
pub(super) fn place([client, server]: [&[u8]; 2]) -> Option<[usize; 2]> {
    let (number, asked) = behind(client, |operation| {
        let (value, _) = element(operation, REQUEST)?;
        let (name, _) = element(value, NAME)?;
        (name == START_TLS).then_some(())
    })?;
    let (answers, granted) = behind(server, |operation| {
        let (value, _) = element(operation, RESPONSE)?;
        let (result, _) = element(value, RESULT)?;
        (result == [0]).then_some(())
    })?;
    (number == answers).then_some([asked, granted])
}

/// The number of the first message whose operation is meant, and where what follows the message begins.
fn behind(bytes: &[u8], is_meant: impl Fn(&[u8]) -> Option<()>) -> Option<(&[u8], usize)> {
    let mut at = 0;
    loop {
        let (message, length) = element(bytes.get(at..)?, MESSAGE)?;
        at += length;
        let (number, length) = element(message, NUMBER)?;
        if message.get(length..).and_then(&is_meant).is_some() {
            return Some((number, at));
        }
    }
}

/// The value of an element that begins here, if it has this tag, and how long both are (X.690 §8.1).
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], usize)> {
    let (&[is, first], rest) = bytes.split_first_chunk()?;
    let (length, head) = match first {
        0..=0x7f => (usize::from(first), 0),
        0x81..=0x84 => {
            let digits = usize::from(first & 0x7f);
            let number = rest.get(..digits)?.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte));
            (usize::try_from(number).ok()?, digits)
        }
        _ => return None,
    };
    let end = head.checked_add(length)?;
    let value = rest.get(head..end).filter(|_| is == tag)?;
    Some((value, 2 + end))
}
