//! [`ArbiterBuilder`]: what an arbiter is to be, at its start and after each reload.
//!
//! Nothing is opened or forked here.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::mem::take;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::generation::Generation;
use super::policy::{GroupId, Policy, unless_zero};
use super::{
    Arbiter, ArbiterEvent, ArbiterOptions, Attachment, CommandQueue, Companion, Handle, Identity,
    ReexecCommand,
};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::ipc::profile::ProfileChannel;
use crate::net::Listeners;
use crate::worker::WorkerTemplate;

/// The name of the group that each arbiter has.
const MAIN_GROUP: &str = "main";

/// Describes an [`Arbiter`].
///
/// ```no_run
/// use std::time::Duration;
/// use oxicorn::worker::Shutdown;
/// use oxicorn::{Arbiter, Result, WorkerContext};
///
/// fn work(context: &WorkerContext) -> Result<()> {
///     context.ready();
///     while context.pause(Duration::from_secs(1)) == Shutdown::Running {}
///     Ok(())
/// }
///
/// fn main() -> Result<()> {
///     Arbiter::builder(work).workers(2).graceful_timeout(Duration::from_secs(10)).build()?.run()
/// }
/// ```
#[must_use]
pub struct ArbiterBuilder {
    template: Box<dyn WorkerTemplate>,
    /// The other groups: their names, how many workers each has, and of what they are forked.
    groups: Vec<(Arc<str>, usize, Box<dyn WorkerTemplate>)>,
    listeners: Option<Listeners>,
    policy: Policy,
    /// Unlike the policy it stays where a reload does not say it.
    upgrade_retire: Option<bool>,
    identity: Identity,
    options: ArbiterOptions,
    allow_threads: bool,
    exec: Option<ReexecCommand>,
    command_queue: Option<CommandQueue>,
}

impl ArbiterBuilder {
    pub(crate) fn new(template: Box<dyn WorkerTemplate>) -> Self {
        Self {
            upgrade_retire: None,
            ..Self::following(template, &Settings::default())
        }
    }

    /// One that does as the settings say.
    pub(crate) fn following(template: Box<dyn WorkerTemplate>, settings: &Settings) -> Self {
        let name = settings.proc_name.as_ref().or(settings.wsgi_app.as_ref());
        Self {
            policy: Policy::of(settings, template.calls()),
            upgrade_retire: Some(settings.upgrade_retire),
            template,
            groups: Vec::new(),
            listeners: None,
            identity: Identity {
                pidfile: settings.pidfile.clone(),
                name: name.cloned(),
            },
            options: ArbiterOptions::default(),
            allow_threads: false,
            exec: None,
            command_queue: None,
        }
    }

    /// How many workers the first group has. Default: 1.
    pub fn workers(mut self, workers: usize) -> Self {
        self.policy.workers = workers;
        self
    }

    /// Adds a group of workers of another kind, which run beside the first ones.
    ///
    /// A group is started, replaced, scaled and recycled by itself, and what its workers fail with costs no other
    /// group a worker; only at the start, a group whose workers cannot boot ends the arbiter. The policy of the builder
    /// (timeouts, recycling) is that of each group; the listeners are those of the first one alone. In a worker
    /// [`WorkerContext::group`](crate::WorkerContext::group) tells its group, which is `main` for the first.
    ///
    /// HUP reloads all groups, each on trial by itself, TTIN and TTOU act on the first, and
    /// [`Handle::scale_group`](super::Handle::scale_group) on any. A reload has to describe the same groups.
    ///
    /// ```no_run
    /// use oxicorn::{Arbiter, Result, WorkerContext};
    /// use oxicorn::worker::Shutdown;
    ///
    /// fn work(context: &WorkerContext) -> Result<()> {
    ///     context.ready();
    ///     while context.pause(std::time::Duration::from_secs(1)) == Shutdown::Running {}
    ///     Ok(())
    /// }
    ///
    /// fn main() -> Result<()> {
    ///     Arbiter::builder(work).workers(4).group("consumer", 2, work).build()?.run()
    /// }
    /// ```
    pub fn group(
        mut self,
        name: impl Into<Arc<str>>,
        workers: usize,
        template: impl WorkerTemplate + 'static,
    ) -> Self {
        let group = (
            name.into(),
            workers,
            Box::new(template) as Box<dyn WorkerTemplate>,
        );
        self.groups.push(group);
        self
    }

    /// What the workers share. The arbiter answers for their socket files from now on.
    ///
    /// A worker that releases its listeners closes them only if its process has no other clone of them: see [`Listeners`].
    pub fn listeners(mut self, listeners: impl Into<Listeners>) -> Self {
        self.listeners = Some(listeners.into());
        self
    }

