//! What the processes beside this one say of themselves.

use std::collections::BTreeMap;

use streamdb_derive::{Status, Store, Teller};
use streamdb_types::Timestamp;

use super::exposition::{Exposition, Kind};

/// What each of them said last, if that can be read.
#[derive(Debug, Default)]
pub(crate) struct Running {
    /// Who captures.
    pub(crate) capture: Option<Status>,
    /// Who derives.
    pub(crate) derive: Option<Status>,
    /// Who looks after them.
    pub(crate) supervisor: Option<Status>,
}

/// A number of each worker.
pub(crate) struct Worker<'s> {
    /// Its number.
    pub(crate) number: &'s str,
    /// Where its frames come from.
    pub(crate) interface: &'s str,
    status: &'s Status,
}

impl Worker<'_> {
    /// A counter of it, or another number.
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.status.number(&format!("worker.{}.{name}", self.number))
    }

    /// Whether its interface is one that can be up or down.
    fn has_link(&self) -> bool {
        self.status.text(&format!("worker.{}.up", self.number)).is_some()
    }

    /// Whether nothing comes by its interface, as that is down or away.
    pub(crate) fn is_down(&self) -> bool {
        self.status.text(&format!("worker.{}.up", self.number)) == Some("0")
    }

    /// For how many seconds it has said nothing, when that is too long.
    pub(crate) fn silent(&self) -> Option<u64> {
        self.status.text(&format!("worker.{}.silent", self.number))?.parse().ok()
    }

    /// How many files wait, of one that takes files.
    pub(crate) fn waiting(&self) -> Option<u64> {
        self.status.text(&format!("worker.{}.waiting", self.number))?.parse().ok()
    }

    /// The folders from which it cannot take any.
    pub(crate) fn away(&self) -> u64 {
        self.status.number(&format!("worker.{}.away", self.number))
    }
}

impl Running {
    /// What they said last.
    pub(crate) fn read(store: &Store) -> Self {
        let read = |teller| Status::read(store.path(), teller).ok().flatten();
        Self { capture: read(Teller::Capture), derive: read(Teller::Derive), supervisor: read(Teller::Supervisor) }
    }

