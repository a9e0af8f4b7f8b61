//! Facts: what is said beyond the sentence, and that nothing is said of what is not at hand.
#![allow(clippy::unwrap_used, reason = "a test without its sample has failed")]

mod common;

use common::{Program, put};
use streamdb_sniff::facts;

/// The facts as lines.
fn told(content: &[u8]) -> Vec<String> {
    facts(content).iter().map(|fact| format!("{}: {}", fact.name, fact.value)).collect()
}

#[track_caller]
fn tells(content: &[u8], expected: &[&str]) {
    assert_eq!(told(content), expected);
}

/// The values of one fact.
fn values(content: &[u8], name: &str) -> Vec<String> {
    facts(content).into_iter().filter(|fact| fact.name == name).map(|fact| fact.value).collect()
}

/// A program that imports by name and by number.
fn importing() -> Program {
    let mut program = Program::new();
    program.imports(&[
        ("KERNEL32.dll", &["LoadLibraryA", "GetProcAddress", "not a name"], &[]),
        ("WS2_32.dll", &["WSAStartup"], &[10, 115, 999]),
        ("OLEAUT32.dll", &[], &[2]),
        ("MSCOMCTL.OCX", &[], &[7]),
    ]);
    program
}

#[test]
fn windows_programs() {
    let mut program = importing();
    program.version(&[("CompanyName", "Größe AG"), ("FileVersion", "1.2.3.4"), ("Else", "x"), ("ProductName", "")]);
    program.symbols("c:\\a\\b.pdb");
    tells(
        &program.build(),
        &[
            "machine: Intel 80386",
            "subsystem: GUI",
            "type: exe",
            "sections: 1",
            "compiled: 2012-01-02T03:04:05Z",
            "signed: no",
            // pefile 2024.8.26 says so of the same file.
            "imphash: 8927d3c2f04a8a5e32c2e626d8de3412",
            "pdb: c:\\a\\b.pdb",
            "CompanyName: Größe AG",
            "FileVersion: 1.2.3.4",
            "section: .all",
        ],
    );
}

/// A part of a table gives no hash: it would be that of something else.
#[test]
fn imports_that_are_cut() {
    let whole = importing().build();
    let hash = values(&whole, "imphash");
    assert_eq!(hash.len(), 1);
    for end in 0..whole.len() {
        let seen = values(&whole[..end], "imphash");
        assert!(seen.is_empty() || seen == hash, "{end}: {seen:?}");
    }
}

#[test]
fn packers_and_installers() {
    let behind = |bytes: &[u8]| {
        let mut file = importing().build();
        file.extend(bytes);
        [values(&file, "installer"), values(&file, "overlay")].concat()
    };
    let end = importing().build().len().to_string();
    assert_eq!(behind(b""), [""; 0]);
    assert_eq!(behind(b"something"), [end.as_str()]);
    assert_eq!(behind(b"\0\0\0\0\xef\xbe\xad\xdeNullsoftInst"), ["NSIS", end.as_str()]);
    assert_eq!(behind(b"7z\xbc\xaf\x27\x1c\0\x04"), ["7-Zip self-extracting archive", end.as_str()]);
    assert_eq!(behind(b"Rar!\x1a\x07\0"), ["RAR self-extracting archive", end.as_str()]);
    assert_eq!(behind(b"PK\x03\x04"), ["zip self-extracting archive", end.as_str()]);
    assert_eq!(behind(b"rDlPtS\xcd\xe6\xd7\x7b\x0b\x2a"), ["Inno Setup", end.as_str()]);
}

/// A certificate table is no overlay, and what follows it is one.
#[test]
fn signatures() {
    let mut program = importing();
    let end = program.build().len();
    program.directory(4, end as u32, 0x100);
    let mut file = program.build();
    assert_eq!((values(&file, "signed"), values(&file, "overlay")), (vec!["yes".to_owned()], vec![]));
    put(&mut file, end + 0xff, &[1]);
    assert_eq!(values(&file, "overlay"), [""; 0]);
    file.extend(b"more");
    assert_eq!(values(&file, "overlay"), [(end + 0x100).to_string()]);
}
