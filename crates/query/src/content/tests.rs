//! Expressions over pieces beside another engine over the whole, and what it takes.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// Of each list of pieces, one after the other, whether the expression is in it; between them are holes.
fn is_in_runs(text: &str, runs: &[Vec<&[u8]>]) -> (bool, usize) {
    let expression = BytesExpression::new(text).unwrap();
    let mut search = expression.search();
    // The second time with what the first one has learnt.
    let [first, second] = [(); 2].map(|()| {
        search.begin();
        for (n, pieces) in runs.iter().enumerate() {
            let hole = if n > 0 { search.hole() } else { ControlFlow::Continue(()) };
            let told = pieces.iter().fold(hole, |told, piece| match told {
                ControlFlow::Continue(()) => search.feed(piece, &mut || true),
                told => told,
            });
            if let ControlFlow::Break(decided) = told {
                return decided == Decided::Found;
            }
        }
        search.end()
    });
    assert_eq!(first, second);
    (first, search.patience.ever)
}

fn is_in(text: &str, pieces: &[&[u8]]) -> bool {
    is_in_runs(text, &[pieces.to_vec()]).0
}

/// A content in pieces, cut at these places.
fn cut<'c>(content: &'c [u8], cuts: &[usize]) -> Vec<&'c [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().copied().filter(|cut| *cut <= content.len()).collect();
    cuts.extend([0, content.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &content[pair[0]..pair[1]]).collect()
}

fn twin(text: &str) -> regex::bytes::Regex {
    regex::bytes::RegexBuilder::new(text).unicode(false).build().unwrap()
}

#[test]
fn bytes_and_what_is_refused() {
    let is = |text: &str, bytes: &[u8]| is_in(text, &[bytes]);
    assert!(is(r"\xff\xd8.", b"..\xff\xd8\xff"));
    assert!(is("(?i)cannot be RUN", b"This program cannot be run in DOS mode"));
    assert!(!is("^MZ", b"xMZ"));
    assert!(is("^MZ", b"MZx"));
    assert!(is("x$", b"MZx"));
    assert!(!is("Z$", b"MZx"));
    assert!(is("", b""));
    assert!(is("\u{e9}", "caf\u{e9}".as_bytes()));
    assert!(is(r"\p{Greek}+", "\u{3b1}".as_bytes()));
    for refused in [r"(?=a)", r"(a)\1", "(", r"\p{Greek}\b"] {
        let why = BytesExpression::new(refused).unwrap_err();
        assert!(why.starts_with("a regular expression that takes linear time"), "{why}");
        assert!(!why.contains('\n'));
    }
    assert_eq!(BytesExpression::new("a{1000}{1000}").unwrap_err(), "an expression that needs less memory");
    assert!(BytesExpression::new(&"a".repeat(5000)).is_err());
}

#[test]
fn nothing_goes_across_a_hole() {
    for (text, found) in [
        ("ab", false),
        ("^b", false),
        ("a$", false),
        ("a.b", false),
        ("a", true),
        ("^a", true),
        ("bc", true),
        ("c$", true),
    ] {
        let expression = BytesExpression::new(text).unwrap();
        let mut search = expression.search();
        search.begin();
        let mut told = search.feed(b"a", &mut || true);
        if told.is_continue() {
            told = search.hole();
        }
        if told.is_continue() {
            told = search.feed(b"bc", &mut || true);
        }
        assert_eq!(told == ControlFlow::Break(Decided::Found) || search.end(), found, "{text}");
    }
}

