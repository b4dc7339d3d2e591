//! [`Client`]: what one client means to send, when, how it reads, and its own books of what it got.

use std::collections::VecDeque;
use std::time::Duration;

use super::dice::Dice;
use super::network::Network;
use super::response::{Got, parse};
use crate::time::MonoTime;

/// Of this all bodies are parts, each from an offset of its own.
pub(super) fn content(client: usize, request: usize, len: usize) -> &'static [u8] {
    const PERIOD: usize = 23;
    static ALL: [u8; 8192] = {
        let mut all = [0; 8192];
        let mut at = 0;
        while at < all.len() {
            all[at] = b'a' + (at % PERIOD) as u8;
            at += 1;
        }
        all
    };
    let offset = (client * 7 + request * 3) % PERIOD;
    &ALL[offset..offset + len]
}

/// What a service is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Whole,
    Chunks,
    File,
    /// Reads the body first.
    ReadsFirst,
    Hints,
    /// Fails before its response has begun.
    Fails,
    /// Fails later.
    FailsMidway,
    /// Announces more than it gives.
    TooShort,
    /// Takes longer than it may.
    Long,
    /// No request at all.
    Malformed,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) mode: Mode,
    /// The size of its response.
    pub(super) size: usize,
    /// The size of its own body.
    pub(super) body: usize,
    pub(super) chunked: bool,
    pub(super) is_head: bool,
    pub(super) is_http10: bool,
    /// Where in all that is sent its head begins, its body begins, and it ends.
    pub(super) start: usize,
    pub(super) middle: usize,
    pub(super) end: usize,
}

#[derive(Clone, Copy, Debug)]
enum Move {
    /// Sends up to this offset of all.
    Send(usize),
    Pause(Duration),
    /// Waits until so many are answered.
    Await(usize),
    End,
    Reset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Eager,
    /// So many bytes every so often.
    Slow(usize, Duration),
    Never,
}

#[allow(clippy::struct_excessive_bools)]
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: usize,
    pub(super) born: MonoTime,
    pub(super) requests: Vec<Request>,
    stream: Vec<u8>,
    moves: VecDeque<Move>,
    /// When it acts next; `None` where it waits for something.
    pub(super) next_at: Option<MonoTime>,
    pub(super) reading: Reading,
    read_at: MonoTime,
    /// It does all that is expected of a client.
    pub(super) is_honest: bool,
    /// How much it has sent, when it did that last, and when it began the request that it is in.
    pub(super) sent: usize,
    pub(super) sent_at: MonoTime,
    pub(super) head_since: MonoTime,
    pub(super) body_since: MonoTime,
    /// How many responses it has got, when it got something last, and what of the next one.
    pub(super) answered: usize,
    pub(super) got_at: MonoTime,
    pub(super) received: Vec<u8>,
    /// It was told that nothing more comes.
    pub(super) is_over: bool,
    /// It has seen the connection's end, or made it.
    pub(super) is_done: bool,
    pub(super) has_ended: bool,
    pub(super) has_reset: bool,
    pub(super) preamble: bool,
}

