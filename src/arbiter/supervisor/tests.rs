//! Each rule of the supervisor, step by step, with a clock that stands still until it is moved.

mod groups;
mod lifecycle;
mod renewal;
mod stopping;
mod watching;

use super::simulator::number;
use super::*;

mod succession;

const DEFAULT: Policy = Policy {
    workers: 2,
    timeout: Some(Duration::from_secs(30)),
    request_timeout: None,
    max_requests: None,
    max_requests_jitter: 0,
    max_worker_age: None,
    max_worker_memory: None,
    calls: 1,
    boot_timeout: Some(Duration::from_secs(120)),
    graceful_timeout: Duration::from_secs(10),
    upgrade_retire: false,
};
const SLOTS: usize = 8;

/// A supervisor, its clock, and a kernel that forks what it is asked for: worker 1 is process 101.
struct Scene {
    supervisor: Supervisor,
    now: MonoTime,
    next: Option<MonoTime>,
    forks_fail: bool,
    /// How many generations there were.
    generations: u64,
}

fn pid(id: u64) -> i32 {
    100 + i32::try_from(id).unwrap()
}

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// `SIGTERM 101`
fn order(order: WorkerSignal, id: u64) -> String {
    format!("{order} {}", pid(id))
}

impl Scene {
    fn new(policy: Policy) -> Self {
        Self::of(&[policy])
    }

    /// With a group for each of these.
    fn of(policies: &[Policy]) -> Self {
        let mut generations = 0;
        let supervised = number(policies, &mut generations);
        Self {
            supervisor: Supervisor::new(supervised, SLOTS),
            generations,
            now: MonoTime::ZERO + Duration::from_secs(1000),
            next: None,
            forks_fail: false,
        }
    }

    /// Two workers that have been ready for a minute, beating.
    fn serving() -> Self {
        let mut scene = Self::new(DEFAULT);
        scene.wake();
        scene.ready(1);
        scene.ready(2);
        for _ in 0..6 {
            scene.pass(10.0);
            scene.beat(1);
            scene.beat(2);
            scene.wake();
        }
        scene
    }

    /// What comes out of an input, as words, with forks done at once.
    fn input(&mut self, input: Input) -> Vec<String> {
        let mut words = Vec::new();
        let mut inputs = vec![input];
        while !inputs.is_empty() {
            let mut actions = Vec::new();
            for input in inputs.drain(..) {
                self.next = self.supervisor.step(self.now, input, &mut actions);
            }
            for action in actions {
                if let Action::Ask(Request::Spawn { id, .. }) = action {
                    inputs.push(if self.forks_fail {
                        let reason = "no more processes".into();
                        Input::ForkFailed { id, reason }
                    } else {
                        Input::Forked { id, pid: pid(id) }
                    });
                }
                if !matches!(action, Action::Ready | Action::Resized { .. }) {
                    words.push(describe(&action));
                }
            }
        }
        words
    }

    /// Settings were read that say this of the groups.
    fn loaded(&mut self, policies: &[Policy]) -> Vec<String> {
        let supervised = number(policies, &mut self.generations);
        self.input(Input::Loaded(supervised))
    }

    fn queue_id(&mut self, id: u64) -> usize {
        let row = self.supervisor.table.get_mut(id);
        row.expect("there is such a worker").queue_id
    }

    fn wake(&mut self) -> Vec<String> {
        self.input(Input::Wake)
    }

    fn command(&mut self, command: Command) -> Vec<String> {
        self.input(Input::Command(command))
    }

    fn ready(&mut self, id: u64) {
        assert!(self.input(Input::Ready { id }).len() <= 2);
    }

    fn beat(&mut self, id: u64) {
        let at = self.now;
        assert!(self.input(Input::Beat { id, at }).is_empty());
    }

    fn exit(&mut self, id: u64, exit: Exit) -> Vec<String> {
        self.input(Input::Exited {
            pid: pid(id),
            exit,
            ready: false,
            words: None,
        })
    }

    fn exit_with_words(&mut self, id: u64, app: bool, sentence: &str) -> Vec<String> {
        self.input(Input::Exited {
            pid: pid(id),
            exit: Exit::Code(3),
            ready: false,
            words: Some(LastWords {
                app,
                sentence: sentence.into(),
            }),
        })
    }

    /// Lets time pass, in which the supervisor looks up as it has planned, and finds nothing to do.
    #[track_caller]
    fn pass(&mut self, seconds: f64) {
        let end = self.now + secs(seconds);
        while let Some(next) = self.next.filter(|next| *next < end) {
            self.now = next;
            assert_eq!(self.wake(), [""; 0]);
        }
        self.now = end;
    }

