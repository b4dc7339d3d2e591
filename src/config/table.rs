//! The table of all settings: one row a setting, with its type, its default, its flags and its one text.
//!
//! [`settings_table`] hands the rows to a macro of the caller's. From them are made the fields of
//! [`Settings`](super::Settings), the rows of [`SETTINGS`](super::SETTINGS), the setters of
//! [`ServerBuilder`](crate::ServerBuilder), the command line and `docs/SETTINGS.md`.
//!
//! ```text
//!   /// The text: help, documentation of field and setter, row of docs/SETTINGS.md.
//!   name: Type = default => PARSER { flags: .., variable: .., common: .. }
//! ```
//!
//! A parser in `Option<..>` reads a value that may be missing. One in `Vec<..>` reads one value of a list, whose flag
//! can be repeated. Rows that are `common` are the ones that `--help` lists.

/// Expands to `$then! { .. }`, with the rows of the table between the braces.
macro_rules! settings_table {
    ($then:ident) => {
        $then! {
"Application" [
    /// The application as `MODULE:APP`. APP is a callable of the module, an attribute path, or a call with literal
    /// arguments. Without APP it is `application`, or else `app`.
    wsgi_app: Option<String> = None => Option<TEXT> { metavar: "MODULE[:APP]", common: true }

    /// Folder to change to before the application is loaded.
    chdir: Option<PathBuf> = None => Option<PATH> { flags: &["--chdir"], common: true }

    /// Folders to put first on `sys.path`.
    pythonpath: Vec<PathBuf> = Vec::new() => PATHS { flags: &["--pythonpath"], common: true }

    /// Folder of the virtual environment. The default is the activated one (`VIRTUAL_ENV`).
    venv: Option<PathBuf> = None => Option<PATH> { flags: &["--venv"], common: true }

    /// Variable to set in the application's environment. Can be repeated.
    raw_env: Vec<(OsString, OsString)> = Vec::new() => Vec<PAIR> { flags: &["-e", "--env"], common: true }

    /// Load the application once, before the workers are forked, so that they share its memory. A reload does not
    /// load it again.
    preload_app: bool = false => FLAG { flags: &["--preload"], bare: Some("true"), common: true }
]
"Socket" [
    /// Address to listen on: `HOST`, `HOST:PORT`, `[IPV6]:PORT`, `unix:PATH`, `unix:@NAME` or `fd://N`. Can be
    /// repeated.
    bind: Vec<String> = vec!["127.0.0.1:8000".to_owned()] => Vec<ADDRESS> {
        flags: &["-b", "--bind"],
        variable: Some(EnvVar { name: "PORT", prefix: "0.0.0.0:" }),
        common: true,
    }

    /// Number of connections that the kernel queues for a listener until they are accepted.
    backlog: u32 = 2048 => COUNT_32 { flags: &["--backlog"], common: true }

    /// Give each worker its own queue for each TCP address (`SO_REUSEPORT`). A replacement takes over the queue of the
    /// worker that it replaces. Connections can be lost when the number of workers shrinks.
    reuse_port: bool = false => FLAG { flags: &["--reuse-port"], bare: Some("true") }
]
"Workers" [
    /// Number of worker processes.
    workers: usize = 1 => COUNT {
        flags: &["-w", "--workers"],
        variable: Some(EnvVar { name: "WEB_CONCURRENCY", prefix: "" }),
        common: true,
    }

    /// Kind of worker. `sync` answers one request at a time, on the worker's main thread. `gthread` answers several
    /// at once, on threads. With `threads` above 1, `sync` becomes `gthread`.
    worker_class: WorkerClass = WorkerClass::Sync => CLASS { flags: &["-k", "--worker-class"], common: true }

    /// Number of requests that a worker answers at once, each on its own thread.
    threads: usize = 1 => COUNT { flags: &["--threads"], common: true }

    /// Number of connections that a worker may have open. At the limit a new connection takes the place of an idle or
    /// slow one.
    worker_connections: usize = 1000 => AT_LEAST_ONE { flags: &["--worker-connections"], common: true }

    /// Kill and replace a worker that shows no progress for this long. 0 disables.
    timeout: Duration = Duration::from_secs(30) => SECONDS { flags: &["-t", "--timeout"], common: true }

    /// Give up a request that takes longer than this. Its client gets a 504, or is disconnected if the response has
    /// begun, and the worker is replaced. 0 disables.
    request_timeout: Duration = Duration::ZERO => SECONDS { flags: &["--request-timeout"], common: true }

    /// Time that a worker has to finish its requests once it was asked to stop.
    graceful_timeout: Duration = Duration::from_secs(30) => SECONDS { flags: &["--graceful-timeout"], common: true }

    /// Recycle a worker after this many requests. The worker serves until its replacement is ready, and one worker is
    /// replaced at a time. 0 disables.
    max_requests: u64 = 0 => COUNT_64 { flags: &["--max-requests"], common: true }

    /// Upper bound of the random number of requests that each worker adds to `max_requests`.
    max_requests_jitter: u64 = 0 => COUNT_64 { flags: &["--max-requests-jitter"] }

    /// Recycle a worker this long after it became ready. 0 disables.
    max_worker_age: Duration = Duration::ZERO => SECONDS { flags: &["--max-worker-age"] }

    /// Recycle a worker once its resident memory reaches this many bytes. 0 disables.
    max_worker_memory: u64 = 0 => BYTES_64 { flags: &["--max-worker-memory"] }

    /// Time that a new worker has to load the application.
    boot_timeout: Duration = Duration::from_secs(120) => DEADLINE { flags: &["--boot-timeout"] }

    /// Stop gracefully once the server that USR2 has started is ready. By default both serve until one is stopped.
    upgrade_retire: bool = false => FLAG { flags: &["--upgrade-retire"], bare: Some("true") }
]
"Clients" [
    /// Time that a connection may be idle between two requests. 0 closes it after the first response.
    keepalive: Duration = Duration::from_secs(2) => SECONDS { flags: &["--keep-alive"], common: true }

    /// Average duration of a sync worker's calls, above which it closes each connection after its response, so that
    /// other workers share the load. 0 keeps connections at any duration.
    keepalive_busy: Duration = Duration::from_millis(50) => SECONDS { flags: &["--keepalive-busy"] }

    /// Time that a client has to send the head of a request.
    head_timeout: Duration = Duration::from_secs(15) => DEADLINE { flags: &["--head-timeout"] }

    /// Time that a client may pause while it sends the body of a request.
    body_timeout: Duration = Duration::from_secs(30) => DEADLINE { flags: &["--body-timeout"] }

    /// Minimum average rate, in bytes per second, at which a client must send the body of a request. 0 disables.
    body_rate: u64 = 500 => BYTES_64 { flags: &["--body-rate"] }

    /// Grace period before `body_rate` is enforced.
    body_grace: Duration = Duration::from_secs(20) => SECONDS { flags: &["--body-grace"] }

    /// Time that a client may take no byte of a pending response.
    send_timeout: Duration = Duration::from_secs(30) => DEADLINE { flags: &["--send-timeout"] }

    /// Minimum average rate, in bytes per second, at which a client must take a pending response. 0 disables.
    send_rate: u64 = 500 => BYTES_64 { flags: &["--send-rate"] }

    /// Grace period before `send_rate` is enforced.
    send_grace: Duration = Duration::from_secs(20) => SECONDS { flags: &["--send-grace"] }

    /// Time to wait for a silent client after the last response on its connection. Bytes that the client still sends
    /// are discarded.
    linger: Duration = Duration::from_secs(5) => SECONDS { flags: &["--linger"] }

    /// Time that a client may go on sending after the last response on its connection.
    linger_limit: Duration = Duration::from_secs(30) => SECONDS { flags: &["--linger-limit"] }

    /// Time that a client has to begin a last request, or may pause within it, once its worker was asked to stop.
    drain_idle: Duration = Duration::from_secs(1) => SECONDS { flags: &["--drain-idle"] }

    /// Maximum length of a request line in bytes, up to 8190. 0 disables the limit.
    limit_request_line: usize = h1::Limits::default().request_line => BYTES { flags: &["--limit-request-line"] }

    /// Maximum number of header fields of a request, up to 32768. 0 means 32768.
    limit_request_fields: usize = h1::Limits::default().fields => COUNT { flags: &["--limit-request-fields"] }

    /// Maximum length of a header field in bytes, with its folded lines. 0 means 8190.
    limit_request_field_size: usize = h1::Limits::default().field_size => BYTES {
        flags: &["--limit-request-field_size", "--limit-request-field-size"],
    }

    /// Policy for header fields with an underscore in their names, which an application cannot tell from a hyphen:
    /// `drop`, `refuse` or `dangerous` (accept).
    header_map: HeaderMap = HeaderMap::Drop => HEADER_MAP { flags: &["--header-map"] }

    /// Accept header fields that continue on the next line.
    permit_obsolete_folding: bool = false => FLAG { flags: &["--permit-obsolete-folding"], bare: Some("true") }

    /// Accept blanks before the colon of a header field, and remove them.
    strip_header_spaces: bool = false => FLAG { flags: &["--strip-header-spaces"], bare: Some("true") }

    /// Accept methods of any length, with lower-case letters or with `#`.
    permit_unconventional_http_method: bool = false => FLAG {
        flags: &["--permit-unconventional-http-method"],
        bare: Some("true"),
    }

    /// Accept versions other than HTTP/1.x.
    permit_unconventional_http_version: bool = false => FLAG {
        flags: &["--permit-unconventional-http-version"],
        bare: Some("true"),
    }

    /// Convert methods to upper case before they are checked.
    casefold_http_method: bool = false => FLAG { flags: &["--casefold-http-method"], bare: Some("true") }

    /// Maximum size of a request's body in bytes (1 GiB). 0 disables the limit.
    limit_request_body: u64 = 1 << 30 => BYTES_64 { flags: &["--limit-request-body"] }

    /// Bytes of a request's body that are kept in memory (64 KiB). A larger body goes to a temporary file.
    body_buffer: usize = 64 << 10 => BYTES { flags: &["--body-buffer"] }

    /// Maximum size in bytes of all temporary files of a worker together (4 GiB). Above it a body that needs a file is
    /// refused with 503. Above three quarters of it the oldest responses that clients have not taken are given up. 0
    /// disables the limit.
    spool_total: u64 = 4 << 30 => BYTES_64 { flags: &["--spool-total"] }

    /// Call the application before the body of a request is complete, and let it read while the client sends. A slow
    /// client then occupies a worker, or one of its threads.
    stream_request_body: bool = false => FLAG { flags: &["--stream-request-body"], bare: Some("true") }

    /// Bytes of a response that are kept in memory for a slow client (1 MiB). The rest goes to a temporary file.
    response_buffer: usize = 1 << 20 => BYTES { flags: &["--response-buffer"] }

    /// Bytes of a response that may be in a temporary file (64 MiB) before the application has to wait.
    response_spool: u64 = 64 << 20 => BYTES_64 { flags: &["--response-spool"] }

    /// Folder of temporary files. The default is the system's.
    tmp_upload_dir: Option<PathBuf> = None => Option<PATH> { flags: &["--tmp-upload-dir"] }

    /// Value of the header field `Server`. An empty value leaves the field out.
    server_header: String = "oxicorn".to_owned() => FIELD_VALUE { flags: &["--server-header"] }

    /// Send the early hints (103) of the application. Enable this only if no proxy in front of the server takes a 103
    /// for the final response.
    early_hints: bool = false => FLAG { flags: &["--early-hints"], bare: Some("true") }
]
"Proxies" [
    /// PROXY headers that a connection may begin with: `off`, `v1`, `v2` or `auto`.
    proxy_protocol: ProxyProtocol = ProxyProtocol::Off => PROXY { flags: &["--proxy-protocol"], bare: Some("auto") }

    /// Peers that may send PROXY headers: addresses, networks, or `*` for all.
    proxy_allow_ips: Networks = Networks::loopback() => NETWORKS { flags: &["--proxy-allow-from"] }

    /// Forwarders whose headers are trusted: addresses, networks, or `*` for all. A peer on a Unix socket is always
    /// trusted.
    forwarded_allow_ips: Networks = Networks::loopback() => NETWORKS {
        flags: &["--forwarded-allow-ips"],
        variable: Some(EnvVar { name: "FORWARDED_ALLOW_IPS", prefix: "" }),
        common: true,
    }

    /// Header fields by which forwarders tell the scheme, each with the value that means `https`.
    secure_scheme_headers: Vec<(String, String)> = pairs(&[
        ("X-FORWARDED-PROTOCOL", "ssl"),
        ("X-FORWARDED-PROTO", "https"),
        ("X-FORWARDED-SSL", "on"),
    ]) => FIELDS { flags: &["--secure-scheme-headers"] }

    /// Header fields that forwarders may send although their names have an underscore. `*` means all.
    forwarder_headers: String = "SCRIPT_NAME,PATH_INFO".to_owned() => NAMES { flags: &["--forwarder-headers"] }

    /// Header field by which forwarders tell the client's address: `off`, `x-forwarded-for` or `forwarded`.
    client_address: ClientAddress = ClientAddress::Off => CLIENT_ADDRESS { flags: &["--client-address"] }
]
"Logging" [
    /// File for one line per request. `-` is the standard output.
    accesslog: Option<PathBuf> = None => Option<LOG> { flags: &["--access-logfile"], common: true }

    /// File for messages. `-` is the standard error.
    errorlog: PathBuf = PathBuf::from("-") => LOG { flags: &["--error-logfile", "--log-file"], common: true }

    /// Least severe messages to log: `debug`, `info`, `warning`, `error` or `critical`.
    loglevel: String = "info".to_owned() => LEVEL { flags: &["--log-level"], common: true }
]
"Process" [
    /// File for the process id of the arbiter.
    pidfile: Option<PathBuf> = None => Option<PATH> { flags: &["-p", "--pid"], common: true }

    /// Name of the server in lists of processes, as in `oxicorn: master [NAME]`. The default is `wsgi_app`.
    proc_name: Option<String> = None => Option<TEXT> { flags: &["-n", "--name"] }

    /// Run in the background, in a new session and with the standard streams closed.
    daemon: bool = false => FLAG { flags: &["-D", "--daemon"], bare: Some("true"), common: true }

    /// Keep the standard output and the standard error of a daemon, unless they are a terminal.
    enable_stdio_inheritance: bool = false => FLAG {
        flags: &["-R", "--enable-stdio-inheritance"],
        bare: Some("true"),
    }

    /// Accepted for compatibility and not used: workers report their progress in shared memory.
    worker_tmp_dir: Option<PathBuf> = None => Option<PATH> { flags: &["--worker-tmp-dir"] }

    /// User of the workers, by name or number. The group is the user's main group unless `group` is set.
    user: Option<String> = None => Option<TEXT> { metavar: "USER", flags: &["-u", "--user"], common: true }

    /// Group of the workers, by name or number.
    group: Option<String> = None => Option<TEXT> { metavar: "GROUP", flags: &["-g", "--group"], common: true }

    /// Give the workers all groups of their user. By default they have one group.
    initgroups: bool = false => FLAG { flags: &["--initgroups"], bare: Some("true") }

    /// Permissions to remove from new files and Unix sockets, as in `022`, `0o22` or `0x12`. Without it Unix sockets
    /// are open to all users, and other files follow the umask of the process.
    umask: Option<u32> = None => Option<UMASK> { flags: &["-m", "--umask"] }
]
        }
    };
}

pub(crate) use settings_table;
