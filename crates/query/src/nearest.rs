//! The known name that an unknown one was probably meant to be.

/// Longer names are no misspelling of anything.
const LONGEST: usize = 32;

/// The name of `known` that needs the fewest changed, added or left out letters, if that is few.
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if name.len() > LONGEST {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let most = 1 + name.len() / 4;
    let near = known.into_iter().map(|candidate| (distance(&name, candidate), candidate));
    near.filter(|(distance, _)| *distance <= most).min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, row by row.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b.bytes()) {
            let above = *cell;
            left = (diagonal + usize::from(from != to)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, d) in [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("srcip", "srcip", 0)]
        {
            assert_eq!(distance(a, b), d, "{a} {b}");
        }
    }

    #[test]
    fn misspellings_are_understood() {
        let known = ["srcip", "srcport", "dstip", "limit"];
        assert_eq!(nearest("scrip", known), Some("srcip"));
        assert_eq!(nearest("SRCPORT", known), Some("srcport"));
        assert_eq!(nearest("limits", known), Some("limit"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest(&"srcip".repeat(100), known), None);
    }
}
