//! Control connections of FTP: any commands and replies with holes give transfers in the order of their commands.

use super::talk::Talk;

/// As [`Talk::read`] has it.
pub fn ftp(data: &[u8]) {
    let Some(found) = Talk::read(data).check() else { return };
    let mut before = None;
    for transfer in &found.transfers {
        assert!(before.is_none_or(|before| before < transfer.asked_at), "{transfer:?}");
        before = Some(transfer.asked_at);
        assert!(transfer.begun_at.zip(transfer.ended_at).is_none_or(|(begun, ended)| begun < ended), "{transfer:?}");
        assert_eq!(transfer.status.is_some(), transfer.ended_at.is_some(), "{transfer:?}");
    }
}
