//! Bodies of several parts, whole, cut and with holes.

use proptest::prelude::*;
use streamdb_types::{Gap, GapKind, StreamOffset};

use super::*;

/// What is found, in short: its bytes as text, where it has a name that, and why it is not whole.
fn found(
    scan: Multipart,
    content: &[u8],
    size: usize,
    incomplete: Option<Incomplete>,
) -> Vec<(String, String, Option<Incomplete>)> {
    parts(scan, content, size, incomplete)
        .into_iter()
        .map(|part| {
            let text = part.content.iter().flat_map(|r| &content[r.start as usize..r.end as usize]);
            let text: Vec<u8> = text.copied().collect();
            (part.filename.unwrap_or_default(), String::from_utf8(text).unwrap(), part.incomplete)
        })
        .collect()
}

fn parts(mut scan: Multipart, content: &[u8], size: usize, incomplete: Option<Incomplete>) -> Vec<Part> {
    content.chunks(size).for_each(|piece| scan.push(Piece::Bytes(piece)));
    scan.finish(incomplete)
}

fn form() -> Multipart {
    multipart(b"multipart/form-data; boundary=XX").unwrap()
}

/// The same in pieces of all sizes.
fn same(
    start: fn() -> Multipart,
    content: &str,
    incomplete: Option<Incomplete>,
    wanted: &[(&str, &str, Option<Incomplete>)],
) {
    let wanted: Vec<_> = wanted.iter().map(|(name, text, why)| (name.to_string(), text.to_string(), *why)).collect();
    for size in 1..=content.len() {
        assert_eq!(found(start(), content.as_bytes(), size, incomplete), wanted, "in pieces of {size}");
    }
}

