//! One arbiter after another.

use super::*;

/// The new arbiter's process.
const HEIR: i32 = 77;

/// Two workers that serve, and a new arbiter that has been started.
fn upgrading(policy: Policy) -> Scene {
    let mut scene = Scene::new(policy);
    scene.wake();
    scene.ready(1);
    scene.ready(2);
    assert_eq!(scene.command(Command::Upgrade), ["reexec"]);
    assert!(scene.input(Input::Reexecuted { pid: HEIR }).is_empty());
    scene
}

/// A new arbiter beside the one that has started it, with two workers that boot.
fn following() -> Scene {
    let mut scene = Scene::new(DEFAULT);
    scene.supervisor = Supervisor::new(number(&[DEFAULT], &mut 0), SLOTS).with_predecessor();
    scene.wake();
    scene
}

/// Lets time pass while the workers show progress.
fn pass(scene: &mut Scene, seconds: f64) {
    scene.pass(seconds);
    scene.beat(1);
    scene.beat(2);
}

fn without_silence() -> Policy {
    Policy {
        timeout: None,
        ..DEFAULT
    }
}

fn gone(scene: &mut Scene, exit: Exit) -> Vec<String> {
    scene.input(Input::SuccessorGone { exit, words: None })
}

#[test]
fn a_new_arbiter_that_serves_changes_nothing_for_the_old_one() {
    let mut scene = upgrading(without_silence());
    let upgraded = scene.input(Input::SuccessorReady);
    assert_eq!(upgraded, [format!("upgraded {HEIR}")]);
    pass(&mut scene, 500.0);
    assert!(scene.wake().is_empty());
    let left = gone(&mut scene, Exit::Code(0));
    assert_eq!(left, [format!("successor {HEIR} exited with code 0")]);
    assert_eq!(scene.command(Command::Upgrade), ["reexec"]);
}

// Gunicorn: G19
#[test]
fn a_second_upgrade_is_refused_on_both_sides() {
    let mut scene = upgrading(DEFAULT);
    let refused = [format!("refuse beside Some({HEIR})")];
    assert_eq!(scene.command(Command::Upgrade), refused);
    let mut scene = following();
    assert_eq!(scene.command(Command::Upgrade), ["refuse beside None"]);
}

#[test]
fn a_new_arbiter_that_fails_leaves_the_old_one_as_it_was() {
    let mut scene = upgrading(DEFAULT);
    let words = LastWords {
        app: true,
        sentence: "no module named 'shop'".into(),
    };
    let failed = scene.input(Input::SuccessorGone {
        exit: Exit::Code(3),
        words: Some(words),
    });
    assert_eq!(failed, ["upgrade failed: no module named 'shop'"]);
    assert_eq!(scene.command(Command::Upgrade), ["reexec"]);
    let reason = "no such file".to_owned();
    let failed = scene.input(Input::ReexecFailed { reason });
    assert_eq!(failed, ["upgrade failed: no such file"]);
}

#[test]
fn a_late_successor_is_stopped_and_killed_if_it_stays() {
    let mut scene = upgrading(without_silence());
    scene.expect_next_in(120.0);
    let dismissed = scene.wake_as_planned();
    assert_eq!(dismissed, [format!("stop_successor SIGTERM {HEIR}")]);
    scene.expect_next_in(12.0);
    let killed = scene.wake_as_planned();
    assert_eq!(killed, [format!("stop_successor SIGKILL {HEIR}")]);
    // What it says now comes too late.
    assert!(scene.input(Input::SuccessorReady).is_empty());
    let failed = gone(&mut scene, Exit::Signal(Signal::SIGKILL));
    assert!(failed[0].contains("ready in time"), "{failed:?}");
}

#[test]
fn time_in_which_an_arbiter_did_not_run_delays_no_successor() {
    let mut scene = upgrading(without_silence());
    scene.stand_still(1000.0);
    assert!(scene.wake().is_empty());
}

#[test]
fn an_arbiter_that_stops_leaves_even_a_late_successor_alone() {
    let mut scene = upgrading(without_silence());
    scene.command(Command::Stop);
    scene.exit(1, Exit::Code(0));
    assert_eq!(scene.exit(2, Exit::Code(0)), ["bury 2", "exit"]);
}

#[test]
fn a_retiring_arbiter_stops_when_its_successor_is_ready() {
    let mut scene = upgrading(Policy {
        upgrade_retire: true,
        ..DEFAULT
    });
    assert_eq!(
        scene.input(Input::SuccessorReady),
        [
            format!("upgraded {HEIR}"),
            "close".into(),
            order(WorkerSignal::Leave, 1),
            order(WorkerSignal::Leave, 2),
        ]
    );
}

#[test]
fn a_successor_announces_its_first_worker_and_is_promoted_alone() {
    let mut scene = following();
    assert_eq!(scene.input(Input::Ready { id: 1 }), ["notify_predecessor"]);
    assert!(scene.input(Input::Ready { id: 2 }).is_empty());
    assert_eq!(scene.input(Input::PredecessorGone), ["promote"]);
    assert!(scene.input(Input::PredecessorGone).is_empty());
    assert_eq!(scene.command(Command::Upgrade), ["reexec"]);
}

/// The one before it may end for it.
#[test]
fn a_successor_does_not_announce_a_worker_that_leaves_at_once() {
    following().play(&[("stop", "close, SIGTERM 101, SIGTERM 102"), ("ready 1", "")]);
    following().play(&[
        ("rest", "SIGTERM 102, SIGTERM 101"),
        ("ready 1", ""),
        ("grow", "spawn 3 in 2"),
        ("ready 3", "notify_predecessor"),
    ]);
    following().play(&[
        ("reload", "load"),
        ("loaded 2", "spawn 3 in 2, spawn 4 in 3"),
        ("rest", "SIGTERM 104, SIGTERM 103"),
        ("ready 1", "SIGTERM 101"),
    ]);
}
