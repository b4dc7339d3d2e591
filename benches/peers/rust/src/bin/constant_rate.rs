//! Asks at a constant rate, however fast answers come: `constant_rate ADDRESS RATE SECONDS CONNECTIONS`.
//!
//! Each request has a moment at which it is due. Its latency counts from there, also where all connections were busy then:
//! so a server that pauses is charged for every request that should have been sent meanwhile. Prints one line of JSON,
//! with latencies in microseconds.

use std::io::{Read, Result, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Reads one response, and tells whether it was a 200.
fn read_response(stream: &mut TcpStream, block: &mut Vec<u8>) -> Result<bool> {
    block.clear();
    let mut piece = [0; 16 * 1024];
    loop {
        match stream.read(&mut piece)? {
            0 => return Ok(false),
            n => block.extend_from_slice(&piece[..n]),
        }
        let text = String::from_utf8_lossy(block);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let length = length.and_then(|(_, value)| value.trim().parse::<usize>().ok());
            if length.is_some_and(|length| body.len() >= length) {
                return Ok(head.starts_with("HTTP/1.1 200"));
            }
        }
    }
}

/// Sends the requests of which no other connection has taken the number; returns latencies, and the number of errors.
fn ask(address: &str, start: Instant, interval: Duration, requests: u64, next: &AtomicU64) -> (Vec<u128>, u64) {
    let (mut latencies, mut errors, mut block) = (Vec::new(), 0, Vec::new());
    let mut stream = None;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= requests {
            return (latencies, errors);
        }
        let due = start + interval.mul_f64(number as f64);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let connection = stream.take().map_or_else(|| TcpStream::connect(address), Ok);
        let answered = connection.and_then(|mut connection| {
            connection.set_nodelay(true)?;
            connection.write_all(REQUEST)?;
            let right = read_response(&mut connection, &mut block)?;
            Ok((connection, right))
        });
        match answered {
            Ok((connection, true)) => {
                latencies.push(due.elapsed().as_micros());
                stream = Some(connection);
            }
            Ok((_, false)) | Err(_) => errors += 1,
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, rate, seconds, connections] = &arguments[..] else {
        panic!("constant_rate ADDRESS RATE SECONDS CONNECTIONS");
    };
    let number = |text: &String| text.parse::<f64>().expect("a number");
    let interval = Duration::from_secs_f64(1.0 / number(rate));
    let requests = (number(rate) * number(seconds)) as u64;
    let (start, next) = (Instant::now(), AtomicU64::new(0));
    let mut latencies = Vec::new();
    let mut errors = 0;
    thread::scope(|scope| {
        let ask = || ask(address, start, interval, requests, &next);
        let clients: Vec<_> = (0..number(connections) as usize)
            .map(|_| scope.spawn(ask))
            .collect();
        for client in clients {
            let (theirs, failed) = client.join().expect("a client does not panic");
            latencies.extend(theirs);
            errors += failed;
        }
    });
    latencies.sort_unstable();
    let quantile = |part: f64| {
        let at = (latencies.len() as f64 * part) as usize;
        latencies.get(at.min(latencies.len().saturating_sub(1))).copied().unwrap_or(0)
    };
    let (p50, p99, p999) = (quantile(0.5), quantile(0.99), quantile(0.999));
    let answered = latencies.len() as f64 / start.elapsed().as_secs_f64();
    println!("{{\"answered\": {answered:.0}, \"errors\": {errors}, \"p50\": {p50}, \"p99\": {p99}, \"p999\": {p999}}}");
}
