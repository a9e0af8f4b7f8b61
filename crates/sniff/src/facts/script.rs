//! Facts of scripts and pages: the words in them by which they fetch, unpack or run something, and the addresses they name.

use super::Facts;
use crate::bytes::{contains, find, first, from};

/// How many bytes are looked at.
const LOOK: usize = 1 << 20;
/// The most addresses that are told.
const ADDRESSES: usize = 16;

/// Words in lower case, as they are told, by the MIME types of the scripts that they mean something in.
const WORDS: [(&str, &[&str]); 6] = [
    (
        "text/x-powershell",
        &[
            "-encodedcommand",
            "frombase64string",
            "invoke-expression",
            "iex",
            "downloadstring",
            "downloadfile",
            "invoke-webrequest",
            "start-bitstransfer",
            "reflection.assembly",
            "virtualalloc",
            "add-mppreference",
            "amsiutils",
            "start-process",
            "-executionpolicy",
            "gzipstream",
        ],
    ),
    ("text/vbscript", BASIC),
    ("application/hta", BASIC),
    ("text/javascript", BASIC),
    (
        "text/x-php",
        &[
            "eval(",
            "assert(",
            "base64_decode(",
            "gzinflate(",
            "str_rot13(",
            "system(",
            "shell_exec(",
            "passthru(",
            "proc_open(",
            "move_uploaded_file(",
            "create_function(",
            "fsockopen(",
        ],
    ),
    (
        "text/x-python",
        &["exec(", "eval(", "b64decode", "subprocess", "os.system(", "socket.socket", "ctypes", "marshal"],
    ),
];
const BASIC: &[&str] = &[
    "wscript.shell",
    "shell.application",
    "adodb.stream",
    "msxml2.xmlhttp",
    "winhttp.winhttprequest",
    "scripting.filesystemobject",
    "activexobject",
    "powershell",
    "eval(",
    "execute(",
    "unescape(",
    "fromcharcode",
    "child_process",
];
const SHELL: &[&str] = &[
    "curl ",
    "wget ",
    "base64 -d",
    "base64 --decode",
    "chmod +x",
    "/dev/tcp/",
    "eval ",
    "nohup ",
    "crontab",
    "ld_preload",
];

pub(super) fn look(content: &[u8], mime: &str, facts: &mut Facts) {
    let words = match mime {
        "text/x-shellscript" => SHELL,
        _ => match WORDS.iter().find(|(of, _)| *of == mime) {
            Some((_, words)) => words,
            None => return,
        },
    };
    let narrow: Vec<u8>;
    let mut text = first(content, LOOK);
    // Windows' own scripts are often in UTF-16, whose plain letters have a zero each.
    if let [0xff, 0xfe, rest @ ..] = text {
        narrow = rest.iter().step_by(2).copied().collect();
        text = &narrow;
    }
    for word in words {
        let there = match word {
            // As a word of its own: three letters are in many.
            &"iex" => [&b"iex "[..], b"iex(", b"|iex", b"| iex"].iter().any(|word| contains(text, word)),
            _ => contains(text, word.as_bytes()),
        };
        if there {
            facts.say("uses", word.trim_end_matches(['(', ' ']));
        }
    }
    let mut rest = text;
    let mut told = 0;
    while let Some(at) = find(rest, b"://") {
        let scheme = first(rest, at);
        let begins = [&b"https"[..], b"http", b"ftp"]
            .into_iter()
            .find(|known| from(scheme, scheme.len().saturating_sub(known.len())).eq_ignore_ascii_case(known));
        let behind = from(rest, at + 3);
        let end =
            behind.iter().take(1024).take_while(|b| b.is_ascii_graphic() && !b"\"'`<>(){},;|".contains(b)).count();
        if let Some(scheme) = begins
            && end > 0
            && told < ADDRESSES
        {
            told += 1;
            facts.quote("url", &[scheme, b"://", first(behind, end)].concat());
        }
        rest = from(behind, end);
    }
}
