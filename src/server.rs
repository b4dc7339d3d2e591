//! [`Server`]: listeners, workers and an arbiter put together, for a service of your own or a WSGI application.
//!
//! It decides nothing that a layer below decides; it only joins them.

mod bound;
mod builder;
mod prepared;
mod program;
mod reload;
#[cfg(feature = "wsgi")]
mod wsgi_app;

use crate::arbiter::{ArbiterEvent, CommandQueue, Handle};
use crate::config::{Origin, Setting, Settings, WorkerClass};
use crate::error::{Error, Result};
use crate::hooks::{ArbiterHooks, HookedMake};
use crate::log;
use crate::net::{Listener, Listeners};
#[cfg(feature = "systemd")]
use crate::notify::Notifier;
use crate::service::{MakeService, released};
use crate::sys::thread_bound::ThreadBound;
use crate::trace;
use crate::worker::{InProcessServer, SyncWorker, ThreadedWorker, WorkerTemplate, in_process};
use bound::Bound;
pub use builder::ServerBuilder;
use prepared::Prepared;
use program::Program;
use reload::{Recipe, Services, SharedRecipe};

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

    /// The settings that the server starts with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.prepared.settings
    }

    /// Serves until it is told to stop; workers are forked.
    ///
    /// Installs signal handlers for its time and restores the former ones, unless
    /// [`ServerBuilder::signals`] says otherwise. When it has returned another server may serve. Forked workers never
    /// return from here.
    ///
    /// # Errors
    ///
    /// Where the start fails: its [`exit_code`](Error::exit_code) is Gunicorn's. Stopping by a signal is `Ok`.
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
    /// Those of [`serve`](Self::serve), and where the server is to have more than one thread a worker.
    pub fn serve_local<M: MakeService + 'static>(self, make: M) -> Result<()> {
        let services = reload::fixed(make, self.program.hooks.as_ref());
        self.arbitrate(services, |make, prepared| match prepared.class() {
            WorkerClass::Sync => Ok(Box::new(sync(make, prepared))),
            WorkerClass::Gthread => Err(Error::config(
                "a service that stays on one thread cannot be served by several",
            )),
        })
    }

    /// Serves in threads of this process, and returns when it can take requests: for programs with threads of
    /// their own, and for tests. It forks nothing, takes no signals, and may be called from any thread.
    ///
    /// It is one worker, with the [threads](ServerBuilder::threads) that were asked for. There is no arbiter: what
    /// the builder was told of supervision (workers, `timeout`, recycling, the pid file, the observer, reloads)
    /// has no meaning. Of the [hooks](ServerBuilder::hooks), `post_worker_init`, `pre_request` and `post_request` are
    /// called. Several such servers may run at once.
    ///
    /// In an asynchronous program call it and [`InProcessServer::stop`] where blocking is allowed
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
    /// What the service could not be made for, and a [`user`](ServerBuilder::user) or [`group`](ServerBuilder::group): the threads of a process
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
        let make = HookedMake::new(make, program.hooks.map(|installed| installed.hooks));
        let listeners = bound.listeners().clone();
        // A clone that is kept keeps sockets open.
        drop(bound);
        let grace = prepared.settings.graceful_timeout;
        // Here no arbiter bounds a call of a sync worker: a second thread has to.
        let bounded = !prepared.settings.request_timeout.is_zero();
        if prepared.class() == WorkerClass::Gthread || bounded {
            let worker = threaded(make, &mut prepared);
            in_process::start(worker, listeners, grace, releaser)
        } else {
            let worker = sync(make, &mut prepared);
            in_process::start(worker, listeners, grace, releaser)
        }
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
        let make = services(&prepared.settings)?;
        let releaser = make.releaser();
        let hooks = program.hooks;
        let mut observer = program.observe;
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
        #[cfg(feature = "systemd")]
        let mut notifier = program.notifier;
        #[cfg(feature = "systemd")]
        let pulse = notifier.as_ref().and_then(|_| Notifier::pulse());
        let mut arbiter = reload::describe(worker, &prepared, hooks.as_ref())
            .listeners(bound.listeners().clone())
            .allow_threads(program.allow_threads)
            .signals(program.signals)
            .command_queue(command_queue)
            .reopen_logs(log::reopen)
            .observe(move |event: &ArbiterEvent| {
                if let ArbiterEvent::Started { .. } = event {
                    trace::info!("Using worker: {class}");
                }
                #[cfg(feature = "systemd")]
                if let Some(notifier) = &mut notifier {
                    notifier.follow(event);
                }
                if let Some(hooks) = &mut arbiter_hooks {
                    hooks.on_event(event);
                }
                if let Some(observe) = &mut observer {
                    observe(event);
                }
            });
        #[cfg(feature = "systemd")]
        if let Some(every) = pulse {
            arbiter = arbiter.pulse(every);
        }
        if let Some(exec) = program.exec {
            arbiter = arbiter.exec(exec);
        }
        if let Some(source) = program.reload {
            let settings = &prepared.settings;
            let retires = Setting::named("upgrade_retire")
                .is_some_and(|setting| settings.origin(setting) == Origin::Program);
            let kept = reload::Kept {
                hooks: hooks.clone(),
                error_page: program.error_page,
                upgrade_retire: retires && settings.upgrade_retire,
            };
            arbiter = arbiter.reload(reload::renew(source, kept, &bound, services, recipe));
        }
        // A clone that is kept keeps sockets open, here and in every worker.
        drop(bound);
        let arbiter = ThreadBound::new(arbiter.build()?);
        released(releaser, || arbiter.take().run())?;
        hooks.map_or(Ok(()), |hooks| hooks.take_failure())
    }
}

/// The worker of the class that the settings have.
#[expect(clippy::unnecessary_wraps, reason = "another recipe can fail")]
fn any_worker<M>(
    make: SharedRecipe<HookedMake<M>>,
    prepared: &mut Prepared,
) -> Result<Box<dyn WorkerTemplate>>
where
    M: MakeService<Service: Sync> + 'static,
{
    Ok(match prepared.class() {
        WorkerClass::Sync => Box::new(sync(make, prepared)),
        WorkerClass::Gthread => Box::new(threaded(make, prepared)),
    })
}

/// The worker that answers one request at a time.
fn sync<M: MakeService>(make: M, prepared: &mut Prepared) -> SyncWorker<M> {
    SyncWorker::new(make)
        .reactor(prepared.reactor.clone())
        .keepalive_busy(prepared.settings.keepalive_busy)
        .access_sink(prepared.access_log.take().map(|log| Box::new(log) as _))
}

/// The worker that answers several requests at once.
fn threaded<M: MakeService<Service: Sync>>(make: M, prepared: &mut Prepared) -> ThreadedWorker<M> {
    ThreadedWorker::new(make, prepared.settings.threads)
        .reactor(prepared.reactor.clone())
        .access_sink(prepared.access_log.take().map(|log| Box::new(log) as _))
}
