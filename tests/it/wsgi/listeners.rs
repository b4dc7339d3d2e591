//! Where a server listens, and what it does with the files that belong to that.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Address, Exited, Serve, Server, root};

fn at(path: &Path) -> Serve {
    Serve::app("probe:app").bind([format!("unix:{}", path.display())])
}

#[track_caller]
fn assert_refused(exited: &Exited, words: &[&str]) {
    assert_eq!(exited.status, 1, "{exited:#?}");
    let last = exited.last();
    assert!(last.starts_with("Error: "), "{exited:#?}");
    for word in words {
        assert!(last.contains(word), "no {word:?} in {last:?}");
    }
}

// Gunicorn: G56, G62, S3
#[test]
fn every_form_of_address_is_bound() {
    for (bind, shown) in [
        ("127.0.0.1:0", "http://127.0.0.1:"),
        ("LocalHost:0", "http://127.0.0.1:"),
        (":0", "http://0.0.0.0:"),
        ("[::1]:0", "http://[::1]:"),
        ("tcp://127.0.0.1:0", "http://127.0.0.1:"),
    ] {
        if bind == "[::1]:0" && TcpListener::bind(bind).is_err() {
            continue; // a machine without IPv6
        }
        let server = Serve::app("probe:app").bind([bind]).start();
        let line = server.stderr().wait_for("Listening at: ");
        let pid = server.pid();
        assert!(
            line.contains(&format!("Listening at: {shown}")),
            "{bind}: {line}"
        );
        assert!(line.ends_with(&format!(" ({pid})")), "{bind}: {line}");
        server.get("/pid").expect(200);
        server.stop();
    }
}

// Gunicorn: W2
#[test]
fn several_addresses_are_served_side_by_side() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sock");
    let server = Serve::app("probe:app")
        .bind([
            "127.0.0.1:0",
            "127.0.0.1:0",
            &format!("unix:{}", path.display()),
        ])
        .start();
    assert_eq!(server.addresses.len(), 3);
    for address in &server.addresses {
        address.client().get("/pid").expect(200);
    }
    server.stop();
    assert!(!path.exists());
}

// Gunicorn: G59, G62
#[test]
fn unix_socket_has_gunicorns_mode_and_goes_with_the_server() {
    for prefix in ["unix:", "unix://"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("sock");
        let bind = format!("{prefix}{}", path.display());
        let server = Serve::app("probe:app").bind([&bind]).start();
        let mode = fs::metadata(&path)
            .expect("it is bound")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o777);
        let line = server.stderr().wait_for("Listening at: ");
        assert!(
            line.contains(&format!("unix:{} (", path.display())),
            "{line}"
        );
        server.get("/pid").expect(200);
        server.stop();
        assert!(!path.exists());
    }
}

// Gunicorn: S38, U27
#[test]
fn umask_is_for_sockets_and_for_the_applications_files() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (path, log) = (folder.path().join("sock"), folder.path().join("log"));
    let server = at(&path)
        .args(["--umask", "0027", "--access-logfile"])
        .args([&log])
        .start();
    let mode = |path: &Path| {
        fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(&path), 0o750);
    assert_eq!(mode(&log), 0o640);
    let worker = server.get("/pid").expect(200);
    let status = fs::read_to_string(format!("/proc/{}/status", worker.text())).expect("it lives");
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    assert_eq!(mask.map(str::trim), Some("0027"));
    server.stop();
}

// Gunicorn: G59
#[test]
fn dead_unix_socket_is_replaced() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sock");
    // Closing a listener leaves its file.
    drop(UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists());
    let server = at(&path).start();
    server.get("/pid").expect(200);
    server.stop();
}

// Gunicorn: G59
#[test]
fn live_unix_socket_and_ordinary_file_are_refused_untouched() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sock");
    let first = at(&path).start();
    let words = [path.to_str().expect("UTF-8"), "in use"];
    assert_refused(&at(&path).run(), &words);
    first.get("/pid").expect(200);
    first.stop();

    fs::write(&path, "precious").expect("the folder is writable");
    assert_refused(&at(&path).run(), &words[..1]);
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "precious");
}

