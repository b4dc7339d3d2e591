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

    /// Maximum of `keepalive`, and of a pause within a request, once a worker was asked to stop; never more than half
    /// of `graceful_timeout`.
    drain_idle: Duration = Duration::from_secs(2) => SECONDS { flags: &["--drain-idle"] }

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

    /// Send files of the application by sendfile(2). Otherwise they are read and written.
    sendfile: bool = true => FLAG {
        flags: &["--no-sendfile"],
        bare: Some("false"),
        variable: Some(EnvVar { name: "SENDFILE", prefix: "" }),
    }

    /// Have a worker send the responses to the requests of one turn together while calls are short, each a
    /// millisecond late at the most, three with threads. Otherwise each leaves at once.
    batch_responses: bool = true => FLAG { flags: &["--no-batch-responses"], bare: Some("false") }

    /// Value of the header field `Server`. An empty value leaves the field out.
    server_header: String = "oxicorn".to_owned() => FIELD_VALUE { flags: &["--server-header"] }

    /// Send the early hints (103) of the application. Enable this only if no proxy in front of the server takes a 103
    /// for the final response.
    early_hints: bool = false => FLAG { flags: &["--early-hints"], bare: Some("true") }
]
"TLS" [
    /// Files with the certificates of the server (PEM), each with those that certify it, with commas between them. TLS is on
    /// for every address if this is set. The first certificate is shown to clients that name no server, or one that no
    /// certificate has. Files that change are read again within seconds. Needs a program that was
    /// built with the feature `tls` or `tls-aws-lc`.
    certfile: Vec<PathBuf> = Vec::new() => PATHS { flags: &["--certfile"] }

    /// Files with the keys of the certificates, in their order. Without it each key is in the file of its certificate.
    keyfile: Vec<PathBuf> = Vec::new() => PATHS { flags: &["--keyfile"] }

    /// File with the authorities whose certificates clients may have (PEM). It may have lists of revoked certificates, too.
    ca_certs: Option<PathBuf> = None => Option<PATH> { flags: &["--ca-certs"] }

    /// Whether clients are asked for a certificate: 0 (no), 1 (a client may have none) or 2 (a client must have one).
    cert_reqs: CertReqs = CertReqs::None => CERT_REQS { flags: &["--cert-reqs"] }

    /// The lowest version of TLS that is spoken: 1.2 or 1.3.
    tls_min_version: TlsVersion = TlsVersion::Tls12 => TLS_VERSION { flags: &["--tls-min-version"] }

    /// Cipher suites, as OpenSSL writes a list of them. The default is all that are served. Those of TLS 1.3 stay,
    /// unless some of them are named.
    ciphers: Option<String> = None => Option<TEXT> { metavar: "LIST", flags: &["--ciphers"] }

    /// Take the end of a connection without TLS's own end for an end like any other.
    suppress_ragged_eofs: bool = true => FLAG { flags: &["--suppress-ragged-eofs"], bare: Some("true") }

    /// Without effect: the handshake begins as soon as a client sends something, and no worker waits for it.
    do_handshake_on_connect: bool = false => FLAG { flags: &["--do-handshake-on-connect"], bare: Some("true") }
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

    /// Ids of requests: `off`, `on` or `send`. With `on` each request has one: the `X-Request-Id` of a trusted forwarder, or
    /// else a new one. It is in the access log, in the error log's lines about the request, on error pages, and in the
    /// environ as `oxicorn.request_id` and `HTTP_X_REQUEST_ID`. With `send` it is also in each response, as `X-Request-Id`.
    request_id: RequestIdMode = RequestIdMode::Off => REQUEST_IDS { flags: &["--request-id"], bare: Some("on") }
]
"Logging" [
    /// File for one line per request. `-` is the standard output.
    accesslog: Option<PathBuf> = None => Option<LOG> { flags: &["--access-logfile"], common: true }

    /// Format of the access log's lines. The atoms are Gunicorn's, and `%(request_id)s` (see `request_id`; without it the field `X-Request-Id`),
    /// `%(first_byte)s` and `%(queue)s` (seconds).
    access_log_format: String = ACCESS_FORMAT.to_owned() => TEXT {
        metavar: "FORMAT",
        flags: &["--access-logformat"],
    }

    /// Path whose successful requests (status below 400) are not logged. With `*` at the end, all paths that begin so.
    /// Can be repeated.
    access_log_skip_paths: Vec<String> = Vec::new() => Vec<TEXT> {
        metavar: "PATH",
        flags: &["--access-log-skip-path"],
    }

    /// Statuses whose requests are not logged, as in `304,2xx,400-403`.
    access_log_skip_statuses: String = String::new() => NAMES {
        metavar: "STATUS[,STATUS]",
        flags: &["--access-log-skip-status"],
    }

    /// Write both logs as JSON, one object a line. A request has `time`, `client`, `user`, `method`, `target`, `protocol`,
    /// `status`, `bytes_sent`, `bytes_received`, `referer`, `user_agent`, `request_id`, `duration`, `first_byte`, `queue`
    /// (seconds), `pid` and `worker`; a message has `time`, `pid`, `level`, `message` and, with the setting `request_id`, that of its
    /// request.
    log_json: bool = false => FLAG { flags: &["--log-json"], bare: Some("true") }

    /// Write times of both logs in UTC instead of the local zone.
    log_utc: bool = false => FLAG { flags: &["--log-utc"], bare: Some("true") }

    /// File for messages. `-` is the standard error.
    errorlog: PathBuf = PathBuf::from("-") => LOG { flags: &["--error-logfile", "--log-file"], common: true }

    /// Class of the logger, by its dotted name. A class of one's own derives from `gunicorn.glogging.Logger`. Python then
    /// writes the access log and, in processes that have an interpreter, the server's messages.
    logger_class: String = "gunicorn.glogging.Logger".to_owned() => TEXT {
        metavar: "CLASS_NAME",
        flags: &["--logger-class"],
    }

    /// File by which Python's `logging` is configured, as `logging.config.fileConfig` reads it. Python then writes the access
    /// log and, in processes that have an interpreter, the server's messages. A configuration file can set the dictionary
    /// `logconfig_dict` instead.
    logconfig: Option<PathBuf> = None => Option<PATH> { flags: &["--log-config"] }

    /// The same as a file of JSON, as `logging.config.dictConfig` takes it.
    logconfig_json: Option<PathBuf> = None => Option<PATH> { flags: &["--log-config-json"] }

    /// Send the standard output and the standard error of the application to the error log's file. Without effect where
    /// `errorlog` is `-`.
    capture_output: bool = false => FLAG { flags: &["--capture-output"], bare: Some("true") }

    /// Send both logs to syslog as well, as `gunicorn.PREFIX.error` and `gunicorn.PREFIX.access`.
    syslog: bool = false => FLAG { flags: &["--log-syslog"], bare: Some("true") }

    /// Address of the syslog daemon: `unix://PATH`, `unix://PATH#dgram`, `unix://PATH#stream`, `udp://HOST:PORT` or
    /// `tcp://HOST:PORT`.
    syslog_addr: String = "udp://localhost:514".to_owned() => TEXT {
        metavar: "ADDRESS",
        flags: &["--log-syslog-to"],
    }

    /// Name of the server in syslog. The default is `proc_name`, with dots for colons.
    syslog_prefix: Option<String> = None => Option<TEXT> { flags: &["--log-syslog-prefix"] }

    /// Facility of syslog: `user`, `daemon`, `local0` to `local7`, or another of its names.
    syslog_facility: String = "user".to_owned() => TEXT { flags: &["--log-syslog-facility"] }

    /// Keep the access log out of syslog.
    disable_redirect_access_to_syslog: bool = false => FLAG {
        flags: &["--disable-redirect-access-to-syslog"],
        bare: Some("true"),
    }

    /// Address of a statsd server: `HOST:PORT` or `unix://PATH`. Metrics are sent without waiting, and lost where the server
    /// does not take them.
    statsd_host: Option<String> = None => Option<TEXT> { metavar: "ADDRESS", flags: &["--statsd-host"] }

    /// Prefix of the names of metrics. A dot is put behind it.
    statsd_prefix: String = String::new() => TEXT { flags: &["--statsd-prefix"] }

    /// Tags of all metrics, as in `env:test,zone:b`.
    dogstatsd_tags: String = String::new() => TEXT { metavar: "TAGS", flags: &["--dogstatsd-tags"] }

    /// Address at which a process beside the workers answers `/livez`, `/readyz`, `/metrics` and, for people, `/`. The forms
    /// are those of `bind`. It answers while all workers are busy, and asks for no password.
    status_bind: Option<String> = None => Option<ADDRESS> { flags: &["--status-bind"] }

    /// Least severe messages to log: `debug`, `info`, `warning`, `error` or `critical`.
    loglevel: String = "info".to_owned() => LEVEL { flags: &["--log-level"], common: true }
]
"Development" [
    /// Replace the workers when a file of the application changes, one of `reload_extra_files`, or the configuration file.
    /// An application that cannot be loaded has its traceback as a page, until a file changes. Not for production.
    reload: bool = false => FLAG { flags: &["--reload"], bare: Some("true"), common: true }

    /// How changes are noticed: `inotify` by events of the system, `poll` by a look once a second, `auto` by both.
    reload_engine: ReloadEngine = ReloadEngine::Auto => RELOAD_ENGINE { flags: &["--reload-engine"] }

    /// File to watch besides those of the application. Its name may have the wildcards `*`, `?` and `[...]`, and `**` for any
    /// number of folders, which are expanded with each look. Can be repeated.
    reload_extra_files: Vec<PathBuf> = Vec::new() => Vec<PATH> { flags: &["--reload-extra-file"] }
]
"Process" [
    /// File for the process id of the arbiter.
    pidfile: Option<PathBuf> = None => Option<PATH> { flags: &["-p", "--pid"], common: true }

    /// Unix socket at which an operator asks the server and commands it: see `docs/CONTROL.md`. By default there is none.
    control_socket: Option<PathBuf> = None => Option<PATH> { flags: &["--control-socket"] }

    /// Permissions of the control socket's file, as in `0660`. Who can write to the file can stop the server.
    control_socket_mode: u32 = 0o600 => MODE { flags: &["--control-socket-mode"] }

    /// Have no control socket, whatever `control_socket` says.
    control_socket_disable: bool = false => FLAG { flags: &["--no-control-socket"], bare: Some("true") }

    /// Name of the server in lists of processes, as in `oxicorn: master [NAME]`. The default is `wsgi_app`.
    proc_name: Option<String> = None => Option<TEXT> { flags: &["-n", "--name"] }

    /// Run in the background, in a new session and with the standard streams closed.
    daemon: bool = false => FLAG { flags: &["-D", "--daemon"], bare: Some("true"), common: true }

    /// Keep the standard output and the standard error of a daemon, unless they are a terminal.
    enable_stdio_inheritance: bool = false => FLAG {
        flags: &["-R", "--enable-stdio-inheritance"],
        bare: Some("true"),
    }

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