    /// Lets time pass in which the arbiter does not run.
    fn stand_still(&mut self, seconds: f64) {
        self.now = self.now + secs(seconds);
    }

    /// When something is due: whatever the supervisor looks up for before is nothing.
    fn due(&self) -> Option<MonoTime> {
        self.supervisor.next(self.now)
    }

    /// Goes to the moment when something is due, and wakes the supervisor.
    #[track_caller]
    fn wake_as_planned(&mut self) -> Vec<String> {
        let due = self.due().expect("nothing is planned");
        self.pass(due.since(self.now).as_secs_f64());
        self.now = self.now.max(due);
        self.wake()
    }

    /// Plays a scene: what happens, and what comes of it.
    #[track_caller]
    fn play(&mut self, lines: &[(&str, &str)]) {
        for (event, outcome) in lines {
            assert_eq!(self.happens(event).join(", "), *outcome, "after {event:?}");
        }
    }

    fn happens(&mut self, event: &str) -> Vec<String> {
        let (verb, number) = event.split_once(' ').unwrap_or((event, "0"));
        let id: u64 = number.parse().unwrap();
        let count: usize = number.parse().unwrap();
        match verb {
            "reload" => {
                let first = self.command(Command::Reload);
                first.into_iter().chain(self.wake()).collect()
            }
            "rest" => self.command(Command::Quiesce),
            "grow" => self.command(Command::Grow),
            "shrink" => self.command(Command::Shrink),
            "scale" => self.command(Command::Scale(GroupId::FIRST, count)),
            "reopen" => self.command(Command::ReopenLogs),
            "stop" => self.command(Command::Stop),
            "stop-now" => self.command(Command::StopNow),
            "loaded" => self.loaded(&[Policy {
                workers: count,
                ..DEFAULT
            }]),
            "unreadable" => self.input(Input::LoadFailed),
            "ready" => self.input(Input::Ready { id }),
            "beats" => self.input(Input::Beat { id, at: self.now }),
            "recycle" => self.input(Input::RecycleDue {
                id,
                reason: RecycleReason::Requests(9),
            }),
            "leaves" => self.exit(id, Exit::Code(0)),
            "fails" => self.exit(id, Exit::Code(3)),
            "is-killed" => self.exit(id, Exit::Signal(Signal::SIGKILL)),
            "wake" => self.wake(),
            "deadline" => self.wake_as_planned(),
            "pass" => {
                self.pass(Duration::from_secs(id).as_secs_f64());
                Vec::new()
            }
            _ => panic!("{event} is nothing that happens"),
        }
    }

    #[track_caller]
    fn expect_next_in(&self, seconds: f64) {
        assert_eq!(self.due(), Some(self.now + secs(seconds)));
    }
}

fn describe(action: &Action) -> String {
    match action {
        Action::Ask(Request::Spawn { id, slot, .. }) => format!("spawn {id} in {slot}"),
        Action::Signal { pid, order, .. } => format!("{order} {pid}"),
        Action::Reaped(report) => match report.retry {
            Some(pause) => format!("bury {}, retry in {pause:?}", report.id),
            None => format!("bury {}", report.id),
        },
        Action::ForkRetry { retry, .. } => format!("regret, retry in {retry:?}"),
        Action::Recycle { pid, reason } => format!("recycle {pid}, {reason:?}"),
        Action::Ask(Request::LoadConfig) => "load".into(),
        Action::CommitReload { .. } => "settle".into(),
        Action::Supersede { generation } => format!("supersede {generation}"),
        Action::RevertReload { reason, .. } => format!("revert {reason:?}"),
        Action::ReopenLogs => "reopen".into(),
        Action::Ready => "all ready".into(),
        Action::Resized { from, to } => format!("resized {from} to {to}"),
        Action::Ask(Request::Reexec) => "reexec".into(),
        Action::RefuseUpgrade { successor } => format!("refuse beside {successor:?}"),
        Action::Upgraded { pid } => format!("upgraded {pid}"),
        Action::StopSuccessor { pid, order } => format!("stop_successor {order} {pid}"),
        Action::UpgradeFailed { reason } => format!("upgrade failed: {reason}"),
        Action::SuccessorGone { pid, exit } => format!("successor {pid} {exit}"),
        Action::NotifyPredecessor => "notify_predecessor".into(),
        Action::Promote => "promote".into(),
        Action::StopListening => "close".into(),
        Action::Exit(Ok(())) => "exit".into(),
        Action::Exit(Err(Failure { kind, sentence })) => format!("exit {kind:?}({sentence:?})"),
    }
}