// Gunicorn: G60
#[test]
fn abstract_socket_is_served_and_free_again_without_a_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let name = format!("@oxicorn-it-{}", std::process::id());
    let bind = format!("unix:{name}");
    for _ in 0..2 {
        let server = Serve::app("probe:app")
            .bind([&bind])
            .started_in(&folder)
            .start();
        let line = server.stderr().wait_for("Listening at: ");
        assert!(line.contains(&format!("{bind} (")), "{line}");
        server.get("/pid").expect(200);
        let exited = server.stop();
        assert!(!exited.stderr.iter().any(|line| line.contains("ERROR")));
    }
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 0);
}

#[test]
fn stopping_leaves_a_socket_that_another_server_has_put_there() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sock");
    let first = at(&path).start();
    fs::remove_file(&path).expect("it is there");
    let second = at(&path).start();
    first.stop();
    second.get("/pid").expect(200);
    second.stop();
}

// Gunicorn: G29, G61
#[test]
fn inherited_descriptor_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let server = Serve::app("probe:app")
        .bind(["fd://0"])
        .stdin(OwnedFd::from(listener))
        .start();
    assert!(matches!(server.address(), Address::Tcp(a) if *a == address));
    server.get("/pid").expect(200);
    server.stop();

    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let server = Serve::app("probe:app")
        .bind(["fd://0", "127.0.0.1:0"])
        .stdin(OwnedFd::from(listener))
        .start();
    // Both: an inherited one does not displace the others.
    assert_eq!(server.addresses.len(), 2);
    for address in &server.addresses {
        address.client().get("/pid").expect(200);
    }
    server.stop();
    let kind = fs::metadata(&path)
        .expect("it belongs to somebody else")
        .file_type();
    assert!(kind.is_socket());
}

/// Has a service manager's part played for this server: the socket is its descriptor 3.
fn activated(serve: Serve, socket: impl Into<OwnedFd>) -> Serve {
    let announce = "exec 3<&0 && export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web";
    let serve = serve.args(["probe:app"]).after(announce);
    serve.stdin(socket.into())
}

// Gunicorn: G27, G61
#[test]
fn activated_server_listens_on_its_other_addresses_as_well() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let url = format!("http://127.0.0.1:{port}");
    let apps = root().join("tests/apps");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sock");
    let serve = |binds: &[&str]| {
        let binds = binds.iter().flat_map(|bind| ["--bind", bind]);
        let socket = listener.try_clone().expect("a descriptor");
        activated(Serve::command_line(binds).chdir(&apps), socket).start()
    };

    // The usual address is opened only where there is no other.
    let server = serve(&[]);
    assert_eq!(server.addresses.len(), 1);
    let line = server.stderr().wait_for("Listening at: ");
    assert!(line.contains(&format!("{url} (")), "{line}");
    server.get("/pid").expect(200);
    server.stop();

    // One that is inherited is not opened again, by whatever name.
    let unix = format!("unix:{}", path.display());
    let server = serve(&[&format!("localhost:{port}"), "fd://3", &unix]);
    assert_eq!(server.addresses.len(), 2);
    server
        .stderr()
        .wait_for(&format!("Not opening fd://3: {url} was inherited"));
    server.signal(Signal::SIGHUP);
    server.stderr().wait_for("Retiring worker");
    for address in &server.addresses {
        address.client().get("/pid").expect(200);
    }
    server.stop();
    assert!(!path.exists());
}

// Gunicorn: G61
#[test]
fn descriptor_that_is_not_a_listening_socket_is_refused() {
    let exited = Serve::app("probe:app").bind(["fd://0"]).run();
    assert_refused(&exited, &["fd://0"]);
}