impl Client {
    pub(super) fn new(network: &Network, dice: &mut Dice, with_preamble: bool) -> Self {
        let is_honest = dice.percent(45);
        let room = if is_honest || dice.percent(50) {
            100_000
        } else {
            dice.pick(&[64, 300, 700])
        };
        let id = network.connect(room, dice.percent(20));
        let now = network.now();
        let mut client = Self {
            id,
            born: now,
            requests: Vec::new(),
            stream: Vec::new(),
            moves: VecDeque::new(),
            next_at: Some(now),
            reading: Reading::Eager,
            read_at: now,
            is_honest,
            sent: 0,
            sent_at: now,
            head_since: now,
            body_since: now,
            answered: 0,
            got_at: now,
            received: Vec::new(),
            is_over: false,
            is_done: false,
            has_ended: false,
            has_reset: false,
            preamble: with_preamble && dice.percent(60),
        };
        if client.preamble {
            client
                .stream
                .extend_from_slice(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n");
        }
        for _ in 0..dice.pick(&[1, 1, 2, 3, 5]) {
            client.ask(dice);
        }
        client.plan(network, dice);
        client
    }

    fn ask(&mut self, dice: &mut Dice) {
        const KIND: [Mode; 6] = [
            Mode::Whole,
            Mode::Whole,
            Mode::Chunks,
            Mode::File,
            Mode::ReadsFirst,
            Mode::Hints,
        ];
        const UNKIND: [Mode; 7] = [
            Mode::Fails,
            Mode::FailsMidway,
            Mode::TooShort,
            Mode::Long,
            Mode::Long,
            Mode::Long,
            Mode::Malformed,
        ];
        let mode = if self.is_honest || dice.percent(70) {
            dice.pick(&KIND)
        } else {
            dice.pick(&UNKIND)
        };
        let size = match dice.index(20) {
            0 | 1 => 600 + dice.index(3000),
            _ => dice.index(60),
        };
        let body = match dice.index(20) {
            0..9 => 0,
            9..13 => 1 + dice.index(40),
            13..18 => 200 + dice.index(400),
            _ if self.is_honest => 0,
            _ => dice.pick(&[650, 2100]),
        };
        let (start, number) = (self.stream.len(), self.requests.len());
        let mut request = Request {
            mode,
            size,
            body,
            chunked: dice.percent(40),
            is_head: body == 0 && dice.percent(5),
            is_http10: dice.percent(5),
            start,
            middle: 0,
            end: 0,
        };
        request.chunked &= !request.is_http10;
        if mode == Mode::Malformed {
            self.stream
                .extend_from_slice(b"GET / HTTP/1.1\r\nno field\r\n\r\n");
            request.middle = self.stream.len();
        } else {
            let method = match (request.is_head, body) {
                (true, _) => "HEAD",
                (false, 0) => "GET",
                (false, _) => "POST",
            };
            let version = u8::from(!request.is_http10);
            let length = match (body, request.chunked) {
                (0, _) => String::new(),
                (_, true) => "Transfer-Encoding: chunked\r\n".to_owned(),
                (len, false) => format!("Content-Length: {len}\r\n"),
            };
            let expect = if body > 0 && dice.percent(10) {
                "Expect: 100-continue\r\n"
            } else {
                ""
            };
            let close = if dice.percent(5) {
                "Connection: close\r\n"
            } else {
                ""
            };
            let head = format!(
                "{method} /{}/{number} HTTP/1.{version}\r\nHost: a\r\n{length}{expect}{close}\r\n",
                self.id
            );
            self.stream.extend_from_slice(head.as_bytes());
            request.middle = self.stream.len();
            let bytes = content(self.id, number, body);
            if body > 0 && request.chunked {
                let (one, two) = bytes.split_at(dice.index(body));
                for part in [one, two].into_iter().filter(|part| !part.is_empty()) {
                    let size = format!("{:x}\r\n", part.len());
                    self.stream.extend_from_slice(size.as_bytes());
                    self.stream.extend_from_slice(part);
                    self.stream.extend_from_slice(b"\r\n");
                }
                self.stream.extend_from_slice(b"0\r\n\r\n");
            } else {
                self.stream.extend_from_slice(bytes);
            }
        }
        request.end = self.stream.len();
        self.requests.push(request);
    }

    /// Decides how all of that is sent and read.
    fn plan(&mut self, network: &Network, dice: &mut Dice) {
        let mut network = network.state();
        let all = self.stream.len();
        let moves = &mut self.moves;
        let style = dice.index(if self.is_honest { 4 } else { 11 });
        let stop = dice.index(all) + 1;
        match style {
            0 => {
                network.count("pipeline");
                moves.push_back(Move::Send(all));
            }
            1 | 2 => {
                for (number, request) in self.requests.iter().enumerate() {
                    moves.push_back(Move::Send(request.end));
                    moves.push_back(Move::Await(number + 1));
                    if dice.percent(30) {
                        moves.push_back(Move::Pause(dice.millis(1, 300)));
                    }
                }
            }
            3 | 4 => {
                network.count("cuts");
                let mut at = 0;
                while at < all {
                    at = (at + 1 + dice.index(120)).min(all);
                    moves.push_back(Move::Send(at));
                    moves.push_back(Move::Pause(dice.millis(0, 30)));
                }
            }
            5 => {
                network.count("drip");
                let mut at = dice.index(all);
                moves.push_back(Move::Send(at));
                while at < all {
                    at = (at + 1 + dice.index(12)).min(all);
                    moves.push_back(Move::Pause(dice.millis(100, 900)));
                    moves.push_back(Move::Send(at));
                }
            }
            6..=9 => {
                network.count("stall");
                let bodies = self.requests.iter().filter(|it| it.body > 1 && !it.chunked);
                let within = bodies.max_by_key(|it| it.body).map(|it| it.end - 1);
                let stop = match style {
                    6 => stop,
                    7 if dice.percent(50) => 0,
                    _ => within.unwrap_or(stop),
                };
                moves.push_back(Move::Send(stop));
            }
            _ => {
                network.count("reset");
                moves.push_back(Move::Send(stop));
                moves.push_back(Move::Pause(dice.millis(0, 400)));
                moves.push_back(Move::Reset);
            }
        }
        if style < 5 && dice.percent(25) {
            network.count("half-close");
            moves.push_back(Move::End);
        }
        if !self.is_honest && dice.percent(30) {
            network.count("slow reader");
            self.reading = if dice.percent(60) {
                Reading::Never
            } else {
                Reading::Slow(40 + dice.index(200), dice.millis(50, 700))
            };
        }
    }

    /// What was sent last is a part of this request.
    pub(super) fn sending(&self) -> Option<(usize, &Request)> {
        let at = self.requests.iter().position(|it| self.sent < it.end)?;
        Some((at, &self.requests[at])).filter(|(_, request)| self.sent > request.start)
    }

    /// How many requests are sent to their ends.
    pub(super) fn asked(&self) -> usize {
        self.requests
            .iter()
            .filter(|it| it.end <= self.sent)
            .count()
    }

    /// Makes the moves that are due; tells how many those were.
    pub(super) fn act(&mut self, network: &Network) -> u64 {
        let now = network.now();
        let mut acts = 0;
        while !self.is_done && self.next_at.is_some_and(|at| at <= now) {
            let Some(&next) = self.moves.front() else {
                self.next_at = None;
                break;
            };
            match next {
                Move::Send(to) => {
                    let from = self.sent;
                    self.sent = to.max(from);
                    self.sent_at = now;
                    for request in &self.requests {
                        if (request.start..request.middle).contains(&from) || from <= request.start
                        {
                            if self.sent > request.start && from <= request.start {
                                self.head_since = now;
                            }
                            if self.sent >= request.middle {
                                self.body_since = now;
                            }
                        }
                    }
                    network.send(self.id, &self.stream[from..self.sent]);
                }
                Move::Pause(time) => self.next_at = Some(now + time),
                Move::Await(count) if self.answered < count && !self.is_over => {
                    self.next_at = None;
                    break;
                }
                Move::Await(_) => {}
                Move::End => {
                    self.has_ended = true;
                    network.end(self.id);
                }
                Move::Reset => {
                    self.has_reset = true;
                    self.is_done = true;
                    network.reset(self.id);
                }
            }
            self.moves.pop_front();
            acts += 1;
        }
        acts
    }

    /// When it does something by itself.
    pub(super) fn wakes(&self) -> Option<MonoTime> {
        let reads = match self.reading {
            Reading::Slow(..) if !self.is_done => Some(self.read_at),
            _ => None,
        };
        self.next_at.into_iter().chain(reads).min()
    }

    /// Reads as it is its way: what it got.
    pub(super) fn read(&mut self, network: &Network) -> Vec<Got> {
        let now = network.now();
        let most = match self.reading {
            _ if self.is_done => return Vec::new(),
            Reading::Eager => usize::MAX,
            Reading::Never => 0,
            Reading::Slow(_, _) if now < self.read_at => return Vec::new(),
            Reading::Slow(most, every) => {
                self.read_at = now + every;
                most
            }
        };
        let before = self.received.len();
        network.receive(self.id, most, &mut self.received);
        let came = self.received.len() > before;
        if came {
            self.got_at = now;
        }
        let is_end = {
            let state = network.state();
            let end = &state.sockets[self.id];
            end.server_ended && end.sent.is_empty()
        };
        let mut all = Vec::new();
        if !came && !is_end {
            return all;
        }
        loop {
            let request = self.requests.get(self.answered);
            let is_head = request.is_some_and(|request| request.is_head);
            let Some(mut got) = parse(&mut self.received, is_head, is_end) else {
                break;
            };
            got.number = self.answered;
            if got.status >= 200 {
                self.answered += 1;
                self.is_over |= got.close;
            }
            all.push(got);
        }
        if is_end {
            self.is_done = true;
        }
        if self.next_at.is_none() && !all.is_empty() && !self.moves.is_empty() {
            self.next_at = Some(now);
        }
        all
    }
}
