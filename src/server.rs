//! [`Server`]: listeners, workers and an arbiter put together, for a service of your own or a WSGI application.
//!
//! It decides nothing that a layer below decides; it only joins them.

mod bound;
mod plan;
mod reload;

use std::path::PathBuf;
use std::time::Duration;

use crate::arbiter::{ArbiterEvent, CommandQueue, Handle, ReexecCommand};
use crate::config::{Settings, WorkerClass};
use crate::error::{Error, Result};
use crate::h1;
use crate::hooks::{Hooks, Installed, Watched};
use crate::log::{self, AccessLog};
use crate::net::{BindAddress, Listener, Listeners};
#[cfg(feature = "systemd")]
use crate::notify::Notifier;
use crate::reactor::{self, ErrorPage, ErrorResponse};
use crate::service::{MakeService, released};
use crate::sys::thread_bound::ThreadBound;
use crate::sys::user::Credentials;
use crate::trace;
use crate::worker::{Running, SyncWorker, ThreadedWorker, Worker, in_process};
use bound::Bound;
use plan::{EventListener, Plan, Source};
use reload::{Recipe, Shared};

/// A pre-fork server whose listeners are open.
///
/// ```no_run
/// use oxicorn::{Request, Responder, Server};
///
/// fn main() -> oxicorn::Result<()> {
///     let hello = |_: Request<'_>, reply: Responder<'_>| reply.text(200, "Hello\n");
///     Server::bind("127.0.0.1:8000")?.workers(4).serve(hello)
/// }
/// ```
#[derive(Debug)]
pub struct Server {
    bound: Bound,
    plan: Plan,
    command_queue: CommandQueue,
}

/// A server that is being described. Nothing is opened before [`build`](Builder::build).
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    addresses: Vec<BindAddress>,
    listeners: Listeners,
    plan: Plan,
}

impl Server {
    /// A builder with one address: `127.0.0.1:8000`, `[::1]:8000`, `:8000`, `unix:/run/x.sock`, `fd://3`.
    ///
    /// # Errors
    ///
    /// An address that cannot be understood. Nothing is opened yet.
    pub fn bind(address: impl AsRef<str>) -> Result<Builder> {
        Self::builder().bind(address)
    }

    /// A builder without an address.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A builder that follows `settings`, as a command line or a program gives them.
    ///
    /// Sockets that a service manager handed over (`sd_listen_fds(3)`) are listened on first, and the addresses
    /// beside them: but not one that such a socket has, nor the usual `127.0.0.1:8000`.
    ///
    /// What concerns the process and not the server (`chdir`, `daemon`, its umask, the error log, the
    /// application) is left to the program.
    ///
    /// # Errors
    ///
    /// An address that cannot be understood, an inherited socket that cannot be used, or an access log that
    /// cannot be opened.
    pub fn from_settings(settings: &Settings) -> Result<Builder> {
        let mut builder = Self::builder();
        builder.plan = Plan::following(settings)?;
        if let Some(folder) = &settings.worker_tmp_dir {
            let folder = folder.display();
            trace::info!("worker_tmp_dir is not used: workers beat in memory, not in {folder}");
        }
        builder.listeners = Listener::inherited()?.into();
        builder.addresses = bound::beside(&builder.listeners, &settings.bind)?;
        Ok(builder)
    }

    /// The addresses that the server listens on.
    #[must_use]
    pub fn listeners(&self) -> &Listeners {
        self.bound.listeners()
    }

