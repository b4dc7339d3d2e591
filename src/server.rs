//! [`Server`]: listeners, workers and an arbiter joined, for a service of your own or a WSGI application.
//!
//! Every decision is made in a layer below.
//!
//! ```text
//!   ServerBuilder ── build ──▶ Server ── serve ──▶ Recipe(service, settings) ──▶ worker ──▶ Arbiter
//!     Settings, Program        Prepared, Bound        ▲
//!                                                     └── again on each reload: reload::renew
//! ```

mod bound;
mod builder;
mod exit;
mod logs;
mod prepared;
mod process;
mod program;
mod reload;
mod service_handle;
mod sinks;
#[cfg(feature = "wsgi")]
mod wsgi_app;

use crate::arbiter::{ArbiterEvent, CommandQueue, Handle};
use crate::config::{Origin, Setting, Settings, WorkerClass};
use crate::control;
use crate::error::{Error, Result};
use crate::hooks::{ArbiterHooks, HookedMake};
use crate::log;
use crate::metrics::{Applications, forget_process};
use crate::net::{Listener, Listeners};
#[cfg(feature = "systemd")]
use crate::notify::Notifier;
use crate::service::{MakeService, released};
use crate::sys::thread_bound::ThreadBound;
use crate::trace;
use crate::watch::FileWatch;
use crate::worker::{InProcessServer, SyncWorker, ThreadedWorker, WorkerTemplate, in_process};
use bound::Bound;
pub use builder::ServerBuilder;
pub use exit::exit;
use prepared::Prepared;
#[cfg(all(feature = "cli", feature = "wsgi"))]
pub(crate) use prepared::check;
use program::Program;
use reload::{Recipe, Services};

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
    prepared: Prepared,
    program: Program,
    command_queue: CommandQueue,
}

impl Server {
    /// A builder with one address: `127.0.0.1:8000`, `[::1]:8000`, `:8000`, `unix:/run/x.sock`, `fd://3`.
    ///
    /// # Errors
    ///
    /// An address that cannot be understood. Nothing is opened yet.
    pub fn bind(address: impl AsRef<str>) -> Result<ServerBuilder> {
        Self::builder().bind(address)
    }

    /// A builder with the default settings, but without an address.
    pub fn builder() -> ServerBuilder {
        let mut settings = Settings::default();
        settings.bind.clear();
        ServerBuilder::following(settings, Listeners::default())
    }

    /// A builder that follows `settings`, as a command line or a program gives them.
    ///
    /// Sockets that a service manager handed over (`sd_listen_fds(3)`) come first, and the addresses beside them, except
    /// for an address that such a socket has, and for the default address.
    ///
    /// The settings that concern the process and not the server (`chdir`, `daemon`, its umask, the error log, the
    /// application) are left to the program.
    ///
    /// # Errors
    ///
    /// An inherited socket that cannot be used.
    pub fn from_settings(settings: &Settings) -> Result<ServerBuilder> {
        let inherited = Listener::inherited()?.into();
        Ok(ServerBuilder::following(settings.clone(), inherited))
    }

    /// The addresses that the server listens on. A clone may be kept: see [`Listeners`].
    #[must_use]
    pub fn listeners(&self) -> &Listeners {
        self.bound.listeners()
    }

