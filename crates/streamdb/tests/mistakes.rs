//! What users do wrong, and the one sentence that they get for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Data, Said, command, streamdb, testdata, text, until, wait};

fn capture() -> PathBuf {
    testdata("lossy-path", "capture.pcap")
}

/// A data folder with a capture in it.
fn store(name: &str) -> Data {
    Data::with(name, &[&capture()])
}

/// That the program ended with this one sentence, in which `PATH` stands for a path.
#[track_caller]
fn assert_sentence(said: &Said, path: &Path, wanted: &str) {
    assert_eq!(said.sentence(), wanted.replace("PATH", path.to_str().unwrap()));
}

/// That the command line was refused, with a sentence that begins like this and names the help.
#[track_caller]
fn assert_misused(said: &Said, wanted: &str) {
    assert_eq!(said.code, Some(2), "{said:?}");
    let sentence = said.err.strip_prefix("streamdb: ").and_then(|rest| rest.strip_suffix(" --help` has more\n"));
    let sentence = sentence.unwrap_or_else(|| panic!("{said:?}"));
    assert!(!sentence.contains('\n'), "more than one sentence: {}", said.err);
    assert!(sentence.starts_with(wanted), "{sentence}");
}

#[test]
fn files_that_are_no_captures() {
    let data = Data::new("mistakes-files");
    let missing = data.beside("missing.pcap");
    assert_sentence(
        &data.ingest(&[], &[&missing]),
        &missing,
        "PATH: cannot be opened: No such file or directory (os error 2)",
    );
    assert_sentence(&data.ingest(&[], &[Path::new("/")]), Path::new("/"), "PATH: cannot be opened: is a directory");
    assert!(!data.path().exists(), "a mistake leaves nothing behind");
    let capture = fs::read(capture()).unwrap();
    for (name, bytes, wanted) in [
        ("empty", &b""[..], "PATH: is empty: expected a capture (pcap or pcapng, plain, gzip or zstd)"),
        (
            "text",
            b"not a capture at all",
            "PATH: not a capture: it begins with 6e 6f 74 20 61 20 63 61; pcap and pcapng are read, plain or compressed by \
             gzip or zstd",
        ),
        (
            "archive.zip",
            b"PK\x03\x04 and so on, and so on",
            "PATH: not a capture: it is a zip archive; pcap and pcapng are read, plain or compressed by gzip or zstd",
        ),
        (
            "header",
            &capture[..20],
            "PATH: truncated at byte 0: expected a file header of 24 bytes, found 20 of them; no whole frame is before it",
        ),
    ] {
        let path = data.write(name, bytes);
        // The second time too: what was not stored was not ingested.
        for _ in 0..2 {
            assert_sentence(&data.ingest(&[], &[&path]), &path, wanted);
        }
    }
    assert_eq!(data.export().frames.len(), 0);
    data.is_well();
}

#[test]
fn a_truncated_capture_is_stored_up_to_its_damage() {
    let data = Data::new("mistakes-cut");
    let bytes = fs::read(capture()).unwrap();
    let cut = data.write("cut.pcap", &bytes[..5000]);
    let said = data.ingest(&["--json"], &[&cut]);
    let wanted = "PATH: truncated at byte 3980: expected a record of 1530 bytes, found 1020 of them; the 11 frames before it \
                  were read";
    assert_sentence(&said, &cut, wanted);
    let summary = &common::json_lines(&said.out)[0];
    assert_eq!((&summary["frames"], &summary["errors"][0]), (&11.into(), &said.sentence().into()));
    assert_eq!(data.export().differs(&common::read_capture(&capture()).frames[..11]), None);
    data.is_well();
    // The others of one command are stored all the same.
    let both = Data::new("mistakes-both");
    let said = both.ingest(&[], &[&cut, &capture()]);
    assert_sentence(&said, &cut, wanted);
    assert_eq!(both.export().frames.len(), 11 + 331);
}

