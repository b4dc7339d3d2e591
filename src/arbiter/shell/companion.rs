//! [`Accompanied`]: the companion of an arbiter as a process: forked, missed where it dies, and ended.
//!
//! *Invariants*: a companion is signalled only until it has been waited for, and by its arbiter alone; it has no end of a
//! worker's socket pair and none of the server's listeners.

use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Pid;

use super::Shell;
use super::children::Gone;
use crate::arbiter::backlog;
use crate::arbiter::command::SIGNALS;
use crate::arbiter::companion::{Companion, CompanionContext};
use crate::arbiter::handle::ArbiterState;
use crate::error::{Error, Result};
use crate::fork_outcome::ForkOutcome;
use crate::ipc::link::{self, LinkEnd};
use crate::ipc::worker_signal::WorkerSignal;
use crate::net::{Listener, Listeners};
use crate::sys::fork;
use crate::sys::signal::{Disposition, Pipe, Signals};
use crate::time::MonoTime;
use crate::trace::{debug, error, warning};

/// The least time between two forks of it.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Accompanied {
    companion: Option<Companion>,
    process: Option<CompanionProcess>,
    /// When it may be forked again.
    fork_at: Option<MonoTime>,
    /// The inodes of the sockets that it knows of.
    shown: Vec<u64>,
}

/// The process, which ends with this value in the arbiter.
#[derive(Debug)]
struct CompanionProcess {
    /// 0 where it has been waited for.
    pid: i32,
    link: LinkEnd,
    arbiter: u32,
}

/// Which of the two processes comes out of a fork, and what it goes on with.
enum Side {
    Arbiter(CompanionProcess),
    Companion(Box<CompanionSetup>),
}

struct CompanionSetup {
    link: LinkEnd,
    signals: Result<Signals>,
}

impl Drop for CompanionProcess {
    fn drop(&mut self) {
        // A child of the arbiter's has only a copy.
        if self.pid == 0 || self.arbiter != process::id() {
            return;
        }
        match WorkerSignal::Kill.send(self.pid) {
            Ok(()) => fork::wait(self.pid),
            Err(error) => error!("{error}"),
        }
    }
}

impl Accompanied {
    pub(super) fn new(companion: Option<Companion>) -> Self {
        Self {
            companion,
            ..Self::default()
        }
    }

    pub(super) fn listeners(&self) -> Listeners {
        let companion = self.companion.as_ref();
        companion.map_or_else(Listeners::default, |it| it.listeners.clone())
    }

    /// What is the arbiter's alone.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let listeners = self.companion.iter().flat_map(|it| it.listeners.iter());
        let links = self.process.iter().map(|it| it.link.as_fd());
        links.chain(listeners.map(|it| it.as_fd()))
    }

    /// When it is to be forked again.
    pub(super) fn deadline(&self) -> Option<MonoTime> {
        let missing = self.companion.is_some() && self.process.is_none();
        self.fork_at.filter(|_| missing)
    }

    /// Ends it, and removes the files of its sockets unless another arbiter has them.
    pub(super) fn end(&mut self) {
        self.process = None;
        self.listeners().unlink();
        self.companion = None;
    }
}

impl Shell {
    /// Forks the companion, if there is to be one and none runs. In that process it does not return.
    pub(in crate::arbiter) fn accompany(mut self) -> Self {
        let now = MonoTime::now();
        let Accompanied {
            companion: Some(companion),
            process: None,
            fork_at,
            ..
        } = &mut self.accompanied
        else {
            return self;
        };
        if fork_at.is_some_and(|at| now < at) {
            return self;
        }
        *fork_at = Some(now + PAUSE);
        let role = companion.role;
        match self.fork_companion() {
            Ok(Side::Companion(setup)) => self.become_companion(*setup),
            Ok(Side::Arbiter(process)) => {
                debug!("The {role} process has the pid {}", process.pid);
                if let Err(error) = self.inbox.watch(&process.link) {
                    error!("cannot watch the {role} process: {error}");
                }
                self.accompanied.process = Some(process);
            }
            Err(error) => error!("cannot fork the {role} process: {error}"),
        }
        self
    }

