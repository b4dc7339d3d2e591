//! What an arbiter and its workers share: the [`scoreboard`] and what is [`listening`] in shared memory, the [`link`] of a
//! socket pair, the [`worker_signal`]s, and the orders of a [`profile`].
//!
//! Nothing here decides: the arbiter does.

pub(crate) mod exemplars;
pub(crate) mod link;
pub(crate) mod listening;
pub(crate) mod profile;
pub(crate) mod scoreboard;
pub(crate) mod totals;
pub(crate) mod worker_signal;