#[test]
fn whoever_has_no_time_is_asked() {
    let mut state = 1u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    let noise: Vec<u8> = noise.take(1 << 20).collect();
    // About as large as is taken, and with as many ways at each byte.
    for dear in [
        r"(?s)([\x00-\x7f].{300}|[\x80-\xff].{310}){10}[^a-z]{9}[0-9A-F]{9}",
        r"(?s)(?:[a-m].{0,40}){90}[^a-z]{9}[0-9A-F]{9}",
        r"(?s)[^\x00].{9000}[^a-z]{9}[0-9A-F]{9}",
    ] {
        let expression = BytesExpression::new(dear).unwrap();
        assert!(expression.required.is_none(), "{dear}: the automaton has to go over all bytes");
        let mut search = expression.search();
        search.begin();
        let begun = Instant::now();
        let told = search.feed(&noise, &mut || begun.elapsed() < Duration::from_millis(300));
        println!("{dear}: {told:?} after {:?}", begun.elapsed());
        // Asked in time, the last step included, on a machine that has other things to do, too.
        assert!(begun.elapsed() < Duration::from_secs(10), "{dear}: {:?}", begun.elapsed());
    }
}

/// Many, as a match that a cut goes through is one of many; `STREAMDB_SOAK=1` does it a hundred times as often.
fn cases() -> ProptestConfig {
    let times = if std::env::var_os("STREAMDB_SOAK").is_some_and(|v| v == "1") { 100 } else { 1 };
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000 * times) }
}

proptest! {
    #![proptest_config(cases())]

    /// What another engine of the same language says of the whole content at once.
    #[test]
    fn pieces_are_as_the_whole(
        text in proptest::sample::select(vec![
            "ab+c", "^a.*b$", "(?s)a.{2,5}b", "(?m)^b$", r"\bab\b", "(ab|ba)*c$", "[^a]{3}", "a\\z", r"\Bb", "(?i)AbC",
        ]),
        content in proptest::collection::vec(proptest::sample::select(b"abc \n".to_vec()), 0..60),
        cuts in proptest::collection::vec(0usize..60, 0..6),
    ) {
        let pieces = cut(&content, &cuts);
        prop_assert_eq!(is_in(text, &pieces), twin(text).is_match(&content), "{:?} in {:?}", text, pieces);
    }

    /// So too where literals are looked for, in contents that have many of them, and nearly.
    #[test]
    fn literals_in_pieces_are_as_in_the_whole(
        text in proptest::sample::select(WITH_LITERALS.to_vec()),
        content in content(),
        cuts in proptest::collection::vec(0usize..25, 0..6),
    ) {
        let pieces = cut(&content, &cuts);
        prop_assert_eq!(is_in(text, &pieces), twin(text).is_match(&content), "{:?} in {:?}", text, pieces);
    }

    /// A hole is like a zero byte on either side, which none of these takes.
    #[test]
    fn holes_are_between_contents(
        text in proptest::sample::select(WITH_LITERALS.iter().filter(|text| !text.contains(['.', '^'])).copied().collect::<Vec<_>>()),
        contents in proptest::collection::vec((content(), proptest::collection::vec(0usize..25, 0..3)), 1..4),
    ) {
        let runs: Vec<Vec<&[u8]>> = contents.iter().map(|(content, cuts)| cut(content, cuts)).collect();
        let padded = contents.iter().map(|(content, _)| &content[..]).collect::<Vec<_>>().join(&0);
        prop_assert_eq!(is_in_runs(text, &runs).0, twin(text).is_match(&padded), "{:?} in {:?}", text, runs);
    }
}

/// Each has literals that are looked for: before, within, and behind what else is in it.
const WITH_LITERALS: [&str; 24] = [
    "QZX",
    "QZX|ZQ#Z",
    "(?i)qzxq",
    "[a-c]{3,}QZ#",
    "[a-c]*QZX[a-c]*",
    "a.{3}QZX",
    "(?s)a.{0,3}QZX.{2}b",
    "(?s)QZX.*ZQ#",
    "(?s)a.*QZX",
    "(?s)(a|bc).+QZX",
    r"\bQZX\b",
    r"\BQZX",
    "(?m)^QZX",
    "(?m)QZX$",
    "QZX$",
    r"QZX\z",
    "(?m)^[a-c]+QZ#$",
    "[^b]+QZX",
    "[^b]{2}QZX[^c]b",
    "(QZ#|ZXQ)+a",
    "(a+QZ#|b+ZXQ)",
    "(a|bQ)+QZX(c|Z)",
    "a(QZ#)?ZXQ",
    "(?:QZX){2}",
];