    fn fork_companion(&mut self) -> Result<Side> {
        let (link, theirs) = link::pair()?;
        let mut pipe = Some(Pipe::new()?);
        let mut installed = None;
        let signals = &mut self.inbox.signals;
        let forked = fork::fork(|| {
            // A terminal and a service manager send signals to the whole group: the arbiter alone decides.
            let table = SIGNALS.iter().map(|row| (row.signal, Disposition::Drop));
            installed = pipe.take().map(|pipe| {
                let stacks = WorkerSignal::Stacks.number();
                let expire = WorkerSignal::Expire.number();
                signals.install_in_child(pipe, table, stacks, expire)
            });
        });
        match forked {
            ForkOutcome::Child => {
                let signals = installed.unwrap_or_else(|| Err(Error::new("no signals")));
                Ok(Side::Companion(Box::new(CompanionSetup {
                    link: theirs,
                    signals,
                })))
            }
            ForkOutcome::Parent(pid) => {
                let arbiter = process::id();
                Ok(Side::Arbiter(CompanionProcess { pid, link, arbiter }))
            }
            ForkOutcome::Failed(errno) => Err(std::io::Error::from_raw_os_error(errno).into()),
        }
    }

    /// Leaves everything of the arbiter's behind but what it shares, and lives. The process ends here.
    fn become_companion(self, setup: CompanionSetup) -> ! {
        let CompanionSetup { link, signals } = setup;
        let work = || {
            let Self {
                mut accompanied,
                mut options,
                mut generations,
                mut identities,
                children,
                lineage,
                inbox,
                answers,
                ..
            } = self;
            let Some(Companion {
                role,
                listeners,
                mut run,
            }) = accompanied.companion.take()
            else {
                return 0;
            };
            identities.become_child(role);
            generations.hand_over();
            let handle = inbox.command_queue.handle();
            drop((inbox, lineage, children));
            options.attachments.close_in_child();
            let end = signals
                .and_then(|signals| {
                    let context = CompanionContext::new(listeners, handle, link)?;
                    run(&context)?;
                    drop(signals);
                    Ok(())
                })
                .inspect_err(|error| error!("The {role} process ends: {error}"));
            // As in a worker: what the host gave is not dropped in a child.
            std::mem::forget((generations, options, identities, answers, run));
            i32::from(end.is_err())
        };
        fork::exit_now(catch_unwind(AssertUnwindSafe(work)).unwrap_or(255))
    }

    /// Notices that the companion has gone; gives whether it is about to be so.
    pub(super) fn hear_companion(&mut self, gone: &mut Gone) -> bool {
        let Some(running) = &mut self.accompanied.process else {
            return false;
        };
        let pid = running.pid;
        let Some(exit) = gone.remove(&pid).or_else(|| fork::reap(pid)) else {
            return running.link.is_closed();
        };
        warning!("The process beside the workers (pid:{pid}) {exit}: another one takes its place");
        running.pid = 0;
        self.inbox.forget(&running.link);
        self.accompanied.process = None;
        false
    }

    /// Shows which sockets the server listens on: the companion has none of them.
    pub(super) fn show_listeners(&mut self) {
        let shared = self.generations.all_listeners();
        let queues = self.children.iter().map(|child| &child.queues);
        let all: Vec<&Listener> = [&shared]
            .into_iter()
            .chain(queues)
            .flatten()
            .map(Arc::as_ref)
            .collect();
        let inodes: Vec<u64> = all.iter().map(|it| it.inode()).collect();
        if inodes != self.accompanied.shown {
            backlog::show(self.children.scoreboard.listening(), all.into_iter());
            self.accompanied.shown = inodes;
        }
    }

    /// Decides which arbiter answers for the server: the one that was there first, unless it leaves and another one serves.
    pub(super) fn choose_speaker(&self) {
        if self.lineage.predecessor.is_some() {
            return;
        }
        let leaves = matches!(
            self.supervisor.state(),
            ArbiterState::Stopping | ArbiterState::Quiesced
        );
        let counters = self.children.scoreboard.counters();
        let own = Pid::this().as_raw();
        let heir = self.lineage.ready_successor().filter(|_| leaves);
        let speaker = heir.filter(|pid| counters.heir() == *pid).unwrap_or(own);
        if counters.speaker() != speaker {
            counters.set_speaker(speaker);
        }
    }
}
