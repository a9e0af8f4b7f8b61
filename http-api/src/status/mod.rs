//! `GET /status`: how the sensor goes, for people: its processes, its workers, what is stored, and what was lost in the last hours.

mod history;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use streamdb_derive::{Error, Status, Store, now};
use streamdb_query::Zone;
use streamdb_submit::{Submissions, Tally, TargetName};
use streamdb_types::Timestamp;

use self::history::{History, SPAN};
use crate::answer::{broken, failed};
use crate::app::App;
use crate::metrics::{Running, Worker};
use crate::streamdb::html;

/// Most deaths that are shown.
const GAPS: usize = 10;

#[derive(Template)]
#[template(path = "status.html")]
struct Page {
    zone: String,
    now: String,
    processes: Vec<Process>,
    gaps: Vec<String>,
    /// Whether the workers' process runs.
    captures: bool,
    since: String,
    workers: Vec<Shown>,
    targets: Vec<Target>,
    stored: String,
    oldest: String,
    room: String,
    dropped: u64,
    history: History,
    hours: i64,
}

struct Process {
    name: String,
    up: bool,
    says: String,
}

/// A target of submissions.
struct Target {
    name: String,
    says: String,
    /// Why what waits does.
    why: String,
}

/// A worker, in words.
struct Shown {
    number: String,
    interface: String,
    down: bool,
    frames: String,
    bytes: String,
    dropped: String,
    lost: bool,
    shed: String,
    open: String,
    evicted: String,
    stalled: String,
    refused: String,
}

/// Answers a browser.
pub(crate) async fn answer(State(app): State<App>) -> Response {
    let (zone, submissions) = (app.zone().clone(), app.submissions().cloned());
    let work = match app.start_glance(move |store| page(store, submissions.as_ref(), &zone)).await {
        Ok(work) => work,
        Err(refusal) => return refusal,
    };
    match work.await {
        Ok(Ok(page)) => page.render().map_or_else(|_| broken(), html),
        Ok(Err(error)) => failed(&error),
        Err(_) => broken(),
    }
}

fn page(store: &Store, submissions: Option<&Submissions>, zone: &Zone) -> Result<Page, Error> {
    let now = now();
    let running = Running::read(store);
    let (extent, room) = (store.extent()?, store.room()?);
    let captures = running.capture.as_ref().is_some_and(|status| status.is_fresh(now));
    Ok(Page {
        zone: zone.name().to_owned(),
        now: zone.date(now),
        processes: processes(&running, store.suspects().map_or(0, |suspects| suspects.given_up()), now, zone),
        gaps: gaps(&running, zone),
        captures,
        since: running.capture.as_ref().map(|status| zone.date(status.since)).unwrap_or_default(),
        workers: running.workers().iter().map(shown).collect(),
        targets: submissions.and_then(Submissions::tally).into_iter().flatten().map(target).collect(),
        stored: format!("{} in {}", bytes(extent.bytes), counted(extent.buckets, "bucket")),
        oldest: extent.oldest.map(|time| zone.date(time)).unwrap_or_default(),
        room: format!("{} of {}", bytes(room.available), bytes(room.total)),
        dropped: extent.dropped,
        history: History::of(store, captures.then_some(now), zone)?,
        hours: SPAN / 3_600_000_000_000,
    })
}

