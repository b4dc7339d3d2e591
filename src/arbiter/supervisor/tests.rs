//! Each rule of the supervisor, step by step, with a clock that stands still until it is moved.

use super::*;

mod succession;

const DEFAULT: Limits = Limits {
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
    now: Tick,
    next: Option<Tick>,
    forks_fail: bool,
}

fn pid(id: u64) -> i32 {
    100 + i32::try_from(id).unwrap()
}

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// `SIGTERM 101`
fn order(order: Order, id: u64) -> String {
    format!("{order} {}", pid(id))
}

impl Scene {
    fn new(limits: Limits) -> Self {
        Self {
            supervisor: Supervisor::new(limits, SLOTS),
            now: Tick::ZERO + Duration::from_secs(1000),
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
                if let Action::Spawn { id, .. } = action {
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

    /// Lets time pass, without a step in between.
    fn pass(&mut self, seconds: f64) {
        self.now = self.now + secs(seconds);
    }

    /// Goes to the moment that the supervisor has asked for, and wakes it.
    fn wake_as_planned(&mut self) -> Vec<String> {
        self.now = self.now.max(self.next.expect("nothing is planned"));
        self.wake()
    }

    #[track_caller]
    fn expect_next_in(&self, seconds: f64) {
        assert_eq!(self.next, Some(self.now + secs(seconds)));
    }
}

fn describe(action: &Action) -> String {
    match action {
        Action::Spawn { id, slot } => format!("spawn {id} in {slot}"),
        Action::Signal { pid, order, .. } => format!("{order} {pid}"),
        Action::Bury(obituary) => match obituary.retry {
            Some(pause) => format!("bury {}, retry in {pause:?}", obituary.id),
            None => format!("bury {}", obituary.id),
        },
        Action::Regret { retry, .. } => format!("regret, retry in {retry:?}"),
        Action::Recycle { pid, wear } => format!("recycle {pid}, {wear:?}"),
        Action::LoadConfig => "load".into(),
        Action::Settle => "settle".into(),
        Action::Revert { reason } => format!("revert {reason:?}"),
        Action::ReopenLogs => "reopen".into(),
        Action::Ready => "all ready".into(),
        Action::Resized { from, to } => format!("resized {from} to {to}"),
        Action::Reexec => "reexec".into(),
        Action::RefuseUpgrade { successor } => format!("refuse beside {successor:?}"),
        Action::Upgraded { pid } => format!("upgraded {pid}"),
        Action::Dismiss { pid, order } => format!("dismiss {order} {pid}"),
        Action::UpgradeFailed { reason } => format!("upgrade failed: {reason}"),
        Action::SuccessorGone { pid, exit } => format!("successor {pid} {exit}"),
        Action::Announce => "announce".into(),
        Action::Promote => "promote".into(),
        Action::StopListening => "close".into(),
        Action::Exit(Ok(())) => "exit".into(),
        Action::Exit(Err(failure)) => format!("exit {failure:?}"),
    }
}

#[test]
fn the_first_step_asks_for_all_workers() {
    let mut scene = Scene::new(DEFAULT);
    assert_eq!(scene.wake(), ["spawn 1 in 0", "spawn 2 in 1"]);
    assert!(scene.wake().is_empty());
    scene.expect_next_in(120.0);
}

#[test]
fn a_healthy_worker_that_dies_is_replaced_at_once_in_its_slot() {
    let mut scene = Scene::serving();
    let killed = Exit::Signal(Signal::SIGKILL);
    assert_eq!(scene.exit(1, killed), ["bury 1", "spawn 3 in 0"]);
    // A status that means something at boot means nothing later.
    assert_eq!(scene.exit(2, Exit::Code(3)), ["bury 2", "spawn 4 in 1"]);
}

#[test]
fn an_exit_of_a_process_that_is_not_ours_is_nothing() {
    assert!(Scene::serving().exit(77, Exit::Code(3)).is_empty());
}

#[test]
fn a_silent_worker_shows_its_stacks_is_aborted_then_killed_and_replaced_when_it_is_gone() {
    let mut scene = Scene::serving();
    scene.pass(20.0);
    scene.beat(2);
    scene.wake();
    scene.expect_next_in(10.0);
    assert_eq!(scene.wake_as_planned(), [order(Order::Stacks, 1)]);
    scene.expect_next_in(0.1);
    assert_eq!(scene.wake_as_planned(), [order(Order::Abort, 1)]);
    scene.expect_next_in(1.0);
    assert_eq!(scene.wake_as_planned(), [order(Order::Kill, 1)]);
    assert_eq!(
        scene.exit(1, Exit::Signal(Signal::SIGKILL)),
        ["bury 1", "spawn 3 in 0"]
    );
}

#[test]
fn the_cause_of_an_end_is_remembered_from_its_beginning() {
    let mut scene = Scene::serving();
    scene.pass(20.0);
    scene.beat(2);
    scene.wake_as_planned();
    scene.wake_as_planned();
    scene.wake_as_planned();
    let mut out = Vec::new();
    let exited = Input::Exited {
        pid: pid(1),
        exit: Exit::Signal(Signal::SIGKILL),
        ready: true,
        words: None,
    };
    scene.supervisor.step(scene.now, exited, &mut out);
    let Some(Action::Bury(obituary)) = out.first() else {
        panic!("{out:?}");
    };
    assert_eq!(obituary.doom, Some(Why::Silent(secs(30.0))));
}

#[test]
fn a_heartbeat_that_is_known_is_heard_before_the_deadline_is_looked_at() {
    let mut scene = Scene::serving();
    scene.pass(30.0);
    scene.beat(1);
    scene.beat(2);
    assert!(scene.wake().is_empty());
    scene.expect_next_in(30.0);
}

#[test]
fn without_a_timeout_nobody_is_watched() {
    let mut scene = Scene::new(Limits {
        timeout: None,
        ..DEFAULT
    });
    scene.wake();
    scene.ready(1);
    scene.ready(2);
    assert_eq!(scene.next, None);
    scene.pass(1e6);
    assert!(scene.wake().is_empty());
}

#[test]
fn a_step_that_comes_late_kills_nobody() {
    let mut scene = Scene::serving();
    scene.pass(3600.0);
    assert!(scene.wake().is_empty());
    scene.expect_next_in(1.0);
    // The workers were stopped too, and have had time to beat now.
    scene.pass(0.5);
    scene.beat(1);
    scene.wake();
    assert_eq!(scene.wake_as_planned(), [order(Order::Stacks, 2)]);
    assert_eq!(scene.wake_as_planned(), [order(Order::Abort, 2)]);
}

#[test]
fn a_late_step_does_not_cut_a_boot_or_a_grace_short() {
    let mut scene = Scene::new(DEFAULT);
    scene.wake();
    scene.pass(100.0);
    scene.wake();
    scene.pass(3600.0);
    assert!(scene.wake().is_empty());
    scene.command(Command::Stop);
    scene.pass(3600.0);
    assert!(scene.wake().is_empty());
    assert_eq!(scene.wake_as_planned().len(), 2);
}

#[test]
fn a_boot_failure_at_the_start_ends_everything_with_the_first_cause() {
    let mut scene = Scene::new(DEFAULT);
    scene.wake();
    assert_eq!(
        scene.exit_with_words(1, true, "no 'app'"),
        [
            "bury 1, retry in 0ns".to_owned(),
            "close".into(),
            order(Order::Quit, 2)
        ]
    );
    assert_eq!(
        scene.exit_with_words(2, false, "another"),
        ["bury 2", "exit App(\"no 'app'\")"]
    );
    assert!(scene.wake().is_empty());
    assert_eq!(scene.next, None);
}

#[test]
fn what_ends_a_start_and_what_does_not() {
    let boot = |exit: &str| Some(format!("Boot(\"a worker {exit} before it was ready\")"));
    for (exit, failure) in [
        (Exit::Code(0), boot("exited with code 0")),
        (Exit::Code(1), boot("exited with code 1")),
        (Exit::Signal(Signal::SIGSEGV), boot("was sent SIGSEGV")),
        (Exit::Signal(Signal::SIGKILL), None),
        (Exit::Signal(Signal::SIGTERM), None),
        (Exit::Unknown, None),
    ] {
        let mut scene = Scene::new(Limits {
            workers: 1,
            ..DEFAULT
        });
        scene.wake();
        let last = scene.exit(1, exit).pop();
        let expected = failure.map_or("spawn 2 in 0".into(), |failure| format!("exit {failure}"));
        assert_eq!(last, Some(expected), "{exit:?}");
    }
}

#[test]
fn a_worker_that_is_not_ready_in_time_fails_the_start() {
    let mut scene = Scene::new(Limits {
        workers: 1,
        ..DEFAULT
    });
    scene.wake();
    assert_eq!(scene.wake_as_planned(), [order(Order::Stacks, 1)]);
    assert_eq!(scene.wake_as_planned(), [order(Order::Abort, 1)]);
    assert_eq!(
        scene
            .exit(1, Exit::Signal(Signal::SIGABRT))
            .pop()
            .as_deref(),
        Some("exit Boot(\"a worker was not ready within 120 s\")")
    );
}

#[test]
fn a_readiness_that_comes_with_the_exit_still_proves_that_workers_can_boot() {
    let mut scene = Scene::new(DEFAULT);
    scene.wake();
    let exited = Input::Exited {
        pid: pid(1),
        exit: Exit::Code(3),
        ready: true,
        words: None,
    };
    assert_eq!(
        scene.input(exited),
        ["bury 1, retry in 0ns", "spawn 3 in 0"]
    );
}

#[test]
fn a_later_boot_failure_touches_nobody_and_is_tried_ever_more_slowly() {
    let mut scene = Scene::serving();
    scene.exit(1, Exit::Signal(Signal::SIGKILL));
    assert_eq!(
        scene.exit(3, Exit::Code(3)),
        ["bury 3, retry in 0ns", "spawn 4 in 0"]
    );
    assert_eq!(scene.exit(4, Exit::Code(3)), ["bury 4, retry in 250ms"]);
    scene.expect_next_in(0.25);
    assert!(scene.wake().is_empty());
    let pauses = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0];
    for (id, pause) in (5..).zip(pauses.windows(2)) {
        scene.pass(pause[0]);
        let beat = Input::Beat {
            id: 2,
            at: scene.now,
        };
        assert_eq!(scene.input(beat), [format!("spawn {id} in 0")]);
        let buried = format!("bury {id}, retry in {:?}", secs(pause[1]));
        assert_eq!(scene.exit(id, Exit::Code(4)), [buried]);
    }
}

#[test]
fn while_workers_fail_one_at_a_time_is_tried_and_a_ready_one_brings_the_others() {
    let mut scene = Scene::serving();
    scene.exit(1, Exit::Signal(Signal::SIGKILL));
    scene.exit(2, Exit::Signal(Signal::SIGKILL));
    scene.exit(3, Exit::Code(1));
    scene.exit(5, Exit::Code(1));
    scene.exit(4, Exit::Code(1));
    assert_eq!(scene.wake_as_planned(), ["spawn 6 in 0"]);
    assert!(scene.wake().is_empty());
    assert_eq!(scene.input(Input::Ready { id: 6 }), ["spawn 7 in 1"]);
}

#[test]
fn workers_that_die_just_after_they_were_ready_are_slowed_down_to_one_a_second() {
    let mut scene = Scene::serving();
    let mut id = 2;
    scene.exit(1, Exit::Code(1));
    let mut pauses = Vec::new();
    for _ in 0..6 {
        id += 1;
        scene.ready(id);
        let words = scene.exit(id, Exit::Code(1));
        pauses.push(words[0].split_once("in ").unwrap().1.to_owned());
        if words.len() == 1 {
            scene.wake_as_planned();
        }
    }
    assert_eq!(pauses, ["0ns", "250ms", "500ms", "1s", "1s", "1s"]);
}

#[test]
fn a_worker_that_lasts_makes_the_next_replacement_immediate_again() {
    let mut scene = Scene::serving();
    scene.exit(1, Exit::Code(1));
    scene.exit(3, Exit::Code(1));
    scene.exit(4, Exit::Code(1));
    scene.wake_as_planned();
    scene.ready(5);
    scene.pass(1.0);
    assert_eq!(
        scene.exit(5, Exit::Signal(Signal::SIGKILL)),
        ["bury 5", "spawn 6 in 0"]
    );
    assert_eq!(
        scene.exit(6, Exit::Code(1)),
        ["bury 6, retry in 0ns", "spawn 7 in 0"]
    );
}

#[test]
fn a_failed_fork_is_tried_again_but_not_at_once() {
    let mut scene = Scene::serving();
    scene.forks_fail = true;
    assert_eq!(
        scene.exit(1, Exit::Code(1)),
        ["bury 1", "spawn 3 in 0", "regret, retry in 250ms"]
    );
    scene.forks_fail = false;
    assert_eq!(scene.wake_as_planned(), ["spawn 4 in 0"]);
}

#[test]
fn a_start_that_cannot_fork_is_over() {
    let mut scene = Scene::new(DEFAULT);
    scene.forks_fail = true;
    let words = scene.wake();
    assert_eq!(
        words.last().map(String::as_str),
        Some("exit Fork(\"no more processes\")")
    );
}

#[test]
fn a_graceful_stop_waits_for_the_workers() {
    let mut scene = Scene::serving();
    assert_eq!(
        scene.command(Command::Stop),
        [
            "close".to_owned(),
            order(Order::Leave, 1),
            order(Order::Leave, 2)
        ]
    );
    scene.expect_next_in(10.0);
    assert!(scene.command(Command::Stop).is_empty());
    assert!(scene.command(Command::Grow).is_empty());
    assert_eq!(scene.exit(1, Exit::Code(0)), ["bury 1"]);
    assert_eq!(scene.exit(2, Exit::Code(0)), ["bury 2", "exit"]);
}

#[test]
fn a_graceful_stop_kills_those_who_do_not_leave_and_ends_even_if_they_cannot_be_killed() {
    let mut scene = Scene::serving();
    scene.command(Command::Stop);
    assert_eq!(
        scene.wake_as_planned(),
        [order(Order::Kill, 1), order(Order::Kill, 2)]
    );
    scene.expect_next_in(2.0);
    assert_eq!(scene.wake_as_planned(), ["exit"]);
}

#[test]
fn a_quick_stop_has_two_seconds() {
    let mut scene = Scene::serving();
    assert_eq!(
        scene.command(Command::StopNow),
        [
            "close".to_owned(),
            order(Order::Quit, 1),
            order(Order::Quit, 2)
        ]
    );
    scene.expect_next_in(2.0);
    assert!(scene.command(Command::Stop).is_empty());
    assert!(scene.command(Command::StopNow).is_empty());
    assert_eq!(scene.wake_as_planned().len(), 2);
}

#[test]
fn a_graceful_stop_can_be_made_quick() {
    let mut scene = Scene::serving();
    scene.command(Command::Stop);
    scene.exit(2, Exit::Code(0));
    assert_eq!(scene.command(Command::StopNow), [order(Order::Quit, 1)]);
    scene.expect_next_in(2.0);
}

#[test]
fn a_boot_that_fails_because_it_was_stopped_is_no_failure() {
    let mut scene = Scene::new(DEFAULT);
    scene.wake();
    scene.command(Command::Stop);
    assert_eq!(scene.exit(1, Exit::Code(3)), ["bury 1"]);
    assert_eq!(scene.exit(2, Exit::Code(3)), ["bury 2", "exit"]);
}

#[test]
fn growing_leaves_a_slot_for_a_replacement() {
    let mut scene = Scene::serving();
    for id in 3..=7 {
        let spawned = format!("spawn {id} in {}", id - 1);
        assert_eq!(scene.command(Command::Grow), [spawned]);
    }
    assert!(scene.command(Command::Grow).is_empty());
    assert_eq!(scene.supervisor.target(), 7);
}

#[test]
fn shrinking_retires_the_oldest_and_leaves_one() {
    let mut scene = Scene::serving();
    assert_eq!(scene.command(Command::Shrink), [order(Order::Leave, 1)]);
    assert!(scene.command(Command::Shrink).is_empty());
    assert_eq!(scene.exit(1, Exit::Code(0)), ["bury 1"]);
    assert_eq!(scene.supervisor.target(), 1);
}

#[test]
fn shrinking_counts_a_worker_that_is_being_ended_anyway() {
    let mut scene = Scene::serving();
    scene.pass(20.0);
    scene.beat(1);
    assert_eq!(scene.wake_as_planned(), [order(Order::Stacks, 2)]);
    assert!(scene.command(Command::Shrink).is_empty());
    assert_eq!(scene.exit(2, Exit::Signal(Signal::SIGABRT)), ["bury 2"]);
}

#[test]
fn a_retired_worker_that_does_not_leave_is_killed() {
    let mut scene = Scene::serving();
    scene.command(Command::Shrink);
    scene.beat(2);
    scene.expect_next_in(10.0);
    assert_eq!(scene.wake_as_planned(), [order(Order::Kill, 1)]);
}

#[test]
fn a_worker_forked_into_a_stop_is_asked_to_leave() {
    let mut supervisor = Supervisor::new(DEFAULT, SLOTS);
    let now = Tick::ZERO;
    let mut out = Vec::new();
    supervisor.step(now, Input::Wake, &mut out);
    supervisor.step(now, Input::Command(Command::Stop), &mut out);
    out.clear();
    supervisor.step(now, Input::Forked { id: 1, pid: 101 }, &mut out);
    assert_eq!(describe(&out[0]), order(Order::Leave, 1));
}

#[test]
fn a_reload_replaces_the_workers_one_for_one_as_new_ones_are_ready() {
    let mut scene = Scene::serving();
    assert_eq!(scene.command(Command::Reload), ["load"]);
    assert_eq!(
        scene.input(Input::Loaded(DEFAULT)),
        ["spawn 3 in 2", "spawn 4 in 3"]
    );
    assert_eq!(
        scene.input(Input::Ready { id: 4 }),
        ["settle".to_owned(), order(Order::Leave, 1)]
    );
    assert_eq!(
        scene.input(Input::Ready { id: 3 }),
        [order(Order::Leave, 2)]
    );
    assert_eq!(scene.exit(1, Exit::Code(0)), ["bury 1"]);
    assert_eq!(scene.exit(2, Exit::Code(0)), ["bury 2"]);
}

#[test]
fn new_settings_whose_workers_cannot_boot_are_given_up() {
    let mut scene = Scene::serving();
    scene.command(Command::Reload);
    scene.input(Input::Loaded(Limits {
        workers: 3,
        ..DEFAULT
    }));
    assert_eq!(
        scene.exit_with_words(4, false, "a comma is missing"),
        [
            "bury 4".to_owned(),
            order(Order::Leave, 3),
            order(Order::Leave, 5),
            "revert Some(\"a comma is missing\")".into(),
        ]
    );
    assert_eq!(scene.supervisor.target(), 2);
    for id in [3, 5] {
        assert_eq!(scene.exit(id, Exit::Code(0)), [format!("bury {id}")]);
    }
    // What comes next is as before.
    assert_eq!(
        scene.exit(1, Exit::Signal(Signal::SIGKILL)),
        ["bury 1", "spawn 6 in 0"]
    );
}

#[test]
fn a_worn_worker_serves_until_its_replacement_is_ready_and_one_at_a_time_goes() {
    let mut scene = Scene::serving();
    let worn = |id| Input::Worn {
        id,
        wear: Wear::Requests(1000),
    };
    assert_eq!(
        scene.input(worn(1)),
        ["recycle 101, Requests(1000)", "spawn 3 in 2"]
    );
    assert_eq!(scene.input(worn(2)), ["recycle 102, Requests(1000)"]);
    assert!(scene.input(worn(2)).is_empty());
    assert_eq!(
        scene.input(Input::Ready { id: 3 }),
        [order(Order::Leave, 1), "spawn 4 in 3".into()]
    );
    assert_eq!(
        scene.input(Input::Ready { id: 4 }),
        [order(Order::Leave, 2)]
    );
}

#[test]
fn a_stuck_request_costs_its_worker_and_no_other_request() {
    let limits = Limits {
        request_timeout: Some(secs(5.0)),
        calls: 4,
        ..DEFAULT
    };
    let mut scene = Scene::new(limits);
    scene.wake();
    scene.ready(1);
    scene.ready(2);
    let since = scene.now;
    let in_call = Input::InCall {
        id: 1,
        since,
        alone: false,
    };
    scene.pass(4.9);
    assert!(scene.input(in_call.clone()).is_empty());
    scene.pass(0.1);
    assert_eq!(
        scene.input(in_call.clone()),
        [
            order(Order::Stacks, 1),
            order(Order::Expire, 1),
            order(Order::Leave, 1),
            "spawn 3 in 2".into()
        ]
    );
    assert!(scene.input(in_call).is_empty());
    scene.beat(2);
    scene.expect_next_in(10.0);
    assert_eq!(scene.wake_as_planned(), [order(Order::Kill, 1)]);
}

#[test]
fn a_worker_whose_only_call_is_stuck_does_not_get_the_whole_grace() {
    let limits = Limits {
        request_timeout: Some(secs(5.0)),
        ..DEFAULT
    };
    let mut scene = Scene::new(limits);
    scene.wake();
    scene.ready(1);
    scene.ready(2);
    let since = scene.now;
    scene.pass(5.0);
    scene.input(Input::InCall {
        id: 1,
        since,
        alone: false,
    });
    scene.pass(1.0);
    scene.input(Input::InCall {
        id: 1,
        since,
        alone: false,
    });
    assert_eq!(scene.wake(), [order(Order::Kill, 1)]);
}

#[test]
fn rest_ends_all_workers_until_one_is_asked_for() {
    let mut scene = Scene::serving();
    assert_eq!(
        scene.command(Command::Rest),
        [order(Order::Leave, 1), order(Order::Leave, 2)]
    );
    scene.exit(1, Exit::Code(0));
    scene.exit(2, Exit::Code(0));
    assert_eq!(scene.supervisor.target(), 0);
    assert_eq!(scene.command(Command::Grow), ["spawn 3 in 0"]);
}

#[test]
fn an_old_worker_that_is_booting_is_kept_until_the_new_settings_have_proven_good() {
    let mut scene = Scene::new(DEFAULT);
    scene.wake();
    scene.ready(1);
    scene.command(Command::Reload);
    scene.input(Input::Loaded(DEFAULT));
    scene.exit_with_words(3, false, "a comma is missing");
    // It was never asked to leave.
    assert!(scene.input(Input::Ready { id: 2 }).is_empty());
    scene.command(Command::Reload);
    assert_eq!(
        scene.input(Input::Loaded(DEFAULT)),
        ["spawn 5 in 2", "spawn 6 in 4"]
    );
}
