//! Workers that are silent, or stuck in a request, and what a late step does not do to them.
//!
//! Nothing is replaced here that works.

use super::*;

// Gunicorn: G48
#[test]
fn a_silent_worker_shows_stacks_is_aborted_killed_and_replaced() {
    let mut scene = Scene::serving();
    scene.pass(20.0);
    scene.beat(2);
    scene.wake();
    scene.expect_next_in(10.0);
    assert_eq!(scene.wake_as_planned(), [order(WorkerSignal::Stacks, 1)]);
    scene.expect_next_in(0.1);
    assert_eq!(scene.wake_as_planned(), [order(WorkerSignal::Abort, 1)]);
    scene.expect_next_in(1.0);
    assert_eq!(scene.wake_as_planned(), [order(WorkerSignal::Kill, 1)]);
    assert_eq!(
        scene.exit(1, Exit::Signal(Signal::SIGKILL)),
        ["bury 1", "spawn 3 in 0"]
    );
}

// Gunicorn: G41, G52
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
    let Some(Action::Reaped(report)) = out.first() else {
        panic!("{out:?}");
    };
    assert_eq!(report.kill_reason, Some(SignalReason::Silent(secs(30.0))));
}

#[test]
fn a_known_heartbeat_counts_before_the_deadline_is_checked() {
    let mut scene = Scene::serving();
    scene.pass(30.0);
    scene.beat(1);
    scene.beat(2);
    assert!(scene.wake().is_empty());
    scene.expect_next_in(30.0);
}

#[test]
fn without_a_timeout_nobody_is_watched() {
    let mut scene = Scene::new(Policy {
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
    scene.stand_still(3600.0);
    assert!(scene.wake().is_empty());
    // The workers were stopped too, perhaps in the middle of a call.
    scene.expect_next_in(30.0);
    scene.pass(29.0);
    scene.beat(1);
    scene.wake();
    assert_eq!(scene.wake_as_planned(), [order(WorkerSignal::Stacks, 2)]);
    assert_eq!(scene.wake_as_planned(), [order(WorkerSignal::Abort, 2)]);
}

#[test]
fn a_late_step_does_not_cut_a_boot_or_a_grace_short() {
    let mut scene = Scene::new(DEFAULT);
    scene.wake();
    scene.pass(100.0);
    scene.wake();
    scene.stand_still(3600.0);
    assert!(scene.wake().is_empty());
    scene.command(Command::Stop);
    scene.stand_still(3600.0);
    assert!(scene.wake().is_empty());
    assert_eq!(scene.wake_as_planned().len(), 2);
}

#[test]
fn a_stuck_request_costs_its_worker_and_no_other_request() {
    let policy = Policy {
        request_timeout: Some(secs(5.0)),
        calls: 4,
        ..DEFAULT
    };
    let mut scene = Scene::new(policy);
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
            order(WorkerSignal::Stacks, 1),
            order(WorkerSignal::Expire, 1),
            order(WorkerSignal::Leave, 1),
            "spawn 3 in 2".into()
        ]
    );
    assert!(scene.input(in_call).is_empty());
    scene.beat(2);
    scene.expect_next_in(10.0);
    assert_eq!(scene.wake_as_planned(), [order(WorkerSignal::Kill, 1)]);
}

#[test]
fn a_worker_whose_only_call_is_stuck_gets_less_than_the_grace() {
    let policy = Policy {
        request_timeout: Some(secs(5.0)),
        ..DEFAULT
    };
    let mut scene = Scene::new(policy);
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
    assert_eq!(scene.wake(), [order(WorkerSignal::Kill, 1)]);
}

#[test]
fn a_worker_that_comes_back_while_it_is_examined_is_spared() {
    let mut scene = Scene::serving();
    scene.play(&[
        ("pass 20", ""),
        ("beats 2", ""),
        ("deadline", "SIGRTMIN+6 101"),
        ("beats 1", ""),
        ("deadline", "SIGRTMIN+6 102"),
        ("beats 2", ""),
    ]);
    let mut scene = Scene::new(DEFAULT);
    scene.play(&[
        ("wake", "spawn 1 in 0, spawn 2 in 1"),
        ("deadline", "SIGRTMIN+6 101, SIGRTMIN+6 102"),
        // It writes its stacks: that is no readiness.
        ("beats 1", ""),
        ("ready 2", ""),
        ("deadline", "SIGABRT 101"),
    ]);
}

#[test]
fn a_worker_asked_to_leave_while_examined_leaves_if_it_lives() {
    for (told, others) in [("shrink", ""), ("stop", "close, SIGTERM 102")] {
        Scene::serving().play(&[
            ("pass 20", ""),
            ("beats 2", ""),
            ("deadline", "SIGRTMIN+6 101"),
            (told, others),
            ("beats 1", "SIGTERM 101"),
        ]);
    }
}

/// Two workers with so many calls at once, and five seconds for each call.
fn in_calls(calls: usize) -> Scene {
    let mut scene = Scene::new(Policy {
        request_timeout: Some(secs(5.0)),
        calls,
        ..DEFAULT
    });
    scene.wake();
    scene.ready(1);
    scene.ready(2);
    scene
}

fn in_call(scene: &mut Scene, since: MonoTime, alone: bool) -> String {
    let input = Input::InCall {
        id: 1,
        since,
        alone,
    };
    scene.input(input).join(", ")
}

const GIVES_UP: &str = "SIGRTMIN+6 101, SIGRTMIN+7 101, SIGTERM 101, spawn 3 in 2";

