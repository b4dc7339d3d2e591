//! Stops, and changes of the number of workers.
//!
//! Nothing is replaced here.

use super::*;

#[test]
fn a_graceful_stop_waits_for_the_workers() {
    let mut scene = Scene::serving();
    assert_eq!(
        scene.command(Command::Stop),
        [
            "close".to_owned(),
            order(WorkerSignal::Leave, 1),
            order(WorkerSignal::Leave, 2)
        ]
    );
    scene.expect_next_in(10.0);
    assert!(scene.command(Command::Stop).is_empty());
    assert!(scene.command(Command::Grow).is_empty());
    assert_eq!(scene.exit(1, Exit::Code(0)), ["bury 1"]);
    assert_eq!(scene.exit(2, Exit::Code(0)), ["bury 2", "exit"]);
}

// Gunicorn: G55
#[test]
fn a_graceful_stop_ends_even_if_a_worker_cannot_be_killed() {
    let mut scene = Scene::serving();
    scene.command(Command::Stop);
    assert_eq!(
        scene.wake_as_planned(),
        [order(WorkerSignal::Kill, 1), order(WorkerSignal::Kill, 2)]
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
            order(WorkerSignal::Quit, 1),
            order(WorkerSignal::Quit, 2)
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
    assert_eq!(
        scene.command(Command::StopNow),
        [order(WorkerSignal::Quit, 1)]
    );
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
    assert_eq!(
        scene.command(Command::Shrink),
        [order(WorkerSignal::Leave, 1)]
    );
    assert!(scene.command(Command::Shrink).is_empty());
    assert_eq!(scene.exit(1, Exit::Code(0)), ["bury 1"]);
    assert_eq!(scene.supervisor.target(), 1);
}

#[test]
fn shrinking_counts_a_worker_that_is_being_ended_anyway() {
    let mut scene = Scene::serving();
    scene.pass(20.0);
    scene.beat(1);
    assert_eq!(scene.wake_as_planned(), [order(WorkerSignal::Stacks, 2)]);
    assert!(scene.command(Command::Shrink).is_empty());
    assert_eq!(scene.exit(2, Exit::Signal(Signal::SIGABRT)), ["bury 2"]);
}

// Gunicorn: HUP9
#[test]
fn a_retired_worker_that_does_not_leave_is_killed() {
    let mut scene = Scene::serving();
    scene.command(Command::Shrink);
    scene.beat(2);
    scene.expect_next_in(10.0);
    assert_eq!(scene.wake_as_planned(), [order(WorkerSignal::Kill, 1)]);
}

#[test]
fn a_worker_forked_into_a_stop_is_asked_to_leave() {
    let first = number(&[DEFAULT], &mut 0);
    let mut supervisor = Supervisor::new(first, SLOTS);
    let now = MonoTime::ZERO;
    let mut out = Vec::new();
    supervisor.step(now, Input::Wake, &mut out);
    supervisor.step(now, Input::Command(Command::Stop), &mut out);
    out.clear();
    supervisor.step(now, Input::Forked { id: 1, pid: 101 }, &mut out);
    assert_eq!(describe(&out[0]), order(WorkerSignal::Leave, 1));
}

// Gunicorn: G9
#[test]
fn rest_ends_all_workers_until_one_is_asked_for() {
    let mut scene = Scene::serving();
    assert_eq!(
        scene.command(Command::Quiesce),
        [order(WorkerSignal::Leave, 1), order(WorkerSignal::Leave, 2)]
    );
    scene.exit(1, Exit::Code(0));
    scene.exit(2, Exit::Code(0));
    assert_eq!(scene.supervisor.target(), 0);
    assert_eq!(scene.command(Command::Grow), ["spawn 3 in 0"]);
}

#[test]
fn shrinking_takes_back_who_does_not_serve_yet() {
    let mut scene = Scene::serving();
    for id in 3..6 {
        let slot = id - 1;
        scene.play(&[
            ("grow", &format!("spawn {id} in {slot}")),
            ("shrink", &order(WorkerSignal::Leave, id)),
        ]);
    }
    scene.play(&[("shrink", "SIGTERM 101")]);
}

#[test]
fn shrinking_lets_a_worn_worker_go_and_wants_no_replacement() {
    Scene::serving().play(&[
        ("recycle 2", "recycle 102, Requests(9), spawn 3 in 2"),
        ("shrink", "SIGTERM 102, SIGTERM 103"),
    ]);
}

#[test]
fn scaling_sets_the_number_between_one_and_the_slots_but_one() {
    let mut scene = Scene::serving();
    scene.play(&[
        ("scale 4", "spawn 3 in 2, spawn 4 in 3"),
        ("scale 0", "SIGTERM 104, SIGTERM 103, SIGTERM 101"),
    ]);
    assert_eq!(scene.supervisor.target(), 1);
    scene.happens("scale 99");
    assert_eq!(scene.supervisor.target(), SLOTS - 1);
}

#[test]
fn nobody_follows_a_worker_that_dies_in_a_rest() {
    Scene::serving().play(&[
        ("rest", "SIGTERM 101, SIGTERM 102"),
        ("shrink", ""),
        ("is-killed 1", "bury 1"),
        ("deadline", "SIGKILL 102"),
        ("is-killed 2", "bury 2"),
        ("scale 1", "spawn 3 in 0"),
    ]);
}

// Gunicorn: G7
#[test]
fn everybody_opens_the_logs_again_who_may_still_write_to_them() {
    let mut scene = Scene::serving();
    scene.play(&[
        ("pass 20", ""),
        ("beats 2", ""),
        ("grow", "spawn 3 in 2"),
        ("shrink", "SIGTERM 103"),
        ("grow", "spawn 4 in 3"),
        ("deadline", "SIGRTMIN+6 101, SIGKILL 103"),
        ("reopen", "reopen, SIGUSR1 101, SIGUSR1 102, SIGUSR1 104"),
        ("deadline", "SIGABRT 101"),
        ("reopen", "reopen, SIGUSR1 102, SIGUSR1 104"),
    ]);
}

#[test]
fn a_fork_that_fails_in_a_stop_is_not_tried_again() {
    let first = number(&[DEFAULT], &mut 0);
    let mut supervisor = Supervisor::new(first, SLOTS);
    let now = MonoTime::ZERO;
    let mut out = Vec::new();
    supervisor.step(now, Input::Wake, &mut out);
    supervisor.step(now, Input::Command(Command::Stop), &mut out);
    out.clear();
    for id in [1, 2] {
        let reason = "no more processes".into();
        supervisor.step(now, Input::ForkFailed { id, reason }, &mut out);
    }
    assert_eq!(out, [Action::Exit(Ok(()))]);
}
