//! A capture file of any bytes: reading it ends, and what is read does not depend on how the bytes came.

use std::io::{self, Read};
use std::path::Path;

use streamdb_capture::{CaptureFile, Item, MAX_FRAME, MAX_INTERFACES};

/// The most items that are looked at; small files can unpack to very many.
const ITEMS: usize = 3000;
/// The most bytes of a secrets or a names block.
const BLOCK: usize = 16 << 20;

/// Gives its bytes a few at a time.
struct Slow {
    bytes: Vec<u8>,
    at: usize,
    most: usize,
}

impl Read for Slow {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = out.len().min(self.most).min(self.bytes.len() - self.at);
        out[..n].copy_from_slice(&self.bytes[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// Reads the bytes as a capture file, at once and in small reads.
pub fn capture_file(data: &[u8]) {
    let at_once = read(data, usize::MAX);
    let in_parts = read(data, 1 + data.len() % 23);
    assert_eq!(at_once, in_parts, "what is read depends on how the bytes came");
}

/// Every item and the error in one line each.
fn read(data: &[u8], most: usize) -> Vec<String> {
    let mut said = Vec::new();
    let reader = Slow { bytes: data.to_vec(), at: 0, most };
    let mut file = match CaptureFile::from_reader(Path::new("fuzz.pcap"), reader) {
        Ok(file) => file,
        Err(error) => return vec![error.to_string()],
    };
    let mut interfaces = 0;
    while said.len() < ITEMS {
        match file.next() {
            Ok(Some(item)) => {
                said.push(match item {
                    Item::Interface(number, interface) => {
                        assert_eq!(number, interfaces, "interfaces come in order");
                        interfaces += 1;
                        assert!(interfaces <= MAX_INTERFACES);
                        format!("{interface:?}")
                    }
                    Item::Frame(frame) => {
                        assert!(frame.interface < interfaces, "a frame of an interface that was not announced");
                        assert!(frame.data.len() <= MAX_FRAME);
                        let sum = frame.data.iter().fold(0u32, |sum, byte| sum.rotate_left(5) ^ u32::from(*byte));
                        format!("{:?} {} {} {} {sum}", frame.time, frame.interface, frame.wire_len, frame.data.len())
                    }
                    Item::Secrets { kind, data } => {
                        assert!(data.len() <= BLOCK);
                        format!("secrets {kind} {data:?}")
                    }
                    Item::Names(data) => {
                        assert!(data.len() <= BLOCK);
                        format!("names {data:?}")
                    }
                    Item::Drops(drops) => {
                        assert!(drops.interface < interfaces);
                        assert!(drops.by_kernel > 0 || drops.by_interface > 0);
                        format!("{drops:?}")
                    }
                });
            }
            Ok(None) => break,
            Err(error) => {
                said.push(error.to_string());
                assert!(matches!(file.next(), Ok(None)), "an error is the last thing that is said");
                break;
            }
        }
        assert!(file.position() <= data.len() as u64);
    }
    said
}
