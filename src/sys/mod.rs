//! What the system gives to a pre-fork server: [`fork`], [`signal`], the shared [`scoreboard`], the
//! [`link`] between an arbiter and a worker, what [`wake`]s a worker, its [`stacks`] and its [`memory`], what
//! becomes of an [`orphan`], the [`curfew`] of a worker's last step, the [`timer`]s of both, how an interrupt is
//! [`repeat`]ed, what a [`socket`] holds, what a [`descriptor`] leads to, what an [`open_file`] is, what a signal does
//! ([`sigaction`]), how a write is [`shield`]ed from its signals, the [`local_time`], the [`pidfile`] and the [`lock_file`]
//! beside it, what is [`appended`] to, what is [`pinned`] while it changes, the [`user`] that a worker runs as, the
//! [`title`] of a process, what [`strangers`] have of it that others fork from it, a value that stays [`here`], and how
//! to become a [`daemon`].
//!
//! Nothing here knows HTTP, a service or Python, and nothing decides: the arbiter does.

#![allow(unsafe_code)]

pub(crate) mod appended;
pub(crate) mod curfew;
pub(crate) mod daemon;
pub(crate) mod descriptor;
pub(crate) mod fork;
pub(crate) mod here;
pub(crate) mod link;
pub(crate) mod local_time;
pub(crate) mod lock_file;
pub(crate) mod memory;
pub(crate) mod open_file;
pub(crate) mod orphan;
pub(crate) mod pidfile;
pub(crate) mod pinned;
mod repeat;
pub(crate) mod scoreboard;
pub(crate) mod shield;
pub(crate) mod sigaction;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod stacks;
pub(crate) mod strangers;
mod timer;
pub(crate) mod title;
pub(crate) mod user;
pub(crate) mod wake;
