//! Programs that lie in other content, under a key, in letters or somewhere in a stream: objects of their own, and what is known of
//! them beyond a sentence.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Data, Made, Talk, text};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

/// A Windows program of 1,536 bytes, the smallest that has a section.
fn program(fill: u8) -> Vec<u8> {
    let mut b = vec![0; 0x200];
    let mut put = |at: usize, bytes: &[u8]| b[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff");
    put(0x3c, &0x80_u32.to_le_bytes());
    put(0x4e, b"This program cannot be run in DOS mode.\r\r\n$");
    put(0x80, b"PE\0\0\x4c\x01\x01\0");
    put(0x88, &1_330_000_000_u32.to_le_bytes());
    put(0x94, &224_u16.to_le_bytes());
    put(0x96, &0x102_u16.to_le_bytes());
    put(0x98, &0x10b_u16.to_le_bytes());
    put(0xdc, &2_u16.to_le_bytes());
    put(0xf4, &16_u32.to_le_bytes());
    put(0x178, b".text");
    put(0x188, &0x400_u32.to_le_bytes());
    put(0x18c, &0x200_u32.to_le_bytes());
    b.resize(0x600, fill);
    b
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xored(bytes: &[u8], key: &[u8]) -> Vec<u8> {
    bytes.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

/// An answer of HTTP to a question for this path.
fn page(made: &mut Made, port: u16, path: &str, kind: &str, body: &[u8]) {
    let mut talk = Talk::new(port);
    let millis = u64::from(port) * 100;
    talk.open(made, millis);
    talk.ask(made, millis + 1, format!("GET {path} HTTP/1.1\r\nHost: files.example\r\n\r\n").as_bytes());
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    talk.answer(made, millis + 2, &[head.as_bytes(), body].concat()).close(made, millis + 3);
}

fn stored(name: &str, made: &Made) -> Data {
    let data = Data::new(name);
    let capture = data.write("made.pcap", &made.file());
    data.ingest(&[], &[&capture]).well();
    data
}

/// The file inside the answer from this path: its row and its bytes.
fn inside(data: &Data, path: &str) -> (Value, Vec<u8>) {
    let mut rows = data.json("objects", &["kind=file", &format!("uri={path}")]);
    assert_eq!(rows.len(), 1, "{path}: {rows:#?}");
    let row = rows.remove(0);
    let bytes = data.run("get", &[text(&row, "oid")]).out;
    (row, bytes)
}

#[test]
fn programs_in_letters_and_under_keys_are_objects() {
    let program = program(7);
    let script = format!("var p = \"{}\";\nrun(p);\n", base64(&program));
    let digits: String = program.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    let header = b"\x01\x02GIF89a-like header";
    let key: Vec<u8> = (1..=29).map(|n| n * 7).collect();
    let cases: [(&str, &str, Vec<u8>); 6] = [
        ("/script.js", "text/javascript", script.into_bytes()),
        ("/plain.txt", "text/plain", base64(&program).into_bytes()),
        ("/digits.c", "text/plain", format!("char b[] = \"{digits}\";").into_bytes()),
        ("/packed.gz", "application/gzip", gzip(&program)),
        ("/key.bin", "image/gif", xored(&program, b"k3y")),
        ("/behind.bin", "image/gif", [&header[..], &xored(&program, &key)].concat()),
    ];
    let mut made = Made::default();
    for (port, (path, kind, body)) in (50_000..).zip(&cases) {
        page(&mut made, port, path, kind, body);
    }
    // One that is broken off says so, and one whose answer is coded on its way is as whole as it.
    let cut = base64(&program);
    let mut talk = Talk::new(51_000);
    talk.open(&mut made, 9_000_000).ask(&mut made, 9_000_001, b"GET /cut.txt HTTP/1.1\r\nHost: files.example\r\n\r\n");
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", cut.len(), &cut[..1200]);
    talk.answer(&mut made, 9_000_002, head.as_bytes()).close(&mut made, 9_000_003);
    let coded = gzip(base64(&program).as_bytes());
    let mut talk = Talk::new(51_001);
    talk.open(&mut made, 9_000_100).ask(
        &mut made,
        9_000_101,
        b"GET /coded.txt HTTP/1.1\r\nHost: files.example\r\n\r\n",
    );
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", coded.len());
    talk.answer(&mut made, 9_000_102, &[head.as_bytes(), &coded].concat()).close(&mut made, 9_000_103);
    let data = stored("unwrapped-http", &made);

    for path in cases.iter().map(|(path, ..)| *path).chain(["/coded.txt"]) {
        let (row, bytes) = inside(&data, path);
        assert!(bytes == program, "{path}: {} bytes of {}", bytes.len(), program.len());
        assert_eq!((&row["complete"], &row["host"]), (&true.into(), &"files.example".into()), "{path}");
        assert!(text(&row, "description").starts_with("PE32 executable (GUI) Intel 80386"), "{path}: {row}");
        let facts = &row["facts"];
        assert_eq!((&facts["machine"][0], &facts["signed"][0]), (&"Intel 80386".into(), &"no".into()), "{facts}");
        assert_eq!(facts["compiled"][0], "2012-02-23T12:26:40Z");
    }
    let (row, bytes) = inside(&data, "/cut.txt");
    assert_eq!((&row["complete"], &row["reason"]), (&false.into(), &"closed-early".into()));
    assert!(program.starts_with(&bytes) && bytes.len() == 900, "{}", bytes.len());
    // All of them are one content, and found by what is known of it.
    assert_eq!(data.json("objects", &["fact=^compiled: 2012-02-23", "incomplete=0"]).len(), cases.len() + 1);
    assert_eq!(data.json("objects", &["fact=^wraps: PE32", "host=files.example"]).len(), cases.len());
    data.run("verify", &["--deep"]).well();
}

/// Behind a protocol that nobody knows lie two programs and a document, each with the length that its own format says.
#[test]
fn files_lie_in_streams_of_no_known_protocol() {
    let (one, two) = (program(1), program(2));
    let pdf = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n";
    let said = [b"\x05\x00\x12greetings to nobody".as_slice(), &one, b"\0\0between\0", pdf, &[0xee; 99], &two, b"bye"];
    let (mut made, mut talk) = (Made::default(), Talk::new(50_000));
    talk.open(&mut made, 0).ask(&mut made, 1, b"\x05\x00hello").answer(&mut made, 2, &said.concat());
    talk.close(&mut made, 3);
    // The same, without the end of the second program.
    let mut talk = Talk::new(50_001);
    talk.open(&mut made, 100).answer(&mut made, 102, &[said[..5].concat(), two[..1000].to_vec()].concat());
    talk.close(&mut made, 103);
    // One that the stream ends with is whole.
    let mut talk = Talk::new(50_002);
    talk.open(&mut made, 200).answer(&mut made, 202, &[b"\x05\x00\x01", &one[..]].concat()).close(&mut made, 203);
    let data = stored("unwrapped-stream", &made);
    let files = |port: u16| {
        let rows = data.json("objects", &["kind=file", &format!("srcport={port}")]);
        let files = rows.into_iter().map(|row| (data.run("get", &[text(&row, "oid")]).out, row["complete"] == true));
        files.collect::<Vec<_>>()
    };
    let pdf = &pdf[..pdf.len() - 1];
    let found = files(50_000);
    assert_eq!(found.len(), 3);
    for ((bytes, complete), wanted) in found.iter().zip([&one[..], pdf, &two]) {
        assert!(bytes.starts_with(wanted) && bytes.len() <= wanted.len() + 1, "{} bytes", bytes.len());
        // A program may have more behind its last section than its headers say.
        assert_eq!(*complete, wanted == pdf, "{} bytes", bytes.len());
    }
    let found = files(50_001);
    assert_eq!(found.iter().map(|(_, complete)| *complete).collect::<Vec<_>>(), [false, true, false]);
    assert!(found[2].0 == two[..1000]);
    assert!(files(50_002) == [(one, true)]);
    data.run("verify", &["--deep"]).well();
}

/// A mail, and in it a script, and in that a program.
#[test]
fn programs_are_found_in_what_mails_carry() {
    let script = format!("s = '{}'\r\n", base64(&program(3)));
    let mail = format!(
        "From: a@one.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"x\"\r\n\r\n--x\r\n\
         Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"s.js\"\r\n\r\n{}\r\n--x--\r\n",
        base64(script.as_bytes())
    );
    let (mut made, mut talk) = (Made::default(), Talk::new(50_000));
    talk.open(&mut made, 0).answer(&mut made, 10, b"220 two.example ESMTP\r\n");
    talk.ask(&mut made, 20, b"EHLO one.example\r\n").answer(&mut made, 30, b"250 two.example\r\n");
    talk.ask(&mut made, 40, b"MAIL FROM:<a@one.example>\r\n").answer(&mut made, 41, b"250 ok\r\n");
    talk.ask(&mut made, 42, b"RCPT TO:<b@two.example>\r\n").answer(&mut made, 43, b"250 ok\r\n");
    talk.ask(&mut made, 44, b"DATA\r\n").answer(&mut made, 45, b"354 go on\r\n");
    talk.ask(&mut made, 60, format!("{mail}.\r\n").as_bytes()).answer(&mut made, 70, b"250 taken\r\n");
    talk.ask(&mut made, 80, b"QUIT\r\n").answer(&mut made, 90, b"221 bye\r\n").close(&mut made, 100);
    let data = stored("unwrapped-mail", &made);
    let rows = data.json("objects", &["kind=file", "fact=^subsystem: "]);
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert_eq!(data.get(text(&rows[0], "oid"), &[]), program(3));
    assert_eq!((&rows[0]["protocol"], &rows[0]["complete"]), (&"smtp".into(), &true.into()));
    data.run("verify", &["--deep"]).well();
}