// Gunicorn: G63, G64, S34
#[test]
fn pid_file_holds_the_arbiters_pid_while_it_runs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("pid");
    let serve = || Serve::app("probe:app").args(["--pid".as_ref(), path.as_os_str()]);
    let server = serve().start();
    server.get("/pid").expect(200);
    let content = fs::read_to_string(&path).expect("it is written");
    assert_eq!(content, format!("{}\n", server.pid()));
    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o644);
    // With its lock.
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);

    // A second server is refused, and takes nothing away.
    let exited = serve().run();
    assert_refused(
        &exited,
        &[path.to_str().expect("UTF-8"), &server.pid().to_string()],
    );
    assert_eq!(fs::read_to_string(&path).expect("it is there"), content);
    server.stop();
    assert!(!path.exists());
}

// Gunicorn: G64
#[test]
fn stale_or_senseless_pid_file_is_replaced() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("pid");
    // Above the largest process id that Linux gives: proc_sys_kernel(5), pid_max.
    for content in ["99999999\n", "no number\n", ""] {
        fs::write(&path, content).expect("the folder is writable");
        let server = Serve::app("probe:app")
            .args(["--pid".as_ref(), path.as_os_str()])
            .start();
        server.get("/pid").expect(200);
        let now = fs::read_to_string(&path).expect("it is written");
        assert_eq!(now, format!("{}\n", server.pid()));
        server.stop();
        assert!(!path.exists());
    }
}

// Gunicorn: G65
#[test]
fn pid_file_of_another_process_is_left_alone_on_stop() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("pid");
    let server = Serve::app("probe:app")
        .args(["--pid".as_ref(), path.as_os_str()])
        .start();
    server.get("/pid").expect(200);
    fs::write(&path, "1\n").expect("the folder is writable");
    server.stop();
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "1\n");
}

// Gunicorn: G57
#[test]
fn port_is_free_again_at_once() {
    let server = Serve::app("probe:app").start();
    // The server's side closes first, so that its port goes through TIME_WAIT.
    let mut client = server.client();
    client.send("GET /pid HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.response().expect(200);
    client.expect_end();
    let Address::Tcp(address) = server.address().clone() else {
        unreachable!("it listens on a port");
    };
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().status, 0);
    let again: Server = Serve::app("probe:app").bind([address.to_string()]).start();
    assert!(!again.stderr().contain("in use"));
    again.get("/pid").expect(200);
    again.stop();
}

#[test]
fn server_starts_and_has_its_socket_where_there_is_no_proc() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("socket");
    let mounted = std::process::Command::new("unshare")
        .args(["--mount", "mount", "-t", "tmpfs", "none", "/proc"])
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("this process may not mount anything");
        return;
    }
    let prelude = "[ -n \"$INNER\" ] || INNER=1 exec unshare --mount sh -c \
                   'mount -t tmpfs none /proc && exec \"$0\" \"$@\"' \"$0\" \"$@\"";
    let server = Serve::app("probe:app")
        .bind([format!("unix:{}", socket.display())])
        .after(prelude)
        .start();
    server.get("/pid").expect(200);
    let mode = fs::metadata(&socket)
        .expect("it is bound")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o777);
    server.stop();
}

// Gunicorn: S4
#[test]
fn backlog_bounds_what_the_kernel_queues() {
    for (backlog, all) in [("1", false), ("64", true)] {
        let server = Serve::app("probe:app").args(["--backlog", backlog]).start();
        let Address::Tcp(address) = *server.address() else {
            panic!("it listens on TCP");
        };
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_secs(1));
        server.workers(1);
        server.signal(Signal::SIGWINCH);
        server.workers(0);
        // No worker accepts them. Past the backlog the kernel answers no more.
        let connected: Vec<_> = (0..5).map_while(|number| connect(number).ok()).collect();
        assert_eq!(connected.len() == 5, all, "{}", connected.len());
        server.stop();
    }
}
