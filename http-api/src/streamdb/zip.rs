//! An object in a zip archive with the password `infected`, as sandboxes and colleagues exchange what may be malware: no
//! virus scanner on the way opens it by accident. The encryption is the old one of zip, which every tool opens; it protects
//! from accidents only.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use ::zip::unstable::write::FileOptionsExt;
use ::zip::write::SimpleFileOptions;
use ::zip::{CompressionMethod, ZipWriter};
use axum::http::{HeaderValue, StatusCode};
use streamdb_derive::{BodyLimits, Decode, Error, Object, Piece, Store, object};
use streamdb_types::Oid;

use crate::answer::{attach, failed, whole};
use crate::channel::{BodyWriter, Maker};

const PASSWORD: &[u8] = b"infected";

pub(super) fn send(store: &Arc<Store>, oid: Oid, maker: Maker) {
    let object = match object(store, oid) {
        Ok(object) => object,
        Err(error) => return maker.whole(failed(&error)),
    };
    let mut head = whole(StatusCode::OK, HeaderValue::from_static("application/zip"), "");
    attach(head.headers_mut(), oid, "zip");
    let Some(writer) = maker.begin(head) else { return };
    // A body that cannot be finished breaks off; the client sees that.
    let _ = body(object, oid, writer);
}

fn body(mut object: Object, oid: Oid, writer: BodyWriter) -> Result<(), Error> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .large_file(true)
        .with_deprecated_encryption(PASSWORD)
        .map_err(io::Error::from)?;
    let mut archive = ZipWriter::new_stream(writer);
    // Named by the oid: no name from the wire becomes a path on somebody's disk.
    archive.start_file(format!("streamdb-{oid}.bin"), options).map_err(io::Error::from)?;
    let mut written = Ok(());
    object.body(Decode::Decoded, &BodyLimits::default(), &mut |piece| {
        written = match piece {
            Piece::Bytes(bytes) => archive.write_all(bytes),
            Piece::Hole(gap) => io::copy(&mut io::Read::take(io::repeat(0), gap.length), &mut archive).map(|_| ()),
        };
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    written?;
    let writer = archive.finish().map_err(io::Error::from)?.into_inner();
    Ok(writer.finish()?)
}
