//! Command lines, and what they give.

use super::*;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn oxicorn() -> Command {
    Command::new("oxicorn")
}

/// Parses without this process's environment.
fn parse(args: &[&str]) -> Result<Settings> {
    oxicorn().parse_over([], ["serve"].iter().chain(args))
}

/// A text without its line breaks.
fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn stop(args: &[&str]) -> Error {
    parse(args).unwrap_err()
}

#[test]
fn the_flag_table_is_sound() {
    for all in [false, true] {
        oxicorn().parser(all).debug_assert();
    }
}

#[test]
fn every_flag_of_every_row_sets_its_field_in_both_spellings() {
    for setting in SETTINGS {
        let value = match setting.metavar {
            "NAME=VALUE" => "A=1",
            "LEVEL" => "debug",
            "BOOL" => "true",
            "FIELD" => "forwarded",
            "NAME=VALUE[,NAME=VALUE]" => "A=1,B=2",
            "POLICY" => "refuse",
            "MODE" if setting.name == "request_id" => "send",
            "MODE" => "v1",
            "ENGINE" => "inotify",
            "0..2" => "2",
            "VERSION" => "1.3",
            "IP[,NETWORK]" => "10.0.0.0/8",
            "CLASS" => "gthread",
            "MASK" => "0o22",
            _ => "17",
        };
        for flag in setting.flags {
            let joined = format!("{flag}={value}");
            // A switch takes no value from the next argument.
            let apart = if setting.is_switch() {
                &[*flag][..]
            } else {
                &[*flag, value]
            };
            let bare = setting.bare.filter(|_| setting.is_switch());
            for (args, value) in [(apart, bare.unwrap_or(value)), (&[&joined], value)] {
                let settings = parse(args).unwrap();
                assert_eq!(setting.show(&settings).as_deref(), Some(value), "{args:?}");
            }
        }
        if setting.flags.is_empty() {
            let settings = parse(&[value]).unwrap();
            assert_eq!(setting.show(&settings).as_deref(), Some(value));
        }
    }
}

#[test]
fn without_flags_the_defaults_stand() {
    assert_eq!(parse(&[]).unwrap(), Settings::default());
}

// Gunicorn: S46
#[test]
fn a_flag_may_stand_bare_where_it_has_a_value_for_that() {
    let settings = parse(&["--proxy-protocol", "--workers", "2", "app"]).unwrap();
    assert_eq!(settings.proxy_protocol, crate::net::ProxyProtocol::Auto);
    assert_eq!(settings.workers, 2);
    let settings = parse(&["--proxy-protocol", "v1", "app"]).unwrap();
    assert_eq!(settings.proxy_protocol, crate::net::ProxyProtocol::V1);
    assert_eq!(stop(&["--workers"]).exit_code(), 2);
}

