//! Requests and responses as those of the crate [`http`], and back.
//!
//! | from | to | by |
//! |---|---|---|
//! | [`http::request::Parts`] | [`Head`] | `TryFrom` |
//! | [`Request`] | [`http::Request`] | `TryFrom` |
//! | [`http::Response`] | the answer to a request | [`Responder::send_http`], [`Responder::start_http`] |
//! | [`Recorder`] | [`http::Response`] | `TryFrom` |

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use crate::error::{Error, Kind, Result};
use crate::h1::{Head, ParseError, Version};
use crate::service::{Body, BodyWriter, Request, Responded, Responder};
use crate::testing::Recorder;

impl TryFrom<&http::request::Parts> for Head {
    type Error = ParseError;

    /// The head as HTTP/1.1 has it, or HTTP/1.0: a request of HTTP/2 gets the `Host` that its target names, which comes
    /// before the field of that name (RFC 9113 §8.3.1). Fields with an underscore in their name are left out, as by the
    /// server.
    fn try_from(parts: &http::request::Parts) -> Result<Self, ParseError> {
        Self::try_from_fields(parts, "", &parts.headers)
    }
}

impl Head {
    /// The head of `parts` with other fields, and with `prefix` before its path.
    pub(super) fn try_from_fields(
        parts: &http::request::Parts,
        prefix: &str,
        fields: &HeaderMap,
    ) -> Result<Self, ParseError> {
        let version = match parts.version {
            http::Version::HTTP_09 | http::Version::HTTP_10 => Version::HTTP_10,
            _ => Version::HTTP_11,
        };
        let authority = parts.uri.authority();
        let target = match parts.uri.path_and_query() {
            Some(target) => format!("{prefix}{target}"),
            None => authority.map_or_else(|| "/".into(), ToString::to_string),
        };
        let host = authority.map(|authority| (&b"host"[..], authority.as_str().as_bytes()));
        let fields = fields.iter().filter(|(name, _)| {
            !name.as_str().contains('_') && (host.is_none() || *name != header::HOST)
        });
        let fields = fields.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        Self::new(
            parts.method.as_str(),
            &target,
            version,
            host.into_iter().chain(fields),
        )
    }
}

impl<'a> TryFrom<Request<'a>> for http::Request<Body<'a>> {
    type Error = Error;

    /// The request with the target as it was sent. Its [`ConnectionInfo`](crate::service::ConnectionInfo) and
    /// [`RequestInfo`](crate::service::RequestInfo) are among the extensions.
    fn try_from(mut request: Request<'a>) -> Result<Self> {
        let mut built = http::Request::new(request.take_body());
        let head = request.head();
        *built.method_mut() = head.method().parse().map_err(foreign)?;
        *built.uri_mut() = head.target().parse::<Uri>().map_err(foreign)?;
        *built.version_mut() = match head.version() {
            Version::HTTP_10 => http::Version::HTTP_10,
            _ => http::Version::HTTP_11,
        };
        *built.headers_mut() = fields(head.fields())?;
        built.extensions_mut().insert(request.connection().clone());
        built.extensions_mut().insert(request.info().clone());
        Ok(built)
    }
}

impl<'a> Responder<'a> {
    /// Answers with a response of the crate `http`, whose body is complete. Its version and its extensions do not count.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub fn send_http<B: AsRef<[u8]>>(self, response: http::Response<B>) -> Result<Responded> {
        let (parts, body) = response.into_parts();
        let body = body.as_ref();
        self.start_parts(&parts, Some(body.len() as u64))?
            .finish_with(body)
    }

    /// Starts an answer with the status and the fields of a response of the crate `http`; its body is written piece by piece.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start).
    pub fn start_http(self, response: http::Response<()>) -> Result<BodyWriter<'a>> {
        self.start_parts(&response.into_parts().0, None)
    }

    fn start_parts(
        self,
        parts: &http::response::Parts,
        len: Option<u64>,
    ) -> Result<BodyWriter<'a>> {
        let fields = parts.headers.iter();
        let fields = fields.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        self.start(parts.status.as_u16(), b"", fields, len)
    }
}

