//! The listeners as one arbiter describes them to the next one, and the end of those that the next one has no use for;
//! and the secret of TLS tickets, in a file in memory.
//!
//! The format of the listeners is that of [`handed_over`](super::handed_over).
//!
//! ```text
//!   OXICORN_TICKETS=7         the descriptor of the secret
//! ```

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use nix::sys::stat::SFlag;

pub(crate) use super::handed_over::{FOR, LISTENERS, variable};
use super::handed_over::{HandedOver, claim_all};
use super::listener::{DEFAULT_BACKLOG, Listener};
use super::listeners::Listeners;
use super::socket_file::SocketFile;
use super::ticket_secret::OF_THE_PROGRAM;
use crate::sys::fd;
use crate::trace::info;

/// The secret of TLS tickets.
pub(crate) const TICKETS: &str = "OXICORN_TICKETS";

/// The secret of TLS tickets, for the program that this process executes next; none where there is no TLS.
pub(crate) fn ticket_secret() -> Option<File> {
    OF_THE_PROGRAM.hand_over()
}

/// Goes on with the secret of TLS tickets that the arbiter before this one has, so that clients resume their sessions.
pub(crate) fn take_ticket_secret() {
    let handed = variable(TICKETS).and_then(|number| number.parse().ok());
    if let Some(Ok(file)) = handed.map(|number| fd::adopt(number, SFlag::S_IFREG)) {
        OF_THE_PROGRAM.take_over(file);
    }
}

/// Describes these listeners to the next arbiter. Their descriptors keep their numbers.
pub(crate) fn text(listeners: &Listeners) -> String {
    let lines = listeners.iter().map(|listener| {
        let opened = listener.opened().map(ToString::to_string);
        let waiting = HandedOver {
            fd: listener.as_fd().as_raw_fd(),
            opened: opened.unwrap_or_default(),
            made: listener.file().map(|file| file.identity()),
        };
        waiting.to_string()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Closes the listeners that were not bound again, since the settings no longer name them. Returns the files of Unix
/// sockets.
pub(crate) fn close_rest() -> Vec<Arc<SocketFile>> {
    let rest = claim_all(|_| true);
    for one in &rest {
        match Listener::inherit(one.fd, DEFAULT_BACKLOG) {
            Ok(listener) => info!("Closing {listener}, which is no more to be listened on"),
            Err(error) => crate::trace::warning!("{error}"),
        }
    }
    rest.iter()
        .filter_map(HandedOver::file)
        .map(Arc::new)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::handed_over::parse;
    use super::*;
    use std::net::TcpStream;

    use crate::net::{BindAddress, SocketAccess};

    #[test]
    fn what_is_told_of_listeners_is_understood() {
        let address: BindAddress = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(&address, 16).unwrap();
        let fd = listener.as_fd().as_raw_fd();
        let told = text(&listener.into());
        let opened = "127.0.0.1:0".to_owned();
        let made = None;
        assert_eq!(parse(&told), [HandedOver { fd, opened, made }]);
    }

    // Gunicorn: G24
    #[test]
    fn a_socket_file_is_known_by_its_identity_and_not_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a=b:c d");
        let address = BindAddress::Unix(path.clone());
        let listener = Listener::bind(&address, 16).unwrap();
        let told = parse(&text(&listener.into()));
        let file = told[0].file().unwrap();
        // Renamed and not written anew: the inode of a removed file may come again at once.
        let other = folder.path().join("other");
        std::fs::write(&other, "").unwrap();
        let kept = folder.path().join("kept");
        std::fs::rename(&path, &kept).unwrap();
        std::fs::rename(&other, &path).unwrap();
        file.remove();
        assert!(path.exists());
        std::fs::rename(&kept, &path).unwrap();
        told[0].file().unwrap().remove();
        assert!(!path.exists());
    }

    // Gunicorn: S30
    #[test]
    fn a_reserved_address_is_not_handed_over() {
        let any = "127.0.0.1:0".parse().unwrap();
        let access = SocketAccess::default();
        let reserved = Listener::reserve(&any, 16, access).unwrap();
        let at = reserved.socket_addr().unwrap();
        assert!(TcpStream::connect(at).is_err());
        let reserved = Listeners::from(reserved);
        assert!(reserved.listening().is_empty());
        let second = Listener::reserve(&at.to_string().parse().unwrap(), 16, access).unwrap();
        assert!(!second.is_listening());
        let own = reserved.for_queue(0).unwrap();
        let own = own.get(0).unwrap();
        assert_eq!((own.socket_addr(), own.is_own()), (Some(at), true));
        assert!(TcpStream::connect(at).is_err());
        own.open_queue();
        TcpStream::connect(at).unwrap();
    }

    #[test]
    fn an_empty_address_is_a_service_managers_and_nonsense_none() {
        let passed = HandedOver {
            fd: 3,
            opened: String::new(),
            made: None,
        };
        assert_eq!(parse("3=\nx=:80\n4 25=/x\n4 a:b=/x\nnonsense\n"), [passed]);

        assert!(parse("").is_empty());
    }
}
