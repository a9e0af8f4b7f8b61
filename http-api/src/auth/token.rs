//! Tokens: who may do what. Only their hashes are kept.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// What a token lets its holder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Search, and download what is found.
    Read,
    /// Hand objects to targets, such as a sandbox.
    Submit,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 2] = [Self::Read, Self::Submit];

    /// The word for it in the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Submit => "submit",
        }
    }

    /// The role that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }
}

/// A set of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// Every role.
    pub const ALL: Self = Self(0b11);

    /// Whether a role is in it.
    pub const fn has(self, role: Role) -> bool {
        self.0 & 1 << role as u8 != 0
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |set, role| set | 1 << role as u8))
    }
}

/// The SHA-256 of a token's text.
///
/// A token is 256 random bits, so that nobody can try all of them, and one round of a fast hash is enough. A password would
/// need a slow one; that is why tokens are made by the program and not chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// What is accepted, for messages.
    pub const ACCEPTED: &str = "sha256: and 64 hex digits, as `streamdb token NAME` prints it";
    const PREFIX: &str = "sha256:";

    /// Of a token.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Reads `sha256:<64 hex digits>`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(Self::PREFIX)?.as_bytes();
        let (pairs, []) = digits.as_chunks::<2>() else { return None };
        let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
        let mut hash = [0; 32];
        if pairs.len() != hash.len() {
            return None;
        }
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A token as the configuration knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What people call it.
    pub name: String,
    /// What it is known by.
    pub hash: TokenHash,
    /// What it lets its holder do.
    pub roles: Roles,
}

/// A new token's text, `sdb_` and 256 random bits. Whoever made it shows it once, and keeps its [`hash`](Self::hash).
pub struct Secret(String);

impl Secret {
    /// A new one, from the system's randomness.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn new() -> Result<Self, getrandom::Error> {
        Ok(Self(format!("sdb_{}", random()?)))
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.0.as_bytes())
    }
}

/// 256 random bits as text.
pub(super) fn random() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The place of a token among those that are known. Takes the same time whether it is there, and where.
pub(super) fn find(known: &[Token], token: &[u8]) -> Option<usize> {
    let hash = TokenHash::of(token);
    let mut found = Choice::from(0);
    let mut place = 0u64;
    for (at, token) in known.iter().enumerate() {
        let same = token.hash.0.ct_eq(&hash.0);
        place.conditional_assign(&(at as u64), same);
        found |= same;
    }
    bool::from(found).then_some(place as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_read_as_they_are_written() {
        let hash = TokenHash::of(b"abc");
        // FIPS 180-4's example, as `printf abc | sha256sum` has it.
        let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.to_string(), text);
        assert_eq!(TokenHash::parse(text), Some(hash));
        let bad = [&text[7..], &text[..70], "sha256:", "md5:00", &text.replace("ba", "xy"), &format!("{text}0")];
        for bad in bad {
            assert_eq!(TokenHash::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn secrets_are_long_and_never_the_same() {
        let (a, b) = (Secret::new().unwrap(), Secret::new().unwrap());
        assert_ne!(a.text(), b.text());
        assert_eq!(a.text().len(), 4 + 43);
        assert_eq!(a.hash(), TokenHash::of(a.text().as_bytes()));
    }

    #[test]
    fn the_right_token_is_found() {
        let token =
            |name: &str| Token { name: name.to_owned(), hash: TokenHash::of(name.as_bytes()), roles: Roles::default() };
        let known = ["a", "b", "c"].map(token);
        assert_eq!(find(&known, b"a"), Some(0));
        assert_eq!(find(&known, b"c"), Some(2));
        assert_eq!(find(&known, b"d"), None);
        assert_eq!(find(&known, b""), None);
        assert_eq!(find(&[], b"a"), None);
    }

    #[test]
    fn roles_are_a_set() {
        let submit: Roles = [Role::Submit].into_iter().collect();
        assert!(submit.has(Role::Submit) && !submit.has(Role::Read));
        assert_eq!(Role::ALL.into_iter().collect::<Roles>(), Roles::ALL);
        assert_eq!(Role::from_word("submit"), Some(Role::Submit));
        assert_eq!(Role::from_word("write"), None);
    }
}
