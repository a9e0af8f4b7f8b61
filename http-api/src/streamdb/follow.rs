//! A stream's bytes while they come: the answer goes on until the stream ends. Its length is not known, so it comes in chunks, and
//! the last one says that this was all.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use streamdb_derive::{Error, Follow, Followed, Store, incomplete};
use streamdb_extract::Piece;
use streamdb_types::{Oid, StreamOffset};

use super::stream::describe;
use crate::answer::failed;
use crate::channel::{BodyWriter, Maker};

/// How often the stream is looked at.
const LOOK: Duration = Duration::from_millis(100);

pub(super) fn send(store: &Arc<Store>, oid: Oid, maker: Maker) {
    let following = match Follow::new(store, oid, StreamOffset(0)) {
        Ok(following) => following,
        Err(error) => return maker.whole(failed(&error.into())),
    };
    let incomplete = match incomplete(store, following.stream().info()) {
        Ok(incomplete) => incomplete,
        Err(error) => return maker.whole(failed(&error)),
    };
    let head = describe(following.stream(), 0..u64::MAX, incomplete);
    let Some(writer) = maker.begin(head) else { return };
    // What breaks off has no last chunk; the client sees that.
    let _ = body(following, writer);
}

fn body(mut following: Follow<'_>, mut writer: BodyWriter) -> Result<(), Error> {
    let mut written: io::Result<()> = Ok(());
    loop {
        let standing = following.step(&mut |piece| {
            written = match piece {
                Piece::Bytes(bytes) => writer.write_all(bytes),
                Piece::Hole(gap) => writer.zeros(gap.length),
            };
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        std::mem::replace(&mut written, Ok(()))?;
        writer.flush()?;
        match standing {
            Followed::Open if writer.is_gone() => return Ok(()),
            Followed::Open => thread::sleep(LOOK),
            Followed::Ended(_) => return Ok(writer.finish()?),
            // How it ended is not known, so nothing says that this was all.
            Followed::Left => return Ok(()),
        }
    }
}
