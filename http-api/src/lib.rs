//! HTTP over a data folder: the ancestor's endpoint, `GET /streamdb/`, `/api/v1` for programs, and a front page.
//!
//! - `serve` listens; `connections` bounds how many clients there are, and how long they take; `app` has the routes; `settings` is what an operator decides
//! - `guard`, `hosts`, `cors` and `auth` are what every request and answer passes; `auth` has the login page too
//! - `answer` and `channel` are how answers are made: short ones, and long ones piece by piece; `asking` says whether anybody still waits
//! - `streamdb` is the endpoint; `v1` the same for programs, as resources; `front` the page at `/`; `submit` hands objects to targets, `submitted` says what became of them
//! - `metrics` is what Prometheus reads, `health` what a supervisor asks, `status` the page about how the sensor goes
//! - `small_page` is what the login and questions look like
//!
//! All work on the store is done on threads where it may block, a bounded number at a time.

mod answer;
mod app;
mod asking;
mod auth;
mod channel;
mod connections;
mod cors;
mod front;
mod guard;
mod health;
mod hosts;
mod metrics;
mod serve;
mod settings;
mod small_page;
mod status;
mod streamdb;
mod submit;
mod submitted;
mod v1;

pub use app::{App, router};
pub use auth::{Role, Roles, Secret, Token, TokenHash};
pub use cors::Origin;
pub use hosts::HostName;
pub use serve::{ServeError, Server, serve};
pub use settings::Settings;
#[cfg(feature = "fuzzing")]
pub use streamdb::query_string;
pub use streamdb::{Detail, SearchAnswer, SearchRow, search_text};
