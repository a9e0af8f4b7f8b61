//! HTTP over a data folder: the ancestor's endpoint, `GET /streamdb/`, and a front page.
//!
//! - `serve` listens; `app` has the routes; `hosts` and `guard` are what every request and answer passes
//! - `answer` and `channel` are how answers are made: short ones, and long ones piece by piece
//! - `streamdb` is the endpoint; `front` the page at `/`
//!
//! All work on the store is done on threads where it may block, a bounded number at a time.

mod answer;
mod app;
mod channel;
mod front;
mod guard;
mod hosts;
mod serve;
mod streamdb;

pub use app::{App, router};
pub use serve::{ServeError, Server, serve};