impl TryFrom<&Recorder> for http::Response<Bytes> {
    type Error = Error;

    /// The response that was recorded.
    ///
    /// # Errors
    ///
    /// Where it is not complete.
    fn try_from(recorder: &Recorder) -> Result<Self> {
        let Some(status) = recorder.status().filter(|_| recorder.is_complete()) else {
            return Err(Error::of(Kind::Response, "the response is not complete"));
        };
        let mut response = http::Response::new(recorder.body().into());
        *response.status_mut() = http::StatusCode::from_u16(status).map_err(foreign)?;
        let headers = recorder.headers();
        let headers = headers.iter().map(|(name, value)| (&**name, &**value));
        *response.headers_mut() = fields(headers)?;
        Ok(response)
    }
}

/// Fields as a map.
fn fields<'f>(fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name).map_err(foreign)?;
        let value = HeaderValue::from_bytes(value).map_err(foreign)?;
        map.try_append(name, value).map_err(foreign)?;
    }
    Ok(map)
}

/// Something that the other crate does not take.
pub(super) fn foreign(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::with_source(format!("it has no form in the crate http: {error}"), error)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::service::{Address, ConnectionInfo};

    #[test]
    fn a_request_goes_there_and_back() {
        let sent = [
            (&b"Host"[..], &b"shop.example"[..]),
            (b"X-A", b"1"),
            (b"x-a", b"\xe4"),
        ];
        let head = Head::new("PATCH", "/a%20b?c=d", Version::HTTP_10, sent).unwrap();
        let connection = ConnectionInfo::new(Address::Hidden, 3, Address::Unix(None));
        let body = Body::memory(Bytes::from_static(b"hello"));
        let request: http::Request<_> = Request::new(&head, &connection, body).try_into().unwrap();
        assert_eq!(request.uri(), "/a%20b?c=d");
        assert_eq!(request.version(), http::Version::HTTP_10);
        let listener = request
            .extensions()
            .get::<ConnectionInfo>()
            .map(|it| it.listener);
        assert_eq!(listener, Some(3));
        let (parts, mut body) = request.into_parts();
        let mut text = String::new();
        body.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        let back = Head::try_from(&parts).unwrap();
        assert_eq!((back.method(), back.target()), ("PATCH", "/a%20b?c=d"));
        assert_eq!(back.version(), Version::HTTP_10);
        let values = back.fields().filter(|(name, _)| *name == b"x-a");
        assert_eq!(
            values.map(|(_, value)| value).collect::<Vec<_>>(),
            [b"1", b"\xe4"]
        );
    }

    #[test]
    fn a_request_of_http_2_gets_the_host_of_its_target() {
        let request = http::Request::get("https://shop.example:8443/a?b")
            .version(http::Version::HTTP_2)
            .header("host", "other.example")
            .header("x_forwarded_for", "192.0.2.1")
            .body(())
            .unwrap();
        let head = Head::try_from(&request.into_parts().0).unwrap();
        assert_eq!(head.target(), "/a?b");
        assert_eq!(
            head.fields().collect::<Vec<_>>(),
            [(&b"host"[..], &b"shop.example:8443"[..])]
        );
    }

    #[test]
    fn a_response_goes_there_and_back() {
        let response = http::Response::builder()
            .status(201)
            .header("x-a", "1")
            .header("x-a", "2")
            .body("made")
            .unwrap();
        let recorder = Recorder::new();
        let _ = Responder::new(&recorder).send_http(response).unwrap();
        let back = http::Response::<Bytes>::try_from(&recorder).unwrap();
        assert_eq!(back.status(), 201);
        assert_eq!(
            back.headers().get_all("x-a").iter().collect::<Vec<_>>(),
            ["1", "2"]
        );
        assert_eq!(back.body(), "made");
    }

    #[test]
    fn half_a_response_is_none() {
        let recorder = Recorder::new();
        let started = Responder::new(&recorder).start_http(http::Response::new(()));
        drop(started);
        assert!(
            http::Response::<Bytes>::try_from(&recorder)
                .unwrap_err()
                .is_response()
        );
    }
}
