//! What a search in contents goes over, as files: what `benches/content_search.sh` lets other tools search.
//!
//! `contents DATA FOLDER`: writes each object of the store to FOLDER/OID, its head and its content as it was meant.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a bench that fails can only stop")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;

use streamdb_derive::{BodyLimits, Decode, Piece, Rows, Store, conversation};
use streamdb_query::{Filter, Looking, Troubles, find_streams};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [data, folder] = &words[..] else { panic!("contents DATA FOLDER") };
    let store = Store::open(Path::new(data)).unwrap();
    // All streams, and all objects of each.
    let filter = Filter::parse([("size".to_owned(), "0-".to_owned())]).unwrap();
    let mut troubles = Troubles::default();
    let looking = Looking { made: Rows::new(), go_on: &|| true, troubles: &mut troubles };
    find_streams(&store, &filter, looking, &mut |stream, rows| {
        let mut conversation = conversation(&store, stream.oid).unwrap();
        for row in rows {
            let mut out = BufWriter::new(File::create(Path::new(folder).join(row.oid.to_string())).unwrap());
            let named = conversation.named(row.direction, row.oid).unwrap();
            if let Some(head) = conversation.head(named.message()).unwrap() {
                out.write_all(head.first_line()).unwrap();
                for (name, value) in head.fields() {
                    out.write_all(&[b"\r\n", name, b": ", value].concat()).unwrap();
                }
                out.write_all(b"\r\n\r\n").unwrap();
            }
            let write = &mut |piece: Piece<'_>| {
                if let Piece::Bytes(bytes) = piece {
                    out.write_all(bytes).unwrap();
                }
                ControlFlow::Continue(())
            };
            conversation.body_of(&named, Decode::Decoded, &BodyLimits::default(), write).unwrap();
            out.flush().unwrap();
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(troubles.is_empty(), "not all could be read");
}
