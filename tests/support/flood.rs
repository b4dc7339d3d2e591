//! A client that sends requests without a pause, and takes all answers.
//!
//! It asks for what takes the service a moment: else the server would come to the end of what has arrived.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::eventually;

/// How long `/slow` is to take a service.
pub(crate) const MOMENT: Duration = Duration::from_millis(1);

/// Two threads of one client.
pub(crate) struct Flood {
    stream: TcpStream,
    threads: [JoinHandle<()>; 2],
}

impl Flood {
    /// Begins; its requests are being answered when this returns.
    ///
    /// # Panics
    ///
    /// Where they are not.
    pub(crate) fn begin(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        let [mut output, mut input] = [(); 2].map(|()| stream.try_clone().unwrap());
        let sender = thread::spawn(move || {
            let requests = "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2000);
            while output.write_all(requests.as_bytes()).is_ok() {}
        });
        let taken = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&taken);
        let reader = thread::spawn(move || {
            let mut answers = vec![0; 1 << 16];
            while let Ok(count @ 1..) = input.read(&mut answers) {
                counted.fetch_add(count as u64, Ordering::Relaxed);
            }
        });
        eventually("no answers", || {
            (taken.load(Ordering::Relaxed) >= 5_000).then_some(())
        });
        Self {
            stream,
            threads: [sender, reader],
        }
    }

    /// Ends, whether or not the server has closed the connection.
    ///
    /// # Panics
    ///
    /// Where one of its threads has.
    pub(crate) fn end(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}
