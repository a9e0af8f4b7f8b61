//! A hex dump of what an oid names.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::http::StatusCode;
use streamdb_derive::{BodyLimits, Decode, Error, Piece, Store, object, raw};
use streamdb_types::{Oid, StreamOffset};

use super::hex::HexWriter;
use crate::answer::{PLAIN, failed, whole};
use crate::channel::Maker;

pub(super) fn send(store: &Arc<Store>, oid: Oid, as_is: bool, maker: Maker) {
    // What is not there is said before the answer begins.
    let there = if as_is { store.stream(oid).map(|_| ()).map_err(Error::from) } else { object(store, oid).map(|_| ()) };
    match there {
        Err(error) => maker.whole(failed(&error)),
        Ok(()) => {
            let Some(writer) = maker.begin(whole(StatusCode::OK, PLAIN, "")) else { return };
            // A body that cannot be finished breaks off; the client sees that.
            let _ = body(store, oid, as_is, HexWriter::new(writer));
        }
    }
}

fn body(store: &Store, oid: Oid, as_is: bool, mut writer: HexWriter<crate::channel::BodyWriter>) -> Result<(), Error> {
    let mut written = Ok(());
    let take = &mut |piece: Piece<'_>| {
        written = match piece {
            Piece::Bytes(bytes) => writer.bytes(bytes),
            Piece::Hole(gap) => writer.hole(gap.length, gap.kind.word()),
        };
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    if as_is {
        let stream = store.stream(oid)?;
        raw(&stream, StreamOffset(0)..stream.len(), take)?;
    } else {
        object(store, oid)?.body(Decode::Decoded, &BodyLimits::default(), take)?;
    }
    written?;
    Ok(writer.finish()?.finish()?)
}
