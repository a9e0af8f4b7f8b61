//! What lies inside streams and bodies: found, named, typed, hashed and handed out like any other object, by the binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Data, Made, Talk, testdata, text};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What can be had of a store's objects: as rows say, and by their names.
fn objects(data: &Data) -> Vec<(Value, Vec<u8>)> {
    let rows = data.json("objects", &[]);
    rows.into_iter()
        .map(|row| {
            let bytes = data.get(text(&row, "oid"), &[]);
            assert_eq!(row["size"], bytes.len(), "{row}");
            if row["complete"] == true {
                assert_eq!(text(&row, "sha256"), sha256(&bytes), "{row}");
            }
            (row, bytes)
        })
        .collect()
}

fn rows(all: &[(Value, Vec<u8>)]) -> Vec<&Value> {
    all.iter().map(|(row, _)| row).collect()
}

/// `testdata/within`: HTTP/2, SOCKS and WebSockets of real programs.
#[test]
fn what_went_through_other_protocols_comes_out() {
    let data = Data::with("inside-within", &[&testdata("within", "capture.pcap")]);
    let mut wanted: BTreeMap<String, usize> = BTreeMap::new();
    let table = std::fs::read_to_string(testdata("within", "expected.tsv")).unwrap();
    for line in table.lines().skip(1) {
        // Which of the two is the message and which its echo shows the direction.
        let line = line.replace("\tmessage\t", "\tfile s\t").replace("\techo\t", "\tfile c\t");
        *wanted.entry(line).or_default() += 1;
    }
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for (row, bytes) in objects(&data) {
        if row["kind"] == "stream" || text(&row, "oid").rsplit('-').next().unwrap().parse::<u64>().unwrap() < 1 << 32 {
            continue;
        }
        assert_eq!(row["complete"], true, "{row}");
        let or = |name: &str| row[name].as_str().map_or_else(|| "-".to_owned(), str::to_owned);
        let kind = match text(&row, "kind") {
            "file" => format!("file {}", text(&row, "direction")),
            kind => kind.to_owned(),
        };
        let status = if kind == "response" { row["status"].to_string() } else { "-".to_owned() };
        let line = [
            format!("{}:{}", text(&row, "dst_ip"), row["dst_port"]),
            kind,
            or("protocol"),
            or("method"),
            or("host"),
            or("uri"),
            status,
            bytes.len().to_string(),
            sha256(&bytes),
        ];
        *found.entry(line.join("\t")).or_default() += 1;
    }
    let missing: Vec<&String> = wanted.keys().filter(|line| found.get(*line) != wanted.get(*line)).collect();
    assert!(missing.is_empty() && wanted == found, "missing or not as often: {missing:#?}\nfound: {found:#?}");
}