    /// How long a worker may show no progress before it is aborted, from the moment when it is ready. Default: 30 s.
    /// Zero disables the check.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.policy.timeout = unless_zero(timeout);
        self
    }

    /// How long one request may take. Default: zero, which disables the check. The log names a request that takes
    /// longer, with the stacks of the worker's threads where it can show them, and the worker is replaced while it
    /// finishes its other requests.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.policy.request_timeout = unless_zero(timeout);
        self
    }

    /// Recycles a worker whose [slot](crate::worker::Slot) has counted this many requests, and up to `jitter` more, at
    /// random for each worker. Default: zero, which disables it. One worker of a group is replaced at a time, and
    /// serves until its replacement is ready.
    pub fn max_requests(mut self, requests: u64, jitter: u64) -> Self {
        self.policy.max_requests = unless_zero(requests);
        self.policy.max_requests_jitter = jitter;
        self
    }

    /// Recycles a worker this long after it became ready, as [`max_requests`](Self::max_requests) does. Default: zero,
    /// which disables it.
    pub fn max_worker_age(mut self, age: Duration) -> Self {
        self.policy.max_worker_age = unless_zero(age);
        self
    }

    /// Recycles a worker whose resident memory has grown to this many bytes, as
    /// [`max_requests`](Self::max_requests) does. Default: zero, which disables it.
    pub fn max_worker_memory(mut self, bytes: u64) -> Self {
        self.policy.max_worker_memory = unless_zero(bytes);
        self
    }

    /// How long a worker that is asked to stop gracefully may take before it is killed. Default: 30 s.
    pub fn graceful_timeout(mut self, timeout: Duration) -> Self {
        self.policy.graceful_timeout = timeout;
        self
    }

    /// How long a worker may take to be ready before it is aborted. Default: 120 s. Zero disables the check.
    pub fn boot_timeout(mut self, timeout: Duration) -> Self {
        self.policy.boot_timeout = unless_zero(timeout);
        self
    }

    /// Where to write the arbiter's process id. While the arbiter lives it has a lock (flock(2)) on a file beside it,
    /// `PATH.lock`: a pid file without a holder is replaced, whatever is in it, and one that is held is refused.
    pub fn pidfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.identity.pidfile = Some(path.into());
        self
    }

    /// Shows in lists of processes what each one is: `oxicorn: master [NAME]`, `oxicorn: worker [NAME]`. A new
    /// arbiter is `[NAME.2]` while the one that has started it lives. Without a name nothing is
    /// changed. After the run the process shows what it showed before.
    ///
    /// The program's arguments stay as they are. Their short name (`comm` in proc(5)) changes with it; where a
    /// kernel without `CONFIG_CHECKPOINT_RESTORE` keeps the long one, only that does.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.identity.name = Some(name.into());
        self
    }

    /// Whether a worker that holds a [`Handle`](super::Handle) can have the arbiter stop, reload and scale. Default:
    /// no, since a worker may have fewer rights than its arbiter. It can read the status and the workers in any
    /// case, and never upgrade.
    pub fn worker_commands(mut self, allow: bool) -> Self {
        self.options.worker_commands = allow;
        self
    }

    /// How many processes there can be at once, those that are leaving included. Default: 512. It is at least one more
    /// for each group than there are workers, since a worker is replaced before it leaves. TTIN grows no further.
    /// Each takes 256 bytes of shared memory, and 256 more for every request that it answers at once.
    pub fn slots(mut self, slots: usize) -> Self {
        self.options.slots = slots;
        self
    }

    /// Where new settings come from on a reload: a builder that describes the whole arbiter again. A reload takes its
    /// groups, its policy, its pid file and its name; its listeners if it has any, which then include those that are to
    /// stay; and [`upgrade_retire`](Self::upgrade_retire) if it was called. It ignores the rest.
    ///
    /// Without a source a reload starts new workers with the settings in force. An error or a panic of the source, and
    /// workers that cannot boot, leave everything as it was.
    pub fn reload(mut self, source: impl FnMut() -> Result<ArbiterBuilder> + 'static) -> Self {
        self.options.reload = Some(Box::new(source));
        self
    }

    /// What an upgrade executes. Default: this program as it was called, from the folder in which
    /// [`build`](Self::build) is called.
    ///
    /// The program's `main` runs again. Where it binds the same addresses it gets the sockets that are open; the
    /// others are closed when its arbiter runs.
    pub fn exec(mut self, exec: ReexecCommand) -> Self {
        self.exec = Some(exec);
        self
    }

    /// Whether the arbiter stops gracefully when the one that an upgrade has started is ready. Default: no, both serve
    /// until one is told to stop.
    pub fn upgrade_retire(mut self, retire: bool) -> Self {
        self.upgrade_retire = Some(retire);
        self
    }

    /// The queue of the arbiter's commands, where a handle is needed before the arbiter is built.
    pub(crate) fn command_queue(mut self, command_queue: CommandQueue) -> Self {
        self.command_queue = Some(command_queue);
        self
    }

    /// Whether the arbiter takes the process's signals. Default: yes. A host that has its own uses a
    /// [`Handle`](super::Handle).
    pub fn signals(mut self, signals: bool) -> Self {
        self.options.signals = signals;
        self
    }

    /// Whether the arbiter waits for all children that end, adopted ones too. Default: only in process 1, which must;
    /// elsewhere the host waits for its own children.
    pub fn reap_orphans(mut self, reap: bool) -> Self {
        self.options.reap_orphans = reap;
        self
    }

    /// Adds an observer, which is called on the arbiter's thread with each event and the arbiter's handle. It must not
    /// block: no worker is supervised meanwhile. It may give commands, which the arbiter does after it has returned; to
    /// [wait](super::Completion::wait) for one is an error at once. A panic of it is logged, and ends nothing.
    pub fn observe(mut self, observer: impl FnMut(&ArbiterEvent, &Handle) + 'static) -> Self {
        self.options.observers.0.push(Box::new(observer));
        self
    }

    /// Opens the arbiter's own log files again where that is asked for (USR1); the workers are told by themselves. It
    /// must not block. A panic of it is logged, and ends nothing.
    pub fn reopen_logs(mut self, reopen: impl FnMut() + 'static) -> Self {
        self.options.reopen_logs = Box::new(reopen);
        self
    }

    /// Adds something of the program's to what the arbiter polls.
    pub fn attach(mut self, attachment: impl Attachment + 'static) -> Self {
        self.options.attachments.0.push(Box::new(attachment));
        self
    }

    /// Has a process of the arbiter's own run beside the workers.
    pub(crate) fn companion(mut self, companion: Companion) -> Self {
        self.options.companion = Some(companion);
        self
    }

    /// Lets workers be told to sample their stacks over this channel.
    pub(crate) fn profile(mut self, channel: Arc<ProfileChannel>) -> Self {
        self.options.profile = Some(channel);
        self
    }

    /// Has the observers told every so often that the arbiter is alive ([`ArbiterEvent::Pulse`]).
    pub fn pulse(mut self, every: Duration) -> Self {
        self.options.pulse = unless_zero(every);
        self
    }

    /// Forks even if the process has threads: you know that none of them holds a lock which a worker
    /// needs.
    pub fn allow_threads(mut self, allow: bool) -> Self {
        self.allow_threads = allow;
        self
    }

    /// Checks what was said. Nothing is opened or forked yet.
    ///
    /// # Errors
    ///
    /// No workers, no slot to replace one, two groups of one name, or a system that gives no descriptor.
    pub fn build(mut self) -> Result<Arbiter> {
        let (options, allow_threads) = (take(&mut self.options), self.allow_threads);
        let exec = self.exec.take().unwrap_or_else(ReexecCommand::current);
        let command_queue = match self.command_queue.take() {
            Some(queue) => queue,
            None => CommandQueue::new()?,
        };
        let (groups, identity) = self.describe(None);
        check(&groups, options.slots)?;
        command_queue.set_groups(groups.iter().map(|group| Arc::clone(&group.name)));
        Ok(Arbiter {
            groups,
            identity,
            options,
            allow_threads,
            exec,
            command_queue,
        })
    }

    /// What it says, not yet [checked](check). A reload keeps what it does not say of the generations in force,
    /// which are `before`.
    pub(super) fn describe(self, before: Option<&[&Generation]>) -> (Vec<Generation>, Identity) {
        let first = before.map(|before| before[0]);
        let kept = first.map(|first| first.listeners.clone());
        // From now on the socket files are the arbiter's to remove.
        let listeners = self.listeners.or(kept).unwrap_or_default();
        let mut policy = self.policy;
        let kept = first.is_some_and(|first| first.policy.upgrade_retire);
        policy.upgrade_retire = self.upgrade_retire.unwrap_or(kept);
        let mut groups = vec![Generation {
            group: GroupId::FIRST,
            name: MAIN_GROUP.into(),
            template: Rc::new(RefCell::new(self.template)),
            listeners,
            policy,
        }];
        for (name, workers, template) in self.groups {
            let calls = template.calls();
            groups.push(Generation {
                group: GroupId(groups.len()),
                name,
                template: Rc::new(RefCell::new(template)),
                listeners: Listeners::default(),
                policy: Policy {
                    workers,
                    calls,
                    ..policy
                },
            });
        }
        (groups, self.identity)
    }
}

pub(super) fn check(groups: &[Generation], slots: usize) -> Result<()> {
    let mut names = BTreeSet::new();
    for group in groups {
        let name = &group.name;
        if name.is_empty() || !names.insert(name) {
            return Err(Error::config(format!(
                "groups: each group of workers needs a name of its own, not {name:?}"
            )));
        }
        if group.policy.workers == 0 {
            return Err(Error::config(if **name == *MAIN_GROUP {
                "workers: there must be at least one, and not 0 that TTIN or an operator adds to later (WINCH takes all \
                 workers away from a server that runs)"
                    .to_owned()
            } else {
                format!("workers of group {name}: there must be at least one")
            }));
        }
    }
    let workers: usize = groups.iter().map(|group| group.policy.workers).sum();
    if workers + groups.len() > slots {
        let spare = match groups.len() {
            1 => "one is for a replacement".to_owned(),
            several => format!("{several} are for replacements"),
        };
        return Err(Error::config(format!(
            "workers: {workers} are more than there is room for in {slots} slots, of which {spare}"
        )));
    }
    Ok(())
}

impl fmt::Debug for ArbiterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArbiterBuilder")
            .field("listeners", &self.listeners)
            .field("policy", &self.policy)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