/// Contents with parts of those literals, and with what is around them.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let parts: [&[u8]; 12] = [b"QZX", b"ZQ#Z", b"qZx", b"QZ#", b"ZXQ", b"Q", b"Z", b"a", b"abc", b"b", b"\n", b"    "];
    // Short ones, as in a long one there is nearly always a match that no cut goes through.
    proptest::collection::vec(proptest::sample::select(parts.to_vec()), 0..9).prop_map(|parts| parts.concat())
}

#[test]
fn what_has_no_literal_is_left_out() {
    let prose = b"What lies between is gone over many bytes at a time. ".repeat(2000);
    for text in WITH_LITERALS.iter().filter(|text| !text.contains("(?s)a.*") && !text.contains(").+")) {
        let (found, left_out) = is_in_runs(text, &[prose.chunks(50_000).collect()]);
        assert!(!found && left_out > prose.len() * 99 / 100, "{text}: {left_out} of {}", prose.len());
    }
    for text in ["(?i)this program cannot be run", "mimikatz|powershell", r"[a-z]{8,}\.exe", "[a-z]+=[0-9]+&zz="] {
        assert!(BytesExpression::new(text).unwrap().required.is_some(), "{text}");
    }
    // Nothing in it is rare, or it may begin anywhere, or only at the beginning.
    for text in ["[a-z]{4}", "e", "(e|a|i|o|u)[a-z]", "^QZX", ""] {
        assert!(BytesExpression::new(text).unwrap().required.is_none(), "{text}");
    }
}

#[test]
fn literals_that_are_everywhere_are_not_looked_for_all_the_time() {
    let expression = BytesExpression::new("QZX[0-9]").unwrap();
    let mut search = expression.search();
    let close = b"QZXa".repeat(1 << 20);
    search.begin();
    assert!(search.feed(&close, &mut || true).is_continue());
    let tries = search.patience.tries;
    assert!((MET as usize..close.len() / 1000).contains(&tries), "{tries} in {}", close.len());
    // Where they are rare again, they are again.
    let rare = [vec![b' '; 1 << 20], b"QZX7 ".to_vec()].concat();
    assert_eq!(search.feed(&rare, &mut || true), ControlFlow::Break(Decided::Found));
    assert!(search.patience.ever > rare.len() / 2, "{}", search.patience.ever);
}

#[test]
fn a_literal_that_is_far_is_not_looked_for_at_each_byte() {
    // A match may begin at each of them, and end behind the literal.
    let expression = BytesExpression::new("(?s)(a|bc).+QZX").unwrap();
    let far = [vec![b'x'; STRETCH - 3], b"QZX".to_vec()].concat().repeat(50);
    let mut search = expression.search();
    search.begin();
    assert!(search.feed(&far, &mut || true).is_continue());
    assert!((50..500).contains(&search.patience.tries), "{}", search.patience.tries);
}

#[test]
fn however_literals_lie_it_takes_linear_time() {
    // Each is found at once, and none of them decides anything.
    let content = b"aQZ".repeat(1 << 20);
    for text in ["[aQZ]{8,}#", "(?s)a.*QZ#", "[aQZ]+QZ[0-9]", "(aQZ){9}QZ", "[^#]{50}QZ#", "(?s)QZ.{0,100}#"] {
        let expression = BytesExpression::new(text).unwrap();
        let mut search = expression.search();
        search.begin();
        let begun = Instant::now();
        assert!(search.feed(&content, &mut || true).is_continue());
        assert!(begun.elapsed() < Duration::from_secs(2), "{text}: {:?}", begun.elapsed());
    }
}
