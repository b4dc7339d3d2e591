//! The secrets within the values of settings, which neither a log nor an operator is shown.

/// What stands for a secret.
pub(crate) const SECRET: &str = "***";

/// Parts of names whose values are not shown: of the program's own settings, and of the parameters of a URL.
const TELLING: &[&str] = &["passw", "secret", "token", "key", "credential"];

/// Whether the value of something of this name is likely to be a secret.
pub(crate) fn is_telling(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    TELLING.iter().any(|part| lower.contains(part))
}

/// A refused value, as an error shows it.
pub(crate) fn refused(setting: &str, text: &str) -> String {
    if setting == "raw_env" || is_telling(setting) && setting != "keyfile" {
        return SECRET.to_owned();
    }
    without_credentials(text)
}

/// A text without the credentials of the URLs in it: `redis://***@host/0?password=***`.
pub(crate) fn without_credentials(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // A comma may be part of a password (RFC 3986 §3.2.1), and stands between the URLs of a list, too.
        let end = part.find(['/', '?', '#', ' ']).unwrap_or(part.len());
        shown.push_str("://");
        let host = match part[..end].rfind('@') {
            Some(at) => {
                shown.push_str(SECRET);
                at
            }
            None => 0,
        };
        shown.push_str(&part[host..end]);
        without_parameters(&part[end..], &mut shown);
    }
    shown
}

/// Appends the rest of a URL without the values of parameters whose names are [telling](is_telling).
fn without_parameters(rest: &str, shown: &mut String) {
    for piece in rest.split_inclusive(['?', '&', '#', ' ']) {
        match piece.split_once('=') {
            Some((name, value)) if is_telling(name) => {
                let end = value.trim_end_matches(['?', '&', '#', ' ']).len();
                shown.extend([name, "=", SECRET, &value[end..]]);
            }
            _ => shown.push_str(piece),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_urls_are_not_shown() {
        for (text, shown) in [
            ("127.0.0.1:8000", "127.0.0.1:8000"),
            ("udp://stats:8125", "udp://stats:8125"),
            ("redis://:hunter2@host/0", "redis://***@host/0"),
            ("redis://me:hun,ter2@host", "redis://***@host"),
            ("a://hun@ter2@b,c://hunter2@d", "a://***@b,c://***@d"),
            (
                "pg:///x?user=me&Password=hunter2&a=b",
                "pg:///x?user=me&Password=***&a=b",
            ),
            (
                "http://host/a@b?api_key=hunter2 on",
                "http://host/a@b?api_key=*** on",
            ),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }

    #[test]
    fn a_refused_value_shows_no_secret() {
        assert_eq!(refused("raw_env", "hunter2"), SECRET);
        assert_eq!(refused("api_token", "hunter2"), SECRET);
        assert_eq!(refused("keyfile", "/srv/a.pem"), "/srv/a.pem");
        assert_eq!(refused("statsd_host", "a://hunter2@"), "a://***@");
        assert_eq!(refused("workers", "many"), "many");
    }
}
