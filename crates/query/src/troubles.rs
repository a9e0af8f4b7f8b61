//! What could not be read, each damage once, however many streams lie in it.

use std::collections::HashMap;
use std::fmt::Display;

/// What could not be read, as sentences.
#[derive(Clone, Debug, Default)]
pub struct Troubles {
    /// In the order in which they came.
    sentences: Vec<(String, u64)>,
    places: HashMap<String, usize>,
}

impl Troubles {
    /// One more stream, or bucket, that cannot be read, and why.
    pub fn add(&mut self, why: &impl Display) {
        let sentence = why.to_string();
        let next = self.sentences.len();
        let place = *self.places.entry(sentence.clone()).or_insert(next);
        match self.sentences.get_mut(place) {
            Some((_, times)) => *times += 1,
            None => self.sentences.push((sentence, 1)),
        }
    }

    /// Whether all could be read.
    pub fn is_empty(&self) -> bool {
        self.sentences.is_empty()
    }

    /// Each damage once, and how many streams cannot be read for it, when there are several.
    pub fn sentences(&self) -> impl Iterator<Item = String> + '_ {
        self.sentences.iter().map(|(sentence, times)| match times {
            1 => sentence.clone(),
            n => format!("{sentence}; {n} streams cannot be read for that"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_said_once_in_its_order() {
        let mut troubles = Troubles::default();
        assert!(troubles.is_empty());
        for why in ["b", "a", "b", "c", "b"] {
            troubles.add(&why);
        }
        let said: Vec<String> = troubles.sentences().collect();
        assert_eq!(said, ["b; 3 streams cannot be read for that", "a", "c"]);
    }
}
