//! What the connections of a site carry: requests and responses, mails' parts, and streams of no protocol that is known.

use streamdb_benches::Random;
use streamdb_types::{Digests, Direction, ObjectKind, ObjectRow, Oid, StreamOffset};

use crate::site::{Connection, Site, mixed, skewed};

/// Distinct sentences that say what an object is.
const SENTENCES: u64 = 2000;
const WORDS: [&str; 32] = [
    "news", "img", "static", "api", "login", "cart", "user", "asset", "video", "thumb", "report", "feed", "search",
    "item", "update", "media", "style", "theme", "track", "pixel", "session", "download", "archive", "public",
    "common", "shared", "mobile", "detail", "list", "index", "page", "data",
];

/// A request target of 20 to 120 bytes.
pub fn uri(n: u64) -> String {
    let mut random = Random(mixed(&[11, n]));
    let long = 20 + random.below(100) as usize;
    let mut text = String::new();
    while text.len() + 16 < long {
        text.push('/');
        text.push_str(WORDS[random.below(32) as usize]);
    }
    let ending = [".js", ".png", ".html", ".css", ".jpg", ".json", "", ".gif"][random.below(8) as usize];
    text.push_str(&format!("/{:x}{ending}", mixed(&[12, n]) & 0xffff_ffff_ffff));
    text
}

/// A host, by its rank.
pub fn host(rank: u64) -> String {
    let mut random = Random(mixed(&[13, rank / 3]));
    let name = ["www", "cdn", "api", "img", "static"][(mixed(&[14, rank]) % 5) as usize];
    let (a, b) = (WORDS[random.below(32) as usize], WORDS[random.below(32) as usize]);
    let top = ["example", "test", "invalid", "example.com", "example.net", "example.org"][random.below(6) as usize];
    format!("{name}{}.{a}-{b}{}.{top}", rank % 3, rank / 3)
}

/// A name of a file.
pub fn filename(n: u64) -> String {
    let mut random = Random(mixed(&[15, n]));
    let ending = ["pdf", "zip", "docx", "exe", "xlsx", "jpg"][random.below(6) as usize];
    format!("{}_{}_{n}.{ending}", WORDS[random.below(32) as usize], WORDS[random.below(32) as usize])
}

/// The digests of a content.
pub fn digests(content: u64) -> Digests {
    let mut random = Random(mixed(&[16, content]));
    let mut digests = Digests { md5: [0; 16], sha1: [0; 20], sha256: [0; 32] };
    let Digests { md5, sha1, sha256 } = &mut digests;
    md5.iter_mut().chain(sha1).chain(sha256).for_each(|byte| *byte = random.draw() as u8);
    digests
}

/// The MIME type and the sentence with this number.
pub fn sentence(n: u64) -> (&'static str, String) {
    let mut random = Random(mixed(&[17, n]));
    let (width, height) = (1 + random.below(1920), 1 + random.below(1080));
    match n % 9 {
        0 => ("text/html", format!("HTML document, ASCII text, with very long lines ({})", 300 + n)),
        1 => ("image/png", format!("PNG image data, {width} x {height}, 8-bit/color RGBA, non-interlaced")),
        2 => (
            "image/jpeg",
            format!("JPEG image data, JFIF standard 1.01, baseline, precision 8, {width}x{height}, components 3"),
        ),
        3 => ("application/json", format!("JSON text data, {n}")),
        4 => ("image/gif", format!("GIF image data, version 89a, {width} x {height}")),
        5 => ("application/pdf", format!("PDF document, version 1.{}, {n} pages", n % 8)),
        6 => ("application/zip", format!("Zip archive data, at least v{}.0 to extract, {n}", 1 + n % 4)),
        7 => ("text/plain", format!("ASCII text, with very long lines ({})", 300 + n)),
        _ => (
            "application/vnd.microsoft.portable-executable",
            format!("PE32 executable for MS Windows {}.{:02} (GUI), Intel i386, {} sections", n % 7, n % 90, n % 11),
        ),
    }
}

/// A content that half of the time was seen before.
fn content(site: &Site, random: &mut Random) -> u64 {
    if random.below(2) == 0 { skewed(random, (site.streams / 400).max(100)) } else { random.draw() | 1 << 40 }
}

