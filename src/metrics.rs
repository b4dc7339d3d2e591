//! What a server does, as numbers for a monitoring system: a [`Snapshot`], and its text for Prometheus.
//!
//! ```text
//!   Handle ──▶ Snapshot ──▶ families: names, kinds, samples ──┬─▶ exposition: Prometheus or OpenMetrics
//!               files of applications ──▶ applications: merged ─┘
//! ```
//!
//! Nothing is counted here, and no state is kept: all of it is in the memory that arbiter and workers share.

mod applications;
mod exposition;
mod families;
mod snapshot;

pub(crate) use applications::{Applications, forget_process};
pub(crate) use exposition::Format;
pub(crate) use families::{refusal_word, restart_word, state_word, worker_state_word};
pub(crate) use snapshot::{Readiness, Snapshot, path};
