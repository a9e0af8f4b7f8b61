//! A download that lasts over many buckets: served whole and in parts, followed to its frames, and what is said of it when retention
//! has taken its beginning.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::io::{BufWriter, Write};
use std::process::Stdio;

use common::{Answer, Data, Made, Server, Talk, json_lines, text};
use serde_json::Value;

const SECONDS: u64 = 25;
/// Bytes of the body that come each second.
const EACH: usize = 4_000_000;
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n";

/// Line after line, each with its number.
fn body(from: u64, to: u64) -> Vec<u8> {
    let line = |n: u64| format!("line {n:020} of a long download. ").into_bytes();
    let width = line(0).len() as u64;
    let lines = (from / width..=to / width).flat_map(line).skip((from % width) as usize);
    lines.take((to - from) as usize).collect()
}

/// A store that got the download through a pipe, in buckets of a second.
fn stored(name: &str) -> Data {
    let data = Data::new(name);
    let mut command = data.command("ingest", &["--bucket", "1s", "--json", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = BufWriter::new(child.stdin.take().unwrap());
    pipe.write_all(&Made::header()).unwrap();
    let mut talk = Talk::new(40_000);
    let mut made = Made::default();
    talk.open(&mut made, 0).ask(&mut made, 1, b"GET /long HTTP/1.1\r\nHost: files.example\r\n\r\n");
    talk.answer(&mut made, 2, HEAD.as_bytes());
    for second in 0..SECONDS {
        let begin = second * EACH as u64;
        talk.answer(&mut made, second * 1000 + 100, &body(begin, begin + EACH as u64));
        made.frames.drain(..).for_each(|frame| pipe.write_all(&Made::record(&frame)).unwrap());
    }
    talk.close(&mut made, SECONDS * 1000 - 100);
    made.frames.drain(..).for_each(|frame| pipe.write_all(&Made::record(&frame)).unwrap());
    pipe.flush().unwrap();
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    let summary = json_lines(&output.stdout).remove(0);
    assert_eq!((&summary["buckets"], &summary["unaccounted_payload_bytes"]), (&SECONDS.into(), &0.into()));
    data
}

fn range(server: &Server, path: &str, range: &str) -> Answer {
    let host = server.address;
    server.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nRange: bytes={range}\r\nConnection: close\r\n\r\n"))
}

/// The row of the response, and the bodies' lengths as numbers.
fn row(data: &Data) -> Value {
    let rows = data.json("objects", &["direction=c"]);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0].clone()
}

#[test]
fn a_download_over_many_buckets_is_one_whether_all_of_it_is_there_or_not() {
    let data = stored("long");
    let all = SECONDS * EACH as u64;
    let object = row(&data);
    let oid = text(&object, "oid").to_owned();
    assert_eq!((&object["complete"], &object["size"]), (&true.into(), &all.into()), "{object}");
    let server = Server::start(&data);
    let (as_object, as_stream) = (format!("/streamdb/?oid={oid}"), format!("/streamdb/?oid={oid}&raw=1"));
    let whole = server.get(&as_object);
    assert_eq!((whole.header("x-streamdb-complete"), whole.header("x-streamdb-dropped")), (Some("true"), None));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert!(whole.body == body(0, all));
    let stream = server.get(&as_stream);
    assert!(stream.body[HEAD.len()..] == whole.body);
    assert!(data.get(&oid, &[]) == whole.body);
    // Over each place where another bucket begins.
    for bucket in 1..SECONDS {
        let (from, to) = (bucket * EACH as u64 - 3000, bucket * EACH as u64 + 3000);
        let part = range(&server, &as_object, &format!("{from}-{}", to - 1));
        let said = format!("bytes {from}-{}/{all}", to - 1);
        assert_eq!((part.status, part.header("content-range")), (206, Some(said.as_str())));
        assert!(part.body == body(from, to));
        let head = HEAD.len() as u64;
        let part = range(&server, &as_stream, &format!("{}-{}", head + from, head + to - 1));
        assert!(part.status == 206 && part.body == body(from, to));
    }
    assert!(range(&server, &as_object, "-100").body == body(all - 100, all));
    let beyond = range(&server, &as_object, "100000000-");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */100000000")));
    // A part of another version is no part of this one.
    let tag = whole.header("etag").unwrap();
    for (tag, status) in [(tag, 206), ("\"other\"", 200)] {
        let host = server.address;
        let answer = server.send(&format!(
            "GET {as_object} HTTP/1.1\r\nHost: {host}\r\nRange: bytes=0-9\r\nIf-Range: {tag}\r\nConnection: close\r\n\r\n"
        ));
        assert_eq!(answer.status, status);
    }
    let frames = server.get(&format!("{as_stream}&as_pcap=1").replace("&raw=1", ""));
    let count = data.json("buckets", &[]).iter().map(|row| row["frames"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(common::Capture::read(&frames.body).frames.len() as u64, count);

    // Retention takes the first five seconds.
    let rows = data.json("buckets", &[]);
    let rest: u64 = rows[5..].iter().map(|row| row["bytes"].as_u64().unwrap()).sum();
    data.run("retain", &["--max-bytes", &rest.to_string()]).well();
    let dropped = data.json("buckets", &["--dropped"]);
    let time = text(dropped.iter().find(|row| row["bucket"] == 5).unwrap(), "dropped").to_owned();
    let gone = HEAD.len() as u64 + 5 * EACH as u64;
    let length = HEAD.len() as u64 + all;
    let sentence = format!("retention dropped a bucket with part of this stream at {time}; the rest is here");

    // What is left is named by where it begins; the name that the whole had still names it, below.
    let object = row(&data);
    let (stem, _) = oid.rsplit_once('-').unwrap();
    let by_offset = format!("{stem}-{}", (1 << 63) + gone);
    assert_eq!(
        (&object["complete"], &object["missing_bytes"], &object["oid"]),
        (&false.into(), &gone.into(), &by_offset.into()),
        "{object}"
    );
    let stream = data.streams(&["direction=c"]).remove(0);
    assert_eq!((&stream["gap_bytes"], &stream["dropped"]), (&gone.into(), &time.clone().into()));
    let search = "/streamdb/?srcip=10.0.0.5&direction=c";
    let listed = server.get(search);
    assert!(listed.text().contains("(INCOMPLETE)") && listed.text().contains(&sentence), "{}", listed.text());
    let json: Value = serde_json::from_slice(&server.get(&format!("{search}&as_json=1")).body).unwrap();
    assert_eq!((&json[0]["complete"], &json[0]["dropped"]), (&false.into(), &time.clone().into()), "{json}");
    let page = "GET /streamdb/?srcip=10.0.0.5 HTTP/1.1\r\nAccept: text/html\r\nConnection: close\r\nHost: ";
    let page = server.send(&format!("{page}{}\r\n\r\n", server.address));
    assert!(page.text().contains("incomplete: ") && page.text().contains(&sentence), "{}", page.text());

    let gaps = format!("0-{gone}");
    for (path, status, asked) in
        [(&as_stream, 200, None), (&as_object, 200, None), (&as_stream, 206, Some("0-")), (&as_object, 206, Some("0-"))]
    {
        let answer = asked.map_or_else(|| server.get(path), |asked| range(&server, path, asked));
        assert_eq!(
            (
                answer.status,
                answer.header("x-streamdb-complete"),
                answer.header("x-streamdb-missing"),
                answer.header("x-streamdb-gaps"),
                answer.header("x-streamdb-dropped")
            ),
            (status, Some("false"), Some(gone.to_string().as_str()), Some(gaps.as_str()), Some(time.as_str())),
        );
        assert!(answer.body[..gone as usize].iter().all(|byte| *byte == 0));
        assert!(answer.body[gone as usize..] == body(5 * EACH as u64, all));
    }
    // A part that is there has no gap to speak of; one in what is gone has zeros, as the whole has, and says so.
    let head = HEAD.len() as u64;
    for (from, to) in [(6 * EACH as u64, 8 * EACH as u64), (20 * EACH as u64 - 5, 20 * EACH as u64 + 5)] {
        let part = range(&server, &as_stream, &format!("{}-{}", head + from, head + to - 1));
        let said = format!("bytes {}-{}/{length}", head + from, head + to - 1);
        assert_eq!(
            (part.status, part.header("content-range"), part.header("x-streamdb-gaps")),
            (206, Some(said.as_str()), None)
        );
        assert!(part.body == body(from, to));
    }
    let border = range(&server, &as_stream, &format!("{}-{}", gone - 10, gone + 9));
    assert_eq!((border.status, border.header("x-streamdb-gaps")), (206, Some(gaps.as_str())));
    assert!(border.body == [vec![0; 10], body(5 * EACH as u64, 5 * EACH as u64 + 10)].concat());
    let said = data.run("get", &["--raw", &oid]);
    assert!(said.code == Some(0) && said.err.contains(&sentence), "{}", said.err);
    assert!(said.out[gone as usize..] == body(5 * EACH as u64, all));
    data.is_well();
}
