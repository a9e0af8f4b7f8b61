//! IMAP (RFC 9051 §6.2.1): behind the line with the command, and the line that grants it under the same tag.

use super::lines::lines;

/// Where TLS begins on both sides.
pub(super) fn place([client, server]: [&[u8]; 2]) -> Option<[usize; 2]> {
    let greeting = server.get(..4)?.to_ascii_uppercase();
    if greeting != b"* OK" && greeting != b"* PR" {
        return None;
    }
    lines(client).find_map(|(line, asked)| {
        let space = line.iter().position(|byte| *byte == b' ')?;
        let (tag, command) = line.split_at_checked(space)?;
        if tag.is_empty() || !command.trim_ascii().eq_ignore_ascii_case(b"STARTTLS") {
            return None;
        }
        let answered = |line: &[u8]| line.strip_prefix(tag).is_some_and(|rest| is_ok(rest));
        let (_, granted) = lines(server).find(|(line, _)| answered(line))?;
        Some([asked, granted])
    })
}

/// Whether this follows the tag of an answer that grants something.
fn is_ok(rest: &[u8]) -> bool {
    rest.get(..3).is_some_and(|word| word.eq_ignore_ascii_case(b" OK"))
        && rest.get(3).is_none_or(|after| *after == b' ')
}
