use super::*;

/// Two values that every kind accepts in one of its forms, neither of them a default.
fn samples(setting: &Setting) -> [&'static str; 2] {
    match setting.metavar {
        "MODE" if setting.name == "request_id" => ["on", "send"],
        "NAME=VALUE" => ["A=1", "B=2"],
        "LEVEL" => ["debug", "error"],
        "FIELD" => ["forwarded", "x-forwarded-for"],
        "NAME=VALUE[,NAME=VALUE]" => ["A=1", "B=2,C=3"],
        "BOOL" => ["false", "true"],
        "POLICY" => ["refuse", "dangerous"],
        "MODE" => ["v1", "v2"],
        "ENGINE" => ["poll", "inotify"],
        "IP[,NETWORK]" => ["*", "10.0.0.0/8,::1"],
        "CLASS" => ["gthread", "gthread"],
        "MASK" => ["0o22", "0o77"],
        "0..2" => ["1", "2"],
        "VERSION" => ["1.3", "1.3"],
        _ => ["17", "18"],
    }
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
