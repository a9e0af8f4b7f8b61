//! The division into lines against its slow twin.

use proptest::prelude::*;

use super::lines;

type Lines = Vec<(u64, Vec<u8>)>;

fn found(bytes: &[u8], from: u64, step: usize) -> (u64, Lines) {
    let mut all = Vec::new();
    let read = |buf: &mut [u8], at: u64| {
        let rest = bytes.get(at as usize..).unwrap_or_default();
        let count = rest.len().min(buf.len()).min(step);
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    };
    let end = lines(read, from, |at, line| all.push((at, line.to_owned()))).unwrap();
    (end, all)
}

/// All of it at once.
fn expected(bytes: &[u8]) -> (u64, Lines) {
    let mut all = Vec::new();
    let mut at = 0;
    for piece in bytes.split_inclusive(|b| *b == b'\n') {
        if let Some(line) = piece.strip_suffix(b"\n") {
            all.push((at, line.to_owned()));
            at += piece.len() as u64;
        }
    }
    if at == bytes.len() as u64
        && let Some((begin, _)) = all.pop_if(|(_, line)| line.contains(&0))
    {
        at = begin;
    }
    (at, all)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn lines_are_divided_as_by_its_twin(
        bytes in proptest::collection::vec(prop::sample::select(vec![b'a', b'b', b'\n', 0]), 0..30),
        step in 1..8_usize,
    ) {
        let (end, all) = expected(&bytes);
        prop_assert_eq!(found(&bytes, 0, step), (end, all.clone()));
        // From any line's begin it goes on as if it had begun there before.
        for (n, (at, _)) in all.iter().enumerate() {
            prop_assert_eq!(found(&bytes, *at, step), (end, all[n..].to_vec()));
        }
    }
}

#[test]
fn a_line_without_end_takes_no_memory_without_end() {
    let mut bytes = vec![b'a'; 1 << 20];
    assert_eq!(found(&bytes, 0, 1000), (0, vec![]));
    bytes.extend(b"\nb\n");
    let (end, all) = found(&bytes, 0, usize::MAX);
    assert_eq!(end, bytes.len() as u64);
    assert_eq!(all.iter().map(|(at, line)| (*at, line.len())).collect::<Vec<_>>(), [(0, 65_537), ((1 << 20) + 1, 1)]);
}
