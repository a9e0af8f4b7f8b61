//! A listing as text, in the shape that the ancestor gave it.

use std::fmt::Write;
use std::time::Duration;

use super::entry::{Listing, long_date};

pub(super) fn render(listing: &Listing, took: Duration) -> String {
    let objects: usize = listing.connections.iter().map(|connection| connection.objects.len()).sum();
    let (from, to) = listing.times;
    let mut out = format!(
        "Returning {objects} of {} at offset {} from {} to {} ({} ms)\n\n",
        listing.found,
        listing.offset,
        long_date(from),
        long_date(to),
        took.as_millis()
    );
    for connection in &listing.connections {
        paragraph(&mut out, &connection.line());
        for object in &connection.objects {
            paragraph(&mut out, &object.meta);
            // Writing into a string cannot fail.
            let _ = write!(out, "oid={}\n\n", object.oid);
            paragraph(&mut out, &object.content);
        }
        if let Some(trouble) = &connection.trouble {
            paragraph(&mut out, &format!("[{trouble}]"));
        }
    }
    for remark in &listing.remarks {
        paragraph(&mut out, &format!("[{remark}]"));
    }
    out
}

/// The text, a line end if it has none, and a blank line.
fn paragraph(out: &mut String, text: &str) {
    out.push_str(text);
    if !text.ends_with('\n') {
        out.push('\n');
    }
    out.push('\n');
}
