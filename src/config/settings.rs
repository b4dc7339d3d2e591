//! [`Settings`]: a value for each row of the table.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::object::Objects;
use super::origin::Origins;
use super::table::settings_table;
use super::values::{CertReqs, HeaderMap, ReloadEngine, RequestIdMode, TlsVersion, WorkerClass};
use crate::h1;
use crate::net::{ClientAddress, Networks, ProxyProtocol};

macro_rules! define {
    ($($section:literal [ $(
        $(#[doc = $text:literal])+
        $name:ident: $outer:ident $(<$inner:tt>)? = $default:expr
            => $parser:ident $(<$element:ident>)? { $($rest:tt)* }
    )* ])*) => {
        /// All settings, as typed values.
        ///
        /// `Default` gives the built-in defaults and reads no environment. [`SETTINGS`](super::SETTINGS) describes each
        /// field: its flags, its environment variable, its meaning.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct Settings {
            $($($(#[doc = $text])+ pub $name: $outer $(<$inner>)?,)*)*
            pub(super) origins: Origins,
            pub(super) objects: Objects,
        }

        impl Default for Settings {
            fn default() -> Self {
                Self {
                    $($($name: $default,)*)*
                    origins: Origins::default(),
                    objects: Objects::default(),
                }
            }
        }
    };
}

settings_table!(define);

/// Gunicorn's format of the access log, which is that of `log::AccessFormat` as well.
const ACCESS_FORMAT: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
