use super::*;

fn count(text: &str) -> Result<usize, ParseProblem> {
    (COUNT.parse)(OsStr::new(text))
}

fn time(text: &str) -> Result<Duration, ParseProblem> {
    (SECONDS.parse)(OsStr::new(text))
}

#[test]
fn integers_are_written_as_in_python() {
    for (text, wanted) in [
        ("0", 0),
        ("-0", 0),
        ("+7", 7),
        (" 12 ", 12),
        ("010", 10),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0X_ff", 255),
        ("0o17", 15),
        ("0b1_01", 5),
    ] {
        assert_eq!(count(text), Ok(wanted), "{text}");
    }
    for text in [
        "", "-", "x", "1.5", "1__0", "_1", "1_", "0x", "0x_", "0b2", "1e3", "+-1", "１",
    ] {
        assert!(
            matches!(count(text), Err(ParseProblem::Expected(_))),
            "{text}"
        );
    }
}

// Gunicorn: S38
#[test]
fn a_mask_is_written_as_for_gunicorn() {
    let mask = |text: &str| (UMASK.parse)(OsStr::new(text));
    for (text, wanted) in [
        ("0", 0),
        ("0022", 0o22),
        ("022", 0o22),
        ("0o22", 0o22),
        ("0xFF", 0xff),
        ("18", 0o22),
        ("0777", 0o777),
    ] {
        assert_eq!(mask(text), Ok(wanted), "{text}");
    }
    for text in ["", "-1", "0888", "01000", "u=rwx"] {
        assert!(mask(text).is_err(), "{text}");
    }
}

#[test]
fn a_negative_number_is_told_from_no_number() {
    assert_eq!(count("-1"), Err(ParseProblem::Negative));
    assert_eq!(count("-0x10"), Err(ParseProblem::Negative));
    assert_eq!(time("-0.5"), Err(ParseProblem::Negative));
    assert!(matches!(count("-x"), Err(ParseProblem::Expected(_))));
}

#[test]
fn a_number_too_large_for_its_setting_is_refused() {
    let big = OsStr::new("4294967296");
    assert!((COUNT_32.parse)(big).is_err());
    assert!((COUNT.parse)(big).is_ok());
    assert!(count("18446744073709551616").is_err());
}

#[test]
fn seconds_may_be_fractional() {
    assert_eq!(time("2"), Ok(Duration::from_secs(2)));
    assert_eq!(time("0x10"), Ok(Duration::from_secs(16)));
    assert_eq!(time("0.25"), Ok(Duration::from_millis(250)));
    assert_eq!(time(".5"), Ok(Duration::from_millis(500)));
    for (text, milliseconds) in [
        ("30s", 30_000),
        ("500ms", 500),
        ("1.5 min", 90_000),
        ("5m", 300_000),
        ("1H", 3_600_000),
        ("2d", 172_800_000),
    ] {
        assert_eq!(
            time(text),
            Ok(Duration::from_millis(milliseconds)),
            "{text}"
        );
    }
    assert_eq!(time("-1s"), Err(ParseProblem::Negative));
    for text in [
        "", ".", "inf", "nan", "1e3", "1.2.3", "2x", "1_0.5", "s", "1 2s", "0x10s",
    ] {
        assert!(
            matches!(time(text), Err(ParseProblem::Expected(_))),
            "{text}"
        );
    }
}

#[test]
fn sizes_may_have_units() {
    let size = |text: &str| (BYTES_64.parse)(OsStr::new(text));
    for (text, wanted) in [
        ("8190", 8190),
        ("8k", 8 << 10),
        ("8 kB", 8 << 10),
        ("64KiB", 64 << 10),
        ("3M", 3 << 20),
        ("0x10", 16),
        ("1g", 1 << 30),
        ("7b", 7),
    ] {
        assert_eq!(size(text), Ok(wanted), "{text}");
    }
    assert_eq!(size("-8k"), Err(ParseProblem::Negative));
    for text in ["", "k", "8x", "1.5k", "99999999999g", "8 k k"] {
        assert!(
            matches!(size(text), Err(ParseProblem::Expected(_))),
            "{text}"
        );
    }
    assert!(count("8k").is_err());
}

#[test]
fn a_switch_has_several_words() {
    let flag = |text: &str| (FLAG.parse)(OsStr::new(text));
    for text in ["true", " True ", "1", "yes", "on"] {
        assert_eq!(flag(text), Ok(true), "{text}");
    }
    for text in ["False", "0", "NO", "off"] {
        assert_eq!(flag(text), Ok(false), "{text}");
    }
    for text in ["", "2", "maybe"] {
        assert!(flag(text).is_err(), "{text}");
    }
}

