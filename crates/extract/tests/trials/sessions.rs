//! Sessions of each protocol, drawn at random, and the objects in them.

use super::common::coders;
use super::path::Random;

/// What one side says without waiting.
pub struct Turn {
    /// Of the connection: the client's and the server's.
    pub ports: [u16; 2],
    pub from_client: bool,
    pub bytes: Vec<u8>,
    /// Whether the connection is closed behind it, by this side first.
    pub closes: bool,
}

#[derive(Default)]
pub struct Session {
    ports: [u16; 2],
    pub turns: Vec<Turn>,
    /// All contents that a reader of the protocol gets, empty ones aside.
    pub objects: Vec<Vec<u8>>,
}

impl Session {
    fn new(port: u16) -> Self {
        Self { ports: [50_000, port], ..Self::default() }
    }

    fn say(&mut self, from_client: bool, bytes: impl Into<Vec<u8>>) {
        self.turns.push(Turn { ports: self.ports, from_client, bytes: bytes.into(), closes: false });
    }

    fn ask(&mut self, bytes: impl Into<Vec<u8>>) {
        self.say(true, bytes);
    }

    fn answer(&mut self, bytes: impl Into<Vec<u8>>) {
        self.say(false, bytes);
    }

    fn close(&mut self, by_client: bool) {
        self.turns.push(Turn { ports: self.ports, from_client: by_client, bytes: Vec::new(), closes: true });
    }

    fn object(&mut self, content: &[u8]) {
        if !content.is_empty() {
            self.objects.push(content.to_vec());
        }
    }
}

/// A body with a length, or without one until the end.
fn exchange(session: &mut Session, random: &mut Random, until_close: bool) {
    let content = random.bytes(2000);
    if random.one_in(3) {
        session.ask(
            [
                format!("POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", content.len()).into_bytes(),
                content.clone(),
            ]
            .concat(),
        );
        session.object(&content);
    } else {
        session.ask("GET /g HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    let content = random.bytes(2000);
    let head = match until_close {
        true => "HTTP/1.0 200 OK\r\nContent-Type: x/y\r\n\r\n".to_owned(),
        false => format!("HTTP/1.1 200 OK\r\nContent-Type: x/y\r\nContent-Length: {}\r\n\r\n", content.len()),
    };
    session.answer([head.as_bytes(), &content].concat());
    session.object(&content);
}

pub fn http(random: &mut Random) -> Session {
    let mut session = Session::new(80);
    for _ in 0..1 + random.below(4) {
        exchange(&mut session, random, false);
    }
    let until_close = random.one_in(2);
    if until_close {
        exchange(&mut session, random, true);
    }
    session.close(!until_close);
    session
}

fn chunks(random: &mut Random, content: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), content);
    while !rest.is_empty() {
        let (now, after) = rest.split_at((1 + random.below(500)).min(rest.len()));
        out.extend(format!("{:x}\r\n", now.len()).bytes());
        out.extend([now, b"\r\n"].concat());
        rest = after;
    }
    out.extend(b"0\r\n\r\n");
    out
}

/// Letters, which can be packed.
fn text(random: &mut Random, most: usize) -> Vec<u8> {
    random.bytes(most).into_iter().map(|byte| b'a' + byte % 8).collect()
}