    /// What tells this server things from the program that it runs in: to be taken before
    /// [`serve`](Self::serve), and good from any thread, from the observer, and from the hooks in the arbiter.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.command_queue.handle()
    }

    /// Serves until it is told to stop; workers are forked.
    ///
    /// Installs signal handlers for its time and restores the former ones, unless
    /// [`Builder::signals`] says otherwise. When it has returned another server may serve. Forked workers never return
    /// from here.
    ///
    /// # Errors
    ///
    /// Where the start fails: its [`exit_code`](Error::exit_code) is Gunicorn's. Stopping by a signal is `Ok`.
    pub fn serve<M>(self, make: M) -> Result<()>
    where
        M: MakeService<Service: Sync> + 'static,
    {
        self.arbitrate(make, |make, plan| {
            if plan.class == WorkerClass::Sync && plan.threads <= 1 {
                return Ok(sync(make, plan));
            }
            let worker = ThreadedWorker::new(make, plan.threads)
                .reactor(plan.reactor.clone())
                .access_sink(plan.access_log.take().map(|log| Box::new(log) as _));
            Ok(("gthread", Box::new(worker)))
        })
    }

    /// The same for services that stay on one thread: those that hold an `Rc`, say.
    ///
    /// # Errors
    ///
    /// Those of [`serve`](Self::serve), and where the server is to have more than one thread a worker.
    pub fn serve_local<M: MakeService + 'static>(self, make: M) -> Result<()> {
        self.arbitrate(make, |make, plan| {
            if plan.class != WorkerClass::Sync || plan.threads > 1 {
                return Err(Error::config(
                    "a service that stays on one thread cannot be served by several",
                ));
            }
            Ok(sync(make, plan))
        })
    }

    /// Serves in threads of this process, and returns when it can take requests: for programs with threads of
    /// their own, and for tests. It forks nothing, takes no signals, and may be called from any thread.
    ///
    /// It is one worker, with the [threads](Builder::threads) that were asked for. There is no arbiter: what
    /// the builder was told of supervision (workers, `timeout`, recycling, the pid file, the observer, reloads)
    /// has no meaning. Of the [hooks](Builder::hooks), `post_worker_init`, `pre_request` and `post_request` are
    /// called. Several such servers may run at once.
    ///
    /// In an asynchronous program call it and [`Running::stop`] where blocking is allowed
    /// (`tokio::task::spawn_blocking`); the handle never blocks, so a signal's task may use it.
    ///
    /// With Python: the interpreter that the program has serves, or else one is started here and stays to the end of
    /// the process. It is started on the server's own thread, which is Python's main thread from then on; the system
    /// gives signals to any thread, so an application must not count on `signal.signal`. Of an interpreter that was
    /// started here, the application's `atexit` functions run when the last server stops; nothing else is ended. A thread
    /// that is attached to Python may call this, and lets go of it while it waits.
    ///
    /// # Errors
    ///
    /// What the service could not be made for, and [credentials](Builder::credentials): the threads of a process
    /// have one user.
    ///
    /// ```
    /// use oxicorn::{Request, Responder, Server};
    ///
    /// # fn main() -> oxicorn::Result<()> {
    /// let hello = |_: Request<'_>, reply: Responder<'_>| reply.text(200, "Hello\n");
    /// let running = Server::bind("127.0.0.1:0")?.threads(4).build()?.in_process(hello)?;
    /// println!("http://{}/", running.listeners()[0]);
    /// running.stop()
    /// # }
    /// ```
    pub fn in_process<M>(self, make: M) -> Result<Running>
    where
        M: MakeService<Service: Sync> + Send + 'static,
    {
        let Self { bound, plan, .. } = self;
        if plan.credentials.is_some() {
            return Err(Error::config(
                "user, group: a server in this process runs as this process does; only forked workers become \
                 another user",
            ));
        }
        let releaser = make.releaser();
        let make = Watched::new(make, plan.hooks.map(|installed| installed.hooks));
        let listeners = bound.listeners().clone();
        // A clone that is kept keeps sockets open.
        drop(bound);
        let grace = plan.graceful_timeout;
        if plan.class == WorkerClass::Sync && plan.threads <= 1 {
            let worker = SyncWorker::new(make)
                .reactor(plan.reactor)
                .keepalive_busy(plan.keepalive_busy)
                .access_sink(plan.access_log.map(|log| Box::new(log) as _));
            return in_process::start(worker, listeners, grace, releaser);
        }
        let worker = ThreadedWorker::new(make, plan.threads)
            .reactor(plan.reactor)
            .access_sink(plan.access_log.map(|log| Box::new(log) as _));
        in_process::start(worker, listeners, grace, releaser)
    }

    fn arbitrate<M: MakeService + 'static>(self, make: M, recipe: Recipe<M>) -> Result<()> {
        let Self {
            bound,
            mut plan,
            command_queue,
        } = self;
        let releaser = make.releaser();
        let hooks = plan.hooks.clone();
        let watched = Watched::new(
            make,
            hooks.as_ref().map(|installed| installed.hooks.clone()),
        );
        let make = Shared::new(watched);
        let mut observer = plan.observe.take();
        let mut follower = hooks
            .as_ref()
            .map(|hooks| hooks.follow(plan.workers, bound.listeners(), command_queue.handle()));
        if let Some(workers) = &plan.credentials {
            log::give_to(workers.uid(), workers.gid());
        }
        let source = plan.reload.take();
        let listeners = bound.listeners().clone();
        let class = recipe(make.clone(), &mut plan)?;
        #[cfg(feature = "systemd")]
        let mut notifier = plan.notifier.take();
        #[cfg(feature = "systemd")]
        let pulse = notifier.as_ref().and_then(|_| Notifier::pulse());
        let mut arbiter = reload::describe(class.1, &plan)
            .listeners(listeners)
            .allow_threads(plan.allow_threads)
            .signals(plan.signals)
            .command_queue(command_queue)
            .observe(move |event: &ArbiterEvent| {
                match event {
                    ArbiterEvent::Started { .. } => trace::info!("Using worker: {}", class.0),
                    ArbiterEvent::ReopenLogs => log::reopen(),
                    _ => {}
                }
                #[cfg(feature = "systemd")]
                if let Some(notifier) = &mut notifier {
                    notifier.follow(event);
                }
                if let Some(follower) = &mut follower {
                    follower.follow(event);
                }
                if let Some(EventListener(observe)) = &mut observer {
                    observe(event);
                }
            });
        #[cfg(feature = "systemd")]
        if let Some(every) = pulse {
            arbiter = arbiter.pulse(every);
        }
        if let Some(exec) = plan.exec.take() {
            arbiter = arbiter.exec(exec);
        }
        if let Some(source) = source {
            let kept = reload::Kept {
                hooks: hooks.clone(),
                retires: plan.retires,
                error_page: plan.reactor.error_page.clone(),
            };
            arbiter = arbiter.reload(reload::renew(source, kept, &bound, make, recipe));
        }
        // A clone that is kept keeps sockets open, here and in every worker.
        drop(bound);
        let arbiter = ThreadBound::new(arbiter.build()?);
        released(releaser, || arbiter.take().run())?;
        hooks.map_or(Ok(()), |hooks| hooks.take_failure())
    }
}

