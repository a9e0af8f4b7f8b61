use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

use super::*;

const HEADER: [u8; 24] = [0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];

fn listening() -> Feed {
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let mut feed = Feed::open(&FeedSettings { listen, from: Vec::new() }).unwrap();
    feed.listen().unwrap();
    feed
}

fn send(feed: &Feed, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(feed.addresses()[0]).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

fn record(time: Timestamp, data: &[u8]) -> Vec<u8> {
    let (seconds, nanos) = (time.0 / 1_000_000_000, time.0 % 1_000_000_000);
    let mut out = Vec::new();
    for word in [seconds as u32, nanos as u32, data.len() as u32, data.len() as u32] {
        out.extend(word.to_le_bytes());
    }
    out.extend(data);
    out
}

fn capture(texts: &[&str]) -> Vec<u8> {
    let records = texts.iter().flat_map(|text| record(clock(), text.as_bytes()));
    HEADER.into_iter().chain(records).collect()
}

/// What a feed hands out, as short words, until it satisfies or ten seconds have passed.
struct Got {
    words: Vec<String>,
    troubles: Vec<String>,
}

impl Got {
    fn new() -> Self {
        Self { words: Vec::new(), troubles: Vec::new() }
    }

    fn until(&mut self, feed: &mut Feed, what: &str, enough: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        while !enough(self) {
            assert!(since.elapsed() < Duration::from_secs(10), "{what}: {:?} {:?}", self.words, self.troubles);
            feed.batch(|item| self.words.push(word(&item)));
            self.troubles.extend(feed.take_troubles());
        }
    }

    fn has(&self, word: &str) -> bool {
        self.words.iter().any(|there| there == word)
    }
}

fn word(item: &Item<'_>) -> String {
    match item {
        Item::Interface(number, interface) => {
            let name = String::from_utf8_lossy(&interface.options[4..]).trim_end_matches('\0').to_owned();
            format!("{number} is {name}")
        }
        Item::Frame(frame) => format!("{} {}", frame.interface, String::from_utf8_lossy(frame.data)),
        other => format!("{other:?}"),
    }
}

#[test]
fn each_sender_is_an_interface() {
    let mut feed = listening();
    let mut got = Got::new();
    let mut first = send(&feed, &capture(&["a", "b"]));
    got.until(&mut feed, "the first sender", |got| got.has("0 b"));
    let second = send(&feed, &capture(&["c"]));
    got.until(&mut feed, "the second sender", |got| got.has("1 c"));
    // What is sent is handed out at once, and not when more comes.
    first.write_all(&record(clock(), b"d")).unwrap();
    got.until(&mut feed, "more of the first", |got| got.has("0 d"));
    assert_eq!(got.words, ["0 is pcap of 127.0.0.1", "0 a", "0 b", "1 is pcap of 127.0.0.1 #2", "1 c", "0 d"]);
    // Who comes again has the interface that is free by then.
    drop((first, second));
    while !feed.connected.is_empty() {
        feed.batch(|_| {});
    }
    let _third = send(&feed, &capture(&["e"]));
    got.until(&mut feed, "one who comes again", |got| got.has("0 e"));
    assert_eq!(got.troubles, [""; 0]);
}

#[test]
fn a_slow_sender_and_a_broken_one_cost_the_others_nothing() {
    let mut feed = listening();
    let mut got = Got::new();
    // Half a header, a header and half a record, something else; and one that says nothing at all.
    let slow = send(&feed, &HEADER[..10]);
    let half = send(&feed, &capture(&["whole", "not whole"])[..24 + 16 + 5 + 20]);
    let other = send(&feed, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let silent = TcpStream::connect(feed.addresses()[0]).unwrap();
    let mut good = send(&feed, &HEADER);
    for n in 0..5000 {
        good.write_all(&record(clock(), format!("{n}").as_bytes())).unwrap();
    }
    let ends = |got: &Got, what: &str| got.words.iter().any(|word| word.ends_with(what));
    got.until(&mut feed, "the good one, and what is whole", |got| ends(got, " 4999") && ends(got, " whole"));
    half.shutdown(Shutdown::Write).unwrap();
    got.until(&mut feed, "both sentences", |got| got.troubles.len() == 2);
    let said = got.troubles.join("\n");
    assert!(said.contains("is no capture") || said.contains("not a capture"), "{said}");
    assert!(said.contains("a record of"), "{said}");
    assert!(said.contains(&half.local_addr().unwrap().to_string()), "{said}");
    drop((slow, other, silent, good));
}

#[test]
fn a_lying_clock_ends_its_own_connection() {
    let mut feed = listening();
    let mut got = Got::new();
    let mut good = send(&feed, &capture(&["a"]));
    let lie = |off: i64| [&HEADER[..], &record(clock(), b"true"), &record(clock().plus(off), b"lie")].concat();
    let _future = send(&feed, &lie(3600 * 1_000_000_000));
    let _past = send(&feed, &lie(-3600 * 1_000_000_000));
    got.until(&mut feed, "two sentences", |got| got.troubles.len() == 2);
    good.write_all(&record(clock(), b"b")).unwrap();
    got.until(&mut feed, "the good one", |got| got.words.iter().any(|word| word.ends_with(" b")));
    assert!(!got.words.iter().any(|word| word.ends_with("lie")), "{:?}", got.words);
    assert_eq!(got.words.iter().filter(|word| word.ends_with("true")).count(), 2);
    assert!(
        got.troubles
            .iter()
            .any(|said| said.contains("is of the past: captures of the past are stored by streamdb ingest"))
    );
    assert!(got.troubles.iter().any(|said| said.contains("is of the future")));
}

#[test]
fn a_sender_that_is_not_taken_from_is_held_back() {
    let mut feed = listening();
    let mut flood = TcpStream::connect(feed.addresses()[0]).unwrap();
    flood.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let one = record(clock(), &[7; 60_000]);
    let mut bytes = HEADER.to_vec();
    let mut sent = 0;
    loop {
        bytes.extend_from_slice(&one);
        match flood.write(&bytes) {
            Ok(count) => {
                sent += count;
                bytes.drain(..count);
            }
            Err(_) => break,
        }
        assert!(sent < 64 << 20, "nothing holds it back");
    }
    // Others are heard all the same, and it goes on when it is taken from.
    let mut got = Got::new();
    let _other = send(&feed, &capture(&["hello"]));
    got.until(&mut feed, "the other", |got| got.words.iter().any(|word| word.ends_with(" hello")));
    assert!(flood.write(&bytes).is_ok());
}

#[test]
fn there_are_so_many_senders_and_no_more() {
    let mut feed = listening();
    let mut got = Got::new();
    let mut senders: Vec<TcpStream> = (0..SENDERS).map(|_| send(&feed, &capture(&["x"]))).collect();
    got.until(&mut feed, "all", |got| got.words.iter().filter(|word| word.ends_with(" x")).count() == SENDERS);
    let _more = send(&feed, &HEADER);
    got.until(&mut feed, "a refusal", |got| !got.troubles.is_empty());
    assert!(got.troubles[0].ends_with("is refused: 16 are sent already"), "{:?}", got.troubles);
    senders.pop();
    // There is room when it is gone.
    let since = Instant::now();
    while feed.connected.len() == SENDERS {
        assert!(since.elapsed() < Duration::from_secs(10));
        feed.batch(|_| {});
    }
    senders.push(send(&feed, &capture(&["y"])));
    got.until(&mut feed, "the next", |got| got.words.iter().any(|word| word.ends_with(" y")));
}

#[test]
fn who_does_not_begin_a_capture_leaves_its_place() {
    let mut feed = listening();
    // Some bytes are no beginning.
    let _slow: Vec<TcpStream> = (0..SENDERS).map(|_| send(&feed, &HEADER[..10])).collect();
    let since = Instant::now();
    let mut got = Got::new();
    let all = |feed: &Feed| feed.shared.count.load(Ordering::Relaxed) == SENDERS;
    while !all(&feed) {
        feed.batch(|_| {});
    }
    while all(&feed) {
        assert!(since.elapsed() < Duration::from_secs(20), "they keep their places");
        feed.batch(|item| got.words.push(word(&item)));
    }
    let _late = send(&feed, &capture(&["x"]));
    got.until(&mut feed, "another", |got| got.words.iter().any(|word| word.ends_with(" x")));
}

/// A block of pcapng, or the section and an interface before all others.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 12).to_le_bytes();
    [&kind.to_le_bytes(), &length[..], body, &length].concat()
}

fn pcapng() -> Vec<u8> {
    let section = block(0x0a0d_0d0a, b"\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
    [section, block(1, b"\x01\0\0\0\0\0\x04\0")].concat()
}

/// A frame of pcapng with so many dropped before it.
fn with_drops(dropped: u64) -> Vec<u8> {
    let micros = (clock().0 / 1000) as u64;
    let mut body = Vec::new();
    [0, (micros >> 32) as u32, micros as u32, 4, 4].iter().for_each(|word| body.extend(word.to_le_bytes()));
    body.extend(b"data\x04\0\x08\0");
    body.extend(dropped.to_le_bytes());
    body.extend([0; 4]);
    block(6, &body)
}

#[test]
fn what_is_said_to_be_dropped_can_be_true() {
    let mut feed = listening();
    let mut got = Got::new();
    let _good = send(&feed, &[pcapng(), with_drops(7), with_drops(3)].concat());
    let drops = |got: &Got| got.words.iter().filter(|word| word.contains("by_kernel")).count();
    got.until(&mut feed, "the drops", |got| drops(got) == 2);
    assert!(got.words.iter().any(|word| word.contains("by_kernel: 7")), "{:?}", got.words);
    let _lies = send(&feed, &[pcapng(), with_drops(u64::MAX), with_drops(2)].concat());
    got.until(&mut feed, "a sentence", |got| !got.troubles.is_empty());
    assert!(got.troubles[0].contains("it says that it dropped 18446744073709551615 frames"), "{:?}", got.troubles);
    assert_eq!(drops(&got), 2, "{:?}", got.words);
}

#[test]
fn what_waits_is_bounded_for_all_senders_together() {
    let mut feed = listening();
    let names = block(4, &vec![0; (1 << 20) - 12]);
    let more = block(4, &vec![0; 1 << 20]);
    let _too_long = send(&feed, &[pcapng(), more[..100].to_vec()].concat());
    let mut got = Got::new();
    got.until(&mut feed, "a refusal", |got| !got.troubles.is_empty());
    assert!(got.troubles[0].contains("at most 1048576 bytes"), "{:?}", got.troubles);
    let flood = |mut sender: TcpStream| {
        sender.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        let sent = (0..100).take_while(|_| sender.write_all(&names).is_ok()).count();
        assert!(sent < 100, "nothing holds it back");
        sender
    };
    let senders: Vec<TcpStream> = (1..SENDERS).map(|_| send(&feed, &pcapng())).collect();
    let _senders: Vec<TcpStream> = std::thread::scope(|scope| {
        let all: Vec<_> = senders.into_iter().map(|sender| scope.spawn(|| flood(sender))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let held = feed.shared.held.load(Ordering::Relaxed);
    assert!(held <= HELD && held > HELD / 2, "{held}");
    // It goes on as it is taken.
    let mut taken = 0;
    let since = Instant::now();
    while taken < 2 * HELD {
        assert!(since.elapsed() < Duration::from_secs(20), "{taken}");
        feed.batch(|item| {
            if let Item::Names(names) = item {
                taken += names.len();
            }
        });
        if feed.shared.held.load(Ordering::Relaxed) == 0 {
            break;
        }
    }
    assert!(taken > HELD / 2, "{taken}");
}

/// Frames that take a few bytes when they are compressed.
#[test]
fn at_the_end_little_that_is_much_is_not_unpacked() {
    use std::io::Read;
    let mut feed = listening();
    // Of the near future, so that they stay true for as long as this takes.
    let frame = record(clock().plus(30_000_000_000), &[0; 60_000]);
    let mut packed = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    packed.write_all(&HEADER).unwrap();
    (0..40_000).for_each(|_| packed.write_all(&frame).unwrap());
    let packed = packed.finish().unwrap();
    let mut bomb = send(&feed, &packed);
    bomb.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut count = 0;
    while count == 0 {
        feed.batch(|item| count += usize::from(matches!(item, Item::Frame(_))));
    }
    feed.stop();
    let since = Instant::now();
    while feed.batch(|item| count += usize::from(matches!(item, Item::Frame(_)))) != Batch::End {}
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    assert!(count < 1000, "{count} of 40,000");
    assert!(!matches!(bomb.read(&mut [0]), Ok(1..)));
}

#[test]
fn what_came_before_the_end_is_handed_out() {
    let mut feed = listening();
    let _one = send(&feed, &capture(&["a", "b", "c"]));
    let mut got = Got::new();
    got.until(&mut feed, "the first", |got| got.has("0 c"));
    feed.stop();
    let since = Instant::now();
    while feed.batch(|item| got.words.push(word(&item))) != Batch::End {
        assert!(since.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(feed.take_troubles(), [""; 0], "that it is cut short is our doing");
}

#[test]
fn a_log_is_not_filled_by_who_comes_again_and_again() {
    let shared = Shared::default();
    (0..1000).for_each(|n| shared.say(n.to_string()));
    let said = shared.said.lock().unwrap();
    assert_eq!((said.sentences.len(), said.left_out), (SENTENCES as usize, 1000 - u64::from(SENTENCES)));
}

#[test]
fn others_send_only_where_they_are_named() {
    let listen: Vec<SocketAddr> = vec!["127.0.0.1:0".parse().unwrap(), "0.0.0.0:0".parse().unwrap()];
    let settings = FeedSettings { listen, from: Vec::new() };
    let said = Feed::open(&settings).err().unwrap().to_string();
    assert!(
        said.starts_with("captures over TCP know no authentication, so 0.0.0.0:0 is listened on only with"),
        "{said}"
    );
    let from: Vec<Network> = vec!["10.1.0.0/16".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    assert!(Feed::open(&FeedSettings { from: from.clone(), ..settings }).is_ok());
    for (address, wanted) in [
        ("127.0.0.1", true),
        ("::1", true),
        ("10.1.255.1", true),
        ("10.2.0.1", false),
        ("2001:db8:1::1", true),
        ("2001:db9::", false),
    ] {
        assert_eq!(allow::may_send(address.parse().unwrap(), &from), wanted, "{address}");
    }
    for text in ["0.0.0.0/0", "::/0", "10.0.0.0/33", "10.0.0/8", "all", ""] {
        assert!(text.parse::<Network>().is_err(), "{text}");
    }
    assert_eq!("192.0.2.7".parse::<Network>().unwrap().to_string(), "192.0.2.7/32");
}

#[test]
fn a_port_that_is_taken_is_told() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let error = Feed::open(&FeedSettings { listen: vec![address], from: Vec::new() }).err().unwrap();
    let wanted = format!("{address}: another program listens on this port; stop it, or take another port");
    assert_eq!(error.to_string(), wanted);
}