    /// The workers of the process that captures, or did last.
    pub(crate) fn workers(&self) -> Vec<Worker<'_>> {
        let Some(status) = &self.capture else { return Vec::new() };
        let named = status.values.iter().filter_map(|(name, interface)| {
            let number = name.strip_prefix("worker.")?.strip_suffix(".interface")?;
            Some(Worker { number, interface, status })
        });
        let mut workers: Vec<_> = named.collect();
        workers.sort_by_key(|worker| worker.number.parse::<u32>().unwrap_or(u32::MAX));
        workers
    }

    /// The processes that are looked after: name, starts after a death, and how long it was not there, in milliseconds.
    pub(crate) fn looked_after(&self) -> Vec<(&str, u64, u64)> {
        let Some(status) = &self.supervisor else { return Vec::new() };
        let names = status.values.keys().filter_map(|name| name.strip_prefix("process.")?.strip_suffix(".restarts"));
        let of = |name: &str, what: &str| status.number(&format!("process.{name}.{what}"));
        names.map(|name| (name, of(name, "restarts"), of(name, "down_millis"))).collect()
    }

    pub(super) fn write(&self, out: &mut Exposition, now: Timestamp) {
        const UP: &str = "streamdb_up";
        out.family(UP, Kind::Gauge, "Whether a process said within ten seconds that it runs.");
        const START: &str = "streamdb_start_time_seconds";
        let all = [("capture", &self.capture), ("derive", &self.derive), ("run", &self.supervisor)];
        for (name, status) in all {
            let up = status.as_ref().is_some_and(|status| status.is_fresh(now));
            out.sample(UP, &[("process", name)], u8::from(up));
        }
        out.family(START, Kind::Gauge, "When a process began, in seconds since 1970.");
        for (name, status) in all.iter().filter_map(|(name, status)| Some((name, status.as_ref()?))) {
            out.sample(START, &[("process", name)], status.since.0 as f64 / 1e9);
        }
        self.write_workers(out, now);
        self.write_derive(out, now);
        const RESTARTS: &str = "streamdb_process_restarts_total";
        const DOWN: &str = "streamdb_process_down_seconds_total";
        out.family(RESTARTS, Kind::Counter, "How often a process died and was started again.");
        for (name, restarts, _) in self.looked_after() {
            out.sample(RESTARTS, &[("process", name)], restarts);
        }
        out.family(DOWN, Kind::Counter, "How long a process that died was not there.");
        for (name, _, millis) in self.looked_after() {
            out.sample(DOWN, &[("process", name)], seconds(millis));
        }
    }

    fn write_workers(&self, out: &mut Exposition, now: Timestamp) {
        let workers = self.workers();
        for (name, kind, help, label, counters) in FAMILIES {
            out.family(name, *kind, help);
            for worker in &workers {
                for (value, counter) in *counters {
                    let mut labels = vec![("worker", worker.number), ("interface", worker.interface)];
                    if !label.is_empty() {
                        labels.push((*label, *value));
                    }
                    match counter.strip_suffix("_millis") {
                        Some(_) => out.sample(name, &labels, seconds(worker.number(counter))),
                        None => out.sample(name, &labels, worker.number(counter)),
                    }
                }
            }
        }
        // What nobody captures from is neither up nor down.
        let captures = self.capture.as_ref().is_some_and(|status| status.is_fresh(now));
        const UP: &str = "streamdb_interface_up";
        out.family(UP, Kind::Gauge, "Whether an interface that is captured from is up and there.");
        let interfaces: BTreeMap<&str, bool> = workers
            .iter()
            .filter(|worker| captures && worker.has_link())
            .map(|worker| (worker.interface, !worker.is_down()))
            .collect();
        for (interface, up) in interfaces {
            out.sample(UP, &[("interface", interface)], u8::from(up));
        }
        if let Some(waiting) = workers.iter().find_map(Worker::waiting) {
            let help = "Captures in the folders of spool that are to be stored, now or when they are complete.";
            out.one("streamdb_spool_waiting_files", Kind::Gauge, help, waiting);
            let help = "The folders of spool from which no captures can be taken, as they do not answer or are not as they should be.";
            out.one("streamdb_spool_away_folders", Kind::Gauge, help, workers.iter().map(Worker::away).sum::<u64>());
        }
    }

    fn write_derive(&self, out: &mut Exposition, now: Timestamp) {
        let Some(status) = &self.derive else { return };
        let lag = self.lag(now).unwrap_or_default();
        let help = "How old at most is what was published and of which the objects were not looked for yet.";
        out.one("streamdb_derive_lag_seconds", Kind::Gauge, help, lag);
        let help = "Bytes that are published, and of which the objects were not looked for yet.";
        out.one("streamdb_derive_lag_bytes", Kind::Gauge, help, status.number("lag_bytes"));
        for (name, help, number) in [
            ("streamdb_objects_total", "Objects found.", "objects"),
            ("streamdb_derived_connections_total", "Connections in which objects were looked for.", "connections"),
            ("streamdb_derive_damaged_total", "Connections that could not be read.", "damaged"),
        ] {
            out.one(name, Kind::Counter, help, status.number(number));
        }
        let help = "Connections whose objects are given up, as taking them apart failed.";
        out.one("streamdb_derive_given_up_connections", Kind::Gauge, help, status.number("given_up"));
    }

    /// How far derivation is behind, in seconds: what it said, and how long ago that was. `None` when nobody derives.
    pub(crate) fn lag(&self, now: Timestamp) -> Option<f64> {
        let status = self.derive.as_ref()?;
        let silent = now.since(status.time).max(0);
        let silent = if status.is_fresh(now) { 0 } else { silent };
        Some(seconds(status.number("lag_millis")) + silent as f64 / 1e9)
    }
}

fn seconds(millis: u64) -> f64 {
    millis as f64 / 1e3
}

/// Name, kind, help, the label that tells the counters of it apart, and these: its value, and the counter's name.
type Family = (&'static str, Kind, &'static str, &'static str, &'static [(&'static str, &'static str)]);