#[test]
fn filters_that_say_nothing() {
    let data = store("mistakes-filters");
    for (command, flags, wanted) in [
        ("streams", &["scrip=10.0.0.5"][..], "there is no parameter \"scrip\"; did you mean srcip?"),
        ("streams", &["colour=red"], "there is no parameter \"colour\""),
        ("streams", &["10.0.0.5"], "\"10.0.0.5\" is no filter: name=value is wanted, as in srcip=10.0.0.5"),
        (
            "export",
            &["--pcap", "-", "port=http"],
            "port: \"http\" is not accepted; it takes port numbers from 0 to 65535, as in 80 or 80,443, and ! in front for \
             all others",
        ),
    ] {
        let said = data.run(command, flags);
        assert_eq!((said.sentence(), said.out.len()), (wanted, 0));
    }
    let fresh = Data::new("mistakes-capture-filter");
    let said = fresh.ingest(&["--filter", "tcp prt 80"], &[&capture()]);
    let begin = "the filter 'tcp prt 80' cannot be used on link type 1: ";
    // The rest is libpcap's.
    assert!(said.sentence().starts_with(begin) && said.sentence().len() > begin.len(), "{}", said.sentence());
    assert!(!fresh.path().exists());
}

#[test]
fn folders_that_are_not_ours() {
    let place = Data::new("mistakes-folders");
    fs::create_dir(place.path()).unwrap();
    fs::write(place.path().join("thesis.tex"), "years of work").unwrap();
    let folder = place.path();
    let foreign = "PATH: this folder is not empty and is no StreamDB data folder; name an empty or a new one";
    assert_sentence(&place.ingest(&[], &[&capture()]), &folder, foreign);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing was added");
    let none = "PATH: there is no StreamDB data folder here; `streamdb ingest --data PATH FILE` makes one";
    for (command, flags) in [
        ("streams", &[][..]),
        ("stats", &[]),
        ("buckets", &[]),
        ("verify", &[]),
        ("get", &["1-2-3-4"]),
        ("export", &["--pcap", "-"]),
        ("serve", &["--listen", "127.0.0.1:0"]),
    ] {
        assert_sentence(&place.run(command, flags), &folder, none);
        let nowhere = Data::new("mistakes-nowhere");
        assert_sentence(&nowhere.run(command, flags), &nowhere.path(), none);
        assert!(!nowhere.path().exists());
    }
}

#[test]
fn folders_that_cannot_be_written() {
    let place = Data::new("mistakes-unwritable");
    // Nobody can make a folder there, the superuser included.
    let folder = Path::new("/proc/streamdb");
    let said = streamdb(["ingest", "--data", "/proc/streamdb", capture().to_str().unwrap()]);
    assert_sentence(&said, folder, "PATH: could not make the folder: No such file or directory (os error 2)");

    let file = place.write("file", b"x");
    let said = streamdb([Path::new("ingest"), Path::new("--data"), &file, &capture()]);
    let no_folder = "PATH: this is a file, and a data folder is wanted; name the folder";
    assert_sentence(&said, &file, no_folder);
    for command in ["streams", "stats", "verify", "derive"] {
        assert_sentence(&streamdb([Path::new(command), Path::new("--data"), &file]), &file, no_folder);
    }

    let closed = place.beside("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::create_dir(closed.join("probe")).is_ok() {
        return println!("this user may write anywhere: skipped");
    }
    let data = closed.join("data");
    let said = streamdb([Path::new("ingest"), Path::new("--data"), &data, &capture()]);
    assert_sentence(&said, &data, "PATH: could not make the folder: Permission denied (os error 13)");
}