/// How the processes are that work on the folder; `unserved` connections are given up by this one.
fn processes(running: &Running, unserved: u64, now: Timestamp, zone: &Zone) -> Vec<Process> {
    let looked_after = running.looked_after();
    let says = |name: &'static str, status: &Option<Status>, does: &str, more: String| {
        let restarts = looked_after.iter().find(|(known, ..)| *known == name).filter(|(_, restarts, _)| *restarts > 0);
        let died =
            restarts.map_or_else(String::new, |(_, restarts, millis)| format!("; {}", deaths(*restarts, *millis)));
        let up = status.as_ref().is_some_and(|status| status.is_fresh(now));
        let says = match status {
            None => format!("no process has {does} here that says how it goes"),
            Some(status) if up => format!("since {}{more}{died}", zone.date(status.since)),
            Some(status) => format!("not running; last heard of at {}{died}", zone.date(status.time)),
        };
        Process { name: name.to_owned(), up, says }
    };
    let lag = running.lag(now).map_or_else(String::new, |lag| {
        let behind = running.derive.as_ref().map_or(0, |status| status.number("lag_bytes"));
        let given_up = running.derive.as_ref().map_or(0, |status| status.number("given_up"));
        let objects = running.derive.as_ref().map_or(0, |status| status.number("objects"));
        let given_up =
            if given_up > 0 { format!(", given up in {}", counted(given_up, "connection")) } else { String::new() };
        format!("; {lag:.1} s and {} behind; {} found{given_up}", bytes(behind), counted(objects, "object"))
    });
    let mut all = vec![
        says("capture", &running.capture, "captured", String::new()),
        says("derive", &running.derive, "looked for objects", lag),
    ];
    if unserved > 0 {
        let says = format!("{} given up here", counted(unserved, "connection"));
        all.push(Process { name: "this server".to_owned(), up: true, says });
    }
    // The others say nothing of themselves; who looks after them does.
    if let Some(supervisor) = running.supervisor.as_ref().filter(|status| status.is_fresh(now)) {
        let others = looked_after.iter().filter(|(name, ..)| !["capture", "derive"].contains(name));
        all.extend(others.map(|other| looked_at(supervisor, *other, zone)));
    }
    all
}

/// How one is of which only who looks after it says something.
fn looked_at(supervisor: &Status, (name, restarts, millis): (&str, u64, u64), zone: &Zone) -> Process {
    let number = |what: &str| supervisor.number(&format!("process.{name}.{what}"));
    let up = number("up") > 0;
    let since = i64::try_from(number(if up { "since" } else { "down" })).ok().filter(|since| *since > 0);
    let since = since.map(|since| format!("since {}", zone.date(Timestamp(since))));
    let died = (restarts > 0).then(|| deaths(restarts, millis));
    let says = since.into_iter().chain(died).collect::<Vec<_>>().join("; ");
    Process { name: name.to_owned(), up, says }
}

fn deaths(restarts: u64, millis: u64) -> String {
    let times = if restarts == 1 { "once".to_owned() } else { format!("{restarts} times") };
    format!("died and was started again {times}, {:.1} s without it", millis as f64 / 1e3)
}

/// When a process was not there, the newest first.
fn gaps(running: &Running, zone: &Zone) -> Vec<String> {
    let Some(status) = &running.supervisor else { return Vec::new() };
    let mut gaps: Vec<(i64, i64, &str)> = status
        .values
        .iter()
        .filter(|(name, _)| name.starts_with("gap."))
        .filter_map(|(_, value)| {
            let mut words = value.split(' ');
            let process = words.next()?;
            Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?, process))
        })
        .collect();
    gaps.sort_by(|a, b| b.cmp(a));
    let says = |(from, to, process): (i64, i64, &str)| {
        let length = Timestamp(to).since(Timestamp(from)) as f64 / 1e9;
        format!("{process}: {} for {length:.1} s", zone.date(Timestamp(from)))
    };
    gaps.into_iter().take(GAPS).map(says).collect()
}

fn shown(worker: &Worker<'_>) -> Shown {
    let n = |name| worker.number(name);
    let dropped = ["dropped_kernel", "dropped_interface", "lost_frames", "shed_frames"].map(n);
    let dropped = dropped.into_iter().fold(0, u64::saturating_add);
    let evicted = [
        ("evicted_connections", "connections"),
        ("released_early", "early writes"),
        ("closed_gaps", "holes"),
        ("evicted_fragments", "fragments"),
    ];
    let evicted: Vec<String> = evicted
        .iter()
        .filter(|(name, _)| n(name) > 0)
        .map(|(name, word)| format!("{} {word}", digits(n(name))))
        .collect();
    let waiting = worker.waiting().map_or_else(String::new, |files| format!(", {} waiting", counted(files, "file")));
    let away = match worker.away() {
        0 => String::new(),
        folders => format!(", {} away", counted(folders, "folder")),
    };
    Shown {
        number: worker.number.to_owned(),
        interface: worker.interface.to_owned(),
        down: worker.is_down(),
        frames: digits(n("frames")),
        bytes: bytes(n("wire_bytes")),
        dropped: match dropped {
            0 => "none".to_owned(),
            _ => format!("{} ({})", digits(dropped), percent(dropped, n("frames").saturating_sub(n("lost_frames")))),
        },
        lost: dropped > 0,
        shed: if n("payload_shed") > 0 { bytes(n("payload_shed")) } else { "none".to_owned() },
        open: format!("{}, {} held{waiting}{away}", digits(n("open")), bytes(n("held"))),
        evicted: if evicted.is_empty() { "none".to_owned() } else { evicted.join(", ") },
        stalled: match n("disk_stalls") {
            0 => "never".to_owned(),
            times => format!("{} times, {:.1} s", digits(times), n("disk_stalled_millis") as f64 / 1e3),
        },
        refused: digits(n("malformed_frames").saturating_add(n("other_frames"))),
    }
}

