//! [`ServerBuilder`]: the description of a server: its [`Settings`], and what no setting can say.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::Server;
use super::bound::Bound;
use super::prepared::Prepared;
use super::program::Program;
use crate::access::AccessSink;
use crate::arbiter::{
    ArbiterBuilder, ArbiterEvent, Attachment, CommandQueue, Handle, ReexecCommand,
};
use crate::config::{
    CertReqs, HeaderMap, Origin, ReloadEngine, RequestIdMode, Setting, Settings, TlsVersion,
    WorkerClass, settings_table,
};
use crate::error::{Error, Result};
use crate::h1;
use crate::hooks::{Hooks, Installed};
use crate::net::{BindAddress, ClientAddress, Listeners, Networks, ProxyProtocol};
#[cfg(feature = "systemd")]
use crate::notify::Notifier;
use crate::reactor::{ErrorPage, ErrorResponse};
use crate::service::MakeService;

/// Describes a [`Server`]. Nothing is opened before [`build`](Self::build).
///
/// It holds [`Settings`], each with a method of its name, and beside them what no setting can say: listeners, hooks,
/// callbacks. The order of the calls does not matter, but for repeated ones: the last one counts, where a method does not
/// add something, as [`bind`](Self::bind) does.
///
/// Optional text is given as such, an optional number as an `Option`, a list as anything that can be iterated over.
///
/// ```
/// use std::time::Duration;
///
/// let server = oxicorn::Server::bind("127.0.0.1:8000")?
///     .workers(4)
///     .threads(8)
///     .keepalive(Duration::from_secs(75))
///     .accesslog("-");
/// assert_eq!(server.settings().threads, 8);
/// # Ok::<(), oxicorn::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct ServerBuilder {
    settings: Settings,
    listeners: Listeners,
    program: Program,
}

macro_rules! setter {
    // It has a method of its own, which adds.
    ([$($meta:tt)*] bind: $($type:tt)*) => {};
    ([$($meta:tt)*] $name:ident: Option<String>) => {
        setter! { [$($meta)*] $name, impl Into<String>, |value| Some(value.into()) }
    };
    ([$($meta:tt)*] $name:ident: Option<PathBuf>) => {
        setter! { [$($meta)*] $name, impl Into<PathBuf>, |value| Some(value.into()) }
    };
    ([$($meta:tt)*] $name:ident: String) => {
        setter! { [$($meta)*] $name, impl Into<String>, |value| value.into() }
    };
    ([$($meta:tt)*] $name:ident: PathBuf) => {
        setter! { [$($meta)*] $name, impl Into<PathBuf>, |value| value.into() }
    };
    ([$($meta:tt)*] $name:ident: Vec<($one:ty, $other:ty)>) => {
        setter! {
            [$($meta)*] $name, impl IntoIterator<Item = (impl Into<$one>, impl Into<$other>)>,
            |value| value.into_iter().map(|(one, other)| (one.into(), other.into())).collect()
        }
    };
    ([$($meta:tt)*] $name:ident: Vec<$item:ty>) => {
        setter! {
            [$($meta)*] $name, impl IntoIterator<Item: Into<$item>>,
            |value| value.into_iter().map(Into::into).collect()
        }
    };
    ([$($meta:tt)*] $name:ident: $type:ty) => {
        setter! { [$($meta)*] $name, $type, |value| value }
    };
    ([$($meta:tt)*] $name:ident, $type:ty, |$value:ident| $into:expr) => {
        $($meta)*
        pub fn $name(mut self, $name: $type) -> Self {
            let $value = $name;
            self.settings.$name = $into;
            self.given(stringify!($name));
            self
        }
    };
}

