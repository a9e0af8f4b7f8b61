//! Who has logged in: random names in memory, a bounded number of them, for a bounded time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::token::random;

/// A session ends this long after its login.
pub(super) const LIFE: Duration = Duration::from_secs(12 * 3600);
/// Most sessions at a time. One more, and the oldest ends.
const MOST: usize = 1024;

/// The sessions. They end with the process.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<Key, Session>>);

/// The hash of a session's name: finding it in a table takes a time that tells nothing of the name.
type Key = [u8; 32];

#[derive(Clone, Copy, Debug)]
struct Session {
    /// Its token's place in the configuration.
    token: usize,
    begun: Instant,
}

impl Sessions {
    /// Begins one, and gives its name: what the browser keeps, and nothing that can be made of it is the token.
    pub(super) fn begin(&self, token: usize, now: Instant) -> Result<String, getrandom::Error> {
        let name = random()?;
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= MOST {
            sessions.retain(|_, session| now.duration_since(session.begun) < LIFE);
        }
        if sessions.len() >= MOST {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.begun).map(|(key, _)| *key);
            oldest.and_then(|key| sessions.remove(&key));
        }
        sessions.insert(key(&name), Session { token, begun: now });
        Ok(name)
    }

    /// The place of a session's token.
    pub(super) fn token(&self, name: &str, now: Instant) -> Option<usize> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(name);
        let session = *sessions.get(&key)?;
        if now.duration_since(session.begun) < LIFE {
            return Some(session.token);
        }
        sessions.remove(&key);
        None
    }

    /// Ends one.
    pub(super) fn end(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(name));
    }
}

fn key(name: &str) -> Key {
    Sha256::digest(name).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_with_its_time_or_a_logout() {
        let sessions = Sessions::default();
        let begun = Instant::now();
        let (a, b) = (sessions.begin(3, begun).unwrap(), sessions.begin(4, begun).unwrap());
        assert_eq!(sessions.token(&a, begun + LIFE - Duration::from_secs(1)), Some(3));
        assert_eq!(sessions.token("", begun), None);
        sessions.end(&b);
        assert_eq!(sessions.token(&b, begun), None);
        assert_eq!(sessions.token(&a, begun + LIFE), None);
        assert_eq!(sessions.token(&a, begun), None, "what has ended does not come back");
    }

    #[test]
    fn there_are_only_so_many() {
        let sessions = Sessions::default();
        let begun = Instant::now();
        let at = |n: usize| begun + Duration::from_millis(n as u64);
        let names: Vec<String> = (0..MOST + 2).map(|n| sessions.begin(n, at(n)).unwrap()).collect();
        let alive = names.iter().filter(|name| sessions.token(name, at(MOST)).is_some()).count();
        assert_eq!(alive, MOST);
        assert_eq!(sessions.token(&names[1], at(MOST)), None, "the oldest goes first");
        assert_eq!(sessions.token(&names[2], at(MOST)), Some(2));
    }
}
