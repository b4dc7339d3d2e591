//! Tests of [`Listener`].

use std::time::Duration;

use super::*;
use std::fs;
use std::io::{IoSlice, Read};
use std::net;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

fn local() -> Listener {
    Listener::bind(&BindAddress::parse("127.0.0.1:0").unwrap(), 16).unwrap()
}

/// Accepts a connection that is on its way, with a deadline.
fn accept(listener: &Listener) -> (Stream, Option<SocketAddr>) {
    let mut fds = [nix::poll::PollFd::new(
        listener.as_fd(),
        nix::poll::PollFlags::POLLIN,
    )];
    assert_eq!(nix::poll::poll(&mut fds, 10_000u16).unwrap(), 1);
    listener.accept().unwrap()
}

fn assert_flags(fd: BorrowedFd<'_>) {
    let status = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).unwrap());
    assert!(status.contains(OFlag::O_NONBLOCK));
    let flags = FdFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFD).unwrap());
    assert!(flags.contains(FdFlag::FD_CLOEXEC));
}

// Gunicorn: G57
#[test]
fn a_tcp_connection_is_accepted_with_its_peer_and_its_options() {
    let listener = local();
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    let mut client = net::TcpStream::connect(listener.socket_addr().unwrap()).unwrap();
    let (stream, peer) = accept(&listener);
    assert_eq!(peer, Some(client.local_addr().unwrap()));
    assert_flags(listener.as_fd());
    assert_flags(stream.as_fd());
    assert!(socket2::SockRef::from(&stream).tcp_nodelay().unwrap());
    stream.write_vectored(&[IoSlice::new(b"hi")]).unwrap();
    let mut buffer = [0; 2];
    client.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"hi");
}

#[test]
fn a_listener_shows_where_a_client_finds_it() {
    let listener = local();
    let port = listener.socket_addr().unwrap().port();
    assert_ne!(port, 0);
    assert_eq!(listener.to_string(), format!("http://127.0.0.1:{port}"));
    assert_eq!(listener.unix_path(), None);
}

#[test]
fn a_host_name_is_resolved_as_ipv4_where_it_can_be() {
    let listener = Listener::bind(&BindAddress::parse("localhost:0").unwrap(), 16).unwrap();
    assert!(listener.socket_addr().unwrap().is_ipv4());
}

#[test]
fn a_host_name_without_an_address_is_an_error_that_names_it() {
    let address = BindAddress::parse("no-such-host.invalid:80").unwrap();
    let error = Listener::bind(&address, 16).unwrap_err();
    assert!(matches!(error, BindError::Resolve { .. }), "{error}");
    assert!(error.to_string().contains("no-such-host.invalid:80"));
}

#[test]
fn an_address_of_another_machine_is_refused_at_once() {
    // TEST-NET-1, RFC 5737 §3.
    let address = BindAddress::parse("192.0.2.1:80").unwrap();
    let error = Listener::bind(&address, 16).unwrap_err();
    assert!(matches!(error, BindError::System { .. }), "{error}");
    assert!(crate::Error::from(error).is_bind());
}

#[test]
fn a_port_in_use_is_tried_six_times_and_then_named() {
    let taken = local().socket_addr().unwrap();
    let holder = net::TcpListener::bind(taken).unwrap();
    let address = BindAddress::parse(&taken.to_string()).unwrap();
    let mut tries = 0;
    let error = retry(&address, Duration::ZERO, || {
        tries += 1;
        bind_tcp(&address, taken, 16)
    })
    .unwrap_err();
    assert_eq!(tries, 6);
    assert!(matches!(error, BindError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(&taken.to_string()));
    drop(holder);
}

#[test]
fn a_port_that_comes_free_is_bound() {
    let holder = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let address = BindAddress::parse(&taken.to_string()).unwrap();
    let mut holder = Some(holder);
    let listener = retry(&address, Duration::ZERO, || {
        let outcome = bind_tcp(&address, taken, 16);
        holder.take();
        outcome
    })
    .unwrap();
    assert_eq!(listener.local_addr().unwrap().as_socket(), Some(taken));
}

#[test]
fn a_unix_socket_is_open_to_all_users_of_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = Listener::bind(&BindAddress::Unix(path.clone()), 16).unwrap();
    assert_eq!(listener.unix_path(), Some(&*path));
    assert_eq!(listener.socket_addr(), None);
    assert_eq!(listener.to_string(), format!("unix:{}", path.display()));
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o777
    );
    let _client = UnixStream::connect(&path).unwrap();
    let (stream, peer) = accept(&listener);
    assert_eq!(peer, None);
    assert_flags(listener.as_fd());
    assert_flags(stream.as_fd());
}

// Gunicorn: G60
#[test]
fn an_abstract_socket_is_known_by_its_name_and_has_no_file() {
    let name = format!("oxicorn-listener-{}", std::process::id());
    let address = BindAddress::Abstract(name.clone());
    let listener = Listener::bind(&address, 16).unwrap();
    assert_eq!(listener.to_string(), format!("unix:@{name}"));
    assert_eq!(listener.unix_path(), None);
    let found = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _client = UnixStream::connect_addr(&found).unwrap();
    let (stream, peer) = accept(&listener);
    assert_eq!(peer, None);
    assert_flags(stream.as_fd());
    let error = bind_abstract(&address, &name, 16).unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }), "{error}");
    crate::net::Listeners::from(listener).unlink();
    bind_abstract(&address, &name, 16).unwrap();
}

#[test]
fn an_abstract_name_that_is_too_long_is_an_error_that_names_it() {
    let address = BindAddress::Abstract("x".repeat(200));
    let error = Listener::bind(&address, 16).unwrap_err();
    assert!(error.to_string().contains("unix:@xxx"), "{error}");
}

#[test]
fn an_open_listener_is_known_by_every_text_for_its_address() {
    let at = |listener: &Listener, text: &str| listener.is_at(&text.parse().unwrap());
    let tcp = local();
    let port = tcp.socket_addr().unwrap().port();
    assert!(at(&tcp, &format!("localhost:{port}")));
    assert!(at(&tcp, &format!("fd://{}", tcp.as_fd().as_raw_fd())));
    assert!(!at(&tcp, &format!("0.0.0.0:{port}")));
    assert!(!at(&tcp, "127.0.0.1:0"));
    assert!(!at(&tcp, "unix:x"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let unix = Listener::bind(&BindAddress::Unix(path.clone()), 16).unwrap();
    assert!(at(&unix, &format!("unix:{}/./s", dir.path().display())));
    assert!(!at(&unix, "unix:@s"));
}