#[test]
fn a_stuck_call_that_ends_gives_its_worker_the_whole_grace() {
    let mut scene = in_calls(1);
    let since = scene.now;
    scene.pass(5.0);
    assert_eq!(in_call(&mut scene, since, false), GIVES_UP);
    scene.beat(2);
    scene.pass(1.0);
    let another = scene.now;
    in_call(&mut scene, another, false);
    assert_eq!(scene.wake(), [""; 0]);
    scene.expect_next_in(9.0);
}

#[test]
fn a_worker_with_only_a_stuck_call_left_is_not_waited_for() {
    let mut scene = in_calls(4);
    let since = scene.now;
    scene.pass(5.0);
    assert_eq!(in_call(&mut scene, since, false), GIVES_UP);
    scene.pass(1.0);
    in_call(&mut scene, since, false);
    assert_eq!(scene.wake(), [""; 0]);
    in_call(&mut scene, since, true);
    assert_eq!(scene.wake(), [order(WorkerSignal::Kill, 1)]);
}

#[test]
fn a_stop_hurries_a_worker_with_a_stuck_call() {
    let mut scene = in_calls(4);
    let since = scene.now;
    scene.pass(5.0);
    in_call(&mut scene, since, false);
    scene.play(&[("stop-now", "close, SIGQUIT 101, SIGQUIT 102, SIGQUIT 103")]);
    scene.expect_next_in(2.0);
    assert_eq!(scene.wake_as_planned().len(), 3);
}

#[test]
fn time_in_which_the_arbiter_did_not_run_delays_no_request() {
    let mut scene = in_calls(1);
    let since = scene.now;
    scene.stand_still(3600.0);
    assert_eq!(in_call(&mut scene, since, false), "");
    scene.beat(1);
    scene.beat(2);
    scene.pass(5.0);
    assert_eq!(in_call(&mut scene, since, false), GIVES_UP);
    scene.stand_still(3600.0);
    in_call(&mut scene, since, false);
    assert_eq!(scene.wake(), [""; 0]);
}

#[test]
fn a_request_of_a_leaving_worker_has_no_more_time_than_others() {
    for (told, order) in [
        ("shrink", "SIGTERM 101"),
        ("stop", "close, SIGTERM 101, SIGTERM 102"),
    ] {
        let mut scene = in_calls(1);
        scene.pass(1.0);
        let since = scene.now;
        scene.play(&[(told, order)]);
        scene.pass(4.9);
        assert_eq!(in_call(&mut scene, since, false), "");
        scene.pass(0.1);
        let given_up = in_call(&mut scene, since, false);
        assert_eq!(given_up, "SIGRTMIN+6 101, SIGRTMIN+7 101", "{told}");
        assert_eq!(in_call(&mut scene, since, false), "");
    }
}

#[test]
fn each_request_of_a_worker_that_leaves_is_given_up_in_its_time() {
    let mut scene = in_calls(1);
    let since = scene.now;
    scene.pass(5.0);
    assert_eq!(in_call(&mut scene, since, false), GIVES_UP);
    scene.beat(2);
    let next = scene.now;
    scene.pass(5.0);
    scene.beat(2);
    let given_up = in_call(&mut scene, next, false);
    assert_eq!(given_up, "SIGRTMIN+6 101, SIGRTMIN+7 101");
}

#[test]
fn a_request_of_an_examined_worker_is_given_up_in_time() {
    let mut scene = Scene::new(Policy {
        timeout: Some(secs(5.0)),
        request_timeout: Some(secs(5.0)),
        ..DEFAULT
    });
    scene.wake();
    scene.ready(1);
    scene.ready(2);
    let since = scene.now;
    scene.pass(5.0);
    scene.beat(2);
    assert_eq!(scene.wake(), [order(WorkerSignal::Stacks, 1)]);
    let given_up = in_call(&mut scene, since, false);
    assert_eq!(given_up, "SIGRTMIN+7 101, spawn 3 in 2");
}

#[test]
fn requests_are_bounded_by_the_settings_of_their_worker() {
    let mut scene = in_calls(1);
    let since = scene.now;
    assert!(scene.supervisor.bounds_requests());
    scene.play(&[
        ("loaded 1", "spawn 3 in 2"),
        ("ready 3", "settle, SIGTERM 101, SIGTERM 102"),
    ]);
    assert!(scene.supervisor.bounds_requests());
    scene.pass(5.0);
    let given_up = in_call(&mut scene, since, false);
    assert_eq!(given_up, "SIGRTMIN+6 101, SIGRTMIN+7 101");
}

#[test]
fn a_pause_of_all_processes_is_noticed_wherever_it_falls() {
    for tenths in 0..30 {
        let mut scene = Scene::new(Policy {
            timeout: Some(secs(2.0)),
            ..DEFAULT
        });
        scene.wake();
        scene.ready(1);
        scene.ready(2);
        // Both are in a call of 1.9 s, and are stopped for a second or more in its middle.
        scene.pass(0.9);
        scene.stand_still(1.01 + f64::from(tenths) / 10.0);
        assert_eq!(scene.wake(), [""; 0], "{tenths}");
        scene.pass(1.0);
        assert_eq!(scene.wake(), [""; 0], "{tenths}");
        scene.beat(1);
        scene.beat(2);
    }
}

#[test]
fn an_arbiter_for_which_nothing_is_planned_sleeps() {
    let mut scene = Scene::new(Policy {
        timeout: None,
        boot_timeout: None,
        ..DEFAULT
    });
    scene.wake();
    assert_eq!(scene.next, None);
}
