//! Commands of a client (RFC 959 §4.1), and which replies fit them (§5.4).

use streamdb_types::StreamOffset;

use super::line::Line;
use super::transfer::TransferCommand;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// In upper case.
    pub(super) name: Vec<u8>,
    pub(super) argument: Vec<u8>,
    /// Where it begins.
    pub(super) start: StreamOffset,
    /// Where the next one begins.
    pub(super) end: StreamOffset,
    /// Whether its argument is longer than what is kept.
    pub(super) cut: bool,
    /// Whether bytes before it are missing.
    pub(super) late: bool,
}

/// How long a name has to be to be looked for, in bytes.
const NAME: usize = 4;

/// Names that are commands of FTP (RFC 959, 775, 2228, 2389, 2428, 3659, 7151) and of no other protocol of lines.
const OF_FTP: [&[u8]; 32] = [
    b"SYST", b"PASV", b"EPSV", b"PORT", b"EPRT", b"LPRT", b"LPSV", b"CWD", b"XCWD", b"PWD", b"XPWD", b"TYPE", b"FEAT",
    b"CDUP", b"XCUP", b"STOR", b"STOU", b"APPE", b"NLST", b"MLSD", b"MLST", b"SIZE", b"MDTM", b"MKD", b"XMKD", b"RMD",
    b"PBSZ", b"PROT", b"ALLO", b"RNFR", b"ABOR", b"CLNT",
];
/// Names that occur in other protocols too.
const OF_OTHERS_TOO: [&[u8]; 20] = [
    b"USER", b"PASS", b"ACCT", b"REST", b"RETR", b"LIST", b"STAT", b"QUIT", b"NOOP", b"HELP", b"MODE", b"STRU",
    b"SITE", b"REIN", b"OPTS", b"HOST", b"DELE", b"RNTO", b"LANG", b"AUTH",
];

impl Command {
    /// Takes a line apart.
    pub(super) fn of(line: Line) -> Self {
        let end = line.text.iter().position(|byte| *byte == b' ').unwrap_or(line.text.len());
        let name = line.text.get(..end).unwrap_or_default().trim_ascii().to_ascii_uppercase();
        let argument = line.text.get(end + 1..).unwrap_or_default().to_vec();
        Self { name, argument, start: line.start, end: line.end, cut: line.cut, late: line.late }
    }

    /// What it transfers.
    pub(super) fn transfers(&self) -> Option<TransferCommand> {
        TransferCommand::of(&self.name)
    }

    /// Whether FTP has such a command.
    pub(super) fn is_known(&self) -> bool {
        self.tells() || OF_OTHERS_TOO.contains(&&self.name[..])
    }

    /// Whether only FTP has it.
    pub(super) fn tells(&self) -> bool {
        OF_FTP.contains(&&self.name[..])
    }

    /// Whether only FTP has it, of the protocols whose servers answer with three digits.
    pub(super) fn tells_where_answered(&self) -> bool {
        match &self.name[..] {
            b"USER" | b"PASS" => true,
            b"AUTH" => {
                let method = self.argument.trim_ascii().to_ascii_uppercase();
                [&b"TLS"[..], b"TLS-C", b"TLS-P", b"SSL", b"GSSAPI", b"KERBEROS_V4"].contains(&&method[..])
            }
            _ => self.tells(),
        }
    }

    /// What transfers a file whose name can be looked for.
    pub(super) fn nameable(&self) -> Option<TransferCommand> {
        // A short name may be a word of the sentence.
        self.transfers().filter(|kind| !kind.is_listing() && self.file().len() >= NAME)
    }

    /// The last part of its path.
    fn file(&self) -> &[u8] {
        self.argument.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }

    /// Whether a text has the name of the file that it transfers, as a word.
    pub(super) fn is_named_in(&self, text: &[u8]) -> bool {
        let name = self.file();
        if self.nameable().is_none() || name.len() > text.len() {
            return false;
        }
        let edge = |byte: Option<&u8>| byte.is_none_or(|byte| b" \t/\"'(),;:.".contains(byte));
        text.windows(name.len()).enumerate().any(|(at, word)| {
            word == name && edge(at.checked_sub(1).and_then(|at| text.get(at))) && edge(text.get(at + name.len()))
        })
    }

    /// Whether a reply with this code may answer it; `begun` when the end of a transfer may come next.
    pub(super) fn fits(&self, code: u16, begun: bool) -> bool {
        let own = self.own(code);
        match code {
            400.. => true,
            _ if is_of_few(code) => own,
            100..200 => self.transfers().is_some(),
            200..300 if self.transfers().is_some() => begun,
            // Those that are only ever answered with a code of theirs.
            _ => !matches!(
                &self.name[..],
                b"PASV" | b"EPSV" | b"LPSV" | b"PWD" | b"XPWD" | b"AUTH" | b"USER" | b"REST" | b"RNFR"
            ),
        }
    }

    /// Whether a code is one that few commands have, this one among them.
    pub(super) fn own(&self, code: u16) -> bool {
        match code {
            125 | 150 => self.transfers().is_some(),
            227 => self.name == b"PASV",
            228 => self.name == b"LPSV",
            229 => self.name == b"EPSV",
            257 => matches!(&self.name[..], b"PWD" | b"XPWD" | b"MKD" | b"XMKD"),
            230 | 232 | 331 | 332 => matches!(&self.name[..], b"USER" | b"PASS" | b"ACCT"),
            234 | 334 | 235 | 335 => matches!(&self.name[..], b"AUTH" | b"ADAT"),
            350 => matches!(&self.name[..], b"REST" | b"RNFR"),
            _ => false,
        }
    }
}

/// Whether only few commands have this code.
const fn is_of_few(code: u16) -> bool {
    matches!(code, 125 | 150 | 227..=230 | 232 | 234 | 235 | 257 | 331 | 332 | 334 | 335 | 350)
}
