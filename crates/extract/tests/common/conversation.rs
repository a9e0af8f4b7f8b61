//! Conversations made up from a model, which knows what it wrote.

use std::io::Write as _;

use proptest::prelude::*;

use super::coders;

/// One exchange.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub method: &'static str,
    pub target: String,
    pub request_body: Body,
    /// Status codes of interim replies.
    pub interim: Vec<u16>,
    pub status: u16,
    pub response_body: Body,
    /// How lines end.
    pub eol: &'static str,
    /// Empty lines before the request.
    pub blanks: usize,
}

#[derive(Clone, Debug)]
pub struct Body {
    pub content: Vec<u8>,
    pub coding: Coding,
    pub framing: Framing,
}

#[derive(Clone, Copy, Debug)]
pub enum Coding {
    None,
    Gzip,
    /// Two members.
    Gzip2,
    Zlib,
    RawDeflate,
    Br,
    Zstd,
    /// Two frames.
    Zstd2,
    /// Deflate, then gzip.
    Both,
    /// All of them, and the last as a transfer coding where there are chunks.
    Four,
}

#[derive(Clone, Debug)]
pub enum Framing {
    Length,
    /// With these sizes in turn, extensions and trailers.
    Chunked {
        sizes: Vec<usize>,
        extension: bool,
        trailers: usize,
    },
}

/// gzip with all the parts of a header.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut coder =
        flate2::GzBuilder::new().filename("f").extra(b"xtra".to_vec()).write(Vec::new(), Default::default());
    coder.write_all(bytes).unwrap();
    coder.finish().unwrap()
}

impl Coding {
    pub fn code(self, content: &[u8]) -> Vec<u8> {
        match self {
            Self::None => content.to_vec(),
            Self::Gzip => gzip(content),
            Self::Gzip2 => {
                let (a, b) = content.split_at(content.len() / 3);
                [gzip(a), gzip(b)].concat()
            }
            Self::Zlib => coders::zlib(content),
            Self::RawDeflate => coders::raw_deflate(content),
            Self::Br => coders::br(content),
            Self::Zstd => coders::zstd(content),
            Self::Zstd2 => {
                let (a, b) = content.split_at(content.len() / 3);
                [coders::zstd(a), coders::zstd(b)].concat()
            }
            Self::Both => gzip(&coders::zlib(content)),
            Self::Four => coders::code("br, zstd, deflate, gzip", content),
        }
    }

    pub fn header(self) -> &'static str {
        match self {
            Self::None => "identity",
            Self::Gzip => "gzip",
            Self::Gzip2 => "X-GZIP",
            Self::Zlib | Self::RawDeflate => "deflate",
            Self::Br => "br",
            Self::Zstd | Self::Zstd2 => "zstd",
            Self::Both => "deflate, gzip",
            Self::Four => "br, zstd, deflate",
        }
    }
}

impl Body {
    /// Header lines and the bytes after the head.
    pub fn write(&self, eol: &str) -> (String, Vec<u8>) {
        let coded = self.coding.code(&self.content);
        let mut lines = format!("Content-Encoding: {}{eol}", self.coding.header());
        let transfer = if matches!(self.coding, Coding::Four) { "gzip" } else { "identity" };
        match &self.framing {
            Framing::Length => {
                lines += &format!("Content-Encoding: {transfer}{eol}Content-Length: {}{eol}", coded.len());
                (lines, coded)
            }
            Framing::Chunked { sizes, extension, trailers } => {
                lines += &format!("Transfer-Encoding: {transfer}, chunked{eol}");
                let mut wire = Vec::new();
                let mut rest = coded.as_slice();
                let mut sizes = sizes.iter().cycle();
                while !rest.is_empty() {
                    let (chunk, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                    let extension = if *extension { ";a=\"b\"" } else { "" };
                    wire.extend(format!("{:x}{extension}{eol}", chunk.len()).bytes());
                    wire.extend(chunk);
                    wire.extend(eol.bytes());
                    rest = after;
                }
                wire.extend(format!("0{eol}").bytes());
                for i in 0..*trailers {
                    wire.extend(format!("X-T{i}: {i}{eol}").bytes());
                }
                wire.extend(eol.bytes());
                (lines, wire)
            }
        }
    }
}

pub fn body() -> impl Strategy<Value = Body> {
    let content = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        // What a careless parser would take for the next message.
        Just(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec()),
        Just(b"\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_vec()),
        prop::collection::vec(prop::sample::select(b"ab\r\n0".to_vec()), 0..3000),
    ];
    let coding = prop::sample::select(vec![
        Coding::None,
        Coding::None,
        Coding::Gzip,
        Coding::Gzip2,
        Coding::Zlib,
        Coding::RawDeflate,
        Coding::Br,
        Coding::Zstd,
        Coding::Zstd2,
        Coding::Both,
        Coding::Four,
    ]);
    let framing = prop_oneof![
        Just(Framing::Length),
        (prop::collection::vec(1usize..300, 1..4), any::<bool>(), 0usize..3)
            .prop_map(|(sizes, extension, trailers)| Framing::Chunked { sizes, extension, trailers }),
    ];
    (content, coding, framing).prop_map(|(content, coding, framing)| Body { content, coding, framing })
}

pub fn exchange() -> impl Strategy<Value = Exchange> {
    (
        prop::sample::select(vec!["GET", "HEAD", "POST", "PUT", "OPTIONS", "PROPFIND", "X-OWN"]),
        "/[a-z0-9/?&=%]{0,30}",
        body(),
        prop::collection::vec(prop::sample::select(vec![100u16, 102, 103]), 0..3),
        prop::sample::select(vec![200u16, 204, 206, 301, 304, 404, 500]),
        body(),
        prop::sample::select(vec!["\r\n", "\r\n", "\n"]),
        0usize..2,
    )
        .prop_map(|(method, target, request_body, interim, status, response_body, eol, blanks)| Exchange {
            method,
            target,
            request_body,
            interim,
            status,
            response_body,
            eol,
            blanks,
        })
}

impl Exchange {
    pub fn has_request_body(&self) -> bool {
        matches!(self.method, "POST" | "PUT" | "PROPFIND" | "X-OWN")
    }

    pub fn has_response_body(&self) -> bool {
        self.method != "HEAD" && !matches!(self.status, 204 | 304)
    }

    pub fn write(&self, to_server: &mut Vec<u8>, to_client: &mut Vec<u8>) {
        let eol = self.eol;
        for _ in 0..self.blanks {
            to_server.extend(eol.bytes());
        }
        let (lines, bytes) = if self.has_request_body() { self.request_body.write(eol) } else { Default::default() };
        to_server.extend(format!("{} {} HTTP/1.1{eol}Host: h{eol}{lines}{eol}", self.method, self.target).bytes());
        to_server.extend(bytes);
        for status in &self.interim {
            to_client.extend(format!("HTTP/1.1 {status} Wait{eol}X: y{eol}{eol}").bytes());
        }
        let (lines, bytes) = self.response_body.write(eol);
        to_client.extend(format!("HTTP/1.1 {} R{eol}{lines}{eol}", self.status).bytes());
        if self.has_response_body() {
            to_client.extend(bytes);
        }
    }
}