macro_rules! setters {
    ($($section:literal [ $(
        $(#[doc = $text:literal])+
        $name:ident: $outer:ident $(<$inner:tt>)? = $default:expr
            => $parser:ident $(<$element:ident>)? { $($rest:tt)* }
    )* ])*) => {
        /// A method for each setting, with the setting's own text.
        impl ServerBuilder {
            $($(
                setter! {
                    [
                        $(#[doc = $text])+
                        #[doc = concat!("\n\nDefault: `", stringify!($default), "`.")]
                    ]
                    $name: $outer $(<$inner>)?
                }
            )*)*
        }
    };
}

settings_table!(setters);

impl ServerBuilder {
    pub(super) fn following(settings: Settings, listeners: Listeners) -> Self {
        Self {
            settings,
            listeners,
            program: Program::default(),
        }
    }

    /// The settings, as they are so far.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Notes that the program has set this setting.
    fn given(&mut self, name: &str) {
        if let Some(setting) = Setting::named(name) {
            self.settings.came_from(setting, Origin::Program);
        }
    }

    /// Says something of the arbiter, once that is described.
    fn arbiter(
        mut self,
        configure: impl FnOnce(ArbiterBuilder) -> ArbiterBuilder + Send + 'static,
    ) -> Self {
        self.program.arbiter.push(Box::new(configure));
        self
    }

    /// Adds an address to listen on: `127.0.0.1:8000`, `[::1]:8000`, `:8000`, `unix:/run/x.sock`, `fd://3`. The first one
    /// takes the place of the default.
    ///
    /// # Errors
    ///
    /// An address that cannot be understood. Nothing is opened yet.
    pub fn bind(mut self, address: impl AsRef<str>) -> Result<Self> {
        let text = address.as_ref();
        let _: BindAddress = text.parse()?;
        if self.settings.is_default("bind") {
            self.settings.bind.clear();
        }
        self.settings.bind.push(text.to_owned());
        self.given("bind");
        Ok(self)
    }

    /// Sets listeners that are open already. They come before the addresses, and a reload keeps them.
    pub fn listeners(mut self, listeners: impl Into<Listeners>) -> Self {
        self.listeners = listeners.into();
        self
    }

    /// Sets the program that an upgrade executes. The default is this program as it was called, from the folder in which
    /// it [builds](Self::build) the server. A program that changes its folder before that makes a [`ReexecCommand`]
    /// first.
    ///
    /// The program's `main` runs again, with the listeners open.
    pub fn exec(self, exec: ReexecCommand) -> Self {
        self.arbiter(|arbiter| arbiter.exec(exec))
    }

    /// Sets the pages of the server's own answers (400, 408, 413, 500, 503 and the like).
    ///
    /// ```
    /// use oxicorn::Server;
    /// use oxicorn::h1::{Page, reason_phrase};
    ///
    /// let builder = Server::bind("127.0.0.1:8000")?.error_page(|answer| {
    ///     let reason = reason_phrase(answer.status);
    ///     Page::text(answer.status, format!("{reason}: {}\n", answer.text))
    /// });
    /// # Ok::<(), oxicorn::Error>(())
    /// ```
    pub fn error_page(
        mut self,
        make: impl Fn(&ErrorResponse<'_>) -> h1::Page + Send + Sync + 'static,
    ) -> Self {
        self.program.error_page = ErrorPage::new(make);
        self
    }

    /// Sets whether the server forks even though this process has threads. The locks that they hold stay locked in the
    /// workers (fork(2)), so this is for programs that know their threads. Threads that a program needs beside a server are
    /// better started in [`Hooks::when_ready`]. Default: `false`.
    pub fn allow_threads(self, allow: bool) -> Self {
        self.arbiter(move |arbiter| arbiter.allow_threads(allow))
    }

    /// Sets whether a worker that holds a [handle](Server::handle) can have the server stop, reload and scale. A worker may
    /// have fewer rights than its arbiter. It can read the status and the workers in any case. Default: `false`.
    pub fn worker_commands(self, allow: bool) -> Self {
        self.arbiter(move |arbiter| arbiter.worker_commands(allow))
    }

    /// Sets whether the server handles the signals of the process. A program that handles them itself uses a
    /// [handle](Server::handle). Default: `true`.
    pub fn signals(self, signals: bool) -> Self {
        self.arbiter(move |arbiter| arbiter.signals(signals))
    }

    /// Sets the hooks that are called at the turns of the server's life, each in the process that takes the turn.
    pub fn hooks(mut self, hooks: impl Hooks + 'static) -> Self {
        self.program.hooks = Some(Installed::new(hooks));
        self
    }

    /// Adds an observer: a function that is called on the arbiter's thread with each event of the server and its workers,
    /// and with the server's handle. It must not block, nor wait for a command of its own, which is done after it has
    /// returned.
    ///
    /// ```no_run
    /// use oxicorn::arbiter::ArbiterEvent;
    /// use oxicorn::{Request, Responder, Result, Server};
    ///
    /// fn main() -> Result<()> {
    ///     let hello = |_: Request<'_>, reply: Responder<'_>| reply.text(200, "Hello\n");
    ///     let server = Server::bind("127.0.0.1:8000")?.observe(|event, handle| {
    ///         if let ArbiterEvent::WorkerReady { id, .. } = event {
    ///             println!("worker {id} is ready, one of {}", handle.status().ready);
    ///         }
    ///     });
    ///     server.serve(hello)
    /// }
    /// ```
    pub fn observe(self, observer: impl FnMut(&ArbiterEvent, &Handle) + Send + 'static) -> Self {
        self.arbiter(|arbiter| arbiter.observe(observer))
    }

    /// Adds a sink that takes note of each answered and refused request, beside the access log. Each worker has its own.
    ///
    /// `make` is called in the program's process, at the start and on each reload, and each worker has the copy that its
    /// fork made: a descriptor is shared, memory is not. A sink that needs a connection of its own opens it at its first
    /// record.
    ///
    /// ```
    /// use oxicorn::Server;
    /// use oxicorn::access::{Access, AccessSink};
    ///
    /// #[derive(Debug)]
    /// struct Refusals(u64);
    ///
    /// impl AccessSink for Refusals {
    ///     fn record(&mut self, access: &Access<'_>) {
    ///         self.0 += u64::from(access.refusal.is_some());
    ///     }
    /// }
    ///
    /// let builder = Server::bind("127.0.0.1:8000")?.access_sink(|| Refusals(0));
    /// # Ok::<(), oxicorn::Error>(())
    /// ```
    pub fn access_sink<S: AccessSink + 'static>(
        mut self,
        make: impl Fn() -> S + Send + Sync + 'static,
    ) -> Self {
        self.program.sinks.add(make);
        self
    }

    /// Adds something of the program's that the arbiter polls beside its own descriptors, such as a control socket.
    pub fn attach(self, attachment: impl Attachment + Send + 'static) -> Self {
        self.arbiter(|arbiter| arbiter.attach(attachment))
    }

    /// Sets the source of new settings for a reload (SIGHUP). The new settings are tried, and stay in force if their
    /// workers can boot. Addresses that are still listened on keep their sockets. Without a source a reload starts new
    /// workers with the settings that are in force.
    ///
    /// The new settings replace the builder's. Only [`upgrade_retire`](Self::upgrade_retire) keeps the builder's value
    /// unless the new settings have one.
    ///
    /// The function runs in the arbiter, which supervises no worker meanwhile.
    pub fn reload_from(
        mut self,
        source: impl FnMut() -> Result<Settings> + Send + 'static,
    ) -> Self {
        self.program.reload = Some(Box::new(source));
        self
    }

    /// Sets whether the server tells systemd, if that started this process (`Type=notify`), of readiness, reloads and
    /// the end, and that the arbiter is alive (`WatchdogSec=`): see `sd_notify(3)`. The application's processes inherit
    /// `NOTIFY_SOCKET`. systemd heeds the arbiter alone unless the unit says otherwise (`NotifyAccess=`). Default:
    /// `false`.
    #[cfg(feature = "systemd")]
    pub fn systemd(mut self, notify: bool) -> Self {
        self.program.notifier = notify.then(Notifier::default);
        self
    }

    /// Opens the listeners.
    ///
    /// # Errors
    ///
    /// - An address that cannot be used, or no address at all.
    /// - A user or a group that does not exist.
    /// - An access log that cannot be opened.
    /// - A `Server` line that cannot be sent.
    pub fn build(self) -> Result<Server> {
        let Self {
            settings,
            listeners,
            program,
        } = self;
        let prepared = Prepared::new(settings, &program.error_page, &program.sinks)?;
        let bound = Bound::open(&listeners, &prepared.settings, prepared.opening())?;
        drop(listeners);
        if bound.listeners().is_empty() {
            return Err(Error::config("a server needs an address to listen on"));
        }
        Ok(Server {
            bound,
            prepared,
            program,
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

    /// Builds the server and [serves](Server::serve_from) a service that is made from the settings.
    ///
    /// # Errors
    ///
    /// Those of both.
    pub fn serve_from<M>(self, recipe: impl FnMut(&Settings) -> Result<M> + 'static) -> Result<()>
    where
        M: MakeService<Service: Sync> + 'static,
    {
        self.build()?.serve_from(recipe)
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
