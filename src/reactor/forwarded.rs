//! The facts about one request's client in the header fields of a trusted peer.
//!
//! It is used for trusted peers only: from other peers these are fields like any other.

use super::Config;
use crate::h1::Head;
use crate::net::{ForwardedClient, MalformedForwarded};
use crate::service::{Address, RequestInfo, Scheme};

/// Why a trusted peer's fields cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ForwardedError {
    /// Two fields name different schemes.
    #[error("Contradictory scheme headers")]
    Contradiction,
    #[error("{0}")]
    Malformed(#[from] MalformedForwarded),
}

/// Reads the facts from `head`, where `own` is that of the connection itself. The client's address is read only where
/// `hop` says that its sender is trusted. Behind a PROXY header the sender is not the peer.
pub(super) fn request_info(
    head: &Head,
    hop: impl FnOnce() -> bool,
    own: Scheme,
    config: &Config,
) -> Result<RequestInfo, ForwardedError> {
    let mut client = None;
    if let Some(field) = config.settings.client_address.field().filter(|_| hop()) {
        let values = head.fields().filter(|(name, _)| is(name, field));
        let values: Vec<_> = values.map(|(_, value)| value).collect();
        let trusted = &config.settings.forwarded_allow_ips;
        let told = config
            .settings
            .client_address
            .client(values.into_iter(), trusted)?;
        client = match told {
            ForwardedClient::Nothing => None,
            ForwardedClient::Hidden => Some(Address::Hidden),
            ForwardedClient::Client(address) => Some(Address::Ip(address)),
        };
    }
    let scheme = scheme(head, config)?.unwrap_or(own);
    Ok(RequestInfo::new(scheme, client))
}

/// Returns the scheme on which the fields that tell it agree: each means `https` with its own value, and else `http`.
fn scheme(head: &Head, config: &Config) -> Result<Option<Scheme>, ForwardedError> {
    let mut agreed = None;
    for (name, value) in head.fields() {
        let known = &config.settings.secure_scheme_headers;
        let Some((_, secure)) = known.iter().find(|(known, _)| is(name, known)) else {
            continue;
        };
        let told = if value == secure.as_bytes() {
            Scheme::Https
        } else {
            Scheme::Http
        };
        if agreed.is_some_and(|agreed| agreed != told) {
            return Err(ForwardedError::Contradiction);
        }
        agreed = Some(told);
    }
    Ok(agreed)
}

fn is(name: &[u8], known: &str) -> bool {
    name.eq_ignore_ascii_case(known.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::Version;

    fn told(fields: &[(&str, &str)]) -> Result<Scheme, ForwardedError> {
        let fields = fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        let head = Head::new("GET", "/", Version::HTTP_10, fields).unwrap();
        request_info(&head, || true, Scheme::Http, &Config::default()).map(|heard| heard.scheme)
    }

    // Gunicorn: S41
    #[test]
    fn each_field_means_https_with_its_own_exact_value() {
        for (fields, scheme) in [
            (&[][..], Scheme::Http),
            (&[("x-forwarded-proto", "https")], Scheme::Https),
            (&[("X-FORWARDED-PROTOCOL", "ssl")], Scheme::Https),
            (&[("X-Forwarded-Ssl", "on")], Scheme::Https),
            (&[("X-Forwarded-Proto", "HTTPS")], Scheme::Http),
            (&[("X-Forwarded-Proto", "ssl")], Scheme::Http),
            (&[("X-Scheme", "https")], Scheme::Http),
        ] {
            assert_eq!(told(fields), Ok(scheme), "{fields:?}");
        }
    }

    // Gunicorn: E30
    #[test]
    fn fields_that_agree_are_one_word_and_others_a_contradiction() {
        let https = ("X-Forwarded-Proto", "https");
        assert_eq!(told(&[https, ("X-Forwarded-Ssl", "on")]), Ok(Scheme::Https));
        for other in [("X-Forwarded-Ssl", "off"), ("X-Forwarded-Proto", "http")] {
            assert_eq!(told(&[https, other]), Err(ForwardedError::Contradiction));
        }
    }
}