/// The worker that answers one request at a time.
fn sync<M: MakeService + 'static>(
    make: Shared<Watched<M>>,
    plan: &mut Plan,
) -> (&'static str, Box<dyn Worker>) {
    let worker = SyncWorker::new(make)
        .reactor(plan.reactor.clone())
        .keepalive_busy(plan.keepalive_busy)
        .access_sink(plan.access_log.take().map(|log| Box::new(log) as _));
    ("sync", Box::new(worker))
}

impl Builder {
    /// One more address to listen on.
    ///
    /// # Errors
    ///
    /// An address that cannot be understood. Nothing is opened yet.
    pub fn bind(mut self, address: impl AsRef<str>) -> Result<Self> {
        self.addresses.push(address.as_ref().parse()?);
        Ok(self)
    }

    /// Listeners that are open already; they come before the addresses, and a reload keeps them.
    pub fn listeners(mut self, listeners: impl Into<Listeners>) -> Self {
        self.listeners = listeners.into();
        self
    }

    /// How many worker processes; 1 by default.
    pub fn workers(mut self, workers: usize) -> Self {
        self.plan.workers = workers;
        self
    }

    /// How many requests a worker answers at once, each on a thread of its own; 1 by default.
    pub fn threads(mut self, threads: usize) -> Self {
        self.plan.threads = threads;
        self
    }

    /// What a worker does with its requests; [`WorkerClass::Sync`] with more than one
    /// [thread](Self::threads) is [`WorkerClass::Gthread`].
    pub fn worker_class(mut self, class: WorkerClass) -> Self {
        self.plan.class = class;
        self
    }

    /// How many connections the kernel queues for a listener; 2048 by default.
    pub fn backlog(mut self, backlog: u32) -> Self {
        self.plan.backlog = backlog;
        self
    }

