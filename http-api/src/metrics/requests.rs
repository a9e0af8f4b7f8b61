//! What was asked, how it was answered, and how long it took until the answer began.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::exposition::{Exposition, Kind};
use crate::app::App;

/// Upper bounds of the histogram, in seconds.
const BOUNDS: [(f64, &str); 8] = [
    (0.005, "0.005"),
    (0.02, "0.02"),
    (0.1, "0.1"),
    (0.5, "0.5"),
    (1.0, "1"),
    (2.5, "2.5"),
    (10.0, "10"),
    (60.0, "60"),
];
/// What is asked for and is no route of ours has this name.
const OTHER: &str = "other";

/// How long answers took.
#[derive(Clone, Copy, Debug, Default)]
struct Took {
    /// By the first bound that holds.
    within: [u64; BOUNDS.len()],
    count: u64,
    sum: Duration,
}

/// Requests since the server began.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// By route and status. There are as many routes as the router has.
    answered: Mutex<BTreeMap<String, (BTreeMap<u16, u64>, Took)>>,
}

impl Requests {
    fn note(&self, route: &str, status: u16, took: Duration) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        if !answered.contains_key(route) {
            answered.insert(route.to_owned(), Default::default());
        }
        let Some((statuses, times)) = answered.get_mut(route) else { return };
        *statuses.entry(status).or_default() += 1;
        times.count += 1;
        times.sum += took;
        if let Some(at) = BOUNDS.iter().position(|(bound, _)| took.as_secs_f64() <= *bound)
            && let Some(within) = times.within.get_mut(at)
        {
            *within += 1;
        }
    }

    pub(super) fn write(&self, out: &mut Exposition) {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        const COUNT: &str = "streamdb_http_requests_total";
        out.family(COUNT, Kind::Counter, "Requests answered since the server began, by route and status.");
        for (route, (statuses, _)) in &answered {
            for (status, count) in statuses {
                out.sample(COUNT, &[("route", route), ("status", &status.to_string())], count);
            }
        }
        const TOOK: &str = "streamdb_http_request_duration_seconds";
        out.family(TOOK, Kind::Histogram, "How long it took until an answer began.");
        for (route, (_, times)) in &answered {
            let mut so_far = 0;
            for (within, (_, bound)) in times.within.iter().zip(BOUNDS) {
                so_far += within;
                out.sample(&format!("{TOOK}_bucket"), &[("route", route), ("le", bound)], so_far);
            }
            out.sample(&format!("{TOOK}_bucket"), &[("route", route), ("le", "+Inf")], times.count);
            out.sample(&format!("{TOOK}_sum"), &[("route", route)], times.sum.as_secs_f64());
            out.sample(&format!("{TOOK}_count"), &[("route", route)], times.count);
        }
    }
}

/// Counts a request and its answer.
pub(crate) async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let response = next.run(request).await;
    app.requests().note(route.as_deref().unwrap_or(OTHER), response.status().as_u16(), begun.elapsed());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_has_all_that_took_less() {
        let requests = Requests::default();
        for millis in [1, 15, 15, 700, 100_000] {
            requests.note("/x", 200, Duration::from_millis(millis));
        }
        requests.note("/x", 404, Duration::from_millis(1));
        let mut out = Exposition::default();
        requests.write(&mut out);
        let text = out.finish();
        for line in [
            "streamdb_http_requests_total{route=\"/x\",status=\"200\"} 5",
            "streamdb_http_requests_total{route=\"/x\",status=\"404\"} 1",
            "streamdb_http_request_duration_seconds_bucket{route=\"/x\",le=\"0.005\"} 2",
            "streamdb_http_request_duration_seconds_bucket{route=\"/x\",le=\"0.5\"} 4",
            "streamdb_http_request_duration_seconds_bucket{route=\"/x\",le=\"60\"} 5",
            "streamdb_http_request_duration_seconds_bucket{route=\"/x\",le=\"+Inf\"} 6",
            "streamdb_http_request_duration_seconds_count{route=\"/x\"} 6",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
