//! [`Console`]: what an operator sees of a server beside its log: a banner once it is ready, and the progress of a
//! start, a reload or a stop that takes long.
//!
//! It keeps no account of workers: what it shows is what a [`Handle`] tells at that moment. On a terminal, progress is
//! one line that is written over; elsewhere it is a line of the log at growing intervals.

use std::fmt::Write as _;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::arbiter::{ArbiterEvent, ArbiterState, Attachment, Handle, WorkerStatus};
use crate::config::Settings;
use crate::ipc::scoreboard::WorkerState;
#[cfg(feature = "tracing")]
use crate::log;
use crate::server::ServerBuilder;
use crate::sys::{daemon, sigpipe, terminal};
use crate::time::MonoTime;
use crate::trace;

/// When progress is shown in a log for the first time. Each further time is after twice as long.
const SLOW: Duration = Duration::from_secs(3);

/// The same on a terminal, and the time between two times.
const SLOW_ON_TERMINAL: Duration = Duration::from_secs(1);

/// The most workers whose work is shown.
const MOST: usize = 3;

/// Erases the line in which the cursor is (`console_codes(4)`).
const ERASE: &str = "\r\x1b[K";

#[derive(Clone)]
pub(super) struct Console(Arc<Mutex<State>>);

struct State {
    /// The program, Python, and the application.
    title: String,
    begun: MonoTime,
    addresses: String,
    is_terminal: bool,
    /// What takes its time now.
    phase: Option<Phase>,
    was_ready: bool,
}

struct Phase {
    name: &'static str,
    begun: MonoTime,
    due: MonoTime,
    /// Whether the terminal shows a line of it.
    is_shown: bool,
}