pub fn chunked(random: &mut Random) -> Session {
    let mut session = Session::new(80);
    for _ in 0..1 + random.below(4) {
        session.ask("GET /c HTTP/1.1\r\nHost: h\r\n\r\n");
        let content = text(random, 4000);
        let coded = coders::gzip(&content);
        let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n";
        session.answer([head.as_bytes(), &chunks(random, &coded)].concat());
        session.object(&content);
    }
    session.close(true);
    session
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame2(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields that go into no table (RFC 7541 §6.2.2).
fn fields2(fields: &[(&str, &str)]) -> Vec<u8> {
    let field = |(name, value): &(&str, &str)| {
        [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
    };
    fields.iter().flat_map(field).collect()
}

pub fn http2(random: &mut Random) -> Session {
    let mut session = Session::new(80);
    session.ask([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame2(4, 0, 0, b"")[..]].concat());
    session.answer(frame2(4, 0, 0, b""));
    let streams: Vec<u32> = (0..1 + random.below(4) as u32).map(|n| 2 * n + 1).collect();
    let mut waiting: Vec<(u32, Vec<u8>)> = Vec::new();
    for stream in streams {
        let content = if random.one_in(3) { random.bytes(1000) } else { Vec::new() };
        let head = fields2(&[(":method", "POST"), (":scheme", "http"), (":authority", "h"), (":path", "/2")]);
        let mut asked = frame2(1, 4 | u8::from(content.is_empty()), stream, &head);
        if !content.is_empty() {
            asked.extend(frame2(0, 1, stream, &content));
        }
        session.object(&content);
        session.ask(asked);
        session.answer(frame2(1, 4, stream, &fields2(&[(":status", "200"), ("content-type", "x/y")])));
        let content = random.bytes(2000);
        session.object(&content);
        waiting.push((stream, content));
    }
    // The data of all mixed.
    while !waiting.is_empty() {
        let at = random.below(waiting.len());
        let (stream, content) = &mut waiting[at];
        let rest = content.split_off((1 + random.below(700)).min(content.len()));
        session.answer(frame2(0, u8::from(rest.is_empty()), *stream, content));
        *content = rest;
        if content.is_empty() {
            waiting.remove(at);
        }
    }
    session.close(true);
    session
}

/// A frame of WebSocket (RFC 6455 §5.2).
fn frame_ws(random: &mut Random, first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    let bit = if masked { 0x80 } else { 0 };
    let mut out = vec![first];
    match payload.len() {
        short @ 0..=125 => out.push(bit | short as u8),
        long => out.extend([&[bit | 126][..], &(long as u16).to_be_bytes()].concat()),
    }
    if masked {
        let key = [0; 4].map(|_: u8| random.below(256) as u8);
        out.extend(key);
        out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    } else {
        out.extend(payload);
    }
    out
}

pub fn websocket(random: &mut Random) -> Session {
    let mut session = Session::new(80);
    session.ask(
        "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    session.answer(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    );
    for _ in 0..1 + random.below(8) {
        let client = random.one_in(2);
        let content = random.bytes(1500);
        let (one, two) = content.split_at(random.below(content.len()));
        let bytes = match random.one_in(2) {
            true => frame_ws(random, 0x82, client, &content),
            false => [frame_ws(random, 2, client, one), frame_ws(random, 0x80, client, two)].concat(),
        };
        session.say(client, bytes);
        session.object(&content);
    }
    session.ask(frame_ws(random, 0x88, true, b""));
    session.answer(frame_ws(random, 0x88, false, b""));
    session.close(false);
    session
}

pub fn multipart(random: &mut Random) -> Session {
    let mut session = Session::new(80);
    for _ in 0..1 + random.below(3) {
        let mut form = Vec::new();
        for n in 0..1 + random.below(4) {
            let content = random.bytes(1000);
            let head = format!(
                "--edge\r\nContent-Disposition: form-data; name=\"f{n}\"; filename=\"{n}.bin\"\r\nContent-Type: x/y\r\n\r\n"
            );
            form.extend([head.as_bytes(), &content, b"\r\n"].concat());
            session.object(&content);
        }
        form.extend(b"--edge--\r\n");
        let head = format!(
            "POST /up HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=edge\r\nContent-Length: {}\r\n\r\n",
            form.len()
        );
        session.ask([head.as_bytes(), &form].concat());
        session.object(&form);
        session.answer("HTTP/1.1 204 No Content\r\n\r\n");
    }
    session.close(true);
    session
}

/// Base64 of bytes, in lines (RFC 2045 §6.8).
fn base64(bytes: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    for line in bytes.chunks(57) {
        for three in line.chunks(3) {
            let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
            out.extend((0..4).map(|n| match n > three.len() {
                true => b'=',
                false => LETTERS[(bits >> (18 - 6 * n) & 63) as usize],
            }));
        }
        out.extend(b"\r\n");
    }
    out
}

/// Adds a mail with a file, and what is in it, to the objects.
fn mail(session: &mut Session, random: &mut Random, n: usize) -> Vec<u8> {
    let file = random.bytes(800);
    let words: Vec<Vec<u8>> =
        (0..random.below(6)).map(|_| [&b"."[random.below(2)..], &text(random, 60)].concat()).collect();
    let said = words.join(&b"\r\n"[..]);
    let mail = [
        format!("Message-ID: <{n}@x>\r\nContent-Type: multipart/mixed; boundary=edge\r\n\r\n--edge\r\n\r\n").as_bytes(),
        &said,
        b"\r\n--edge\r\nContent-Type: x/y; name=a.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        &base64(&file),
        b"--edge--\r\n",
    ]
    .concat();
    session.object(&mail);
    session.object(&said);
    session.object(&file);
    mail
}

/// Dots at the beginning of lines doubled, and the one alone (RFC 5321 §4.5.2).
fn dotted(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in mail.split_inclusive(|byte| *byte == b'\n') {
        out.extend(line.first().filter(|first| **first == b'.'));
        out.extend(line);
    }
    out.extend(b".\r\n");
    out
}

pub fn smtp(random: &mut Random) -> Session {
    let mut session = Session::new(25);
    session.answer("220 mx.x.example ESMTP\r\n");
    session.ask("EHLO pc.x.example\r\n");
    session.answer("250-mx.x.example\r\n250-CHUNKING\r\n250 PIPELINING\r\n");
    for n in 0..1 + random.below(4) {
        let mail = mail(&mut session, random, n);
        if random.one_in(3) {
            session.ask("MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\n");
            session.answer("250 ok\r\n250 ok\r\n");
            let (one, two) = mail.split_at(random.below(mail.len()));
            session.ask([format!("BDAT {}\r\n", one.len()).as_bytes(), one].concat());
            session.answer("250 ok\r\n");
            session.ask([format!("BDAT {} LAST\r\n", two.len()).as_bytes(), two].concat());
        } else {
            session.ask("MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n");
            session.answer("250 ok\r\n250 ok\r\n354 go\r\n");
            session.ask(dotted(&mail));
        }
        session.answer("250 taken\r\n");
    }
    session.ask("QUIT\r\n");
    session.answer("221 bye\r\n");
    session.close(false);
    session
}

pub fn pop3(random: &mut Random) -> Session {
    let mut session = Session::new(110);
    session.answer("+OK hi <1.2@pop.x.example>\r\n");
    for (asked, answered) in
        [("USER a\r\n", "+OK\r\n"), ("PASS b\r\n", "+OK\r\n"), ("UIDL\r\n", "+OK\r\n1 a:b\r\n2 c\r\n.\r\n")]
    {
        session.ask(asked);
        session.answer(answered);
    }
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    let pipelined = random.one_in(2);
    for n in 0..1 + random.below(4) {
        let mail = mail(&mut session, random, n);
        asked.extend(format!("RETR {n}\r\n").bytes());
        answered.extend([format!("+OK {}\r\n", mail.len()).as_bytes(), &dotted(&mail)].concat());
        if random.one_in(3) {
            asked.extend(format!("DELE {n}\r\n").bytes());
            answered.extend(b"+OK gone\r\n");
        }
        if !pipelined {
            session.ask(std::mem::take(&mut asked));
            session.answer(std::mem::take(&mut answered));
        }
    }
    session.ask([&asked[..], b"QUIT\r\n"].concat());
    session.answer([&answered[..], b"+OK bye\r\n"].concat());
    session.close(false);
    session
}

pub fn ftp(random: &mut Random) -> Session {
    let mut session = Session::new(21);
    session.answer("220 FTP\r\n");
    for (asked, answered) in [("USER a\r\n", "331 x\r\n"), ("PASS b\r\n", "230 in\r\n"), ("TYPE I\r\n", "200 ok\r\n")] {
        session.ask(asked);
        session.answer(answered);
    }
    for n in 0..1 + random.below(4) as u16 {
        let port = 20_000 + n;
        let content = random.bytes(1500);
        let fetched = random.one_in(2);
        let word = if fetched { "RETR" } else { "STOR" };
        if random.one_in(2) {
            session.ask("EPSV\r\n");
            session.answer(format!("229 Entering Extended Passive Mode (|||{port}|)\r\n"));
        } else {
            session.ask("PASV\r\n");
            session.answer(format!("227 Entering Passive Mode (10,0,0,2,{},{})\r\n", port >> 8, port & 255));
        }
        session.ask(format!("{word} f{n}.bin\r\n"));
        // One that breaks off is not whole, though its connection is.
        let broken = random.one_in(4);
        let length = content.len() + if broken { 1 + random.below(1000) } else { 0 };
        match random.below(3) {
            0 => session.answer(format!("150 go ({length} bytes)\r\n")),
            1 => session.answer(format!("150 go: f{n}.bin\r\n")),
            _ => session.answer("150 go\r\n"),
        }
        let control = std::mem::replace(&mut session.ports, [51_000 + n, port]);
        session.say(!fetched, content.clone());
        session.close(!fetched);
        session.ports = control;
        session.answer(if broken { "426 broken off\r\n" } else { "226 done\r\n" });
        if !broken {
            session.object(&content);
        }
    }
    session.ask("QUIT\r\n");
    session.answer("221 bye\r\n");
    session.close(false);
    session
}

/// A record of handshake (RFC 5246 §6.2.1).
fn record(handshake: &[u8]) -> Vec<u8> {
    [&[22, 3, 3][..], &(handshake.len() as u16).to_be_bytes(), handshake].concat()
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32).to_be_bytes()[1..], body].concat()
}

pub fn tls(random: &mut Random) -> Session {
    let mut session = Session::new(443);
    let fields = |rest: &[u8]| [&[3, 3][..], &[7; 32], &[0], rest].concat();
    let mut hello = handshake(1, &fields(&[0, 2, 0xc0, 0x2f, 1, 0]));
    hello = record(&hello);
    let mut answer = handshake(2, &fields(&[0xc0, 0x2f, 0]));
    let mut list = Vec::new();
    for _ in 0..1 + random.below(4) {
        let content = random.bytes(1500);
        // As a certificate begins.
        let certificate = [&[0x30, 0x82][..], &(content.len() as u16).to_be_bytes(), &content].concat();
        list.extend([&(certificate.len() as u32).to_be_bytes()[1..], &certificate].concat());
        session.object(&certificate);
    }
    answer.extend(handshake(11, &[&(list.len() as u32).to_be_bytes()[1..], &list].concat()));
    answer.extend(handshake(14, b""));
    let size = 1 + random.below(3000);
    let answer: Vec<u8> = answer.chunks(size).flat_map(record).collect();
    if random.one_in(2) {
        session.ports[1] = 25;
        session.answer("220 mx.x.example ESMTP\r\n");
        session.ask("EHLO pc.x.example\r\n");
        session.answer("250-mx.x.example\r\n250 STARTTLS\r\n");
        session.ask("STARTTLS\r\n");
        session.answer("220 go\r\n");
    }
    session.ask(hello);
    session.answer(answer);
    session.ask([&[20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 60][..], &[9; 60]].concat());
    session.answer([&[20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 60][..], &[9; 60]].concat());
    session.close(true);
    session
}

pub fn socks(random: &mut Random) -> Session {
    let mut session = Session::new(1080);
    session.ask(b"\x05\x01\x00");
    session.answer(b"\x05\x00");
    session.ask(b"\x05\x01\x00\x03\x09x.example\x00\x50");
    session.answer(b"\x05\x00\x00\x01\x01\x02\x03\x04\x00\x50");
    for _ in 0..1 + random.below(4) {
        exchange(&mut session, random, false);
    }
    session.close(true);
    session
}
