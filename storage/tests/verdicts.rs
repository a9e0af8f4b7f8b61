//! What scanners said, kept on a disk that fails now and then.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

use std::sync::Arc;

use streamdb_storage::{DiskVolume, KeptMark, Parties, Scanned, VerdictKeeper, Verdicts};
use streamdb_testkit::{Fault, FaultVolume, TestFolder};
use streamdb_types::{BucketId, Scanner, Verdict};

const NO_SPACE: i32 = 28;
const PARTIES: Parties = Parties::new(2, true);

fn scanned(number: u32, found: bool) -> Scanned {
    let mut sha256 = [0; 32];
    sha256[..4].copy_from_slice(&number.to_be_bytes());
    let verdict = Verdict { scanner: Scanner::Clamd, name: "Bad".into(), details: String::new() };
    let verdicts = if found { vec![verdict] } else { Vec::new() };
    Scanned { sha256, oid: "7-11-13-0".parse().unwrap(), first_seen: true, whole: true, by: 5, looked: 3, verdicts }
}

/// Each step fails first and is then done; among them the file is written anew, as most marks in it count no more.
#[test]
fn a_disk_that_fails_now_and_then_costs_nothing() {
    let folder = TestFolder::new("verdicts-fails");
    let volume = FaultVolume::new(DiskVolume);
    let mut keeper = VerdictKeeper::open(folder.path(), Arc::new(volume.clone()), PARTIES).unwrap().unwrap();
    keeper.begin(&[]).unwrap();
    let path = folder.path().join("derived/verdicts");
    let (mut longest, mut anew, mut failed) = (0, 0, 0);
    for number in 0..2_000_u32 {
        volume.fail_next(Fault { errno: NO_SPACE, forever: true, ..Fault::default() });
        assert!(keeper.scanned(scanned(number, number % 100 == 0)).is_err());
        volume.heal();
        keeper.scanned(scanned(number, number % 100 == 0)).unwrap();
        for n in 0..700_u64 {
            let mut mark = || keeper.mark(BucketId(n % 2), KeptMark::NOTHING, false);
            if longest > 16 << 20 {
                // From here on the new file may be written, and each of its operations may fail.
                volume.fail_next(Fault { errno: NO_SPACE, ..Fault::default() });
                failed += u32::from(mark().is_err());
                volume.heal();
            }
            mark().unwrap();
        }
        let length = std::fs::metadata(&path).unwrap().len();
        anew += u32::from(length < longest);
        longest = if length < longest { 0 } else { length };
    }
    assert!(anew > 0 && failed > 0, "{anew} {failed}");
    drop(keeper);
    let keeper = VerdictKeeper::open(folder.path(), Arc::new(DiskVolume), PARTIES).unwrap().unwrap();
    assert!(!keeper.is_new());
    let shown = Verdicts::open(folder.path());
    for number in 0..2_000 {
        let Scanned { sha256, oid, verdicts, .. } = scanned(number, number % 100 == 0);
        assert_eq!(keeper.known(&sha256, oid).map(|known| known.verdicts).as_ref(), Some(&verdicts));
        assert_eq!(shown.of(&sha256), verdicts);
    }
}
