//! [`SETTINGS`]: the table of all settings, from which the command line and `docs/SETTINGS.md` are made.
//!
//! No value is written here twice: a default is what [`Settings::default`](super::Settings::default) has, a name is the field's.
//! A new setting is one field there and one row here.

use super::grammar::{
    ADDRESS, BYTES, BYTES_64, CLASS, CLIENT_ADDRESS, COUNT, COUNT_32, DEADLINE, FIELD_VALUE,
    FIELDS, FLAG, HEADER_MAP, LEVEL, LIMIT, LOG, NAMES, NETWORKS, PAIR, PATH, PATHS, PROXY,
    SECONDS, SOME, TEXT, UMASK,
};
use super::setting::{Setting, Variable, field, parse, row};

const APPLICATION: &str = "Application";
const SOCKET: &str = "Socket";
const WORKERS: &str = "Workers";
const CLIENTS: &str = "Clients";
const PROXIES: &str = "Proxies";
const LOGGING: &str = "Logging";
const MECHANICS: &str = "Process";

/// All settings, in the order in which they are listed.
pub static SETTINGS: &[Setting] = &[
    Setting {
        section: APPLICATION,
        metavar: "MODULE[:APP]",
        help: "The application: a module, and in it a callable, an attribute path or a call with literal \
               arguments. Without APP, `application` and then `app`.",
        ..field!(wsgi_app = Option<TEXT>)
    },
    Setting {
        section: APPLICATION,
        flags: &["--chdir"],
        help: "Change to this folder before the application is loaded.",
        ..field!(chdir = Option<PATH>)
    },
    Setting {
        section: APPLICATION,
        flags: &["--pythonpath"],
        help: "Folders to put first on sys.path.",
        ..field!(pythonpath = PATHS)
    },
    Setting {
        section: APPLICATION,
        flags: &["--venv"],
        help: "The folder of the virtual environment to use; without it, that of $VIRTUAL_ENV.",
        ..field!(venv = Option<PATH>)
    },
    Setting {
        section: APPLICATION,
        flags: &["-e", "--env"],
        help: "A variable to set in the application's environment. Can be repeated.",
        ..field!(raw_env = Vec<PAIR>)
    },
    Setting {
        section: APPLICATION,
        flags: &["--preload"],
        bare: Some("true"),
        help: "Load the application once, before the workers are forked, which then share its memory. A reload \
               does not load it again.",
        ..field!(preload_app = FLAG)
    },
    Setting {
        section: SOCKET,
        flags: &["-b", "--bind"],
        variable: Some(Variable {
            name: "PORT",
            prefix: "0.0.0.0:",
        }),
        help: "Where to listen: HOST, HOST:PORT, [IPV6]:PORT, unix:PATH, unix:@NAME or fd://N. Can be \
               repeated.",
        ..field!(bind = Vec<ADDRESS>)
    },
    Setting {
        section: SOCKET,
        flags: &["--backlog"],
        help: "How many connections the system keeps until they are accepted.",
        ..field!(backlog = COUNT_32)
    },
    Setting {
        section: SOCKET,
        flags: &["--reuse-port"],
        bare: Some("true"),
        help: "Each worker has a queue of its own for each TCP address (SO_REUSEPORT), and leaves it to the one \
               that replaces it. Connections can be lost when a worker leaves that nobody replaces.",
        ..field!(reuse_port = FLAG)
    },
    Setting {
        section: WORKERS,
        flags: &["-w", "--workers"],
        variable: Some(Variable {
            name: "WEB_CONCURRENCY",
            prefix: "",
        }),
        help: "How many worker processes.",
        ..field!(workers = COUNT)
    },
    Setting {
        section: WORKERS,
        flags: &["-k", "--worker-class"],
        help: "`sync` answers one request at a time, on the worker's main thread; `gthread` answers several \
               at once, on threads. More than one thread turns `sync` into `gthread`.",
        ..field!(worker_class = CLASS)
    },
    Setting {
        section: WORKERS,
        flags: &["--threads"],
        help: "How many requests a worker answers at once, each on a thread of its own.",
        ..field!(threads = COUNT)
    },
    Setting {
        section: WORKERS,
        flags: &["--worker-connections"],
        help: "How many connections a worker may have. Past it an idle connection makes room for a new one, or that of \
               a slow client.",
        ..field!(worker_connections = SOME)
    },
    Setting {
        section: WORKERS,
        flags: &["-t", "--timeout"],
        help: "Replace a worker that makes no progress for this long; 0 is never.",
        ..field!(timeout = SECONDS)
    },
    Setting {
        section: WORKERS,
        flags: &["--request-timeout"],
        help: "Give up a request that takes longer: its client gets a 504, or is cut off from a response that \
               has begun, and the worker is replaced; 0 is never.",
        ..field!(request_timeout = SECONDS)
    },
    Setting {
        section: WORKERS,
        flags: &["--graceful-timeout"],
        help: "How long a worker that is told to stop may take to finish its requests.",
        ..field!(graceful_timeout = SECONDS)
    },
    Setting {
        section: WORKERS,
        flags: &["--max-requests"],
        help: "Replace a worker that has answered so many requests; 0 is never. It serves until its \
               replacement is ready, and one worker at a time is replaced.",
        ..field!(max_requests = COUNT)
    },
    Setting {
        section: WORKERS,
        flags: &["--max-requests-jitter"],
        help: "How many more requests those may be, at random for each worker.",
        ..field!(max_requests_jitter = COUNT)
    },
    Setting {
        section: WORKERS,
        flags: &["--max-worker-age"],
        help: "Replace a worker that has served for so long, in the same way; 0 is never.",
        ..field!(max_worker_age = SECONDS)
    },
    Setting {
        section: WORKERS,
        flags: &["--max-worker-memory"],
        help: "Replace a worker whose resident memory has grown to so many bytes, in the same way; 0 is \
               never.",
        ..field!(max_worker_memory = BYTES)
    },
    Setting {
        section: WORKERS,
        flags: &["--boot-timeout"],
        help: "How long a new worker may take to load the application.",
        ..field!(boot_timeout = DEADLINE)
    },
    Setting {
        section: WORKERS,
        flags: &["--upgrade-retire"],
        bare: Some("true"),
        help: "Stop gracefully once the server that USR2 has started is ready; it stays until it is told to \
               otherwise.",
        ..field!(upgrade_retire = FLAG)
    },
    Setting {
        section: CLIENTS,
        flags: &["--keep-alive"],
        help: "How long a connection may stay idle between two requests; 0 ends it after the first.",
        ..field!(keepalive = SECONDS)
    },
    Setting {
        section: CLIENTS,
        flags: &["--keepalive-busy"],
        help: "How long the calls of a sync worker may take, in a moving average, for connections to be kept \
               where there are other workers; 0 is any time.",
        ..field!(keepalive_busy = SECONDS)
    },
    Setting {
        section: CLIENTS,
        flags: &["--head-timeout"],
        help: "How long a client may take to send a request's head.",
        ..field!(head_timeout = DEADLINE)
    },
    Setting {
        section: CLIENTS,
        flags: &["--body-timeout"],
        help: "How long a client may pause while it sends a request's body.",
        ..field!(body_timeout = DEADLINE)
    },
    Setting {
        section: CLIENTS,
        flags: &["--body-rate"],
        help: "How many bytes a second a request's body must bring on average; 0 is any number.",
        ..field!(body_rate = BYTES_64)
    },
    Setting {
        section: CLIENTS,
        flags: &["--body-grace"],
        help: "How long from its start a request's body may bring less than `body_rate`.",
        ..field!(body_grace = SECONDS)
    },
    Setting {
        section: CLIENTS,
        flags: &["--send-timeout"],
        help: "How long a client may take no byte of a response.",
        ..field!(send_timeout = DEADLINE)
    },
    Setting {
        section: CLIENTS,
        flags: &["--send-rate"],
        help: "How many bytes a second a client must take of a response on average of what is pending \
               for it; 0 is any number.",
        ..field!(send_rate = BYTES_64)
    },
    Setting {
        section: CLIENTS,
        flags: &["--send-grace"],
        help: "How long a client may take less of a response than `send_rate`.",
        ..field!(send_grace = SECONDS)
    },
    Setting {
        section: CLIENTS,
        flags: &["--linger"],
        help: "How long a client may be silent after an answer that ends its connection, before the server closes \
               it. What the client still sends is thrown away.",
        ..field!(linger = SECONDS)
    },
    Setting {
        section: CLIENTS,
        flags: &["--linger-limit"],
        help: "How long a client may go on sending after an answer that ends its connection.",
        ..field!(linger_limit = SECONDS)
    },
    Setting {
        section: CLIENTS,
        flags: &["--drain-idle"],
        help: "How long a client may take to begin a last request, or pause within it, once its worker is \
               told to stop.",
        ..field!(drain_idle = SECONDS)
    },
    Setting {
        section: CLIENTS,
        flags: &["--limit-request-line"],
        help: "How long a request line may be, up to 8190; 0 is any length.",
        ..field!(limit_request_line = BYTES)
    },
    Setting {
        section: CLIENTS,
        flags: &["--limit-request-fields"],
        help: "How many header fields a request may have, up to 32768; 0 is 32768.",
        ..field!(limit_request_fields = COUNT)
    },
    Setting {
        section: CLIENTS,
        flags: &["--limit-request-field_size", "--limit-request-field-size"],
        help: "How long a header field may be, its folds included; 0 is 8190.",
        ..field!(limit_request_field_size = BYTES)
    },
    Setting {
        section: CLIENTS,
        flags: &["--header-map"],
        help: "What becomes of header fields with an underscore in their names, which an application cannot \
               tell from a hyphen: drop, refuse or dangerous (take).",
        ..field!(header_map = HEADER_MAP)
    },
    Setting {
        section: CLIENTS,
        flags: &["--permit-obsolete-folding"],
        bare: Some("true"),
        help: "Take header fields that go on in the next line.",
        ..field!(permit_obsolete_folding = FLAG)
    },
    Setting {
        section: CLIENTS,
        flags: &["--strip-header-spaces"],
        bare: Some("true"),
        help: "Take blanks before a header field's colon, and drop them.",
        ..field!(strip_header_spaces = FLAG)
    },
    Setting {
        section: CLIENTS,
        flags: &["--permit-unconventional-http-method"],
        bare: Some("true"),
        help: "Take methods of any length, with lower case or with #.",
        ..field!(permit_unconventional_http_method = FLAG)
    },
    Setting {
        section: CLIENTS,
        flags: &["--permit-unconventional-http-version"],
        bare: Some("true"),
        help: "Take versions other than HTTP/1.x.",
        ..field!(permit_unconventional_http_version = FLAG)
    },
    Setting {
        section: CLIENTS,
        flags: &["--casefold-http-method"],
        bare: Some("true"),
        help: "Make methods upper case before they are looked at.",
        ..field!(casefold_http_method = FLAG)
    },
    Setting {
        section: CLIENTS,
        flags: &["--limit-request-body"],
        help: "How long a request's body may be (1 GiB); 0 is any length.",
        ..field!(limit_request_body = LIMIT)
    },
    Setting {
        section: CLIENTS,
        flags: &["--body-buffer"],
        help: "How much of a request's body is kept in memory (64 KiB); a longer one goes to a temporary \
               file.",
        ..field!(body_buffer = BYTES)
    },
    Setting {
        section: CLIENTS,
        flags: &["--spool-total"],
        help: "How much the temporary files of a worker's request bodies and responses may hold together (4 GiB). \
               Past it a body that needs a file is refused with 503; past three quarters of it the responses that \
               clients have not taken are given up, the oldest first. 0 is any number.",
        ..field!(spool_total = LIMIT)
    },
    Setting {
        section: CLIENTS,
        flags: &["--stream-request-body"],
        bare: Some("true"),
        help: "Call the application before a request's body is complete, and let it read while the client \
               sends: a slow client then holds a worker, or one of its threads.",
        ..field!(stream_request_body = FLAG)
    },
    Setting {
        section: CLIENTS,
        flags: &["--response-buffer"],
        help: "How much of a response is kept in memory for a client that reads slowly (1 MiB).",
        ..field!(response_buffer = BYTES)
    },
    Setting {
        section: CLIENTS,
        flags: &["--response-spool"],
        help: "How much of a response is kept in a temporary file after that (64 MiB), before the application \
               has to wait.",
        ..field!(response_spool = BYTES_64)
    },
    Setting {
        section: CLIENTS,
        flags: &["--tmp-upload-dir"],
        help: "The folder of temporary files; without it, the system's.",
        ..field!(tmp_upload_dir = Option<PATH>)
    },
    Setting {
        section: CLIENTS,
        flags: &["--server-header"],
        help: "The value of the header field Server; empty for none.",
        ..field!(server_header = FIELD_VALUE)
    },
    Setting {
        section: CLIENTS,
        flags: &["--early-hints"],
        bare: Some("true"),
        help: "Send the early hints (103) of the application. Only where no proxy in front of the server \
               takes a 103 for the response.",
        ..field!(early_hints = FLAG)
    },
    Setting {
        section: PROXIES,
        flags: &["--proxy-protocol"],
        bare: Some("auto"),
        help: "Which PROXY headers of a balancer a connection may begin with: off, v1, v2 or auto.",
        ..field!(proxy_protocol = PROXY)
    },
    Setting {
        section: PROXIES,
        flags: &["--proxy-allow-from"],
        help: "The peers that may send PROXY headers: addresses, networks, or * for all.",
        ..field!(proxy_allow_ips = NETWORKS)
    },
    Setting {
        section: PROXIES,
        flags: &["--forwarded-allow-ips"],
        variable: Some(Variable {
            name: "FORWARDED_ALLOW_IPS",
            prefix: "",
        }),
        help: "The forwarders whose word on their clients counts: addresses, networks, or * for all; those on \
               a Unix socket always.",
        ..field!(forwarded_allow_ips = NETWORKS)
    },
    Setting {
        section: PROXIES,
        flags: &["--secure-scheme-headers"],
        help: "The header fields by which forwarders tell the scheme, with the value that means https.",
        ..field!(secure_scheme_headers = FIELDS)
    },
    Setting {
        section: PROXIES,
        flags: &["--forwarder-headers"],
        help: "The header fields that forwarders may send despite the underscore in their names; * for all.",
        ..field!(forwarder_headers = NAMES)
    },
    Setting {
        section: PROXIES,
        flags: &["--client-address"],
        help: "The header field by which forwarders tell the client's address: off, x-forwarded-for or \
               forwarded.",
        ..field!(client_address = CLIENT_ADDRESS)
    },
    Setting {
        section: LOGGING,
        flags: &["--access-logfile"],
        help: "Where to write a line for each request; - is the standard output.",
        ..field!(accesslog = Option<LOG>)
    },
    Setting {
        section: LOGGING,
        flags: &["--error-logfile", "--log-file"],
        help: "Where to write messages; - is the standard error.",
        ..field!(errorlog = LOG)
    },
    Setting {
        section: LOGGING,
        flags: &["--log-level"],
        help: "The least severe messages to write: debug, info, warning, error or critical.",
        ..field!(loglevel = LEVEL)
    },
    Setting {
        section: MECHANICS,
        flags: &["-p", "--pid"],
        help: "A file to write the process id to.",
        ..field!(pidfile = Option<PATH>)
    },
    Setting {
        section: MECHANICS,
        flags: &["-n", "--name"],
        help: "What lists of processes call the server: oxicorn: master [NAME]; what the application is called if \
               it is not given.",
        ..field!(proc_name = Option<TEXT>)
    },
    Setting {
        section: MECHANICS,
        flags: &["-D", "--daemon"],
        bare: Some("true"),
        help: "Go on as a daemon: in a session of its own, and with the standard streams closed.",
        ..field!(daemon = FLAG)
    },
    Setting {
        section: MECHANICS,
        flags: &["-R", "--enable-stdio-inheritance"],
        bare: Some("true"),
        help: "Leave the output and the errors of a daemon where they are, unless that is a terminal.",
        ..field!(enable_stdio_inheritance = FLAG)
    },
    Setting {
        section: MECHANICS,
        flags: &["--worker-tmp-dir"],
        help: "Accepted and not used: workers show that they live in shared memory, and need no files for it.",
        ..field!(worker_tmp_dir = Option<PATH>)
    },
    Setting {
        section: MECHANICS,
        flags: &["-u", "--user"],
        metavar: "USER",
        help: "The user that the workers run as, by name or number; with the main group of that user if no \
               other is said.",
        ..field!(user = Option<TEXT>)
    },
    Setting {
        section: MECHANICS,
        flags: &["-g", "--group"],
        metavar: "GROUP",
        help: "The group that the workers run as, by name or number.",
        ..field!(group = Option<TEXT>)
    },
    Setting {
        section: MECHANICS,
        flags: &["--initgroups"],
        bare: Some("true"),
        help: "Give the workers all groups of their user; otherwise they have that one group alone.",
        ..field!(initgroups = FLAG)
    },
    Setting {
        section: MECHANICS,
        flags: &["-m", "--umask"],
        help: "The permissions that new files lack, Unix sockets included: as 022, 0o22 or 0x12. Without it \
               everybody may connect to a Unix socket, and other files follow the umask of the process.",
        ..field!(umask = Option<UMASK>)
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    /// Two values that every kind accepts in one of its forms, neither of them a default.
    fn samples(setting: &Setting) -> [&'static str; 2] {
        match setting.metavar {
            "NAME=VALUE" => ["A=1", "B=2"],
            "LEVEL" => ["debug", "error"],
            "FIELD" => ["forwarded", "x-forwarded-for"],
            "NAME=VALUE[,NAME=VALUE]" => ["A=1", "B=2,C=3"],
            "BOOL" => ["false", "true"],
            "POLICY" => ["refuse", "dangerous"],
            "MODE" => ["v1", "v2"],
            "IP[,NETWORK]" => ["*", "10.0.0.0/8,::1"],
            "CLASS" => ["gthread", "gthread"],
            "MASK" => ["0o22", "0o77"],
            _ => ["17", "18"],
        }
    }

    #[test]
    fn every_field_has_one_row_of_its_name() {
        let shown = format!("{:#?}", Settings::default());
        let mut fields: Vec<&str> = shown
            .lines()
            .filter_map(|line| line.strip_prefix("    "))
            .filter(|line| !line.starts_with([' ', '}', ']', ')']))
            .filter_map(|line| line.split_once(':').map(|(name, _)| name))
            .collect();
        let mut rows: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
        fields.sort_unstable();
        rows.sort_unstable();
        assert_eq!(fields, rows);
    }

    #[test]
    fn a_row_sets_its_own_field_and_no_other() {
        for setting in SETTINGS {
            let mut settings = Settings::default();
            let [first, second] = samples(setting);
            setting
                .set(&mut settings, &[first.into(), second.into()])
                .unwrap();
            let wanted = if setting.repeats {
                format!("{first},{second}")
            } else {
                second.to_owned()
            };
            let wanted = Some(wanted);
            for row in SETTINGS {
                let expected = if row.name == setting.name {
                    wanted.clone()
                } else {
                    row.default()
                };
                assert_eq!(
                    row.show(&settings),
                    expected,
                    "{} set {}",
                    setting.name,
                    row.name
                );
            }
        }
    }

    #[test]
    fn a_default_that_is_written_out_is_the_default() {
        for setting in SETTINGS {
            let Some(text) = setting.default() else {
                continue;
            };
            let mut settings = Settings::default();
            setting.set(&mut settings, &[text.into()]).unwrap();
            assert_eq!(settings, Settings::default(), "{}", setting.name);
        }
    }

    #[test]
    fn every_row_is_described_and_no_flag_is_given_twice() {
        let mut seen = std::collections::BTreeSet::new();
        for setting in SETTINGS {
            assert!(setting.help.ends_with('.'), "{}", setting.name);
            assert!(!setting.section.is_empty(), "{}", setting.name);
            assert!(!setting.metavar.is_empty(), "{}", setting.name);
            assert_eq!(setting.flags.is_empty(), setting.name == "wsgi_app");
            for flag in setting.flags {
                assert!(seen.insert(flag), "{flag}");
                let long = flag.strip_prefix("--").is_some_and(|name| name.len() > 1);
                let short = flag.len() == 2 && flag.starts_with('-') && !flag.ends_with('-');
                assert!(long || short, "{flag}");
            }
        }
    }

    #[test]
    fn a_wrong_value_changes_nothing_of_a_list() {
        let bind = SETTINGS.iter().find(|row| row.name == "raw_env").unwrap();
        let mut settings = Settings::default();
        let values = ["A=1".into(), "wrong".into()];
        let (value, _) = bind.set(&mut settings, &values).unwrap_err();
        assert_eq!(value, "wrong");
        assert_eq!(settings, Settings::default());
    }
}
