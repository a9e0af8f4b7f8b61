//! A list of wanted values, or of unwanted ones.

/// Values of which one has to match, or, negated, none may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set<T> {
    /// The values; never empty.
    pub values: Vec<T>,
    /// Whether they are the unwanted ones.
    pub negated: bool,
}

impl<T> Set<T> {
    /// Whether something for which `is` tells if it is one of the values is wanted.
    pub fn wants(&self, is: impl FnMut(&T) -> bool) -> bool {
        self.values.iter().any(is) != self.negated
    }
}