/// A mail with a program in it, by itself and in its parts; and a form with a file.
#[test]
fn mails_and_forms_are_taken_apart() {
    let program: Vec<u8> = (0..3000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let program = [b"MZ".as_slice(), &program].concat();
    let coded = program.chunks(57).map(|line| STANDARD.encode(line)).collect::<Vec<String>>().join("\r\n");
    let mail = format!(
        "From: a@one.example\r\nTo: b@two.example\r\nSubject: =?utf-8?q?R=C3=A9ponse?=\r\nMessage-ID: <7@one.example>\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"x\"\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\nSee there.\r\n\
         .\r\n--x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"invoice.exe\"\r\n\r\n{coded}\r\n--x--\r\n"
    );
    let (mut made, mut talk) = (Made::default(), Talk::new(50_000));
    talk.open(&mut made, 0).answer(&mut made, 10, b"220 two.example ESMTP\r\n");
    talk.ask(&mut made, 20, b"EHLO one.example\r\n").answer(&mut made, 30, b"250-two.example\r\n250 PIPELINING\r\n");
    talk.ask(&mut made, 40, b"MAIL FROM:<a@one.example>\r\nRCPT TO:<b@two.example>\r\nDATA\r\n");
    talk.answer(&mut made, 50, b"250 ok\r\n250 ok\r\n354 go on\r\n");
    talk.ask(&mut made, 60, format!("{}.\r\n", mail.replace("\r\n.", "\r\n..")).as_bytes());
    talk.answer(&mut made, 70, b"250 taken\r\n").ask(&mut made, 80, b"QUIT\r\n").answer(&mut made, 90, b"221 bye\r\n");
    talk.close(&mut made, 100);

    let form = [
        b"--y\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n--y\r\nContent-Disposition: form-data; name=\"f\"; \
          filename=\"up.exe\"\r\nContent-Type: image/png\r\n\r\n"
            .as_slice(),
        &program,
        b"\r\n--y--\r\n",
    ]
    .concat();
    let request = format!(
        "POST /up HTTP/1.1\r\nHost: up.example\r\nContent-Type: multipart/form-data; boundary=y\r\nContent-Length: {}\r\n\r\n",
        form.len()
    );
    let mut talk = Talk::new(50_001);
    talk.open(&mut made, 200).ask(&mut made, 210, &[request.as_bytes(), &form].concat());
    talk.answer(&mut made, 220, b"HTTP/1.1 204 No Content\r\n\r\n").close(&mut made, 230);
    let data = Data::new("inside-mail");
    let capture = data.write("mail.pcap", &made.file());
    data.ingest(&[], &[&capture]).well();

    let all = objects(&data);
    let named = |name: &str| {
        let mut with_it = all.iter().filter(|(row, _)| row["filename"] == name);
        let found = with_it.next().unwrap_or_else(|| panic!("no {name} in {:#?}", rows(&all)));
        assert!(with_it.next().is_none(), "{name} twice");
        (&found.0, found.1.as_slice())
    };
    let (row, bytes) = named("7@one.example.eml");
    assert_eq!(String::from_utf8_lossy(bytes), mail);
    assert_eq!((&row["protocol"], &row["method"], &row["complete"]), (&"smtp".into(), &"DATA".into(), &true.into()));
    assert_eq!(row["uri"], "mailto:b@two.example?from=a@one.example");
    let (row, bytes) = named("invoice.exe");
    assert_eq!(bytes, program);
    assert_eq!((&row["kind"], &row["complete"]), (&"part".into(), &true.into()));
    assert!(all.iter().any(|(_, bytes)| bytes == b"See there.\r\n."), "dots are undone in parts");
    let (row, bytes) = named("up.exe");
    assert_eq!(bytes, program);
    assert_eq!((&row["kind"], &row["uri"], &row["host"]), (&"part".into(), &"/up".into(), &"up.example".into()));
    assert_eq!(row["declared_type"], "image/png");
    // They are found as any other object is, in an index and in contents.
    for words in [&["name=*.exe"][..], &["name=*.exe", "pcre=^MZ"], &[&*format!("sha256={}", sha256(&program))]] {
        assert_eq!(data.json("objects", words).len(), 2, "{words:?}");
    }
}

/// A file comes over a connection that another one tells of; so does one that goes there, and one of which the end was not sent.
#[test]
fn files_of_ftp_are_named_by_their_control_connection() {
    let (mut made, mut control) = (Made::default(), Talk::new(50_000));
    let mut millis = 0;
    let mut next = || {
        millis += 10;
        millis
    };
    control.open(&mut made, next()).answer(&mut made, next(), b"220 files\r\n");
    for (ask, answer) in [
        ("USER ann lee", "331 password"),
        ("PASS x", "230 in"),
        ("CWD /pub/new", "250 there"),
        ("PWD", "257 \"/pub/new\""),
        ("TYPE I", "200 image"),
    ] {
        control.ask(&mut made, next(), format!("{ask}\r\n").as_bytes());
        control.answer(&mut made, next(), format!("{answer}\r\n").as_bytes());
    }
    let program = [b"MZ".as_slice(), &[7; 4000]].concat();
    for (port, command, taken, reply) in [
        (50_001, "RETR tool.exe", true, Some("226 done")),
        (50_002, "STOR up.txt", false, Some("226 done")),
        (50_003, "RETR broken.exe", true, Some("426 broken off")),
        (50_004, "RETR last.exe", true, None),
    ] {
        control.ask(&mut made, next(), b"PASV\r\n");
        control.answer(&mut made, next(), b"227 Entering Passive Mode (203,0,113,9,0,80)\r\n");
        control.ask(&mut made, next(), format!("{command}\r\n").as_bytes());
        let mut data = Talk::new(port);
        data.open(&mut made, next());
        control.answer(&mut made, next(), b"150 opening\r\n");
        if taken {
            data.answer(&mut made, next(), &program);
        } else {
            data.ask(&mut made, next(), b"some notes\n");
        }
        data.close(&mut made, next());
        if let Some(reply) = reply {
            control.answer(&mut made, next(), format!("{reply}\r\n").as_bytes());
        }
    }
    control.close(&mut made, next());
    let data = Data::new("inside-ftp");
    let capture = data.write("ftp.pcap", &made.file());
    data.ingest(&[], &[&capture]).well();

    let all = objects(&data);
    for (name, method, reason, bytes) in [
        ("tool.exe", "RETR", None, &program[..]),
        ("up.txt", "STOR", None, b"some notes\n"),
        ("broken.exe", "RETR", Some("closed-early"), &program),
        ("last.exe", "RETR", Some("unsure"), &program),
    ] {
        let (row, found) =
            all.iter().find(|(row, _)| row["filename"] == name).unwrap_or_else(|| panic!("{name}: {:#?}", rows(&all)));
        assert_eq!(found, bytes);
        assert_eq!(
            (&row["protocol"], &row["method"], &row["complete"], row["reason"].as_str()),
            (&"ftp".into(), &method.into(), &reason.is_none().into(), reason)
        );
        assert_eq!(row["uri"], format!("ftp://ann%20lee@203.0.113.9:80/%2Fpub/new/{name}"));
    }
    assert_eq!(data.json("objects", &["name=*.exe", "incomplete=1"]).len(), 2);
    data.run("verify", &["--deep"]).well();
}
