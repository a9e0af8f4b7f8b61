//! `GET /metrics`: how the sensor goes, for Prometheus.
//!
//! - `requests` counts what this server answers; `running` is what the other processes say of themselves; `exposition` the text

mod exposition;
mod requests;
mod running;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use streamdb_derive::{Store, now};
use streamdb_submit::Submissions;

use self::exposition::{Exposition, Kind};
pub(crate) use self::requests::{Requests, count};
pub(crate) use self::running::{Running, Worker};
use crate::answer::{broken, whole};
use crate::app::App;

/// Answers Prometheus.
pub(crate) async fn answer(State(app): State<App>) -> Response {
    let mut out = Exposition::default();
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    out.family("streamdb_build_info", Kind::Gauge, "Which StreamDB this is; always 1.");
    out.sample("streamdb_build_info", &version, 1);
    app.requests().write(&mut out);
    let submissions = app.submissions().cloned();
    let work = match app.start_glance(move |store| write(store, submissions.as_ref(), out)).await {
        Ok(work) => work,
        Err(refusal) => return refusal,
    };
    match work.await {
        Ok(text) => whole(StatusCode::OK, HeaderValue::from_static(exposition::MEDIA_TYPE), text),
        Err(_) => broken(),
    }
}

fn write(store: &Store, submissions: Option<&Submissions>, mut out: Exposition) -> String {
    Running::read(store).write(&mut out, now());
    if let Some(suspects) = store.suspects() {
        let help = "Connections that this server takes apart no more, as that failed.";
        out.one("streamdb_serve_given_up_connections", Kind::Gauge, help, suspects.given_up());
    }
    // What cannot be asked for is left out; /ready says why.
    if let Ok(extent) = store.extent() {
        out.one("streamdb_store_buckets", Kind::Gauge, "Buckets stored.", extent.buckets);
        out.one("streamdb_store_bytes", Kind::Gauge, "Bytes of the buckets.", extent.bytes);
        if let Some(oldest) = extent.oldest {
            let help = "When the oldest bucket begins, in seconds since 1970.";
            out.one("streamdb_store_oldest_timestamp_seconds", Kind::Gauge, help, oldest.0 as f64 / 1e9);
        }
        let help = "Buckets that retention dropped since the store was made.";
        out.one("streamdb_retention_dropped_buckets_total", Kind::Counter, help, extent.dropped);
    }
    if let Ok(room) = store.room() {
        let help = "What may still be written to the store's file system.";
        out.one("streamdb_store_free_bytes", Kind::Gauge, help, room.available);
        out.one("streamdb_store_capacity_bytes", Kind::Gauge, "The size of the store's file system.", room.total);
    }
    if let Some(all) = submissions.and_then(Submissions::tally) {
        const NAME: &str = "streamdb_submissions";
        out.family(NAME, Kind::Gauge, "Contents in the queue of submissions, by their target and what became of them.");
        for (target, tally) in all {
            let states = [
                ("waiting", tally.waiting),
                ("sent", tally.sent),
                ("failed", tally.failed),
                ("not_taken", tally.not_taken),
            ];
            for (state, count) in states {
                out.sample(NAME, &[("target", target.as_str()), ("state", state)], count);
            }
        }
    }
    out.finish()
}
