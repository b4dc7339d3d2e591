//! [`Settings`]: everything that Gunicorn's users set, typed, with one table that describes it.
//!
//! Data only. Nothing here opens a file, resolves an address or starts anything, and the environment is
//! read where [`Layer::environment`] is asked for and nowhere else.
//!
//! ```text
//!   Settings::default()        built-in defaults
//!        ▲ replaced by
//!   Layer::environment         PORT, WEB_CONCURRENCY
//!        ▲ replaced by
//!   Layer::command_line        the flags of SETTINGS
//! ```
//!
//! *Invariants*
//!
//! - A field of [`Settings`] has exactly one row in [`SETTINGS`], of the same name.
//! - A value has one grammar, wherever it comes from.
//! - A layer replaces what is below it, lists included: nothing is appended across layers.

mod error;
mod grammar;
mod load;
mod meta;
#[cfg(test)]
mod reference;
mod setting;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::net::{ClientAddress, Networks, ProxyProtocol};

pub use error::SettingError;
pub use load::Layer;
pub use meta::SETTINGS;
pub use setting::{Setting, Variable};

/// All settings.
///
/// `Default` gives the built-in defaults and reads no environment. [`SETTINGS`] describes each field: its
/// flags, its environment variable, its meaning.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own, and is written as one"
)]
pub struct Settings {
    /// The application as `module:callable`, for a server that runs one by name.
    pub wsgi_app: Option<String>,

    /// Addresses to listen on, in the forms of [`BindAddress`](crate::net::BindAddress).
    pub bind: Vec<String>,
    /// How many connections the system keeps until they are accepted.
    pub backlog: u32,
    /// Whether each worker has a queue of its own for TCP addresses.
    pub reuse_port: bool,

    /// How many worker processes.
    pub workers: usize,
    /// What a worker does with its requests.
    pub worker_class: WorkerClass,
    /// How many requests a worker answers at once, each on a thread of its own.
    pub threads: usize,
    /// How many connections a worker may have.
    pub worker_connections: usize,
    /// How long a worker may make no progress before it is replaced; zero is for ever.
    pub timeout: Duration,
    /// How long one request may take; zero is for ever.
    pub request_timeout: Duration,
    /// How long a worker that is told to stop may take to finish its requests.
    pub graceful_timeout: Duration,
    /// Whether the arbiter stops when the one that an upgrade has started is ready.
    pub upgrade_retire: bool,
    /// After how many requests a worker is replaced; 0 is never.
    pub max_requests: usize,
    /// How many more those may be, at random for each worker.
    pub max_requests_jitter: usize,
    /// How old a worker may grow before it is replaced; zero is as old as it likes.
    pub max_worker_age: Duration,
    /// With how many bytes of memory a worker is replaced; 0 is any number.
    pub max_worker_memory: usize,
    /// How long a connection may stay idle between two requests; zero ends it after the first.
    pub keepalive: Duration,
    /// How long a sync worker's calls may take, in a moving average, for connections to be kept where there
    /// are other workers; zero is any time.
    pub keepalive_busy: Duration,
    /// How long a new worker may take until it is ready.
    pub boot_timeout: Duration,

    /// How long a client may take to send a request's head.
    pub head_timeout: Duration,
    /// How long a client may pause while it sends a request's body.
    pub body_timeout: Duration,
    /// How many bytes a second a request's body must bring on average; 0 is any number.
    pub body_rate: u64,
    /// How long from its start a request's body may bring less than `body_rate`.
    pub body_grace: Duration,
    /// How long a client may take no byte of a response.
    pub send_timeout: Duration,
    /// How many bytes a second a client must take on average of what is pending for it; 0 is any number.
    pub send_rate: u64,
    /// How long a client may take less of a response than `send_rate`.
    pub send_grace: Duration,
    /// How long a client may be silent after an answer that ends its connection.
    pub linger: Duration,
    /// How long a client may go on sending after an answer that ends its connection.
    pub linger_limit: Duration,
    /// How long a client may take to begin a last request, or pause within it, once its worker is told to
    /// stop.
    pub drain_idle: Duration,
    /// Bytes of a request line, without its CRLF; 0 is any number, and more than 8190 are 8190.
    pub limit_request_line: usize,
    /// Header fields of a request; 0, like more than 32768, is 32768.
    pub limit_request_fields: usize,
    /// Bytes of a header field, with its folds and its CRLF; 0 is 8190.
    pub limit_request_field_size: usize,
    /// What becomes of header fields whose names have an underscore.
    pub header_map: HeaderMap,
    /// Whether a header field may go on in the next line.
    pub permit_obsolete_folding: bool,
    /// Whether blanks before a header field's colon are dropped.
    pub strip_header_spaces: bool,
    /// Whether every token is a method.
    pub permit_unconventional_http_method: bool,
    /// Whether versions other than 1.x are served.
    pub permit_unconventional_http_version: bool,
    /// Whether methods are made upper case.
    pub casefold_http_method: bool,
    /// Bytes of a request's body that are kept in memory; a longer one goes to a temporary file.
    pub body_buffer: usize,
    /// Bytes that a request's body may have; `None` is any number.
    pub limit_request_body: Option<u64>,
    /// Bytes that the temporary files of a worker's request bodies and responses may hold together; `None` is any
    /// number.
    pub spool_total: Option<u64>,
    /// Whether the application is called before a request's body is complete, and reads while it arrives.
    pub stream_request_body: bool,
    /// Bytes of a response that are kept in memory for a client that reads slowly.
    pub response_buffer: usize,
    /// Bytes of a response that are kept in a temporary file after that, before the application has to wait.
    pub response_spool: u64,
    /// The folder of temporary files; `None` is the system's.
    pub tmp_upload_dir: Option<PathBuf>,
    /// The value of the header field `Server`; empty for none.
    pub server_header: String,
    /// Whether early hints and other interim responses of the application are sent.
    pub early_hints: bool,

