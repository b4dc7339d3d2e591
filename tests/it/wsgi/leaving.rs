//! How Python ends in a worker.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::Serve;

#[test]
fn leaving_worker_waits_for_its_threads_and_calls_atexit_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = Serve::app("leaves:app")
            .env("LEAVES_FOLDER", folder.path())
            .start();
        let page = server.get("/").expect(200);
        let pid = page.text();
        server.signal(signal);
        let exited = server.wait();
        assert_eq!(exited.status, 0, "{exited:#?}");
        for name in ["thread", "atexit"] {
            let left = fs::read_to_string(folder.path().join(name)).unwrap_or_default();
            assert_eq!(left.trim(), pid, "{signal}, {name}: {exited:#?}");
        }
        for words in [
            "Waiting for the application's threads that are not daemons: background",
            "RuntimeError: the last words",
        ] {
            assert!(
                exited.stderr.iter().any(|line| line.ends_with(words)),
                "no {words:?} in {exited:#?}"
            );
        }
    }
}