fn target((name, tally): (TargetName, Tally)) -> Target {
    let counts = [
        (tally.sent, "sent"),
        (tally.waiting, "waiting"),
        (tally.failed, "given up"),
        (tally.not_taken, "not taken in"),
    ];
    let says = counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{} {word}", digits(*count)));
    Target { name: name.to_string(), says: says.collect::<Vec<_>>().join(", "), why: tally.why }
}

/// Of all frames that came, those that were lost.
fn percent(lost: u64, stored: u64) -> String {
    match 100.0 * lost as f64 / (lost as f64 + stored as f64).max(1.0) {
        0.0 => "0 %".to_owned(),
        share if share < 0.1 => "less than 0.1 %".to_owned(),
        share => format!("{share:.1} %"),
    }
}

/// `1.5 GB`.
fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["kB", "MB", "GB", "TB", "PB"].iter();
    let mut unit = "bytes";
    while value >= 1000.0
        && let Some(next) = units.next()
    {
        (value, unit) = (value / 1000.0, next);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.1} {unit}") }
}

/// `1,234`.
fn digits(n: u64) -> String {
    let text = n.to_string();
    let mut out = String::new();
    for (at, digit) in text.chars().enumerate() {
        if at > 0 && (text.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn counted(n: u64, word: &str) -> String {
    format!("{} {word}{}", digits(n), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(
            [bytes(0), bytes(999), bytes(1500), bytes(2_000_000_000)],
            ["0 bytes", "999 bytes", "1.5 kB", "2.0 GB"]
        );
        assert_eq!([digits(7), digits(1234), digits(1_234_567)], ["7", "1,234", "1,234,567"]);
        assert_eq!([percent(3, 997), percent(1, 1_000_000), percent(0, 5)], ["0.3 %", "less than 0.1 %", "0 %"]);
        assert_eq!([counted(1, "bucket"), counted(2, "bucket")], ["1 bucket", "2 buckets"]);
    }

    #[test]
    fn the_newest_gap_comes_first() {
        let mut status = Status::default();
        status.set("gap.1", "capture 1000000000 2500000000");
        status.set("gap.2", "derive 5000000000 5200000000");
        status.set("gap.3", "nonsense");
        let running = Running { supervisor: Some(status), ..Running::default() };
        let says = gaps(&running, &Zone::UTC);
        assert_eq!(says, ["derive: 1970-01-01 00:00:05 for 0.2 s", "capture: 1970-01-01 00:00:01 for 1.5 s"]);
    }

    /// Who looked after them says no more how they go.
    #[test]
    fn processes_are_shown_while_they_are_looked_after() {
        let mut status = Status { time: Timestamp(60_000_000_000), ..Status::default() };
        for (name, value) in [
            ("scan.restarts", 1),
            ("scan.up", 0),
            ("scan.since", 10_000_000_000),
            ("scan.down", 55_000_000_000),
            ("serve.restarts", 0),
            ("serve.up", 1),
            ("serve.since", 20_000_000_000_i64),
            ("late.restarts", 0),
            ("late.up", 0),
        ] {
            status.set(&format!("process.{name}"), value);
        }
        let running = Running { supervisor: Some(status), ..Running::default() };
        let shown = |now: i64| -> Vec<(String, bool, String)> {
            let all = processes(&running, 0, Timestamp(now), &Zone::UTC).into_iter().skip(2);
            all.map(|process| (process.name, process.up, process.says)).collect()
        };
        let scan = "since 1970-01-01 00:00:55; died and was started again once, 0.0 s without it";
        let wanted = [("late", false, ""), ("scan", false, scan), ("serve", true, "since 1970-01-01 00:00:20")];
        assert_eq!(shown(61_000_000_000), wanted.map(|(name, up, says)| (name.to_owned(), up, says.to_owned())));
        assert_eq!(shown(600_000_000_000), []);
    }
}
