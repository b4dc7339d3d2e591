//! The files of settings that a command line can name.

#[cfg(feature = "toml")]
use std::env;
use std::ffi::{OsStr, OsString};
#[cfg(feature = "wsgi")]
use std::path::Path;
use std::path::PathBuf;

use clap::{Arg, value_parser};

use super::Command;
use crate::config::{Settings, SettingsSource};
#[cfg(all(feature = "wsgi", not(feature = "toml")))]
use crate::error::Error;
use crate::error::Result;
#[cfg(feature = "wsgi")]
use crate::gunicorn::ConfigFile;

/// The flag that names a file.
pub(super) const CONFIG: &str = "config";

/// The kind of the files, the folder of the start, and the default file.
#[derive(Clone, Debug)]
pub(super) enum Files {
    /// Python programs. `gunicorn.conf.py` of the folder is the default.
    #[cfg(feature = "wsgi")]
    Python { start: PathBuf },
    #[cfg(feature = "toml")]
    Toml { start: PathBuf, default: PathBuf },
}

impl Command {
    /// Adds `-c/--config`, which names a configuration file that is a Python program: see [`ConfigFile`]. Its values come
    /// between the environment and the flags. Where the command line names no file, `gunicorn.conf.py` of the folder
    /// `start` is read, if it is there.
    ///
    /// With the feature `toml`, a file whose name ends in `.toml` is one of settings as in [`SettingsSource::toml`] instead.
    ///
    /// `start` is the folder in which the program was started. The file runs there, also on a reload, wherever the process
    /// is then.
    #[cfg(feature = "wsgi")]
    pub fn python_files(mut self, start: impl Into<PathBuf>) -> Self {
        let start = start.into();
        self.files = Some(Files::Python { start });
        self
    }

    /// Adds `-c/--config`, which names a file of settings in TOML: see [`SettingsSource::toml`]. Its values come between
    /// the environment and the flags. Where the command line names no file, `default` is read, if it is there.
    ///
    /// Relative paths are relative to the folder in which the process is now, also on a reload. Of this method and
    /// `python_files` the last one counts.
    #[cfg(feature = "toml")]
    pub fn toml_files(mut self, default: impl Into<PathBuf>) -> Self {
        self.files = Some(Files::Toml {
            // Without one, paths are relative to wherever the process is.
            start: env::current_dir().unwrap_or_default(),
            default: default.into(),
        });
        self
    }

    /// Reads the file of this name, or the default one. A Python program has the packages of the virtual environment that
    /// the flags name.
    #[cfg_attr(
        not(feature = "wsgi"),
        expect(unused_variables, reason = "TOML has no packages")
    )]
    pub(super) fn read_file(
        &self,
        name: Option<&OsStr>,
        flags: &Settings,
    ) -> Result<Option<SettingsSource>> {
        match &self.files {
            None => Ok(None),
            #[cfg(feature = "wsgi")]
            Some(Files::Python { start }) => {
                if let Some(name) =
                    name.filter(|name| Path::new(name).extension() == Some(OsStr::new("toml")))
                {
                    return self.read_toml(&start.join(name)).map(Some);
                }
                let file = match name {
                    Some(name) => Some(ConfigFile::named_in(name, start.clone())),
                    None => ConfigFile::of_folder(start),
                };
                file.map(|file| file.run(flags.venv.as_deref())).transpose()
            }
            #[cfg(feature = "toml")]
            Some(Files::Toml { start, default }) => {
                let path = start.join(name.map_or(default.as_os_str(), |name| name));
                if name.is_none() && !path.exists() {
                    return Ok(None);
                }
                SettingsSource::toml_file(path, &self.own).map(Some)
            }
        }
    }

    /// Reads a file of TOML in the place of a Python program: it needs no interpreter.
    #[cfg(all(feature = "wsgi", feature = "toml"))]
    fn read_toml(&self, path: &Path) -> Result<SettingsSource> {
        SettingsSource::toml_file(path, &self.own)
    }

    #[cfg(all(feature = "wsgi", not(feature = "toml")))]
    fn read_toml(&self, path: &Path) -> Result<SettingsSource> {
        Err(Error::config(format!(
            "cannot read {}: {} was built without the feature `toml`, so its configuration file is a Python program, as in \
             gunicorn.conf.py",
            path.display(),
            self.name
        )))
    }

    pub(super) fn config_argument(&self) -> Option<Arg> {
        let help = match self.files.as_ref()? {
            #[cfg(feature = "wsgi")]
            Files::Python { .. } => {
                "Configuration file, a Python program that sets settings: PATH, file:PATH or python:MODULE \
                 [default: ./gunicorn.conf.py, if it is there]"
                    .to_owned()
            }
            #[cfg(feature = "toml")]
            Files::Toml { default, .. } => {
                let default = default.display();
                format!("File of settings, in TOML [default: {default}, if it is there]")
            }
        };
        let argument = Arg::new(CONFIG).short('c').long(CONFIG).value_name("FILE");
        Some(argument.value_parser(value_parser!(OsString)).help(help))
    }

    /// The flags of the configuration file, without their hyphens.
    pub(super) fn config_flags(&self) -> impl Iterator<Item = &'static str> {
        let flags = self.files.iter();
        flags.flat_map(|_| ["c", CONFIG])
    }
}