#[test]
fn a_form_has_its_fields_and_files() {
    let content = "nothing\r\n--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n\r\n--XX\r\n\
        Content-Disposition: form-data; name=f; filename=\"x.exe\"\r\nContent-Type: application/x-foo\r\n\r\nMZ\n--XY\r\n--XXY\r\n\
        --XX  \r\n\r\n--XX--\r\nnothing more\r\n--XX\r\n\r\nno part";
    same(form, content, None, &[("", "one\r\n", None), ("x.exe", "MZ\n--XY\r\n--XXY", None), ("", "", None)]);
    let all = parts(form(), content.as_bytes(), 7, None);
    assert_eq!(all.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(all[0].begins, 15);
    assert_eq!(all[1].declared_type.as_deref(), Some(&b"application/x-foo"[..]));
    assert!(all.iter().all(|part| part.kind == PartKind::Part && part.undo == Undo::Nothing));
}

#[test]
fn the_last_part_is_whole_when_what_it_lies_in_is() {
    let content = "--XX\r\n\r\none\r\n--XX\r\n\r\ntwo\r\n--X";
    same(form, content, None, &[("", "one", None), ("", "two\r\n--X", None)]);
    let why = Some(Incomplete::Open);
    same(form, content, why, &[("", "one", None), ("", "two\r\n--X", why)]);
    same(form, "--XX\r\n\r\none\r\n--XX--", None, &[("", "one", None)]);
    // What is cut there may go on as another boundary.
    same(form, "--XX\r\n\r\none\r\n--XX--", why, &[("", "one\r\n--XX--", why)]);
    // And a head may go on to say anything.
    same(form, "--XX\r\nA: b\r\n", why, &[]);
    same(form, "--XX\r\nA: b\r\n", None, &[("", "", None)]);
}

#[test]
fn parts_in_parts_are_listed_in_order() {
    let content = "Content-Type: multipart/mixed; boundary=\"out\"\r\n\r\n--out\r\n\
        Content-Type: multipart/alternative; boundary=\"out2\"\r\n\r\n--out2\r\n\r\nplain\r\n--out2\r\n\r\nrich\r\n--out2--\r\n\
        --out\r\nContent-Type: message/rfc822; name=m.eml\r\n\r\nSubject: x\r\nContent-Type: text/x; name=inner\r\n\r\nin it\r\n\
        --out\r\nContent-Type: multipart/mixed; boundary=never\r\n\r\n--never\r\n\r\nnot closed\r\n--out--\r\nend\r\n";
    let mail = || Multipart::mail("smtp", false, 100);
    same(
        mail,
        content,
        None,
        &[
            ("", "plain", None),
            ("", "rich", None),
            ("m.eml", "Subject: x\r\nContent-Type: text/x; name=inner\r\n\r\nin it", None),
            ("inner", "in it", None),
            ("", "not closed", None),
        ],
    );
    let all = parts(mail(), content.as_bytes(), 9, None);
    assert!(all.is_sorted_by_key(|part| part.begins), "{all:?}");
}

#[test]
fn a_mail_without_parts_is_its_own() {
    let mail = || Multipart::mail("smtp", true, 100);
    same(mail, "Content-Type: x/y; name=a\r\n\r\n..body\r\n", None, &[("a", "..body\r\n", None)]);
    same(mail, "no head at all\r\n.\r\n", None, &[("", "no head at all\r\n.\r\n", None)]);
    same(mail, "\r\nbody", None, &[("", "body", None)]);
    // Whose dot it is is not known.
    same(mail, "A: b\n\n.x\r\n", None, &[("", ".x\r\n", Some(Incomplete::Malformed))]);
    let part = &parts(mail(), b"A: b\r\nContent-Transfer-Encoding: Base64\r\n\r\n", 5, None)[0];
    assert_eq!((&part.content_codings[..], &part.undo), (&["base64".to_owned()][..], &Undo::Dots));
}

#[test]
fn a_mail_that_is_said_to_be_coded() {
    let mail = || Multipart::mail("smtp", false, 100);
    let head = "Content-Type: message/rfc822; name=m\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    let not = format!("{head}Content-Type: a/b; name=x.exe\r\n\r\nMZ");
    same(mail, &not, None, &[("m", "Content-Type: a/b; name=x.exe\r\n\r\nMZ", None), ("x.exe", "MZ", None)]);
    assert!(parts(mail(), not.as_bytes(), 9, None)[0].content_codings.is_empty());
    let coded = format!("{head}U3ViamVjdDogeA0K\r\n");
    same(mail, &coded, None, &[("m", "U3ViamVjdDogeA0K\r\n", None)]);
    assert_eq!(parts(mail(), coded.as_bytes(), 9, None)[0].content_codings, ["base64"]);
}

#[test]
fn limits_are_said() {
    let many = "--XX\r\n\r\nx\r\n".repeat(PARTS + 5);
    let all = parts(form(), many.as_bytes(), 1000, None);
    assert_eq!(all.len(), PARTS);
    assert_eq!(all[PARTS - 1].incomplete, Some(Incomplete::Limit));
    assert!(all[..PARTS - 1].iter().all(|part| part.incomplete.is_none()));
    let deep: String =
        (0..100).map(|n| format!("--{n}\r\nContent-Type: multipart/x; boundary={}\r\n\r\n", n + 1)).collect();
    let all = parts(multipart(b"multipart/x; boundary=0").unwrap(), deep.as_bytes(), 1000, None);
    assert_eq!(all.len(), 1);
    let mails = "Content-Type: message/rfc822\r\n\r\n".repeat(100);
    assert_eq!(parts(Multipart::mail("smtp", false, 100), mails.as_bytes(), 1000, None).len(), DEPTH);
    let head =
        format!("--XX\r\nA: {}\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n--XX--\r\n", "x".repeat(HEAD_BYTES));
    assert_eq!(found(form(), head.as_bytes(), 999, None), [(String::new(), "x".into(), Some(Incomplete::Limit))]);
}

#[test]
fn what_is_no_such_type_has_no_parts() {
    for no in [&b"text/plain; boundary=x"[..], b"multipart/mixed", b"multipart/mixed; boundary=\"\"", b""] {
        assert!(multipart(no).is_none(), "{}", no.escape_ascii());
    }
    assert!(multipart(b"Multipart/ByteRanges;\r\n boundary=x").is_some());
}

/// A body of parts that are known, and where each lies in it.
fn built(bodies: &[Vec<u8>]) -> (Vec<u8>, Vec<std::ops::Range<usize>>) {
    let (mut content, mut places) = (Vec::new(), Vec::new());
    for (n, body) in bodies.iter().enumerate() {
        content.extend(format!("--XX\r\nContent-Type: a/b; name=\"{n}\"\r\n\r\n").bytes());
        places.push(content.len()..content.len() + body.len());
        content.extend(body);
        content.extend(b"\r\n");
    }
    content.extend(b"--XX--\r\n");
    (content, places)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"--".to_vec()),
        Just(b"XX".to_vec()),
        Just(b"\r".to_vec()),
        prop::collection::vec(any::<u8>(), 0..8),
    ];
    // Whoever makes a boundary takes one that is not in the parts (RFC 2046 §5.1.1).
    prop::collection::vec(piece, 0..12)
        .prop_map(|pieces| pieces.concat())
        .prop_filter("no boundary", |body| !body.starts_with(b"--XX") && !body.windows(5).any(|five| five == b"\n--XX"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Parts are whole when all of them is there, and never when it is not, however the content comes and whatever of it is missing.
    #[test]
    fn parts_are_whole_when_they_are(
        bodies in prop::collection::vec(body(), 1..5),
        holes in prop::collection::vec((0usize..400, 1usize..20), 0..3),
        sizes in prop::collection::vec(1usize..30, 1..10),
        cut in prop_oneof![Just(usize::MAX), 0usize..400],
    ) {
        let (content, places) = built(&bodies);
        let end = cut.min(content.len());
        let mut there = vec![true; content.len()];
        for (at, length) in holes {
            there.iter_mut().skip(at).take(length).for_each(|there| *there = false);
        }
        let mut scan = form();
        let (mut at, mut sizes) = (0, sizes.into_iter().cycle());
        while at < end {
            let same = there[at..end].iter().position(|t| *t != there[at]).map_or(end, |n| at + n);
            let to = same.min(at + sizes.next().unwrap());
            scan.push(if there[at] {
                Piece::Bytes(&content[at..to])
            } else {
                Piece::Hole(Gap { offset: StreamOffset(at as u64), length: (to - at) as u64, kind: GapKind::Missing })
            });
            at = to;
        }
        let found = scan.finish((end < content.len()).then_some(Incomplete::Open));
        for part in &found {
            let ranges: Vec<_> = part.content.iter().map(|r| r.start as usize..r.end as usize).collect();
            if part.incomplete.is_none() {
                let place = places.iter().position(|place| ranges == [place.clone()] || ranges.is_empty() && place.is_empty());
                prop_assert!(place.is_some(), "{part:?} is none of {places:?}");
                prop_assert!(ranges.iter().all(|r| there[r.clone()].iter().all(|t| *t)), "{part:?} has a hole");
            }
            let missing = ranges.iter().flat_map(|r| there[r.clone()].iter()).filter(|t| !**t).count();
            prop_assert_eq!(part.missing, missing as u64);
        }
        for (n, place) in places.iter().enumerate() {
            // From its delimiter to the end of the next one.
            let begin = if n == 0 { 0 } else { places[n - 1].end };
            let after = places.get(n + 1).map_or(content.len(), |_| place.end + 8);
            if after <= end && there[begin..after].iter().all(|t| *t) {
                let whole = found.iter().filter(|part| part.filename.as_deref() == Some(&n.to_string())).collect::<Vec<_>>();
                prop_assert!(matches!(whole[..], [Part { incomplete: None, .. }]), "{n} of {found:?}");
            }
        }
    }
}