/// The objects of a connection whose last records have these oids.
pub fn objects(site: &Site, connection: &Connection, oids: &[Oid]) -> Vec<ObjectRow> {
    let mut random = Random(connection.drawn);
    let random = &mut random;
    let mut rows = Vec::new();
    let (port, both) = (connection.tuple.server.port, oids.len() > 1);
    match port {
        80 | 8080 if both => {
            let exchanges = match random.below(100) {
                0..45 => 0,
                45..80 => 1,
                80..95 => 2,
                _ => 3,
            };
            for n in 0..exchanges {
                exchange(site, connection, oids, n, random, &mut rows);
            }
        }
        25 if both => {
            let mut row = blank(connection, oids, Direction::ToServer, 0);
            what(site, random, &mut row);
            row.kind = ObjectKind::Part;
            row.protocol = "smtp".to_owned();
            row.filename = Some(name(site, random));
            rows.push(row);
        }
        1024.. if both && random.below(2) == 0 && port != 3389 => {
            let mut row = blank(connection, oids, Direction::ToClient, 0);
            what(site, random, &mut row);
            row.kind = ObjectKind::Stream;
            rows.push(row);
        }
        _ => {}
    }
    rows
}

fn name(site: &Site, random: &mut Random) -> String {
    filename(if random.below(2) == 0 { skewed(random, (site.streams / 4000).max(50)) } else { random.draw() >> 24 })
}

fn blank(connection: &Connection, oids: &[Oid], direction: Direction, n: u64) -> ObjectRow {
    ObjectRow {
        oid: oids[direction as usize].with_index(n * 2 + direction as u64),
        key: connection.key,
        direction,
        begins: StreamOffset(connection.length()[direction as usize] / 4 * n),
        tuple: connection.tuple,
        start: connection.first()[direction as usize],
        kind: ObjectKind::Request,
        protocol: String::new(),
        method: None,
        host: None,
        uri: None,
        status: None,
        declared_type: None,
        mime: "application/x-empty".to_owned(),
        description: "empty".to_owned(),
        legacy: "empty".to_owned(),
        facts: String::new(),
        xor_key: None,
        filename: None,
        size: 0,
        encoded_size: 0,
        complete: true,
        missing_bytes: 0,
        reason: None,
        conflict: false,
        digests: None,
        digests_encoded: None,
    }
}

/// Gives a row a content.
fn what(site: &Site, random: &mut Random, row: &mut ObjectRow) {
    let content = content(site, random);
    let mut of_content = Random(mixed(&[18, content]));
    let n = skewed(&mut of_content, SENTENCES);
    let (mime, description) = sentence(n);
    row.size = 1 << (6 + of_content.below(15));
    row.size += of_content.below(row.size);
    row.encoded_size = row.size;
    row.digests = Some(digests(content));
    if mime.starts_with("text") && of_content.below(10) < 6 || mime == "application/json" {
        row.encoded_size = row.size / 3 + 20;
        row.digests_encoded = Some(digests(content ^ 1 << 62));
    }
    row.mime = mime.to_owned();
    row.legacy = if n % 9 == 8 {
        "PE32 executable for MS Windows (GUI) Intel 80386 32-bit".to_owned()
    } else {
        description.clone()
    };
    row.description = description;
    row.conflict = random.below(2000) == 0;
    if random.below(100) < 3 {
        row.complete = false;
        row.missing_bytes = random.below(row.encoded_size);
        row.reason = Some(if row.missing_bytes > 0 { "gap" } else { "cut" }.to_owned());
        (row.digests, row.digests_encoded) = (None, None);
    }
}

fn exchange(
    site: &Site,
    connection: &Connection,
    oids: &[Oid],
    n: u64,
    random: &mut Random,
    rows: &mut Vec<ObjectRow>,
) {
    let uri =
        uri(if random.below(2) == 0 { skewed(random, (site.streams / 400).max(100)) } else { random.draw() | 1 << 40 });
    let method = match random.below(100) {
        0..88 => "GET",
        88..97 => "POST",
        97..99 => "HEAD",
        _ => "OPTIONS",
    };
    let status = match random.below(100) {
        0..82 => 200,
        82..90 => 304,
        90..95 => 302,
        95..98 => 404,
        98 => 206,
        _ => 500,
    };
    let of_exchange = |direction: Direction| ObjectRow {
        protocol: "http".to_owned(),
        method: Some(method.to_owned()),
        host: Some(host(connection.rank / 4)),
        uri: Some(uri.clone()),
        status: Some(status),
        ..blank(connection, oids, direction, n)
    };
    let mut request = of_exchange(Direction::ToServer);
    if method == "POST" {
        what(site, random, &mut request);
        request.declared_type = Some("application/x-www-form-urlencoded".to_owned());
        if random.below(20) == 0 {
            request.filename = Some(name(site, random));
        }
    }
    let mut response = of_exchange(Direction::ToClient);
    response.kind = ObjectKind::Response;
    if !matches!(status, 304 | 302) && method != "HEAD" {
        what(site, random, &mut response);
        response.declared_type = match random.below(100) {
            0..5 => None,
            // It is not what it is said to be.
            5..7 => Some("image/jpeg".to_owned()),
            _ => Some(response.mime.clone()),
        };
        if random.below(100) < 3 {
            response.filename = Some(name(site, random));
        }
    }
    rows.push(request);
    rows.push(response);
}
