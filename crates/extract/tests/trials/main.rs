//! Trials: sessions of every protocol whose objects are known go over a path that loses, doubles and reorders frames, and are cut at
//! both ends; reassembly puts together what is left. Nothing is called whole that was not sent so, and where no frame was
//! lost, all is found, whole.
//!
//! The sample is the same each time; `STREAMDB_SOAK=1` makes 10,000 trials of each protocol, and `TRIALS_SEED` draws others.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;
mod finding;
mod path;
mod sessions;

use std::collections::BTreeMap;

use finding::whole_objects;
use path::{Damage, Random};
use sessions::Session;

/// How many trials a protocol gets, without and with `STREAMDB_SOAK=1`.
const FEW: u64 = 100;
const MANY: u64 = 10_000;

fn trials(name: &str, make: impl Fn(&mut Random) -> Session) {
    let soak = std::env::var_os("STREAMDB_SOAK").is_some_and(|value| value == "1");
    let seed = std::env::var("TRIALS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1u64);
    let (mut sent, mut whole, mut lossless) = (0, 0, 0);
    for trial in 0..if soak { MANY } else { FEW } {
        let mut random = Random::new(seed << 32 | trial);
        let session = make(&mut random);
        let damage = Damage::draw(&mut random);
        let connections = path::travel(&session, &damage, &mut random);
        let mut found: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for object in whole_objects(&connections) {
            *found.entry(object).or_default() += 1;
        }
        let mut truth: BTreeMap<&[u8], usize> = BTreeMap::new();
        for object in &session.objects {
            *truth.entry(object).or_default() += 1;
        }
        for (object, times) in &found {
            let there = truth.get(&object[..]).copied().unwrap_or_default();
            assert!(
                times <= &there,
                "{name}, trial {trial} of seed {seed}, {damage:?}: called whole {times} times, sent {there}: {}",
                object.escape_ascii()
            );
        }
        if damage.is_lossless() {
            lossless += 1;
            for (object, times) in &truth {
                let there = found.get(*object).copied().unwrap_or_default();
                assert!(
                    there == *times,
                    "{name}, trial {trial} of seed {seed}, {damage:?}: found whole {there} times, sent {times}: {}",
                    object.escape_ascii()
                );
            }
        }
        sent += session.objects.len();
        whole += found.values().sum::<usize>();
    }
    println!(
        "{name}: {sent} objects sent, {whole} found whole, none wrong; all of them in {lossless} trials without loss"
    );
    assert!(whole > sent / 4 && lossless > 0, "{name}: the trials try nothing");
}

macro_rules! trials {
    ($($name:ident)*) => { $(
        #[test]
        fn $name() {
            trials(stringify!($name), sessions::$name);
        }
    )* };
}

trials! { http chunked http2 websocket multipart smtp pop3 ftp tls socks }
