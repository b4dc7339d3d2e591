//! What Linux gives to a pre-fork server, and nothing that decides: the arbiter does.
//!
//! Processes: [`fork`], [`foreign_fork`], [`parent_death`], [`exit_deadline`], [`daemon`], [`title`], [`user`],
//! [`stacks`], [`memory`]. Signals: [`signal`], [`sigaction`], [`sigpipe`], the [`timer`]s that send them, and how an
//! interrupt is [`repeat`]ed. Descriptors: [`fd`], [`eventfd`], [`poll_set`],
//! [`socket`], [`sock_diag`]. Files: [`append_file`], [`identity`], [`lock_file`], [`open_below`], [`open_file`], [`pidfile`], [`pinned`]. Memory that processes
//! share: [`mapping`], [`seqlock`]; or are handed: [`sealed`]. And a value that stays on its thread: [`thread_bound`]; what one does: [`thread_state`]; the [`local_time`].
//!
//! Nothing here knows HTTP, a service or Python.

#![allow(unsafe_code)]

pub(crate) mod append_file;
pub(crate) mod cork;
pub(crate) mod daemon;
pub(crate) mod eventfd;
pub(crate) mod exit_deadline;
pub(crate) mod fd;
pub(crate) mod foreign_fork;
pub(crate) mod fork;
pub(crate) mod identity;
pub(crate) mod local_time;
pub(crate) mod lock_file;
pub(crate) mod mapping;
pub(crate) mod memory;
pub(crate) mod open_below;
#[cfg(feature = "wsgi")]
pub(crate) mod open_file;
pub(crate) mod parent_death;
pub(crate) mod pidfile;
pub(crate) mod pinned;
pub(crate) mod poll_set;
mod repeat;
pub(crate) mod sealed;
pub(crate) mod seqlock;
pub(crate) mod sigaction;
pub(crate) mod signal;
pub(crate) mod sigpipe;
pub(crate) mod sock_diag;
pub(crate) mod socket;
pub(crate) mod stacks;
pub(crate) mod terminal;
pub(crate) mod thread_bound;
pub(crate) mod thread_state;
mod timer;
pub(crate) mod title;
pub(crate) mod user;
