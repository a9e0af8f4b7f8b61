//! The frames of a connection, as a capture file.

use std::io::Write;
use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode};
use streamdb_derive::{CaptureFormat, Error, Store, Stream, capture, capture_format};
use streamdb_types::Oid;

use crate::answer::{attach, failed, say_dropped, whole};
use crate::channel::Maker;

pub(super) fn send(store: &Arc<Store>, oid: Oid, maker: Maker) {
    let found = store.stream(oid).map_err(Error::from);
    let found = found.and_then(|stream| Ok((capture_format(store, &stream)?, stream)));
    match found {
        Err(error) => maker.whole(failed(&error)),
        Ok((format, stream)) => {
            // A body that cannot be finished breaks off; the client sees that.
            let _ = body(store, oid, format, &stream, maker);
        }
    }
}

fn body(store: &Store, oid: Oid, format: CaptureFormat, stream: &Stream, maker: Maker) -> Result<(), Error> {
    let extension = match format {
        CaptureFormat::Pcap => "pcap",
        CaptureFormat::Pcapng => "pcapng",
    };
    let mut head = whole(StatusCode::OK, HeaderValue::from_static(format.media_type()), "");
    attach(head.headers_mut(), oid, extension);
    say_dropped(head.headers_mut(), stream.dropped());
    let Some(writer) = maker.begin(head) else { return Ok(()) };
    let (mut writer, _) = capture(store, stream, format, writer)?;
    writer.flush()?;
    Ok(writer.finish()?)
}
