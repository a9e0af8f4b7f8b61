//! Scripts: by the interpreter that the first line names, or by words that are at home in one language.

use crate::bytes::{find, first, from, starts_with};

/// How many bytes the words are looked for in.
const WORDS: usize = 2048;

/// MIME type, sentence, extension.
type Language = (&'static str, &'static str, &'static str);

/// A script by its first line, `#!/usr/bin/env python3` or the like.
pub(crate) fn by_interpreter(words: &[u8]) -> Language {
    let line = first(words, memchr::memchr2(b'\n', b'\r', words).unwrap_or(words.len()));
    let mut parts = from(line, 2).split(u8::is_ascii_whitespace).filter(|part| !part.is_empty());
    let name = |path: &[u8]| -> Vec<u8> { path.rsplit(|b| *b == b'/').next().unwrap_or_default().to_vec() };
    let mut program = parts.next().map(name).unwrap_or_default();
    if program == b"env" {
        // Options and settings of env come before the program.
        let given = parts.find(|part| !part.starts_with(b"-") && !part.contains(&b'='));
        program = given.map(name).unwrap_or_default();
    }
    // python3.11 is python.
    let end = program.iter().position(|b| b.is_ascii_digit() || *b == b'-').unwrap_or(program.len());
    match first(&program, end) {
        b"sh" => ("text/x-shellscript", "POSIX shell script", "sh"),
        b"bash" => ("text/x-shellscript", "Bourne-Again shell script", "sh"),
        b"dash" => ("text/x-shellscript", "dash script", "sh"),
        b"ksh" | b"mksh" => ("text/x-shellscript", "Korn shell script", "sh"),
        b"zsh" => ("text/x-shellscript", "Paul Falstad's zsh script", "sh"),
        b"csh" => ("text/x-shellscript", "C shell script", "sh"),
        b"tcsh" => ("text/x-shellscript", "Tenex C shell script", "sh"),
        b"ash" => ("text/x-shellscript", "Neil Brown's ash script", "sh"),
        b"fish" => ("text/x-shellscript", "fish shell script", "sh"),
        b"python" | b"pypy" => ("text/x-python", "Python script", "py"),
        b"perl" => ("text/x-perl", "Perl script", "pl"),
        b"ruby" => ("text/x-ruby", "Ruby script", "rb"),
        b"node" | b"nodejs" => ("text/javascript", "Node.js script", "js"),
        b"php" => ("text/x-php", "PHP script", "php"),
        b"lua" => ("text/x-lua", "Lua script", "lua"),
        b"awk" | b"gawk" | b"mawk" => ("text/x-awk", "awk script", "awk"),
        b"make" => ("text/x-makefile", "makefile script", ""),
        b"tclsh" | b"wish" | b"expect" => ("text/x-tcl", "Tcl/Tk script", "tcl"),
        b"pwsh" | b"powershell" => ("text/x-powershell", "PowerShell script", "ps1"),
        b"osascript" => ("text/x-applescript", "AppleScript script", "scpt"),
        _ => ("text/plain", "script", "txt"),
    }
}

/// A script by its words. One word makes none: people write about scripts, too.
pub(crate) fn by_words(words: &[u8]) -> Option<Language> {
    let words = first(words, WORDS);
    if starts_with(words, b"@echo ") || starts_with(words, b"@rem ") || starts_with(words, b"echo off") {
        return Some(("text/x-msdos-batch", "DOS batch file", "bat"));
    }
    let mut lower = [0; WORDS];
    for (to, byte) in lower.iter_mut().zip(words) {
        *to = byte.to_ascii_lowercase();
    }
    let lower = first(&lower, words.len());
    let count = |list: &[&[u8]]| list.iter().filter(|word| find(lower, word).is_some()).count();
    let lines = Lines::of(lower);

    let sure = count(&[b"string.fromcharcode(", b"document.write(", b"eval(function(", b".charcodeat("]);
    if lines.script + sure + 2 * count(&[b"new activexobject("]) >= 2 {
        return Some(("text/javascript", "JavaScript source", "js"));
    }
    let sure = count(&[
        b"new-object ",
        b"invoke-expression",
        b"invoke-webrequest",
        b"write-host",
        b"$erroractionpreference",
        b"[system.convert]",
        b"[cmdletbinding",
        b".downloadstring(",
        b"set-executionpolicy",
        b"import-module ",
        b"start-process ",
        b"::frombase64string(",
        b"[reflection.assembly]::",
        b"invoke-restmethod",
        b"invoke-command",
        b"$env:",
    ]);
    if sure + lines.power >= 2 && sure > 0 {
        return Some(("text/x-powershell", "PowerShell script", "ps1"));
    }
    let sure = count(&[b"createobject(", b"wscript.", b"on error resume next"]);
    if sure + lines.basic >= 2 && sure > 0 {
        return Some(("text/vbscript", "VBScript source", "vbs"));
    }
    (lines.python >= 2).then_some(("text/x-python", "Python script", "py"))
}

/// How many lines begin as they do in these languages.
#[derive(Default)]
struct Lines {
    script: usize,
    power: usize,
    basic: usize,
    python: usize,
}

impl Lines {
    /// `text` is in lower case.
    fn of(text: &[u8]) -> Self {
        let mut seen = Self::default();
        for line in text.split(|b| matches!(b, b'\n' | b'\r')) {
            let line = line.trim_ascii();
            let Some(first_byte) = line.first() else { continue };
            match first_byte {
                b'v' | b'l' | b'c' if declares(line) => seen.script += 1,
                b'f' if line.starts_with(b"function ") && find(line, b"(").is_some() => {
                    // Shells and PowerShell have functions too, but no names in the parentheses.
                    seen.script += usize::from(find(line, b"()").is_none() || line.ends_with(b"}"));
                }
                b'f' if line.starts_with(b"from ") && find(line, b" import ").is_some() => seen.python += 2,
                b'i' if line.starts_with(b"import ") => {
                    // What is imported without a name is no sign: schemas of protocol buffers are full of it.
                    if line.ends_with(b"';") || line.ends_with(b"\";") || line.ends_with(b"'") {
                        seen.script += 2 * usize::from(find(line, b" from ").is_some());
                    } else if !line.contains(&b';') && !line.contains(&b'"') && !line.ends_with(b".") {
                        seen.python += 1;
                    }
                }
                b'd' if line.starts_with(b"def ") && line.ends_with(b":") => seen.python += 2,
                b'd' if line.starts_with(b"dim ") => seen.basic += 1,
                b's' if line.starts_with(b"set ") && find(line, b" = ").is_some() => seen.basic += 1,
                b's' if line.starts_with(b"sub ") => seen.basic += 1,
                b'e' if line.starts_with(b"end sub") || line.starts_with(b"end function") => seen.basic += 1,
                b'$' | b'[' => seen.power += 1,
                b'p' if line.starts_with(b"param(") || line.starts_with(b"param (") => seen.power += 1,
                b'(' | b'!' | b';' => {
                    let begins = line.trim_ascii_start();
                    let begins = begins.strip_prefix(b";").unwrap_or(begins);
                    let called = [&b"(function"[..], b"!function", b"!(function", b"(()=>", b"(() =>"];
                    // In Lisp that quotes a function.
                    let called = called.iter().any(|call| {
                        begins.strip_prefix(*call).is_some_and(|rest| call.ends_with(b">") || rest.contains(&b'('))
                    });
                    seen.script += 2 * usize::from(called);
                }
                b'"' | b'\'' => {
                    seen.script += 2 * usize::from(matches!(line.get(1..11), Some(b"use strict")));
                }
                b'm' if line.starts_with(b"module.exports") => seen.script += 2,
                b'w' if line.starts_with(b"window.") => seen.script += 2,
                b'd' if line.starts_with(b"document.") || line.starts_with(b"define([") => seen.script += 2,
                b'e' if [&b"export default "[..], b"export const ", b"export function ", b"export {"]
                    .iter()
                    .any(|word| line.starts_with(word)) =>
                {
                    seen.script += 2;
                }
                _ => {}
            }
        }
        seen
    }
}

/// `var name =`, and the same with `let` and `const`.
fn declares(line: &[u8]) -> bool {
    let rest = [&b"var "[..], b"let ", b"const "].iter().find_map(|word| line.strip_prefix(*word));
    let Some(rest) = rest.map(<[u8]>::trim_ascii_start) else { return false };
    let name = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'{' | b'}')).count();
    name > 0 && matches!(from(rest, name).trim_ascii_start().first(), Some(b'=' | b';' | b','))
}
