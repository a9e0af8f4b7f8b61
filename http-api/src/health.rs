//! `GET /health` and `GET /ready`, for who looks after this machine: whether the server answers, and whether the sensor does what
//! it is for. Neither needs a token, as neither tells of anything that was captured; why it is not ready is told on loopback alone.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use streamdb_derive::{Store, now, writer_alive};

use crate::answer::{JSON, broken, whole};
use crate::app::App;
use crate::metrics::Running;

/// With less room than this the disk is full.
const FULL: u64 = 64 << 20;
/// Derivation that is further behind is not ready, in seconds.
const BEHIND: f64 = 600.0;

#[derive(Serialize)]
struct Answer<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    reasons: &'a [Reason],
}

/// One reason for not being ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Reason {
    /// In a word, for programs.
    reason: &'static str,
    /// In a sentence.
    detail: String,
}

/// The server answers.
pub(crate) async fn health() -> Response {
    json(StatusCode::OK, &Answer { status: "ok", reasons: &[] })
}

/// Whether all goes as it should.
pub(crate) async fn ready(State(app): State<App>) -> Response {
    let work = match app.start_glance(|store| reasons(store)).await {
        Ok(work) => work,
        Err(refusal) => return refusal,
    };
    let Ok(reasons) = work.await else { return broken() };
    if reasons.is_empty() {
        return json(StatusCode::OK, &Answer { status: "ready", reasons: &[] });
    }
    let shown = if app.listen().to_canonical().is_loopback() { &reasons[..] } else { &[] };
    json(StatusCode::SERVICE_UNAVAILABLE, &Answer { status: "not ready", reasons: shown })
}

fn json(status: StatusCode, answer: &Answer<'_>) -> Response {
    match serde_json::to_vec(answer) {
        Ok(body) => whole(status, JSON, body),
        Err(_) => broken(),
    }
}

/// Why it is not ready.
fn reasons(store: &Store) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut add = |reason, detail: String| reasons.push(Reason { reason, detail });
    if store.bucket_ids().is_err() || store.ledger().is_err() {
        add("store", "the data folder cannot be read".to_owned());
    }
    let now = now();
    let running = Running::read(store);
    let supervised = running.supervisor.as_ref().filter(|status| status.is_fresh(now));
    let writes = writer_alive(store.path()).unwrap_or(false);
    if supervised.is_some() && !writes {
        add("capture", "the process that captures is not running".to_owned());
    }
    if writes && running.capture.as_ref().is_some_and(|status| supervised.is_some() && !status.is_fresh(now)) {
        add("capture", "the process that captures has not said for ten seconds how it goes".to_owned());
    }
    if writes && running.capture.as_ref().is_some_and(|status| status.is_fresh(now)) {
        let workers = running.workers();
        let down: BTreeSet<&str> =
            workers.iter().filter(|worker| worker.is_down()).map(|worker| worker.interface).collect();
        for interface in down {
            add("interface", format!("{interface}: nothing is captured from this interface, as it is down or away"));
        }
        for worker in &workers {
            if let away @ 1.. = worker.away() {
                let folders = if away == 1 { "folder" } else { "folders" };
                add(
                    "spool",
                    format!("{}: no captures can be taken from {away} {folders}, as the log says", worker.interface),
                );
            }
            if let Some(seconds) = worker.silent() {
                add(
                    "capture",
                    format!("{}: nothing is taken from there, and nothing was said for {seconds} s", worker.interface),
                );
            }
        }
    }
    match store.room() {
        Ok(room) if room.available < FULL && (writes || supervised.is_some()) => {
            add("disk", format!("the disk is full: {} MiB are free", room.available >> 20));
        }
        Ok(_) => {}
        Err(_) => add("disk", "the system does not say how much room there is".to_owned()),
    }
    let fresh = running.derive.as_ref().is_some_and(|status| status.is_fresh(now));
    if let Some(lag) = running.lag(now).filter(|lag| *lag > BEHIND && (fresh || supervised.is_some())) {
        add("derive", format!("looking for objects is {lag:.0} s behind what is stored"));
    }
    reasons
}