/// The families that have a sample for each worker.
const FAMILIES: &[Family] = &[
    ("streamdb_frames_total", Kind::Counter, "Frames taken.", "", &[("", "frames")]),
    (
        "streamdb_captured_bytes_total",
        Kind::Counter,
        "Bytes of frames as they were captured.",
        "",
        &[("", "captured_bytes")],
    ),
    (
        "streamdb_wire_bytes_total",
        Kind::Counter,
        "Bytes of frames as they were on the wire.",
        "",
        &[("", "wire_bytes")],
    ),
    (
        "streamdb_decoded_frames_total",
        Kind::Counter,
        "Frames by what they carried.",
        "kind",
        &[
            ("tcp", "tcp_frames"),
            ("udp", "udp_frames"),
            ("fragment", "fragment_frames"),
            ("other", "other_frames"),
            ("malformed", "malformed_frames"),
        ],
    ),
    (
        "streamdb_refused_frames_total",
        Kind::Counter,
        "Frames that were not decoded to TCP or UDP, by why; they are stored whole.",
        "reason",
        &[
            ("cut", "malformed_cut"),
            ("malformed_link", "malformed_link"),
            ("malformed_ip", "malformed_ip"),
            ("malformed_tcp", "malformed_tcp"),
            ("malformed_udp", "malformed_udp"),
            ("malformed_tunnel", "malformed_tunnel"),
            ("link_type", "other_link_type"),
            ("not_ip", "other_not_ip"),
            ("protocol", "other_protocol"),
            ("depth", "other_depth"),
        ],
    ),
    (
        "streamdb_dropped_frames_total",
        Kind::Counter,
        "Frames that were dropped before they came here.",
        "by",
        &[("kernel", "dropped_kernel"), ("interface", "dropped_interface"), ("sender", "dropped_sender")],
    ),
    (
        "streamdb_filtered_frames_total",
        Kind::Counter,
        "Frames left out by the capture filter.",
        "",
        &[("", "filtered_frames")],
    ),
    (
        "streamdb_handed_frames_total",
        Kind::Counter,
        "Frames given to another worker, whose frames they are then, or which gives them on.",
        "",
        &[("", "handed_frames")],
    ),
    (
        "streamdb_shed_frames_total",
        Kind::Counter,
        "Frames let go, as the worker that they were for was too far behind.",
        "",
        &[("", "shed_frames")],
    ),
    ("streamdb_lost_frames_total", Kind::Counter, "Frames lost to a failed write.", "", &[("", "lost_frames")]),
    (
        "streamdb_payload_bytes_total",
        Kind::Counter,
        "Payload bytes captured, by what became of them.",
        "outcome",
        &[
            ("stored", "payload_stored"),
            ("duplicate", "payload_duplicate"),
            ("conflicting", "payload_conflicting"),
            ("unchecked", "payload_unchecked"),
            ("outside", "payload_outside"),
            ("filtered", "payload_not_kept"),
            ("shed", "payload_shed"),
            ("lost", "payload_lost"),
        ],
    ),
    (
        "streamdb_captured_payload_bytes_total",
        Kind::Counter,
        "Payload bytes of TCP and UDP captured.",
        "",
        &[("", "payload_captured")],
    ),
    (
        "streamdb_payload_cut_bytes_total",
        Kind::Counter,
        "Payload bytes that the snap length cut off.",
        "",
        &[("", "payload_cut")],
    ),
    (
        "streamdb_gap_bytes_total",
        Kind::Counter,
        "Bytes missing in streams that ended, by kind.",
        "kind",
        &[
            ("missing", "gap_missing"),
            ("snaplen", "gap_snaplen"),
            ("shed", "gap_shed"),
            ("cutoff", "gap_cutoff"),
            ("lost", "gap_lost"),
        ],
    ),
    ("streamdb_connections_total", Kind::Counter, "Connections begun.", "", &[("", "connections")]),
    ("streamdb_streams_total", Kind::Counter, "Streams begun.", "", &[("", "streams")]),
    ("streamdb_open_connections", Kind::Gauge, "Connections in the flow table.", "", &[("", "open")]),
    ("streamdb_held_bytes", Kind::Gauge, "Bytes held out of order.", "", &[("", "held")]),
    (
        "streamdb_evicted_connections_total",
        Kind::Counter,
        "Connections let go early, as there were as many as there may be.",
        "",
        &[("", "evicted_connections")],
    ),
    (
        "streamdb_early_writes_total",
        Kind::Counter,
        "Times that bytes out of order were written early, as as many were held as may be.",
        "",
        &[("", "released_early")],
    ),
    (
        "streamdb_closed_gaps_total",
        Kind::Counter,
        "Holes that are not waited for any longer, as there were as many as there may be.",
        "",
        &[("", "closed_gaps")],
    ),
    (
        "streamdb_evicted_fragments_total",
        Kind::Counter,
        "Fragments let go early, as there was no room.",
        "",
        &[("", "evicted_fragments")],
    ),
    (
        "streamdb_evicted_established_connections_total",
        Kind::Counter,
        "Of the connections let go early those of TCP that two ends had agreed upon, as there were no others.",
        "",
        &[("", "evicted_established")],
    ),
    (
        "streamdb_expired_fragments_total",
        Kind::Counter,
        "Fragments given up, by their time limit or as there was no room.",
        "",
        &[("", "expired_fragments")],
    ),
    (
        "streamdb_reassembled_packets_total",
        Kind::Counter,
        "IP packets put together from fragments.",
        "",
        &[("", "reassembled_packets")],
    ),
    ("streamdb_bad_checksums_total", Kind::Counter, "Frames with wrong checksums.", "", &[("", "bad_checksums")]),
    (
        "streamdb_clock_steps_back_total",
        Kind::Counter,
        "Times that the frames' clock went back.",
        "",
        &[("", "clock_steps_back")],
    ),
    (
        "streamdb_full_buckets_total",
        Kind::Counter,
        "Buckets ended before their time, as they were full.",
        "",
        &[("", "full_buckets")],
    ),
    (
        "streamdb_disk_stalls_total",
        Kind::Counter,
        "Times that the capture waited for the disk.",
        "",
        &[("", "disk_stalls")],
    ),
    (
        "streamdb_disk_stall_seconds_total",
        Kind::Counter,
        "How long the capture waited for the disk.",
        "",
        &[("", "disk_stalled_millis")],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use streamdb_types::Counters;

    #[test]
    fn every_counter_is_shown() {
        let shown: BTreeSet<&str> =
            FAMILIES.iter().flat_map(|(.., counters)| counters.iter()).map(|(_, counter)| *counter).collect();
        let missing: Vec<_> = Counters::NAMES.iter().filter(|name| !shown.contains(**name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let known: BTreeSet<&str> = Counters::NAMES.iter().copied().chain(["open", "held"]).collect();
        assert!(shown.is_subset(&known), "{:?}", shown.difference(&known));
    }

    #[test]
    fn what_was_said_long_ago_is_added_to_the_lag() {
        let mut status = Status { time: Timestamp(0), ..Status::default() };
        status.set("lag_millis", 1500);
        let running = Running { derive: Some(status), ..Running::default() };
        assert_eq!(running.lag(Timestamp(1_000_000_000)), Some(1.5));
        assert_eq!(running.lag(Timestamp(60_000_000_000)), Some(61.5));
        assert_eq!(Running::default().lag(Timestamp(0)), None);
    }

    /// What nobody captures from is neither up nor down.
    #[test]
    fn interfaces_are_up_while_somebody_captures() {
        let mut status = Status { time: Timestamp(0), ..Status::default() };
        for (name, value) in [("0.interface", "eth0"), ("0.up", "1"), ("3.interface", "eth1"), ("3.up", "0")] {
            status.set(&format!("worker.{name}"), value);
        }
        status.set("worker.62.interface", "spool");
        let running = Running { capture: Some(status), ..Running::default() };
        let text = |now| {
            let mut out = Exposition::default();
            running.write(&mut out, Timestamp(now));
            out.finish()
        };
        let wanted = "streamdb_interface_up{interface=\"eth0\"} 1\nstreamdb_interface_up{interface=\"eth1\"} 0\n";
        assert!(text(0).contains(wanted), "{}", text(0));
        assert!(!text(0).contains("streamdb_interface_up{interface=\"spool\"}"));
        assert!(!text(60_000_000_000).contains("streamdb_interface_up{"));
    }
}
