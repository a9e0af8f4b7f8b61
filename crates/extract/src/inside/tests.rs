#![allow(clippy::unwrap_used, reason = "only tests")]

use streamdb_types::{GapKind, Marks, Reason};

use super::TELL_BYTES;
use crate::limits::Limits;
use crate::memory::MemorySource;

/// What is said of the client's stream.
fn sentence(client: &MemorySource, server: &MemorySource) -> Option<String> {
    let messages = crate::messages(client, server, &Limits::default());
    let (_, found) = crate::inside(&messages, [client, server], &Limits::default())?;
    found.sentences.into_iter().next().flatten()
}

/// Commands of POP3, of which it shows later that they are lines of a mail.
const CLIENT: &[u8] = b"x\r\nUSER a\r\nPASS b\r\nSTAT\r\n.\r\nQUIT\r\n";
const SERVER: &[u8] = b"250 ok\r\n250 ok\r\n";

#[test]
fn what_began_before_is_told_when_no_more_can_tell_better() {
    let late = |bytes: &[u8], ended| MemorySource::new(bytes).with_end(ended, Marks::MIDSTREAM);
    let fin = Some(Reason::Fin);
    for (client, server) in (0..=CLIENT.len()).flat_map(|client| (0..=SERVER.len()).map(move |server| (client, server)))
    {
        let (client, server) = (CLIENT.get(..client).unwrap(), SERVER.get(..server).unwrap());
        for ended in [[None, None], [fin, None], [None, fin]] {
            assert_eq!(sentence(&late(client, ended[0]), &late(server, ended[1])), None);
        }
    }
    for (length, said) in [(CLIENT.len(), "SMTP session"), (CLIENT.len() - 1, "POP3 session")] {
        let said_now = sentence(&late(CLIENT.get(..length).unwrap(), fin), &late(SERVER, fin));
        assert_eq!(said_now.as_deref(), Some(said), "{length}");
    }
    // So many bytes tell, whether more come or not.
    let long = |bytes: &[u8], length: usize| [bytes, &vec![b'\n'; length - bytes.len()]].concat();
    for (length, tells) in [(TELL_BYTES - 1, false), (TELL_BYTES, true)] {
        let (client, server) = (late(&long(CLIENT, length), None), late(&long(SERVER, TELL_BYTES), None));
        assert_eq!(sentence(&client, &server).is_some(), tells, "{length}");
    }
}

#[test]
fn what_began_here_is_told_at_once() {
    let begun = |bytes: &[u8]| MemorySource::new(bytes).with_end(None, Marks::SYN);
    let (client, server) = (b"USER a\r\n".as_slice(), b"+OK ready\r\n".as_slice());
    assert_eq!(sentence(&begun(client), &begun(server)).as_deref(), Some("POP3 session"));
    // Where the beginning of one of both is missing, it is waited.
    let told = |ended| {
        let client = MemorySource::new([b"USER\r\n", client].concat()).with_gap(0, 6, GapKind::Missing);
        sentence(&client.with_end(ended, Marks::SYN), &MemorySource::new(server).with_end(ended, Marks::SYN))
    };
    assert_eq!(told(None), None);
    assert_eq!(told(Some(Reason::Fin)).as_deref(), Some("POP3 session"));
}