    /// Whether each worker has a queue of its own for a TCP address (`SO_REUSEPORT`, socket(7)); off by default.
    ///
    /// A worker leaves its queue to the one that replaces it. Where nobody does, since there are to be fewer, a
    /// connection is lost that comes between its last look at the queue and the queue's end. Without effect on
    /// [listeners](Self::listeners) that are open already.
    pub fn reuse_port(mut self, reuse_port: bool) -> Self {
        self.plan.reuse_port = reuse_port;
        self
    }

    /// For how long a worker may give no sign of life before it is killed and replaced; 30 s by default,
    /// zero for ever.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.plan.timeout = timeout;
        self
    }

    /// How long requests in flight have to finish when the server stops; 30 s by default.
    pub fn graceful_timeout(mut self, timeout: Duration) -> Self {
        self.plan.graceful_timeout = timeout;
        self
    }

    /// How long a worker has to become ready; 120 s by default.
    pub fn boot_timeout(mut self, timeout: Duration) -> Self {
        self.plan.boot_timeout = timeout;
        self
    }

    /// Whether the server stops by itself when the one that an upgrade (SIGUSR2) has started is ready; it stays
    /// until it is told to by default. What is said here stands also after a [reload](Self::reload), whatever the
    /// settings say.
    pub fn upgrade_retire(mut self, retire: bool) -> Self {
        self.plan.upgrade_retire = retire;
        self.plan.retires = Some(retire);
        self
    }

    /// What an upgrade executes: this program as it was called, by default, from the folder in which it is when
    /// it [builds](Self::build) the server. One that changes its folder before that makes an [`ReexecCommand`] first.
    ///
    /// The program's `main` runs again, with the listeners open.
    pub fn exec(mut self, exec: ReexecCommand) -> Self {
        self.plan.exec = Some(exec);
        self
    }

    /// How long an idle connection is kept between requests; 2 s by default, zero for not at all.
    pub fn keepalive(mut self, keepalive: Duration) -> Self {
        self.plan.reactor.keepalive = keepalive;
        self
    }

    /// How long the calls of a sync worker may take for connections to be kept; 50 ms by default: see
    /// [`SyncWorker::keepalive_busy`].
    pub fn keepalive_busy(mut self, limit: Duration) -> Self {
        self.plan.keepalive_busy = limit;
        self
    }

    /// After how many requests a worker is replaced, and up to how many more, at random for each; 0, the
    /// usual, is never. It serves until its replacement is ready, and one worker at a time is replaced.
    pub fn max_requests(mut self, requests: usize, jitter: usize) -> Self {
        self.plan.max_requests = requests;
        self.plan.max_requests_jitter = jitter;
        self
    }

    /// How old a worker may grow before it is replaced in the same way; zero, the usual, is as old as it
    /// likes.
    pub fn max_worker_age(mut self, age: Duration) -> Self {
        self.plan.max_worker_age = age;
        self
    }

    /// With how many bytes of resident memory a worker is replaced in the same way; 0, the usual, is any
    /// number.
    pub fn max_worker_memory(mut self, bytes: usize) -> Self {
        self.plan.max_worker_memory = bytes;
        self
    }

    /// A file that holds the arbiter's process id while it serves.
    pub fn pidfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.plan.pidfile = Some(path.into());
        self
    }

    /// Shows in lists of processes what each process of the server is: see [`arbiter::ArbiterBuilder::name`](crate::arbiter::ArbiterBuilder::name). Without it
    /// they show what they did; [`Server::from_settings`] takes the application's name where no other is set.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.plan.name = Some(name.into());
        self
    }

    /// Who the workers are, from before their service is made. Unix sockets are theirs, too.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.plan.credentials = Some(credentials);
        self
    }

    /// What the mode 0777 of Unix sockets is to lack; nothing by default. The umask of the process is not
    /// looked at, and not changed.
    pub fn umask(mut self, mask: u32) -> Self {
        self.plan.umask = mask;
        self
    }

    /// A log with a line for each answer.
    pub fn access_log(mut self, log: AccessLog) -> Self {
        self.plan.access_log = Some(log);
        self
    }

    /// All bounds of the workers' reactors at once.
    pub fn reactor(mut self, config: reactor::Config) -> Self {
        self.plan.reactor = config;
        self
    }

    /// Gives the server's own answers (400, 408, 413, 500, 503 and the like) pages of your own.
    ///
    /// ```
    /// use oxicorn::Server;
    /// use oxicorn::h1::{Page, reason_phrase};
    ///
    /// let builder = Server::bind("127.0.0.1:8000")?.error_page(|refusal| {
    ///     let reason = reason_phrase(refusal.status);
    ///     Page::text(refusal.status, format!("{reason}: {}\n", refusal.text))
    /// });
    /// # Ok::<(), oxicorn::Error>(())
    /// ```
    pub fn error_page(
        mut self,
        make: impl Fn(&ErrorResponse<'_>) -> h1::Page + Send + Sync + 'static,
    ) -> Self {
        self.plan.reactor.error_page = ErrorPage::new(make);
        self
    }

    /// Forks even though this process has threads. Their locks stay locked in the workers (fork(2)): for
    /// programs that know theirs.
    pub fn allow_threads(mut self, allow: bool) -> Self {
        self.plan.allow_threads = allow;
        self
    }

    /// Whether the server takes the process's signals, as it usually does. A program that has its own uses a
    /// [handle](Server::handle).
    pub fn signals(mut self, signals: bool) -> Self {
        self.plan.signals = signals;
        self
    }

    /// Has these called at the turns of the server's life, in the process that takes the turn.
    pub fn hooks(mut self, hooks: impl Hooks + 'static) -> Self {
        self.plan.hooks = Some(Installed::new(hooks));
        self
    }

    /// Is told of what happens to the server and its workers, in the arbiter's process.
    pub fn observe(mut self, observer: impl FnMut(&ArbiterEvent) + 'static) -> Self {
        self.plan.observe = Some(EventListener(Box::new(observer)));
        self
    }

    /// Where the settings come from when the server is told to reload (SIGHUP): what [`Server::from_settings`]
    /// makes of them is tried, and stays in force if its workers can boot. Addresses that are still listened
    /// on keep their sockets. Without this a reload starts new workers with the settings that there are.
    ///
    /// It runs in the arbiter, which supervises nobody meanwhile.
    pub fn reload(mut self, source: impl FnMut() -> Result<Settings> + 'static) -> Self {
        self.plan.reload = Some(Source(Box::new(source)));
        self
    }

    /// Tells systemd, where it started this process (`Type=notify`), of readiness, reloads and the end, and
    /// that the arbiter is alive (`WatchdogSec=`): `sd_notify(3)`. The application's processes inherit
    /// `NOTIFY_SOCKET`; systemd heeds the arbiter alone unless the unit says otherwise (`NotifyAccess=`).
    #[cfg(feature = "systemd")]
    pub fn systemd(mut self, notify: bool) -> Self {
        self.plan.notifier = notify.then(Notifier::default);
        self
    }

    /// Opens the listeners.
    ///
    /// # Errors
    ///
    /// An address that cannot be had, or that none was given.
    pub fn build(self) -> Result<Server> {
        let Self {
            addresses,
            listeners,
            plan,
        } = self;
        plan.reactor.check()?;
        let bound = Bound::open(&listeners, addresses, plan.opening())?;
        drop(listeners);
        if bound.listeners().is_empty() {
            return Err(Error::config("a server needs an address to listen on"));
        }
        Ok(Server {
            bound,
            plan,
            command_queue: CommandQueue::new()?,
        })
    }

    /// Builds the server and [serves](Server::serve).
    ///
    /// # Errors
    ///
    /// Those of both.
    pub fn serve<M>(self, make: M) -> Result<()>
    where
        M: MakeService<Service: Sync> + 'static,
    {
        self.build()?.serve(make)
    }

    /// Builds the server and [serves](Server::serve_local) a service that stays on one thread.
    ///
    /// # Errors
    ///
    /// Those of both.
    pub fn serve_local<M: MakeService + 'static>(self, make: M) -> Result<()> {
        self.build()?.serve_local(make)
    }
}
