//! Values of settings without what is secret in them.

use crate::config::{SETTINGS, Setting, Settings};
use crate::secret::{SECRET, is_telling, without_credentials};

/// The settings whose values are not shown at all.
const HIDDEN: &[&str] = &["keyfile"];

/// Name, value and origin of each setting, those of the program's own at the end.
pub(super) fn listing(settings: &Settings) -> Vec<(String, String, String)> {
    let table = SETTINGS.iter().map(|setting| {
        let origin = settings.origin(setting).to_string();
        (setting.name.to_owned(), value(setting, settings), origin)
    });
    let own = settings.own_texts().map(|(name, text, origin)| {
        let text = if is_telling(name) && !text.is_empty() {
            SECRET.to_owned()
        } else {
            without_credentials(text)
        };
        (name.to_owned(), text, origin.to_string())
    });
    table.chain(own).collect()
}

fn value(setting: &Setting, settings: &Settings) -> String {
    let shown = setting.show(settings).unwrap_or_default();
    match setting.name {
        "raw_env" => {
            let names = settings.raw_env.iter().map(|(name, _)| {
                let name = name.to_string_lossy();
                format!("{name}={SECRET}")
            });
            names.collect::<Vec<_>>().join(",")
        }
        name if HIDDEN.contains(&name) && !shown.is_empty() => SECRET.to_owned(),
        // The arguments of a factory: `shop:create_app(password='x')`.
        "wsgi_app" | "proc_name" => match (shown.find('('), shown.rfind(')')) {
            (Some(open), Some(close)) if open + 1 < close => {
                format!("{}({SECRET}{}", &shown[..open], &shown[close..])
            }
            _ => shown,
        },
        _ => without_credentials(&shown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        let mut settings = Settings::default();
        settings.raw_env = vec![("DATABASE".into(), "hunter2".into())];
        settings.wsgi_app = Some("shop:create_app(password='hunter2')".to_owned());
        settings.statsd_host = Some("udp://me:hunter2@stats:8125/x,tcp://hunter2@b".to_owned());
        let listing = listing(&settings);
        let shown = |name: &str| {
            let mut rows = listing.iter();
            rows.find(|row| row.0 == name).map(|row| row.1.as_str())
        };
        assert!(listing.iter().all(|row| !row.1.contains("hunter2")));
        assert_eq!(shown("raw_env"), Some("DATABASE=***"));
        assert_eq!(shown("wsgi_app"), Some("shop:create_app(***)"));
        assert_eq!(
            shown("statsd_host"),
            Some("udp://***@stats:8125/x,tcp://***@b")
        );
        assert_eq!(shown("bind"), Some("127.0.0.1:8000"));
    }
}
