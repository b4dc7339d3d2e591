//! [`Notifier`]: tells the service manager how its service does (`sd_notify(3)`).
//!
//! It hears nothing back, waits for nobody, and a manager that does not listen harms nobody. The environment is
//! read and never changed: `NOTIFY_SOCKET` reaches the workers and their children, whose word systemd does not
//! take unless `NotifyAccess=` says so.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::clock::Tick;

/// A way to the service manager.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    manager: SocketAddr,
}

impl Notifier {
    /// The one that `NOTIFY_SOCKET` names: an absolute path, or the name of an abstract socket behind an `@`.
    /// `None` where it is not set or names no such thing.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        Self::to(&env::var_os("NOTIFY_SOCKET")?).ok()
    }

    fn to(name: &OsStr) -> io::Result<Self> {
        let manager = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, manager })
    }

    /// The service does what it is there for; also the end of a reload.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// The service reads its settings again; [`ready`](Self::ready) ends that.
    pub fn reloading(&self) {
        // With the moment, for services of the type `notify-reload`.
        let now = Tick::now().as_nanos() / 1000;
        self.tell(&format!(
            "RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=Reloading"
        ));
    }

    /// The service has begun to stop.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Stopping");
    }

    /// A line for a person.
    pub fn status(&self, status: &str) {
        self.tell(&format!("STATUS={status}"));
    }

    fn tell(&self, text: &str) {
        // Nobody who could be told that it failed is left.
        let _ = self.socket.send_to_addr(text.as_bytes(), &self.manager);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_hears_of_the_service_on_paths_and_on_abstract_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("oxicorn-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        for (manager, text) in [
            (
                UnixDatagram::bind(&path).unwrap(),
                path.display().to_string(),
            ),
            (
                UnixDatagram::bind_addr(&address).unwrap(),
                format!("@{name}"),
            ),
        ] {
            let notifier = Notifier::to(OsStr::new(&text)).unwrap();
            notifier.ready("4 workers");
            notifier.reloading();
            notifier.status("3 workers");
            notifier.stopping();
            let mut buffer = [0; 200];
            let mut heard = || {
                let length = manager.recv(&mut buffer).unwrap();
                String::from_utf8_lossy(&buffer[..length]).into_owned()
            };
            assert_eq!(heard(), "READY=1\nSTATUS=4 workers");
            let reloading = heard();
            let moment = reloading
                .lines()
                .nth(1)
                .and_then(|line| line.strip_prefix("MONOTONIC_USEC="));
            assert!(
                moment.is_some_and(|moment| moment.parse::<u64>().is_ok()),
                "{reloading}"
            );
            assert_eq!(heard(), "STATUS=3 workers");
            assert_eq!(heard(), "STOPPING=1\nSTATUS=Stopping");
        }
    }

    #[test]
    fn a_manager_that_does_not_listen_harms_nobody_and_other_names_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let nobody = Notifier::to(folder.path().join("nobody").as_os_str()).unwrap();
        nobody.ready("");
        for name in ["", "notify", "vsock:2:1234"] {
            assert!(Notifier::to(OsStr::new(name)).is_err(), "{name}");
        }
    }
}