    /// Which PROXY headers a connection may begin with.
    pub proxy_protocol: ProxyProtocol,
    /// The peers that may send PROXY headers.
    pub proxy_allow_ips: Networks,
    /// The peers whose word on their clients counts.
    pub forwarded_allow_ips: Networks,
    /// The header fields by which they tell the scheme, with the value that means `https`.
    pub secure_scheme_headers: Vec<(String, String)>,
    /// The header fields with an underscore in their names that they may send, with commas between them.
    pub forwarder_headers: String,
    /// The header field by which they tell the client's address.
    pub client_address: ClientAddress,

    /// The folder to change to before the application is loaded.
    pub chdir: Option<PathBuf>,
    /// Variables to set in the application's environment: names and values.
    pub raw_env: Vec<(OsString, OsString)>,
    /// Whether the server goes on as a daemon.
    pub daemon: bool,
    /// Whether a daemon's output and errors stay what they are, where that is no terminal.
    pub enable_stdio_inheritance: bool,
    /// Gunicorn's folder for the files in which workers beat; ours need none.
    pub worker_tmp_dir: Option<PathBuf>,
    /// The user that the workers run as, by name or number.
    pub user: Option<String>,
    /// The group that the workers run as, by name or number.
    pub group: Option<String>,
    /// Whether the workers have all groups of their user.
    pub initgroups: bool,
    /// The permissions that new files lack; `None` leaves the process's own in force, and takes none from Unix
    /// sockets.
    pub umask: Option<u32>,
    /// The pid file.
    pub pidfile: Option<PathBuf>,
    /// What lists of processes call the server; `None` is what the application is called.
    pub proc_name: Option<String>,
    /// Whether the application is loaded before the workers are forked.
    pub preload_app: bool,
    /// Folders to put first on `sys.path`.
    pub pythonpath: Vec<PathBuf>,
    /// The folder of the application's virtual environment.
    pub venv: Option<PathBuf>,

    /// The file for a line on each request; `-` is the standard output, `None` is nowhere.
    pub accesslog: Option<PathBuf>,
    /// The file for messages; `-` is the standard error.
    pub errorlog: PathBuf,
    /// The least severe messages to log: `debug`, `info`, `warning`, `error` or `critical`.
    pub loglevel: String,
}

/// What becomes of a header field whose name has an underscore: WSGI cannot tell it from one with a hyphen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderMap {
    /// It is dropped.
    Drop,
    /// Its request is refused.
    Refuse,
    /// It is taken, and joined with its twin.
    Dangerous,
}

/// The kinds of workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerClass {
    /// One request at a time, on the worker's main thread.
    #[default]
    Sync,
    /// Several at once, on threads.
    Gthread,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            wsgi_app: None,
            bind: vec!["127.0.0.1:8000".to_owned()],
            backlog: 2048,
            reuse_port: false,
            workers: 1,
            worker_class: WorkerClass::Sync,
            threads: 1,
            worker_connections: 1000,
            timeout: Duration::from_secs(30),
            request_timeout: Duration::ZERO,
            graceful_timeout: Duration::from_secs(30),
            upgrade_retire: false,
            max_requests: 0,
            max_requests_jitter: 0,
            max_worker_age: Duration::ZERO,
            max_worker_memory: 0,
            keepalive: Duration::from_secs(2),
            keepalive_busy: Duration::from_millis(50),
            boot_timeout: Duration::from_secs(120),
            head_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            body_rate: 500,
            body_grace: Duration::from_secs(20),
            send_timeout: Duration::from_secs(30),
            send_rate: 500,
            send_grace: Duration::from_secs(20),
            linger: Duration::from_secs(5),
            linger_limit: Duration::from_secs(30),
            drain_idle: Duration::from_secs(1),
            limit_request_line: 4094,
            limit_request_fields: 100,
            limit_request_field_size: 8190,
            header_map: HeaderMap::Drop,
            permit_obsolete_folding: false,
            strip_header_spaces: false,
            permit_unconventional_http_method: false,
            permit_unconventional_http_version: false,
            casefold_http_method: false,
            body_buffer: 64 << 10,
            limit_request_body: Some(1 << 30),
            spool_total: Some(4 << 30),
            stream_request_body: false,
            response_buffer: 1 << 20,
            response_spool: 64 << 20,
            tmp_upload_dir: None,
            server_header: "oxicorn".to_owned(),
            early_hints: false,
            proxy_protocol: ProxyProtocol::Off,
            proxy_allow_ips: Networks::loopback(),
            forwarded_allow_ips: Networks::loopback(),
            secure_scheme_headers: [
                ("X-FORWARDED-PROTOCOL", "ssl"),
                ("X-FORWARDED-PROTO", "https"),
                ("X-FORWARDED-SSL", "on"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
            forwarder_headers: "SCRIPT_NAME,PATH_INFO".to_owned(),
            client_address: ClientAddress::Off,
            chdir: None,
            raw_env: Vec::new(),
            daemon: false,
            enable_stdio_inheritance: false,
            worker_tmp_dir: None,
            user: None,
            group: None,
            initgroups: false,
            umask: None,
            pidfile: None,
            proc_name: None,
            preload_app: false,
            pythonpath: Vec::new(),
            venv: None,
            accesslog: None,
            errorlog: PathBuf::from("-"),
            loglevel: "info".to_owned(),
        }
    }
}
