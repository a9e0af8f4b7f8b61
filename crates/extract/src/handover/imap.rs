//! IMAP (RFC 9051 §6.2.1): behind the line with the command, and the line that grants it under the same tag.

use super::lines::lines;

/// How many times it may be asked for, as it may be refused.
const ASKED: usize = 8;

/// Where TLS begins on both sides.
pub(super) fn place([client, server]: [&[u8]; 2]) -> Option<[usize; 2]> {
    let greeting = server.get(..4)?.to_ascii_uppercase();
    if greeting != b"* OK" && greeting != b"* PR" {
        return None;
    }
    let asks = lines(client).filter_map(|(line, asked)| {
        let space = line.iter().position(|byte| *byte == b' ')?;
        let (tag, command) = line.split_at_checked(space)?;
        let starts = !tag.is_empty() && command.trim_ascii().eq_ignore_ascii_case(b"STARTTLS");
        starts.then_some((tag, asked))
    });
    asks.take(ASKED).find_map(|(tag, asked)| {
        // Some clients use one tag for all.
        let is_tagged = |line: &[u8]| line.strip_prefix(tag).is_some_and(|rest| rest.starts_with(b" "));
        let before = lines(client).filter(|(line, end)| *end < asked && is_tagged(line)).count();
        let (answer, granted) = lines(server).filter(|(line, _)| is_tagged(line)).nth(before)?;
        is_ok(answer.get(tag.len()..)?).then_some([asked, granted])
    })
}

/// Whether this follows the tag of an answer that grants something.
fn is_ok(rest: &[u8]) -> bool {
    rest.get(..3).is_some_and(|word| word.eq_ignore_ascii_case(b" OK"))
        && rest.get(3).is_none_or(|after| *after == b' ')
}
