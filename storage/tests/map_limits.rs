//! The bounds of the table of mappings and of the kernel's. Alone in its process, as it uses them up.

use std::fs::OpenOptions;
use std::io::ErrorKind;

use streamdb_storage::Map;
use streamdb_testkit::TestFolder;

#[test]
fn the_bounds_are_met_with_an_error() {
    let folder = TestFolder::new("limits");
    let path = folder.path().join("file");
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    file.set_len(4096).unwrap();

    // All places of the table.
    let maps: Vec<_> = (0..16_384).map(|_| Map::open(&file, &path, 4096).unwrap()).collect();
    assert_eq!(Map::open(&file, &path, 4096).unwrap_err().kind(), ErrorKind::QuotaExceeded);
    drop(maps.into_iter().step_by(2).collect::<Vec<_>>());
    let maps: Vec<_> = (0..16_384).map(|_| Map::open(&file, &path, 4096).unwrap()).collect();
    assert!(Map::open(&file, &path, 4096).is_err());
    drop(maps);

    // More bad pages, each apart, than the kernel gives pieces of address space.
    let pages = 140_000_u64;
    file.set_len(pages * 4096).unwrap();
    let map = Map::open(&file, &path, pages * 4096).unwrap();
    let other = Map::open(&file, &path, 4096).unwrap();
    file.set_len(4096).unwrap();
    for page in (1..pages).step_by(2) {
        let error = map.read(page * 4096, 1, |bytes| assert_eq!(bytes, [0])).unwrap_err();
        assert!(error.to_string().contains("cannot be read"), "{error}");
    }
    assert_eq!(other.read(0, 4096, |bytes| bytes.len()).unwrap(), 4096);
    // One piece again, or these would have none.
    let maps: Vec<_> = (0..16_000).map(|_| Map::open(&file, &path, 4096).unwrap()).collect();
    assert_eq!(maps.len(), 16_000);
}