#[test]
fn zero_is_a_value_or_refused_as_the_setting_has_it() {
    let zero = OsStr::new("0");
    assert_eq!((SECONDS.parse)(zero), Ok(Duration::ZERO));
    assert!((DEADLINE.parse)(zero).is_err());
}

#[test]
fn a_header_fields_value_cannot_end_its_line() {
    for (text, value) in [("", ""), (" a/1 (b) ", "a/1 (b)")] {
        assert_eq!((FIELD_VALUE.parse)(OsStr::new(text)), Ok(value.to_owned()));
    }
    for text in ["a\r\nb: c", "a\nb", "a\tb", "a\0", "caf\u{e9}"] {
        assert!((FIELD_VALUE.parse)(OsStr::new(text)).is_err(), "{text:?}");
    }
}

#[test]
fn a_path_may_be_any_bytes_but_text_must_be_text() {
    let bytes = OsStr::from_bytes(b"/a\xff");
    assert_eq!((PATH.parse)(bytes), Ok(PathBuf::from(bytes)));
    assert!((TEXT.parse)(bytes).is_err());
    assert!((PATH.parse)(OsStr::new("")).is_err());
}

#[test]
fn a_variable_has_a_name_and_may_have_an_empty_value() {
    let pair = |name: &str, value: &str| Ok((name.into(), value.into()));
    assert_eq!((PAIR.parse)(OsStr::new("A=b=c")), pair("A", "b=c"));
    assert_eq!((PAIR.parse)(OsStr::new("A=")), pair("A", ""));
    assert!((PAIR.parse)(OsStr::new("=b")).is_err());
    assert!((PAIR.parse)(OsStr::new("A")).is_err());
}

#[test]
fn paths_are_separated_by_commas() {
    assert_eq!(
        (PATHS.parse)(OsStr::new("a, b/c,,")),
        Ok(vec![PathBuf::from("a"), PathBuf::from("b/c")])
    );
}

// Gunicorn: S6
#[test]
fn a_worker_class_has_all_of_gunicorns_names() {
    for (names, wanted) in [
        (
            [
                "sync",
                "egg:gunicorn#sync",
                "gunicorn.workers.sync.SyncWorker",
            ],
            WorkerClass::Sync,
        ),
        (
            [
                "gthread",
                "egg:gunicorn#gthread",
                "gunicorn.workers.gthread.ThreadWorker",
            ],
            WorkerClass::Gthread,
        ),
    ] {
        for name in names {
            assert_eq!((CLASS.parse)(OsStr::new(name)), Ok(wanted), "{name}");
        }
    }
    let wrong = (CLASS.parse)(OsStr::new("gthreads"));
    assert_eq!(wrong, Err(ParseProblem::Expected("one of sync, gthread")));
}

// Gunicorn: S6
#[test]
fn a_worker_class_of_another_kind_is_refused_by_its_kind() {
    for (names, wanted) in [
        (
            &[
                "gevent",
                "gevent_pywsgi",
                "gunicorn.workers.ggevent.GeventWorker",
                "eventlet",
            ][..],
            "greenlets",
        ),
        (
            &[
                "uvicorn.workers.UvicornWorker",
                "uvicorn_worker.UvicornH11Worker",
                "asgi",
            ],
            "ASGI is not served",
        ),
        (&["tornado"], "Tornado"),
        (
            &["shop.workers.Mine", "meinheld.gmeinheld.MeinheldWorker"],
            "written in Python",
        ),
    ] {
        for name in names {
            let Err(ParseProblem::Refused { why, instead }) = (CLASS.parse)(OsStr::new(name))
            else {
                panic!("{name} is not refused");
            };
            assert!(why.contains(wanted), "{name}: {why}");
            assert_eq!(instead, [("worker_class", "gthread"), ("threads", "8")]);
        }
    }
}

#[test]
fn a_level_may_be_in_any_case_an_unknown_one_lists_choices() {
    for (text, level) in [("DEBUG", "debug"), ("warn", "warning"), (" Info ", "info")] {
        assert_eq!((LEVEL.parse)(OsStr::new(text)), Ok(level.to_owned()));
    }
    let Err(ParseProblem::Expected(expected)) = (LEVEL.parse)(OsStr::new("loud")) else {
        panic!("accepted");
    };
    assert!(expected.contains("warning"));
}