#[test]
fn a_whole_command_line_is_understood() {
    let settings = parse(&[
        "-w3",
        "--bind=:9000",
        "shop.wsgi:app",
        "-b",
        "unix:/run/x",
        "-t=0.5",
        "--pid",
        "x.pid",
        "--access-logfile",
        "-",
        "--log-file=e.log",
        "-eA=1",
        "--env",
        "B=c=d",
    ])
    .unwrap();
    assert_eq!(settings.workers, 3);
    assert_eq!(settings.bind, [":9000", "unix:/run/x"]);
    assert_eq!(settings.wsgi_app.as_deref(), Some("shop.wsgi:app"));
    assert_eq!(settings.timeout, Duration::from_millis(500));
    assert_eq!(settings.pidfile.as_deref(), Some(Path::new("x.pid")));
    assert_eq!(settings.accesslog.as_deref(), Some(Path::new("-")));
    assert_eq!(settings.errorlog, PathBuf::from("e.log"));
    let variables = [("A", "1"), ("B", "c=d")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!(settings.raw_env, variables);
}

#[test]
fn of_a_repeated_flag_the_last_counts_and_a_list_has_them_all() {
    let settings = parse(&["-w", "2", "--workers=5", "-b", "a:1", "--bind", "b:2"]).unwrap();
    assert_eq!(settings.workers, 5);
    assert_eq!(settings.bind, ["a:1", "b:2"]);
}

#[test]
fn flags_replace_the_environment() {
    let below = SettingsSource::environment_of(|name| (name == "PORT").then(|| "5000".into()));
    let parse = |args: &[&str]| oxicorn().parse_over([&below], args).unwrap().bind;
    assert_eq!(parse(&["serve"]), ["0.0.0.0:5000"]);
    assert_eq!(parse(&["serve", "-b", "a:1"]), ["a:1"]);
}

#[test]
fn an_unknown_flag_is_named_with_the_nearest_known_one() {
    for (typed, known) in [
        ("--wrokers", "--workers"),
        ("--access-log", "--access-logfile"),
    ] {
        let stop = stop(&[typed, "4", "app"]);
        assert_eq!(stop.exit_code(), 2);
        let text = stop.to_string();
        assert!(text.contains(typed), "{text}");
        assert!(text.contains(&format!("'{known}'")), "{text}");
    }
}

#[test]
fn a_value_that_is_no_number_is_a_usage_error_naming_it() {
    let stop = stop(&["--workers", "many"]);
    assert_eq!(stop.exit_code(), 2);
    assert_eq!(
        stop.to_string(),
        "invalid value 'many' for workers (-w/--workers): expected a whole number"
    );
}

#[test]
fn a_switch_needs_no_value_and_takes_one_only_after_equals() {
    let settings = parse(&["--strip-header-spaces", "shop:app"]).unwrap();
    assert!(settings.strip_header_spaces && !settings.permit_obsolete_folding);
    assert_eq!(settings.wsgi_app.as_deref(), Some("shop:app"));
    let both = ["--casefold-http-method", "--casefold-http-method=false"];
    assert!(!parse(&both).unwrap().casefold_http_method);
    assert_eq!(stop(&["--casefold-http-method=maybe"]).exit_code(), 2);
}

#[test]
fn the_size_of_a_field_has_gunicorns_spelling_and_the_usual_one() {
    for flag in ["--limit-request-field_size", "--limit-request-field-size"] {
        let settings = parse(&[flag, "100"]).unwrap();
        assert_eq!(settings.limit_request_field_size, 100);
    }
}

#[test]
fn a_negative_number_is_status_1() {
    for args in [&["-w", "-1"][..], &["--timeout=-0.5"]] {
        let stop = stop(args);
        assert_eq!(stop.exit_code(), 1);
        assert!(
            stop.to_string().contains("Value must be positive"),
            "{stop}"
        );
    }
}

#[test]
fn a_setting_that_is_not_served_has_its_flags_and_is_refused() {
    for (args, wanted) in [
        (
            &["-k", "gevent"][..],
            "Write instead: --worker-class gthread --threads 8",
        ),
        (
            &["--dirty-app=x"],
            "Write instead: nothing, the flag can go",
        ),
        (&["--spew", "app"], "does it for one script. Write instead"),
    ] {
        let stop = stop(args);
        assert_eq!(stop.exit_code(), 1);
        assert!(stop.to_string().contains(wanted), "{stop}");
    }
    let settings = parse(&["--worker-tmp-dir", "/dev/shm", "--no-control-socket", "app"]);
    let settings = settings.unwrap();
    assert_eq!(settings.wsgi_app.as_deref(), Some("app"));
    let [notice] = settings.notices() else {
        panic!("{:?}", settings.notices());
    };
    assert!(
        notice.starts_with("worker_tmp_dir = /dev/shm (--worker-tmp-dir) has no effect: "),
        "{notice}"
    );
}

#[test]
fn a_mistake_in_the_environment_is_status_1() {
    let below =
        SettingsSource::environment_of(|name| (name == "WEB_CONCURRENCY").then(|| "x".into()));
    let stop = oxicorn()
        .parse_over([&below], ["serve", "-w", "2"])
        .unwrap_err();
    assert_eq!(stop.exit_code(), 1);
    assert!(stop.to_string().contains("WEB_CONCURRENCY"), "{stop}");
}

#[test]
fn a_missing_value_and_a_second_application_are_usage_errors() {
    for args in [&["--bind"][..], &["-w"], &["a:b", "c:d"]] {
        assert_eq!(stop(args).exit_code(), 2, "{args:?}");
    }
}

#[test]
fn help_lists_common_settings_and_help_all_lists_every_one() {
    for (flag, all) in [("-h", false), ("--help", false), ("--help-all", true)] {
        let stop = stop(&[flag]);
        assert_eq!(stop.exit_code(), 0);
        let text = unwrapped(&stop.to_string());
        let words: Vec<_> = text.split([' ', ',', '\n', '[', ']']).collect();
        for setting in SETTINGS {
            let listed = all || setting.common;
            for flag in setting.flags {
                assert_eq!(words.contains(flag), listed, "{flag} in {text}");
            }
        }
        assert!(text.contains("[MODULE[:APP]]"), "{text}");
        assert!(text.contains("[default: 127.0.0.1:8000]"), "{text}");
        assert!(words.contains(&"--help-all"), "{text}");
    }
    let common = SETTINGS.iter().filter(|setting| setting.common);
    assert_eq!(common.count(), 26);
}

#[test]
fn help_has_common_settings_first_and_examples_at_the_end() {
    let command = oxicorn()
        .setting(OwnSetting::switch("closed"))
        .example("-w 4 shop:app", "Four workers");
    for flag in ["--help", "--help-all"] {
        let help = command
            .parse_over([], ["serve", flag])
            .unwrap_err()
            .to_string();
        let headings = help
            .lines()
            .filter(|line| line.ends_with(':') && !line.starts_with(' '));
        let headings: Vec<&str> = headings.collect();
        assert_eq!(headings[..3], ["Commands:", "Options:", "Application:"]);
        assert_eq!(headings[headings.len() - 2..], ["Program:", "Examples:"]);
        assert!(
            help.ends_with("Examples:\n  # Four workers\n  oxicorn -w 4 shop:app"),
            "{help}"
        );
        assert!(
            help.lines().all(|line| line.chars().count() <= 100),
            "{help}"
        );
    }
    let all = stop(&["--help-all"]).to_string();
    let place = |flag: &str| all.find(flag).unwrap_or_else(|| panic!("no {flag}"));
    assert!(place("[MODULE[:APP]]  ") < place("--chdir"));
    assert!(place("--backlog") < place("--reuse-port"));
    assert!(place("--forwarded-allow-ips") < place("--proxy-allow-from"));
}

#[cfg(feature = "manual")]
#[test]
fn completions_and_the_manual_page_have_each_setting() {
    let long_flags = || {
        SETTINGS.iter().filter_map(|setting| {
            let mut flags = setting.flags.iter();
            flags.find(|flag| flag.starts_with("--"))
        })
    };
    for shell in ["bash", "zsh", "fish"] {
        let asked = stop(&["--completions", shell]);
        assert_eq!(asked.exit_code(), 0);
        let text = asked.to_string();
        for flag in long_flags() {
            // fish has them without their hyphens.
            assert!(
                text.contains(flag.trim_start_matches('-')),
                "no {flag} for {shell}"
            );
        }
        // A flag that waits for its value is no command.
        assert_eq!(text.contains("or return 0\n"), shell == "fish");
        assert!(
            !text.contains("dirty-app"),
            "a flag that no help lists is there for {shell}"
        );
    }
    assert_eq!(stop(&["--completions", "tcsh"]).exit_code(), 2);

    let page = oxicorn().example("-w 4 shop:app", "Four workers");
    let page = page.parse_over([], ["serve", "--man"]).unwrap_err();
    assert_eq!(page.exit_code(), 0);
    let text = page.to_string().replace("\\-", "-");
    assert!(text.contains(".TH oxicorn 1"), "{text}");
    assert!(
        text.contains("\n.SH SYNOPSIS\noxicorn [OPTIONS] [MODULE[:APP]]\n"),
        "{text}"
    );
    assert!(text.contains("\n  oxicorn -w 4 shop:app\n"), "{text}");
    for flag in long_flags() {
        assert!(text.contains(flag), "no {flag} in {text}");
    }
}

// Gunicorn: S27
#[test]
fn settings_are_printed_with_their_origins() {
    let below = SettingsSource::environment_of(|name| (name == "PORT").then(|| "80".into()));
    let args = ["serve", "--print-config", "-w", "3", "shop:app"];
    let stop = oxicorn().parse_over([&below], args).unwrap_err();
    assert_eq!(stop.exit_code(), 0);
    let text = stop.to_string();
    for line in [
        "wsgi_app = shop:app  (MODULE[:APP])\n",
        "bind = 0.0.0.0:80  (PORT)\n",
        "workers = 3  (-w/--workers)\n",
        "timeout = 30  (default)\n",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
}

#[test]
fn the_version_is_shown() {
    for flag in ["-v", "--version"] {
        let stop = stop(&[flag]);
        assert_eq!(stop.exit_code(), 0);
        let wanted = format!("oxicorn (version {})", env!("CARGO_PKG_VERSION"));
        assert_eq!(stop.to_string(), wanted);
    }
}

fn shopd() -> Command {
    Command::new("shopd")
        .version("2.1")
        .about("Sells")
        .default("workers", "4")
        .default("catalog_file", "goods.csv")
        .without(["wsgi_app", "venv"])
        .setting(
            OwnSetting::value::<PathBuf>("catalog_file")
                .short('C')
                .value_name("FILE")
                .help("File of the goods"),
        )
        .setting(OwnSetting::list::<u8>("shelf"))
        .setting(OwnSetting::switch("closed"))
}

#[test]
fn settings_of_ones_own_are_flags_and_values() {
    let parse = |args: &[&str]| shopd().parse_over([], ["shopd"].iter().chain(args));
    let settings = parse(&[]).unwrap();
    assert_eq!(settings.workers, 4);
    let catalog: &PathBuf = settings.object("catalog_file").unwrap();
    assert_eq!(catalog, Path::new("goods.csv"));
    assert_eq!(settings.object::<Vec<u8>>("shelf"), Some(&vec![]));
    assert_eq!(settings.object::<bool>("closed"), Some(&false));
    assert!(settings.listing().ends_with(
        "catalog_file = goods.csv  (program)\nclosed = false  (default)\nshelf =   (default)\n"
    ));

    let settings = parse(&["-w2", "-C", "x", "--shelf=1", "--closed", "--shelf", "2"]).unwrap();
    assert_eq!(settings.workers, 2);
    let catalog: &PathBuf = settings.object("catalog_file").unwrap();
    assert_eq!(catalog, Path::new("x"));
    assert_eq!(settings.object::<Vec<u8>>("shelf"), Some(&vec![1, 2]));
    assert_eq!(settings.object::<bool>("closed"), Some(&true));
    assert!(settings.listing().ends_with("shelf = 1,2  (--shelf)\n"));

    let mistake = parse(&["--shelf", "300"]).unwrap_err();
    assert_eq!(mistake.exit_code(), 2);
    assert_eq!(
        mistake.to_string(),
        "invalid value '300' for shelf (--shelf): number too large to fit in target type"
    );
}

#[test]
fn a_command_has_its_own_name_version_help_and_defaults() {
    let text = |flag| {
        let asked = shopd().parse_over([], ["shopd", flag]).unwrap_err();
        assert_eq!(asked.exit_code(), 0);
        asked.to_string()
    };
    assert_eq!(text("--version"), "shopd (version 2.1)");
    let help = text("--help-all");
    assert!(
        help.starts_with("Sells\n\nUsage: shopd [OPTIONS]\n"),
        "{help}"
    );
    assert!(
        unwrapped(&help).contains("[environment: WEB_CONCURRENCY] [default: 4]"),
        "{help}"
    );
    assert!(help.contains("-C, --catalog-file <FILE>"), "{help}");
    assert!(
        help.contains("File of the goods [default: goods.csv]"),
        "{help}"
    );
    assert!(
        !help.contains("--venv") && !help.contains("MODULE"),
        "{help}"
    );
    let unknown = shopd().parse_over([], ["shopd", "shop:app"]).unwrap_err();
    assert_eq!(unknown.exit_code(), 2);
}

#[test]
fn the_environment_replaces_a_default_of_ones_own() {
    let below =
        SettingsSource::environment_of(|name| (name == "WEB_CONCURRENCY").then(|| "7".into()));
    assert_eq!(shopd().parse_over([&below], ["shopd"]).unwrap().workers, 7);
}

#[test]
fn a_required_setting_is_asked_for_by_its_flag() {
    let command = Command::new("shopd").setting(OwnSetting::value::<u8>("shelf").required());
    let missing = command.parse_over([], ["shopd"]).unwrap_err();
    assert_eq!(missing.exit_code(), 2);
    assert_eq!(
        missing.to_string(),
        "a value for shelf is missing (--shelf)"
    );
    assert!(command.parse_over([], ["shopd", "--shelf", "3"]).is_ok());
}

#[test]
fn a_mistake_in_the_description_is_an_error() {
    let own = OwnSetting::value::<u8>;
    for (command, told) in [
        (
            oxicorn().default("wrokers", "2"),
            "there is no setting 'wrokers' (program): did you mean workers?",
        ),
        (
            oxicorn().default("workers", "many"),
            "invalid value 'many' for workers (program): expected a whole number",
        ),
        (
            oxicorn().setting(own("bind")),
            "oxicorn has a setting of its own that is called 'bind', as one of the table is",
        ),
        (
            oxicorn().setting(own("shelf").short('w')),
            "the settings workers and shelf of oxicorn have one flag, w",
        ),
        (
            oxicorn().setting(own("print_config")),
            "the settings print-config and print_config of oxicorn have one flag, print-config",
        ),
    ] {
        let error = command.parse_over([], ["oxicorn"]).unwrap_err();
        assert_eq!(error.to_string(), told);
        assert_eq!(error.exit_code(), 1);
    }
}

#[cfg(feature = "toml")]
#[test]
fn a_toml_file_counts_over_the_environment_and_under_flags() {
    let folder = tempfile::tempdir().unwrap();
    let default = folder.path().join("shopd.toml");
    let command = shopd()
        .toml_files(&default)
        .setting(OwnSetting::table::<Vec<u8>>("hours"));
    let below =
        SettingsSource::environment_of(|name| (name == "WEB_CONCURRENCY").then(|| "7".into()));
    let parse = |args: &[&str]| command.parse_over([&below], ["shopd"].iter().chain(args));
    assert_eq!(parse(&[]).unwrap().workers, 7);

    let file = "workers = 5\ncatalog_file = 'other.csv'\nhours = [9, 17]\n";
    std::fs::write(&default, file).unwrap();
    let settings = parse(&["--shelf=2"]).unwrap();
    assert_eq!(settings.workers, 5);
    let catalog: &PathBuf = settings.object("catalog_file").unwrap();
    assert_eq!(catalog, Path::new("other.csv"));
    assert_eq!(settings.object::<Vec<u8>>("hours"), Some(&vec![9, 17]));
    let line = format!("workers = 5  ({}:1)\n", default.display());
    assert!(settings.listing().contains(&line));
    assert_eq!(parse(&["-w", "2"]).unwrap().workers, 2);

    let named = folder.path().join("named.toml");
    let named = named.to_str().unwrap();
    let missing = parse(&["-c", named]).unwrap_err();
    assert_eq!(missing.exit_code(), 1);
    assert!(missing.to_string().contains(named), "{missing}");
    std::fs::write(named, "threads = 'some'\n").unwrap();
    let wrong = parse(&["--config", named]).unwrap_err();
    assert_eq!(wrong.exit_code(), 1);
    let told = format!("invalid value 'some' for threads ({named}:1): expected a whole number");
    assert_eq!(wrong.to_string(), told);
    std::fs::write(named, "threads = 3\n").unwrap();
    let settings = parse(&["--config", named]).unwrap();
    assert_eq!((settings.workers, settings.threads), (7, 3));

    let help = parse(&["--help"]).unwrap_err().to_string();
    assert!(help.contains("-c, --config <FILE>"), "{help}");
    assert!(!help.contains("hours"), "{help}");
}

#[cfg(feature = "wsgi")]
#[test]
fn a_command_of_python_files_reads_toml_or_says_why_not() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shop.toml"), "workers = 5\n").unwrap();
    let command = shopd().python_files(folder.path());
    let settings = command.parse_over([], ["shopd", "-c", "shop.toml"]);
    if cfg!(feature = "toml") {
        assert_eq!(settings.unwrap().workers, 5);
    } else {
        let told = settings.unwrap_err().to_string();
        assert!(told.contains("built without the feature `toml`"), "{told}");
    }
}

fn exits(command: &Command, args: &[&str], below: &SettingsSource) -> Error {
    let args = ["oxicorn"].iter().chain(args);
    command.parse_over([below], args).unwrap_err()
}

// Gunicorn: C1, C2, C3
#[test]
fn further_flags_come_between_file_and_command_line() {
    let mut command = Command::new("oxicorn");
    let with = |command: &Command, text: &str, args: &[&str]| {
        let mut command = command.clone();
        command.flags_of = Some(("GUNICORN_CMD_ARGS", text.into()));
        command.parse_over(
            [&SettingsSource::environment_of(|name| {
                (name == "WEB_CONCURRENCY").then(|| "2".into())
            })],
            ["oxicorn"].iter().chain(args),
        )
    };
    let origin = |settings: &Settings, name| {
        let setting = Setting::named(name).unwrap();
        settings.origin(setting).to_string()
    };
    let flags = "-w 3 --threads 4 -b a:1 -b b:2 -e 'A=b c'";
    let settings = with(&command, flags, &["--threads", "5", "-b", "c:3"]).unwrap();
    assert_eq!((settings.workers, settings.threads), (3, 5));
    assert_eq!(settings.bind, ["c:3"]);
    assert_eq!(settings.raw_env, [("A".into(), "b c".into())]);
    assert_eq!(origin(&settings, "workers"), "GUNICORN_CMD_ARGS");
    assert_eq!(origin(&settings, "threads"), "--threads");
    for (text, status, wanted) in [
        ("--wrokers 2", 2, "GUNICORN_CMD_ARGS"),
        ("-w many", 1, "workers (GUNICORN_CMD_ARGS)"),
        ("-k gevent", 1, "worker_class = gevent (GUNICORN_CMD_ARGS)"),
        ("'", 1, "GUNICORN_CMD_ARGS: a quotation has no end"),
        ("--print-config", 0, "workers = 2  (WEB_CONCURRENCY)"),
    ] {
        let error = with(&command, text, &[]).unwrap_err();
        assert_eq!(error.exit_code(), status, "{error}");
        assert!(error.to_string().contains(wanted), "{error}");
    }
    command = command.flags_from("NO_SUCH_VARIABLE_HERE");
    assert!(command.flags_of.is_none());
}

#[test]
fn a_check_reads_all_and_ends() {
    let none = SettingsSource::new();
    let mut command = Command::new("oxicorn");
    assert_eq!(exits(&command, &["--check-config"], &none).exit_code(), 0);
    assert_eq!(
        exits(&command, &["--check-config", "-w", "x"], &none).exit_code(),
        2
    );
    command.check = |settings| Err(Error::config(format!("{} workers", settings.workers)));
    let error = exits(&command, &["--check-config", "-w", "7"], &none);
    assert_eq!(
        (error.exit_code(), error.to_string().as_str()),
        (1, "7 workers")
    );
}
