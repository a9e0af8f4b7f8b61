//! What the commands say of a store that is not as it should be, or has nothing to give.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use common::{Data, Made, Talk, installed, json_lines, testdata, text, until};

/// A writer that dies with a bucket open; `while_it_lives` looks at it before.
fn killed(data: &Data, while_it_lives: impl FnOnce()) {
    let mut made = Made::default();
    for port in 30_000..30_010 {
        let mut talk = Talk::new(port);
        talk.open(&mut made, 0).ask(&mut made, 10, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").close(&mut made, 900);
    }
    // A tick, so that what came before is published.
    Talk::new(31_000).open(&mut made, 3_000);
    let mut child = data
        .command("ingest", &["-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&Made::header()).unwrap();
    made.frames.iter().for_each(|frame| pipe.write_all(&Made::record(frame)).unwrap());
    until("the streams can be read", || {
        let said = data.run("streams", &["--json", "port=30009"]);
        (said.code == Some(0) && !said.out.is_empty()).then_some(())
    });
    while_it_lives();
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_bucket_without_a_living_writer_is_not_open_and_what_is_not_counted_is_said() {
    let data = Data::new("lists-unsealed");
    let state = || text(&data.json("buckets", &[])[0], "state").to_owned();
    let not_counted = |kind: &str| data.json("stats", &[])[0]["not_counted"][kind].as_u64().unwrap();
    let stats = || String::from_utf8(data.run("stats", &[]).well()).unwrap();
    killed(&data, || {
        assert_eq!((state().as_str(), not_counted("open")), ("open", 1));
        assert!(stats().contains("not in what is counted below: 1 being written\n"), "{}", stats());
    });
    assert_eq!((state().as_str(), not_counted("open"), not_counted("unsealed")), ("unsealed", 0, 1));
    assert!(stats().contains("below: 1 left unsealed by a writer that died\n"), "{}", stats());
    let verified = String::from_utf8(data.run("verify", &[]).well()).unwrap();
    assert!(verified.contains("1 bucket (1 unsealed), "), "{verified}");
    // The next start makes it whole; its counters died with its writer.
    data.ingest(&[], &[&testdata("lossy-path", "capture.pcap")]);
    assert_eq!((state().as_str(), not_counted("unsealed"), not_counted("recovered")), ("recovered", 0, 1));
    assert!(stats().contains("below: 1 recovered after one died\n"), "{}", stats());
    let whole = Data::with("lists-sealed", &[&testdata("lossy-path", "capture.pcap")]);
    let stats = String::from_utf8(whole.run("stats", &[]).well()).unwrap();
    assert!(!stats.contains("not in what is counted"), "{stats}");
}

#[test]
fn verify_counts_parts_of_streams_and_says_so() {
    let data = Data::new("lists-parts");
    data.ingest(&["--bucket", "1s"], &[&testdata("nginx-downloads", "capture.pcap")]).well();
    let report = &json_lines(&data.run("verify", &["--json"]).well())[0];
    let in_buckets: u64 = data.json("buckets", &[]).iter().map(|row| row["streams"].as_u64().unwrap()).sum();
    assert_eq!(report["parts"].as_u64(), Some(in_buckets));
    assert!(in_buckets > data.streams(&[]).len() as u64, "some reach into several buckets");
    assert!(report.get("streams").is_none(), "{report}");
    let said = String::from_utf8(data.run("verify", &[]).well()).unwrap();
    assert!(said.contains(&format!(" {in_buckets} parts of streams, ")), "{said}");
}

#[test]
fn an_export_of_nothing_says_so_and_can_be_read() {
    let data = Data::with("lists-nothing", &[&testdata("lossy-path", "capture.pcap")]);
    for format in ["pcap", "pcapng"] {
        let path = data.beside(format);
        let said = data.run("export", &["--format", format, "--pcap", path.to_str().unwrap(), "ip=192.0.2.99"]);
        let wanted = format!("streamdb: 0 frames match: {} is a capture without frames\n", path.display());
        assert_eq!((said.code, said.err.as_str()), (Some(0), wanted.as_str()));
        for (program, arguments) in [("tcpdump", &["-n", "-r"][..]), ("tshark", &["-n", "-r"]), ("capinfos", &["-c"])] {
            if !installed(program) {
                println!("{program} is not installed: skipped");
                continue;
            }
            let said = Command::new(program).args(arguments).arg(&path).output().unwrap();
            assert!(said.status.success(), "{program} {format}: {}", String::from_utf8_lossy(&said.stderr));
        }
        // It is one for us, too.
        let again = Data::new("lists-nothing-again");
        assert_eq!(again.ingest(&[], &[&path]).code, Some(0), "{format}");
    }
    // Where no frames are kept, a connection has none.
    let bare = Data::new("lists-no-packets");
    bare.ingest(&["--packets", "off"], &[&testdata("lossy-path", "capture.pcap")]).well();
    let oid = text(&bare.streams(&["direction=c"])[0], "oid").to_owned();
    let said = bare.run("get", &[&oid, "--pcap", "-o", bare.beside("get").to_str().unwrap()]);
    assert_eq!(said.code, Some(0));
    assert!(said.err.contains("a capture without frames") && said.err.lines().count() == 1, "{said:?}");
    assert!(common::read_capture(&bare.beside("get")).whole);
}

#[test]
fn one_damage_is_one_sentence() {
    let data = Data::with("lists-damage", &[&testdata("imagedump", "capture.pcap")]);
    // One byte of each bucket in turn, near its beginning: in a block that many streams share.
    let bucket = fs::read_dir(data.path().join("buckets")).unwrap().map(|entry| entry.unwrap().path());
    let bucket = bucket.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&bucket).unwrap();
    bytes[6000] ^= 0x10;
    fs::write(&bucket, bytes).unwrap();
    // What is kept of objects needs no block.
    fs::remove_dir_all(data.path().join("derived")).unwrap();
    for (command, least) in [("streams", 2), ("objects", 2)] {
        let said = data.run(command, &["--json"]);
        let lines: Vec<&str> = said.err.lines().collect();
        assert_eq!((said.code, lines.len()), (Some(1), lines.iter().collect::<BTreeSet<_>>().len()), "{said:?}");
        let costs = lines.iter().filter_map(|line| line.strip_suffix(" streams cannot be read for that"));
        let costs: Vec<u64> = costs.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        assert!(costs.iter().any(|n| *n >= least), "{command}: {lines:#?}");
    }
}

#[test]
fn a_folder_of_our_making_is_for_its_owner_and_group_alone() {
    let mode = |data: &Data| fs::metadata(data.path()).unwrap().permissions().mode() & 0o7777;
    let capture = testdata("lossy-path", "capture.pcap");
    let made = Data::with("lists-private", &[&capture]);
    assert_eq!(mode(&made) & 0o027, 0, "{:o}", mode(&made));
    assert_eq!(mode(&made) & 0o700, 0o700);
    // What the umask takes away besides stays away.
    let strict = Data::new("lists-umask");
    let shell = format!(
        "umask 077; exec {} ingest --data {} {}",
        env!("CARGO_BIN_EXE_streamdb"),
        strict.path().display(),
        capture.display()
    );
    assert!(Command::new("sh").args(["-c", &shell]).stdout(Stdio::null()).status().unwrap().success());
    assert_eq!(mode(&strict), 0o700);
    // One that is there is left as it is.
    let given = Data::new("lists-given");
    fs::create_dir(given.path()).unwrap();
    fs::set_permissions(given.path(), fs::Permissions::from_mode(0o755)).unwrap();
    given.ingest(&[], &[&capture]).well();
    assert_eq!(mode(&given), 0o755);
}

#[test]
fn interfaces_come_in_the_order_of_the_capture() {
    const INTERFACES: u32 = 16;
    let block = |kind: u32, body: &[u8]| {
        let length = (12 + body.len() as u32).to_le_bytes();
        [&kind.to_le_bytes()[..], &length, body, &length].concat()
    };
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut capture = block(0x0a0d_0d0a, &words(&[0x1a2b_3c4d, 1, u32::MAX, u32::MAX]));
    // Ethernet, each with a snap length of its own.
    (0..INTERFACES).for_each(|n| capture.extend(block(1, &words(&[1, 1000 + n]))));
    (0..INTERFACES).for_each(|n| capture.extend(block(6, &words(&[n, 0, n, 16, 16, 1, 2, 3, 4]))));
    let data = Data::new("lists-interfaces");
    let path = data.write("many.pcapng", &capture);
    data.ingest(&[], &[&path]).well();
    let store = streamdb_storage::Store::open(&data.path()).unwrap();
    for _ in 0..3 {
        let lengths: Vec<u32> = store.interfaces().unwrap().iter().map(|interface| interface.snap_length).collect();
        assert_eq!(lengths, (1000..1000 + INTERFACES).collect::<Vec<_>>());
    }
}
