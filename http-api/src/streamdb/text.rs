//! A listing as text, in the shape that the ancestor gave it.

use std::fmt::Write;
use std::time::Duration;

use streamdb_query::{Wording, Zone, meta};

use super::entry::{Entry, Listing};
use super::printable;

/// The line over a listing.
pub(super) fn first_line(listing: &Listing, took: Duration, zone: &Zone) -> String {
    let (from, to) = listing.times;
    format!(
        "Returning {} of {} at offset {} from {} to {} ({} ms)",
        listing.objects(),
        listing.found,
        listing.offset,
        zone.long_date(from),
        zone.long_date(to),
        took.as_millis()
    )
}

/// The line over an object, in the ancestor's words, printable.
pub(super) fn meta_line(object: &Entry) -> String {
    printable::line(meta(&object.row, Wording::Legacy).as_bytes(), printable::LINE)
}

/// The content of an object as the ancestor printed it: head, blank line, body; and what is to be said of it.
pub(super) fn content(object: &Entry) -> String {
    let mut out = object.head.clone();
    if !out.is_empty() && !object.content.is_empty() {
        out.push('\n');
    }
    out.push_str(&object.content);
    for note in &object.notes {
        // Writing into a string cannot fail.
        let _ = write!(out, "\n[{note}]\n");
    }
    out
}

/// How much of each object a listing prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What it is, and its oid.
    Lines,
    /// The head of its message too.
    Heads,
    /// All of it, as the endpoint answers.
    Whole,
}

pub(super) fn render(listing: &Listing, took: Duration, zone: &Zone, detail: Detail) -> String {
    let mut out = first_line(listing, took, zone);
    out.push_str("\n\n");
    for connection in &listing.connections {
        paragraph(&mut out, &connection.line(zone));
        for object in &connection.objects {
            paragraph(&mut out, &meta_line(object));
            let _ = write!(out, "oid={}\n\n", object.row.oid);
            match detail {
                Detail::Lines => {}
                Detail::Heads if object.head.is_empty() => {}
                Detail::Heads => paragraph(&mut out, &object.head),
                Detail::Whole => paragraph(&mut out, &content(object)),
            }
        }
        if let Some(loss) = &connection.loss {
            paragraph(&mut out, &format!("[{}]", loss.sentence()));
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
