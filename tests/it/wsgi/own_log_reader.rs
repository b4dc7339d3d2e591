//! An application that reads what the server writes to its own error stream.

use crate::support::{Serve, eventually};

/// More than a pipe holds (pipe(7)).
const SIZE: usize = 300_000;

#[test]
fn log_waits_for_its_reader_without_holding_the_interpreter() {
    for threads in ["1", "2"] {
        let server = Serve::app("tee:app")
            .args(["--threads", threads, "--timeout", "20"])
            .start();
        // The arbiter's last line of a start would come between what the application passes on in pieces.
        server.stderr().wait_for("Ready in ");
        for (page, status) in [
            ("logged", 200),
            ("printed", 200),
            ("raised", 500),
            ("closed", 200),
        ] {
            for _ in 0..2 {
                server.get(&format!("/{page}?{SIZE}")).expect(status);
            }
        }
        eventually("what was logged is not whole", || {
            let lines = server.stderr().all();
            let whole = |line: &&String| line.matches('x').count() >= SIZE;
            (lines.iter().filter(whole).count() >= 8).then_some(())
        });
        server.stop();
    }
}