impl Console {
    /// The console of a program that began at that time.
    pub(super) fn new(program: String, settings: &Settings, begun: MonoTime) -> Self {
        #[cfg_attr(
            not(feature = "wsgi"),
            expect(unused_mut, reason = "there is no Python")
        )]
        let mut title = program;
        #[cfg(feature = "wsgi")]
        if let Some(app) = &settings.wsgi_app {
            // Writing to memory cannot fail.
            let _ = write!(title, ", Python {}, {app}", crate::python::ffi::version());
        }
        let level = settings.loglevel.to_ascii_lowercase();
        let is_told = matches!(&*level, "debug" | "info") && settings.errorlog.as_os_str() == "-";
        let is_terminal = is_told && !daemon::is_daemon() && terminal::is_capable(&io::stderr());
        Self(Arc::new(Mutex::new(State {
            title,
            begun,
            addresses: String::new(),
            is_terminal,
            phase: None,
            was_ready: false,
        })))
    }

    /// Has a server's arbiter keep the console up to date.
    pub(super) fn follow(self, server: ServerBuilder) -> ServerBuilder {
        #[cfg(feature = "tracing")]
        if self.with(|state| state.is_terminal) {
            log::begin_lines_with(ERASE);
        }
        let observer = self.clone();
        server
            .observe(move |event, _| observer.with(|state| state.on_event(event)))
            .attach(self)
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Attachment for Console {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn deadline(&self) -> Option<MonoTime> {
        self.with(|state| state.phase.as_ref().map(|phase| phase.due))
    }

    fn ready(&mut self, handle: &Handle) {
        let (state, workers) = (handle.status().state, handle.workers());
        self.with(|console| console.look(MonoTime::now(), state, &workers));
    }
}

impl State {
    fn on_event(&mut self, event: &ArbiterEvent) {
        match event {
            ArbiterEvent::Starting => self.begin("Starting"),
            ArbiterEvent::Reloading => self.begin("Reloading"),
            ArbiterEvent::Stopping => self.begin("Stopping"),
            ArbiterEvent::Started { listeners } => {
                let urls: Vec<String> = listeners.iter().map(ToString::to_string).collect();
                self.addresses = urls.join(", ");
            }
            ArbiterEvent::Ready { workers } if !self.was_ready => {
                self.was_ready = true;
                self.banner(*workers);
            }
            ArbiterEvent::Ended => self.end(),
            _ => {}
        }
    }

    fn begin(&mut self, name: &'static str) {
        let begun = MonoTime::now();
        let due = begun
            + if self.is_terminal {
                SLOW_ON_TERMINAL
            } else {
                SLOW
            };
        self.phase = Some(Phase {
            name,
            begun,
            due,
            is_shown: false,
        });
    }

    fn end(&mut self) {
        if self.phase.take().is_some_and(|phase| phase.is_shown) {
            show(ERASE);
        }
    }

    fn banner(&self, workers: usize) {
        let took = MonoTime::now().since(self.begun).as_millis();
        let (title, at, workers) = (&self.title, &self.addresses, counted(workers, "worker"));
        if self.is_terminal {
            let title = terminal::bold(&io::stderr(), title);
            let at = terminal::bold(&io::stderr(), at);
            show(&format!(
                "{ERASE}\n  {title}\n  {at}\n  ready in {took} ms, {workers}\n\n"
            ));
        } else {
            trace::info!("Ready in {took} ms: {title} at {at}, {workers}");
        }
    }

    /// Shows what is waited for, and sets when to look again.
    fn look(&mut self, now: MonoTime, state: ArbiterState, workers: &[WorkerStatus]) {
        let Some(phase) = &mut self.phase else {
            return;
        };
        let elapsed = now.since(phase.begun);
        let is_awaited = |worker: &&WorkerStatus| match state {
            ArbiterState::Stopping => true,
            _ if worker.state == WorkerState::Draining => worker.age >= elapsed,
            ArbiterState::Starting | ArbiterState::Reloading => {
                worker.state == WorkerState::Starting
            }
            _ => false,
        };
        let awaited: Vec<&WorkerStatus> = workers.iter().filter(is_awaited).collect();
        let goes_on = matches!(
            state,
            ArbiterState::Starting | ArbiterState::Reloading | ArbiterState::Stopping
        );
        if awaited.is_empty() && !goes_on {
            self.end();
            return;
        }
        let text = progress(phase.name, elapsed, &awaited);
        if self.is_terminal {
            phase.due = now + SLOW_ON_TERMINAL;
            phase.is_shown = true;
            // The terminal cuts what is too long for one line.
            show(&format!("{ERASE}\x1b[?7l{text}\x1b[?7h\r"));
        } else {
            phase.due = now + elapsed;
            trace::info!("{text}");
        }
    }
}

/// What takes its time, and which workers are waited for.
fn progress(name: &str, elapsed: Duration, awaited: &[&WorkerStatus]) -> String {
    let workers = counted(awaited.len(), "worker");
    let mut text = format!("{name} for {} s, waiting for {workers}", elapsed.as_secs());
    for (index, worker) in awaited.iter().take(MOST).enumerate() {
        let before = if index == 0 { ": " } else { ", " };
        // Writing to memory cannot fail.
        let _ = write!(text, "{before}pid {} ({})", worker.pid, work(worker));
    }
    if awaited.len() > MOST {
        let _ = write!(text, " and {} more", awaited.len() - MOST);
    }
    text
}

/// What a worker that is waited for does.
fn work(worker: &WorkerStatus) -> String {
    let more = match worker.current.len() {
        0 | 1 => String::new(),
        all => format!(", and {} more", all - 1),
    };
    match worker.current.first() {
        Some(request) => {
            let (method, target) = (&request.method, request.target.escape_debug());
            format!("{method} {target} for {} s{more}", request.age.as_secs())
        }
        None if worker.state == WorkerState::Starting => {
            format!("starting for {} s", worker.age.as_secs())
        }
        None if worker.connections == 0 => "ending".to_owned(),
        None => counted(worker.connections as usize, "connection"),
    }
}

fn counted(number: usize, word: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {word}{plural}")
}

fn show(text: &str) {
    // The terminal may be gone.
    let _ = sigpipe::write_all(io::stderr(), text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbiter::CurrentRequest;

    fn worker(pid: i32, state: WorkerState, age: u64, requests: &[(&str, u64)]) -> WorkerStatus {
        let requests = requests.iter().map(|(target, age)| CurrentRequest {
            method: "GET".to_owned(),
            target: (*target).to_owned(),
            age: Duration::from_secs(*age),
            thread: 0,
        });
        WorkerStatus {
            id: 1,
            generation: 1,
            threads: 1,
            group: "main".into(),
            pid,
            age: Duration::from_secs(age),
            silence: Duration::ZERO,
            state,
            connections: 2,
            requests: 0,
            current: requests.collect(),
        }
    }

    /// A console of a log, in whose view a reload began so many seconds ago.
    fn reloading(seconds: u64, now: MonoTime) -> State {
        let console = Console::new("shopd 2.1".to_owned(), &Settings::default(), now);
        let mut state = Arc::into_inner(console.0).unwrap().into_inner().unwrap();
        state.is_terminal = false;
        state.begin("Reloading");
        let phase = state.phase.as_mut().unwrap();
        assert_eq!(phase.due, phase.begun + SLOW);
        phase.begun = now - Duration::from_secs(seconds);
        state
    }

    #[test]
    fn progress_says_which_workers_are_waited_for_and_why() {
        let draining = WorkerState::Draining;
        let mut ending = worker(14, draining, 90, &[]);
        ending.connections = 0;
        let workers = [
            worker(11, WorkerState::Starting, 5, &[]),
            worker(12, draining, 90, &[("/a\u{9b}", 7), ("/b", 1)]),
            worker(13, draining, 90, &[]),
            ending,
        ];
        let text = |count: usize| {
            let awaited: Vec<_> = workers.iter().skip(4 - count).collect();
            progress("Stopping", Duration::from_millis(6_500), &awaited)
        };
        assert_eq!(
            text(1),
            "Stopping for 6 s, waiting for 1 worker: pid 14 (ending)"
        );
        assert_eq!(
            text(4),
            "Stopping for 6 s, waiting for 4 workers: pid 11 (starting for 5 s), pid 12 (GET /a\\u{9b} for 7 s, and 1 \
             more), pid 13 (2 connections) and 1 more"
        );
    }

    #[test]
    fn a_log_is_told_at_growing_intervals() {
        let now = MonoTime::now();
        for seconds in [3, 6, 12] {
            let mut console = reloading(seconds, now);
            let starting = [worker(11, WorkerState::Starting, seconds, &[])];
            console.look(now, ArbiterState::Reloading, &starting);
            let due = console.phase.map(|phase| phase.due);
            assert_eq!(due, Some(now + Duration::from_secs(seconds)));
        }
    }

    #[test]
    fn a_reload_lasts_until_the_old_workers_have_gone() {
        let now = MonoTime::now();
        let mut console = reloading(3, now);
        let serving = ArbiterState::Serving;
        let old = worker(11, WorkerState::Draining, 90, &[("/slow", 9)]);
        let mut look = |state, workers: &[WorkerStatus]| {
            console.look(now, state, workers);
            console.phase.is_some()
        };
        assert!(look(ArbiterState::Reloading, &[]));
        assert!(look(serving, &[old]));
        // What comes later is no part of it.
        let recycled = worker(12, WorkerState::Draining, 1, &[]);
        let starting = worker(13, WorkerState::Starting, 1, &[]);
        assert!(!look(serving, &[recycled, starting]));
    }
}
