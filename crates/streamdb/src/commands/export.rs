//! `streamdb export`: frames as a capture file again.

use std::io::Write;
use std::net::IpAddr;

use streamdb_query::{Filter, Order};
use streamdb_storage::{CaptureFormat, CaptureWriter, FrameFilter, Store, StoredFrame};

use super::Error;
use crate::cli::{Export, FormatFlag};
use crate::output::{Output, complain};

pub(super) fn run(args: &Export) -> Result<(), Error> {
    let filter = Filter::parse_words(&args.filters)?;
    // Frames are selected by their connection and time; a term about streams or objects must not be overlooked.
    let Filter { direction, reason, objects, offset, limit, order, after, length, .. } = &filter;
    let suitable = direction.is_none() && reason.is_none() && objects.is_empty() && *offset == 0 && limit.is_none();
    if !suitable || *order != Order::OldestFirst || after.is_some() || length.is_some() {
        let what = "export: frames are selected by address, port, protocol, community_id, start and end, and by nothing else; \
                    `streamdb get OID --pcap` gives those of one connection";
        return Err(Error::Other(what.to_owned()));
    }
    let store = Store::open(&args.data.folder)?;
    let format = match args.format {
        Some(FormatFlag::Pcap) => CaptureFormat::Pcap,
        Some(FormatFlag::Pcapng) => CaptureFormat::Pcapng,
        None => CaptureFormat::for_interfaces(&store.interfaces()?),
    };
    let mut out = Output::open(Some(&args.pcap))?;
    let failed = out.error();
    let mut writer = CaptureWriter::new(&mut out, format);
    let mut refused = None;
    let mut written = 0u64;
    let by_connection = filter.names_ends();
    let wanted = |tuple: &_, _: &_| filter.matches_connection(tuple);
    let frames = FrameFilter { start: filter.start, end: filter.end, connections: by_connection.then_some(&wanted) };
    store.frames(&frames, &mut |frame| {
        let selected = frame.connected || !by_connection || others(&filter, frame);
        if selected && refused.is_none() {
            refused = writer.frame(frame).err();
            written += 1;
        }
        Ok(())
    })?;
    if let Some(error) = refused {
        return Err(failed(error));
    }
    writer.finish().map(|_| ()).map_err(&failed)?;
    out.flush().map_err(&failed)?;
    if written == 0 {
        complain(&format!("0 frames match: {} is a capture without frames", out.name.display()));
    }
    Ok(())
}

/// A frame of no connection (ICMP, fragments, other protocols) is selected by the addresses of its outermost IP packet.
fn others(filter: &Filter, frame: &StoredFrame<'_>) -> bool {
    let addresses: Option<(IpAddr, IpAddr)> = streamdb_decode::addresses(frame.interface.link_type, frame.data);
    addresses.is_some_and(|(src, dst)| filter.matches_addresses(src, dst))
}