    /// A handle by which the program controls the server and asks it for its state. Take it before
    /// [`serve`](Self::serve). It can be used on any thread, in the observer, and in hooks of the arbiter.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.command_queue.handle()
    }

    /// The settings that the server starts with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.prepared.settings
    }

    /// Forks the workers and serves until the server is stopped.
    ///
    /// Installs signal handlers and restores the former ones before it returns, unless [`ServerBuilder::signals`] is
    /// `false`. After it has returned another server may serve. A forked worker never returns from here.
    ///
    /// # Errors
    ///
    /// A start that fails. The error's [`exit_code`](Error::exit_code) is Gunicorn's. A stop by a signal is `Ok`.
    pub fn serve<M>(self, make: M) -> Result<()>
    where
        M: MakeService<Service: Sync> + 'static,
    {
        let services = reload::fixed(make, self.program.hooks.as_ref());
        self.arbitrate(services, any_worker)
    }

    /// Serves a service that is made from the settings, and made anew from the new ones on each reload, as in
    /// `serve_from(App::from_settings)` for a WSGI application.
    ///
    /// The new service can take over what the former one has loaded ([`MakeService::succeed`]).
    ///
    /// # Errors
    ///
    /// Those of [`serve`](Self::serve), and of the recipe at the start. On a reload an error of the recipe refuses the new
    /// settings.
    pub fn serve_from<M>(self, recipe: impl FnMut(&Settings) -> Result<M> + 'static) -> Result<()>
    where
        M: MakeService<Service: Sync> + 'static,
    {
        let services = reload::renewed(recipe, self.program.hooks.as_ref());
        self.arbitrate(services, any_worker)
    }

    /// Serves a service that stays on one thread, such as one that holds an `Rc`.
    ///
    /// # Errors
    ///
    /// Those of [`serve`](Self::serve), and settings that give a worker more than one thread.
    pub fn serve_local<M: MakeService + 'static>(self, make: M) -> Result<()> {
        let services = reload::fixed(make, self.program.hooks.as_ref());
        self.arbitrate(services, |make, prepared| match prepared.class() {
            WorkerClass::Sync => Ok(Box::new(sync(make, prepared))),
            WorkerClass::Gthread => Err(Error::config(
                "a service that stays on one thread cannot be served by several",
            )),
        })
    }

    /// Serves in threads of this process, and returns once the server is ready: for programs with threads of their own,
    /// and for tests. It forks no process, handles no signals, and can be called on any thread.
    ///
    /// The server is one worker with as many [threads](ServerBuilder::threads) as the settings say, and without an
    /// arbiter. The settings of supervision (`workers`, `timeout`, recycling, the pid file), the observer and the source of
    /// a reload have no effect. Of the [hooks](ServerBuilder::hooks), `post_worker_init`, `pre_request` and `post_request`
    /// are called. `request_timeout` is enforced, but no other worker replaces the thread of a late request: it serves
    /// again once the call has returned. Several such servers can run at once.
    ///
    /// An asynchronous program calls this method and [`InProcessServer::stop`] where blocking is allowed
    /// (`tokio::task::spawn_blocking`). The server's handle never blocks.
    ///
    /// With Python, the program's interpreter serves. Without one, an interpreter is started on the server's own thread,
    /// which becomes Python's main thread, and runs to the end of the process. The system delivers signals to any thread,
    /// so an application must not rely on `signal.signal`. When the last server stops, the application's `atexit`
    /// functions run if the interpreter was started here. A thread that is attached to Python can call this method, and is
    /// detached while it waits.
    ///
    /// # Errors
    ///
    /// A service that cannot be made. A [`user`](ServerBuilder::user) or [`group`](ServerBuilder::group): all threads of a
    /// process have one user.
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
    pub fn in_process<M>(self, make: M) -> Result<InProcessServer>
    where
        M: MakeService<Service: Sync> + Send + 'static,
    {
        let Self {
            bound,
            mut prepared,
            program,
            ..
        } = self;
        if prepared.credentials.is_some() {
            return Err(Error::config(
                "user, group: a server in this process runs as this process does; only forked workers become \
                 another user",
            ));
        }
        let releaser = make.releaser();
        let make = HookedMake::new(make, program.hooks.as_ref());
        let listeners = bound.listeners().clone();
        bound.hand_over();
        let grace = prepared.settings.graceful_timeout;
        // There is no arbiter to bound a call of a sync worker, so a second thread does.
        let bounded = !prepared.settings.request_timeout.is_zero();
        let worker: Box<dyn WorkerTemplate + Send> =
            if prepared.class() == WorkerClass::Gthread || bounded {
                Box::new(threaded(make, &mut prepared))
            } else {
                Box::new(sync(make, &mut prepared))
            };
        in_process::start(worker, listeners, grace, releaser)
    }

    fn arbitrate<M: MakeService + 'static>(
        self,
        mut services: Services<M>,
        recipe: Recipe<M>,
    ) -> Result<()> {
        let Self {
            bound,
            mut prepared,
            program,
            command_queue,
        } = self;
        let watch = FileWatch::of(&prepared.settings)?;
        let make = services(&prepared.settings)?;
        let releaser = make.releaser();
        let hooks = program.hooks;
        let workers = prepared.settings.workers;
        let mut arbiter_hooks = hooks.as_ref().map(|hooks| {
            ArbiterHooks::new(hooks, workers, bound.listeners(), command_queue.handle())
        });
        if let Some(workers) = &prepared.credentials {
            log::give_to(workers.uid(), workers.gid());
        }
        let class = match prepared.class() {
            WorkerClass::Sync => "sync",
            WorkerClass::Gthread => "gthread",
        };
        let worker = recipe(make, &mut prepared)?;
        let (socket, control) = control::open(&prepared.settings)?.unzip();
        let watching = control.clone();
        #[cfg(feature = "systemd")]
        let mut notifier = program.notifier;
        #[cfg(feature = "systemd")]
        let pulse = notifier.as_ref().and_then(|_| Notifier::pulse());
        let metrics_folder = prepared.metrics_folder();
        let folder_of_workers = metrics_folder.clone();
        let mut statsd = logs::statsd(&prepared.settings)?;
        let mut arbiter = reload::describe(worker, &prepared, hooks.as_ref())
            .listeners(bound.listeners().clone())
            .command_queue(command_queue)
            .reopen_logs(log::reopen)
            .observe(move |event: &ArbiterEvent, _| {
                if let ArbiterEvent::Started { .. } = event {
                    trace::info!("Using worker: {class}");
                }
                if let (Some(statsd), ArbiterEvent::Resized { to, .. }) = (&mut statsd, event) {
                    statsd.workers(*to);
                }
                #[cfg(feature = "systemd")]
                if let Some(notifier) = &mut notifier {
                    notifier.follow(event);
                }
                if let Some(control) = &watching {
                    control.on_event(event);
                }
                if let Some(hooks) = &mut arbiter_hooks {
                    hooks.on_event(event);
                }
                if let (Some(folder), ArbiterEvent::WorkerExited { pid, .. }) =
                    (&folder_of_workers, event)
                {
                    // A hook has seen them.
                    forget_process(folder, *pid);
                }
            });
        if let Some(listener) = bound.status().iter().next() {
            trace::info!("Status at: {listener}");
            let credentials = prepared.credentials.clone();
            let applications = Applications::new(metrics_folder);
            let status =
                control::http::companion(bound.status().clone(), credentials, applications);
            arbiter = arbiter.companion(status);
        }
        #[cfg(feature = "systemd")]
        if let Some(every) = pulse {
            arbiter = arbiter.pulse(every);
        }
        if let Some(watch) = watch {
            arbiter = arbiter.attach(watch);
        }
        if let Some(socket) = socket {
            arbiter = arbiter.attach(socket);
        }
        if let Some(control) = &control {
            arbiter = arbiter.profile(control.profile());
        }
        for configure in program.arbiter {
            arbiter = configure(arbiter);
        }
        if let Some(source) = program.reload {
            let settings = &prepared.settings;
            let retires = Setting::named("upgrade_retire")
                .is_some_and(|setting| settings.origin(setting) == Origin::Program);
            let kept = reload::Kept {
                first: settings.clone(),
                hooks: hooks.clone(),
                error_page: program.error_page,
                sinks: program.sinks,
                upgrade_retire: retires && settings.upgrade_retire,
                control,
            };
            arbiter = arbiter.reload(reload::renew(source, kept, &bound, services, recipe));
        }
        let arbiter = ThreadBound::new(arbiter.build()?);
        bound.hand_over();
        released(releaser, || arbiter.take().run())?;
        hooks.map_or(Ok(()), |hooks| hooks.take_failure())
    }
}

#[expect(clippy::unnecessary_wraps, reason = "another recipe can fail")]
fn any_worker<M>(make: HookedMake<M>, prepared: &mut Prepared) -> Result<Box<dyn WorkerTemplate>>
where
    M: MakeService<Service: Sync> + 'static,
{
    Ok(match prepared.class() {
        WorkerClass::Sync => Box::new(sync(make, prepared)),
        WorkerClass::Gthread => Box::new(threaded(make, prepared)),
    })
}

fn sync<M: MakeService>(make: M, prepared: &mut Prepared) -> SyncWorker<M> {
    SyncWorker::new(make)
        .reactor(prepared.reactor.clone())
        .keepalive_busy(prepared.settings.keepalive_busy)
        .access_sink(std::mem::take(&mut prepared.access_logs).sink())
}

fn threaded<M: MakeService<Service: Sync>>(make: M, prepared: &mut Prepared) -> ThreadedWorker<M> {
    ThreadedWorker::new(make, prepared.settings.threads)
        .reactor(prepared.reactor.clone())
        .access_sink(std::mem::take(&mut prepared.access_logs).sink())
}