#[test]
fn folders_that_one_may_not_look_into() {
    let data = store("mistakes-not-allowed");
    let path = data.path();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser looks into everything, and so asks as another user.
    let superuser = rustix::process::geteuid().is_root();
    let ask = |arguments: &[&str]| {
        let mut command = command(arguments);
        if superuser {
            command.uid(65_534).gid(65_534);
        }
        command.output()
    };
    if !ask(&["--version"]).is_ok_and(|said| said.status.success()) || !may_reach(&path, superuser) {
        return println!("no other user may reach this folder: skipped");
    }
    let capture = capture();
    let (folder, capture) = (path.to_str().unwrap(), capture.to_str().unwrap());
    let wanted = format!(
        "streamdb: {folder}: this user may not look into this folder; ask as the user who owns it (sudo -u), or let its owner \
         give it to a group of yours: chgrp GROUP {folder} && chmod g+rx {folder}\n"
    );
    for arguments in [
        &["streams", "--data", folder][..],
        &["serve", "--data", folder, "--listen", "127.0.0.1:0"],
        &["ingest", "--data", folder, capture],
        &["hold", "--data", folder, "--list"],
    ] {
        let said = ask(arguments).unwrap();
        assert_eq!((said.status.code(), String::from_utf8(said.stderr).unwrap()), (Some(1), wanted.clone()));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Whether another user may come as far as the folder that this lies in.
fn may_reach(path: &Path, superuser: bool) -> bool {
    let mut list = Command::new("ls");
    if superuser {
        list.uid(65_534).gid(65_534);
    }
    list.arg(path.parent().unwrap()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

#[test]
fn a_file_is_taken_once() {
    let data = store("mistakes-again");
    let said = data.ingest(&[], &[&capture()]);
    let begin = format!("{}: already ingested at ", capture().display());
    let time = said.sentence().strip_prefix(&begin).and_then(|rest| rest.split_once(';'));
    let (time, rest) = time.unwrap_or_else(|| panic!("{}", said.sentence()));
    assert_eq!(rest, " give --again to store it a second time");
    assert!(time.starts_with("20") && time.ends_with('Z') && time.len() == 30, "{time}");
    // By its content: another name does not help.
    let copy = data.beside("other name.pcap");
    fs::copy(capture(), &copy).unwrap();
    assert!(data.ingest(&[], &[&copy]).sentence().contains("already ingested at"));
    assert_eq!(data.export().frames.len(), 331);
    data.ingest(&["--again"], &[&copy]).well();
    assert_eq!(data.export().frames.len(), 662);
}

#[test]
fn two_writers_at_once() {
    let data = Data::new("mistakes-two");
    // One that waits for its capture.
    let mut first = data.command("ingest", &["-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let pid = first.id().to_string();
    until("the first writer has its lock", || {
        fs::read_to_string(data.path().join("lock")).ok().filter(|text| text.trim() == pid)
    });
    // Readers are not in its way.
    until("the folder can be read", || (data.run("streams", &[]).code == Some(0)).then_some(()));
    let said = data.run("retain", &["--max-bytes", "1G"]);
    let wanted =
        format!("PATH: another process (process {pid}) is writing to this data folder; wait for it or stop it");
    assert_sentence(&said, &data.path(), &wanted);
    first.stdin.take().unwrap().write_all(&fs::read(capture()).unwrap()).unwrap();
    assert!(wait(&mut first).success());
    assert_eq!(data.export().frames.len(), 331);
}

#[test]
fn addresses_that_cannot_be_listened_on() {
    let data = store("mistakes-listen");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _holder = TcpListener::bind(taken).unwrap();
    for (address, wanted) in [
        (taken.to_string(), "another program listens on this port; stop it, or listen on another port"),
        (
            "0.0.0.0:0".to_owned(),
            "others could reach this address, and no token is configured; make one with `streamdb token NAME`, put what it \
             prints into a file and give that with --config, or listen on 127.0.0.1",
        ),
    ] {
        let said = data.run("serve", &["--listen", &address]);
        assert_eq!(said.sentence(), format!("{address}: {wanted}"));
    }
}

/// Changes a bucket's version, and the checksum so that it holds again.
fn set_version(bucket: &Path, version: u16) {
    const SUPERBLOCK: usize = 4096;
    let mut bytes = fs::read(bucket).unwrap();
    assert_eq!(&bytes[..10], b"SDBUCKT1\x01\x00");
    bytes[8..10].copy_from_slice(&version.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..SUPERBLOCK - 4]);
    bytes[SUPERBLOCK - 4..SUPERBLOCK].copy_from_slice(&crc.to_le_bytes());
    fs::write(bucket, bytes).unwrap();
}

#[test]
fn other_versions_of_the_format() {
    for version in [0, 2, 700] {
        let data = store("mistakes-version");
        let bucket = data.path().join("buckets/1.sdb");
        set_version(&bucket, version);
        let wanted = format!(
            "PATH: written in format {version}, and this program reads format 1; use a StreamDB of the version that wrote it"
        );
        for (command, flags) in [
            ("stats", &[][..]),
            ("buckets", &[]),
            ("verify", &["--deep"]),
            ("get", &["1-134217728-1-0"]),
            ("export", &["--pcap", "-"]),
        ] {
            assert_sentence(&data.run(command, flags), &bucket, &wanted);
        }
        let before = fs::read(&bucket).unwrap();
        assert_sentence(&data.ingest(&["--again"], &[&capture()]), &bucket, &wanted);
        assert!(fs::read(&bucket).unwrap() == before, "what is not understood is not touched");
    }
    // The whole store: the first line of the ledger says it.
    let data = store("mistakes-ledger");
    let ledger = data.path().join("ledger");
    let lines = fs::read_to_string(&ledger).unwrap();
    let (first, rest) = lines.split_once('\n').unwrap();
    let newer = first[9..].replace("format=1", "format=2");
    fs::write(&ledger, format!("{:08x} {newer}\n{rest}", crc32fast::hash(newer.as_bytes()))).unwrap();
    let wanted =
        "PATH: written in format 2, and this program reads format 1; use a StreamDB of the version that wrote it";
    assert_sentence(&data.run("streams", &[]), &ledger, wanted);
    assert_sentence(&data.ingest(&["--again"], &[&capture()]), &ledger, wanted);
}

#[test]
fn a_damaged_bucket_is_named_and_the_others_are_read() {
    let data = Data::new("mistakes-damage");
    data.ingest(&["--bucket", "1s", "--no-derive"], &[&capture()]).well();
    let all = data.streams(&[]).len();
    let oid = text(&data.streams(&["limit=1"])[0], "oid").to_owned();
    let bucket = data.path().join("buckets/1.sdb");
    let mut bytes = fs::read(&bucket).unwrap();
    bytes[2000] ^= 1;
    fs::write(&bucket, bytes).unwrap();
    let wrong = "PATH: damaged at byte 0: the checksum of the superblock is wrong";
    assert_sentence(&data.run("get", &[&oid, "--raw"]), &bucket, wrong);
    let said = data.run("streams", &["--json"]);
    assert_sentence(&said, &bucket, "PATH: damaged at byte 0: the checksum of the superblock is wrong");
    let left = common::json_lines(&said.out).len();
    assert!(left > 0 && left < all, "{left} of {all} streams");
    assert_sentence(
        &data.run("verify", &[]),
        &bucket,
        "PATH: damaged at byte 0: the checksum of the superblock is wrong",
    );
}

#[test]
fn oids_that_name_nothing() {
    let data = store("mistakes-oid");
    let row = &data.streams(&["dstport=80", "direction=c"])[0];
    let oid = text(row, "oid");
    let (stream, _) = oid.rsplit_once('-').unwrap();
    let file = data.beside("object");
    for flags in [&[][..], &["--raw"], &["--pcap"]] {
        let flags = [&["7-134217728-5-0", "-o", file.to_str().unwrap()], flags].concat();
        assert_eq!(data.run("get", &flags).sentence(), "7-134217728-5-0: there is no such stream in this store");
    }
    let said = data.run("get", &[&format!("{stream}-9"), "-o", file.to_str().unwrap()]);
    assert_eq!(said.sentence(), format!("{stream}-9: this stream has one message; ask for it as {stream}-0"));
    assert!(!file.exists(), "a mistake leaves nothing behind");
    assert_misused(
        &data.run("get", &["1-2-3"]),
        "invalid value '1-2-3' for '<OID>': \"1-2-3\" is no oid: four decimal numbers are wanted, as in \
         18043-3966843079-22968-0",
    );
}

#[test]
fn flags_that_are_not_understood() {
    let data = Data::new("mistakes-flags");
    let ingest = |flags: &[&str]| data.ingest(flags, &[&capture()]);
    for bad in ["0", "0s", "500ms", "1.5s", "-5m", "soon"] {
        assert_misused(
            &ingest(&[&format!("--bucket={bad}")]),
            &format!(
                "invalid value '{bad}' for '--bucket <TIME>': the window of a bucket is 1s or longer, in whole seconds, as in \
                 90s, 5m or 2h; `streamdb ingest"
            ),
        );
    }
    assert_misused(
        &ingest(&["--bucket-size", "1M"]),
        "invalid value '1M' for '--bucket-size <SIZE>': a bucket has 16M to 4G",
    );
    assert_misused(&ingest(&["--compression", "ful"]), "invalid value 'ful' for '--compression <COMPRESSION>'");
    assert_misused(
        &streamdb(["ingst"]),
        "unrecognized subcommand 'ingst'; a similar subcommand exists: 'ingest'; `streamdb",
    );
    assert_misused(
        &streamdb(["streams"]),
        "the following required arguments were not provided: --data <DIR>; `streamdb streams",
    );
    for (flags, listens) in [("localhost:0", true), ("127.0.0.1", false), ("elsewhere.example:80", false)] {
        let said = data.run("serve", &["--listen", flags]);
        if listens {
            // It comes as far as the data folder.
            assert!(said.sentence().contains("there is no StreamDB data folder here"), "{said:?}");
        } else {
            let wanted = "it takes an address and a port, as in 127.0.0.1:8080, localhost:8080 or [::]:8080";
            assert_misused(&said, &format!("invalid value '{flags}' for '--listen <ADDR>': {wanted}"));
        }
    }
    let help = String::from_utf8(streamdb(["token", "--help"]).well()).unwrap();
    assert!(help.contains("read (search, and download") && help.contains("submit (hand objects"), "{help}");
    assert!(!data.path().exists());
    // Without anything, it says what there is.
    let said = streamdb::<&str>([]);
    assert!(said.code == Some(2) && said.err.contains("ingest") && said.err.contains("serve"), "{said:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_mistake() {
    let data = store("mistakes-pipe");
    let mut streams = command([Path::new("streams"), Path::new("--data"), &data.path()]);
    let mut child = streams.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let said = child.wait_with_output().unwrap();
    assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
    let full = Command::new(env!("CARGO_BIN_EXE_streamdb"))
        .args(["streams", "--data"])
        .arg(data.path())
        .stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8(full.stderr).unwrap();
    assert_eq!(full.status.code(), Some(1));
    assert_eq!(said, "streamdb: standard output: could not write: No space left on device (os error 28)\n");
}

#[test]
fn rules_that_are_none() {
    let data = Data::new("mistakes-cutoff");
    let capture = capture();
    let said = |rule: &str| data.ingest(&["--cutoff", rule], &[&capture]);
    for (rule, wanted) in [
        (
            "protocol=tls",
            "it has no size; a rule is TESTS:SIZE, as in protocol=tls:64K, port=443,8443:1M, net=10.0.0.0/8:0 or 'filter=host 10.0.0.5:1M'",
        ),
        (
            "port=http:1K",
            "port: \"http\" is not accepted; it takes ports and ranges of them, as in 443, 8443 or 9000-9100, separated by commas",
        ),
        ("port=80:1X", "\"1X\" is no size; it takes a size as in 64K or 1M, 0 for headers alone, or all"),
        ("host=a:0", "there is no test \"host\"; there are protocol, port, net and filter"),
    ] {
        assert_misused(&said(rule), &format!("invalid value '{rule}' for '--cutoff <RULE>': {wanted}"));
    }
    assert_misused(
        &said("filter=tcp prot 80:0"),
        "invalid value 'filter=tcp prot 80:0' for '--cutoff <RULE>': the filter 'tcp prot 80' cannot be used on link type 1: ",
    );
    let many: Vec<&str> = ["--cutoff", "port=80:0"].repeat(65);
    assert_sentence(
        &data.ingest(&many, &[&capture]),
        &capture,
        "65 rules about cutoffs are too many: there is room for 64",
    );
    let config = data.write("cutoff.toml", b"[[cutoff]]\nport = 80\n");
    assert_sentence(
        &data.ingest(&["--config", config.to_str().unwrap()], &[&capture]),
        &config,
        "PATH, line 1: cutoff.first is missing; it takes a size as in 64K or 1M, 0 for headers alone, or all",
    );
    // A filter that does not fit these frames ends the run before any of them is stored.
    let raw = data.write(
        "raw.pcap",
        &[&0xa1b2_c3d4_u32.to_le_bytes()[..], &[2, 0, 4, 0], &[0; 8], &[0, 0, 1, 0, 101, 0, 0, 0]].concat(),
    );
    let said = data.ingest(&["--cutoff", "filter=ether host 1:2:3:4:5:6:0"], &[&raw]);
    assert!(said.err.contains("the filter 'ether host 1:2:3:4:5:6' cannot be used on link type 101: "), "{said:?}");
    assert_eq!((said.code, said.err.lines().count()), (Some(1), 1), "{said:?}");
}
