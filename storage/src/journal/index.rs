//! Connection ordinals to their indexes in a block: a small hash table that is emptied without being touched.

/// Ordinals to indexes.
#[derive(Default)]
pub(super) struct Index {
    /// Generation, ordinal, index; a power of two of them, at most half in use.
    places: Vec<(u32, u32, u32)>,
    generation: u32,
    used: usize,
}

impl Index {
    pub(super) fn clear(&mut self) {
        self.used = 0;
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 || self.places.is_empty() {
            self.places.clear();
            self.places.resize(1024, (0, 0, 0));
            self.generation = 1;
        }
    }

    /// The index of an ordinal, which is `next` when it was not there.
    pub(super) fn find_or_add(&mut self, ordinal: u32, next: u32) -> u32 {
        if self.used * 2 >= self.places.len() {
            self.grow();
        }
        let mask = self.places.len().saturating_sub(1);
        let mut at = hash(ordinal) & mask;
        // At most half is in use, so an unused place comes.
        while let Some(place) = self.places.get_mut(at) {
            if place.0 != self.generation {
                *place = (self.generation, ordinal, next);
                self.used += 1;
                return next;
            }
            if place.1 == ordinal {
                return place.2;
            }
            at = (at + 1) & mask;
        }
        next
    }

    fn grow(&mut self) {
        let bigger = (self.places.len() * 2).max(1024);
        let old = std::mem::replace(&mut self.places, vec![(0, 0, 0); bigger]);
        let before = std::mem::replace(&mut self.generation, 1);
        self.used = 0;
        for (generation, ordinal, index) in old {
            if generation == before && before != 0 {
                self.find_or_add(ordinal, index);
            }
        }
    }
}

const fn hash(ordinal: u32) -> usize {
    (ordinal.wrapping_mul(0x9e37_79b1) >> 7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn it_is_a_map(blocks in prop::collection::vec(prop::collection::vec(prop_oneof![0u32..100, any::<u32>()], 0..3000), 1..4)) {
            let mut index = Index::default();
            for block in blocks {
                index.clear();
                let mut twin = HashMap::new();
                for ordinal in block {
                    let next = twin.len() as u32;
                    let expected = *twin.entry(ordinal).or_insert(next);
                    prop_assert_eq!(index.find_or_add(ordinal, next), expected);
                }
            }
        }
    }
}
