//! [`Reply`]: what a request is answered with, at once or later.

use crate::json::Json;

/// An answer, or the sentence of a failure.
pub(super) type Outcome = Result<Json, String>;

/// Gives the answer once there is one. It is asked again and again, and must not block.
pub(super) type Later = Box<dyn FnMut() -> Option<Outcome>>;

pub(super) enum Reply {
    Now(Outcome),
    Later(Later),
}

/// A number of things.
pub(super) fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    let parsed = text.parse();
    parsed.map_err(|_| format!("{text:?} is no number that can be used here"))
}
