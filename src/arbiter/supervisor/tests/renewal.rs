//! Workers in the place of others: reloads, what they try and give up, and workers due for recycling.
//!
//! No worker fails here but by its settings.

use super::*;

// Gunicorn: HUP7
#[test]
fn a_reload_replaces_workers_one_for_one_as_new_ones_are_ready() {
    let mut scene = Scene::serving();
    assert_eq!(scene.happens("reload"), ["load"]);
    assert_eq!(scene.loaded(&[DEFAULT]), ["spawn 3 in 2", "spawn 4 in 3"]);
    assert_eq!(
        scene.input(Input::Ready { id: 4 }),
        ["settle".to_owned(), order(WorkerSignal::Leave, 2)]
    );
    assert_eq!(
        scene.input(Input::Ready { id: 3 }),
        [order(WorkerSignal::Leave, 1)]
    );
    assert_eq!(scene.exit(1, Exit::Code(0)), ["bury 1"]);
    assert_eq!(scene.exit(2, Exit::Code(0)), ["bury 2"]);
}

// Gunicorn: HUP10
#[test]
fn new_settings_whose_workers_cannot_boot_are_given_up() {
    let mut scene = Scene::serving();
    scene.happens("reload");
    scene.loaded(&[Policy {
        workers: 3,
        ..DEFAULT
    }]);
    assert_eq!(
        scene.exit_with_words(4, false, "a comma is missing"),
        [
            "bury 4".to_owned(),
            order(WorkerSignal::Leave, 3),
            order(WorkerSignal::Leave, 5),
            "revert \"a comma is missing\"".into(),
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

// Gunicorn: W7, W20, S9
#[test]
fn a_recycled_worker_serves_until_its_replacement_is_ready() {
    let mut scene = Scene::serving();
    let recycle_due = |id| Input::RecycleDue {
        id,
        reason: RecycleReason::Requests(1000),
    };
    assert_eq!(
        scene.input(recycle_due(1)),
        ["recycle 101, Requests(1000)", "spawn 3 in 2"]
    );
    assert_eq!(scene.input(recycle_due(2)), ["recycle 102, Requests(1000)"]);
    assert!(scene.input(recycle_due(2)).is_empty());
    assert_eq!(
        scene.input(Input::Ready { id: 3 }),
        [order(WorkerSignal::Leave, 1), "spawn 4 in 3".into()]
    );
    assert_eq!(
        scene.input(Input::Ready { id: 4 }),
        [order(WorkerSignal::Leave, 2)]
    );
}

#[test]
fn a_worker_leaves_for_the_one_that_has_its_queue() {
    let mut scene = Scene::serving();
    scene.play(&[
        ("grow", "spawn 3 in 2"),
        ("ready 3", ""),
        ("recycle 3", "recycle 103, Requests(9), spawn 4 in 3"),
        ("ready 4", "SIGTERM 103"),
        ("leaves 3", "bury 3"),
        ("is-killed 1", "bury 1, spawn 5 in 0"),
        ("reload", "load"),
        ("loaded 3", "spawn 6 in 2, spawn 7 in 4, spawn 8 in 5"),
    ]);
    let posts = [2, 4, 5, 6, 7, 8].map(|id| scene.queue_id(id));
    assert_eq!(posts, [1, 2, 0, 1, 2, 0]);
    scene.play(&[
        ("ready 8", "settle, SIGTERM 105"),
        ("ready 7", "SIGTERM 104"),
        ("ready 6", "SIGTERM 102"),
    ]);
}

#[test]
fn an_old_worker_that_is_booting_is_kept_until_the_trial_ends() {
    let mut scene = Scene::new(DEFAULT);
    scene.wake();
    scene.ready(1);
    scene.happens("reload");
    scene.loaded(&[DEFAULT]);
    scene.exit_with_words(3, false, "a comma is missing");
    // It was never asked to leave.
    assert!(scene.input(Input::Ready { id: 2 }).is_empty());
    scene.happens("reload");
    assert_eq!(scene.loaded(&[DEFAULT]), ["spawn 5 in 2", "spawn 6 in 4"]);
}

const GIVEN_UP: &str = "revert \"a worker exited with code 3 before it was ready\"";

#[test]
fn a_reload_with_fewer_workers_stops_none_before_the_trial_ends() {
    Scene::serving().play(&[
        ("reload", "load"),
        ("loaded 1", "spawn 3 in 2"),
        ("ready 3", "settle, SIGTERM 101, SIGTERM 102"),
    ]);
    let mut scene = Scene::serving();
    scene.play(&[
        ("reload", "load"),
        ("loaded 1", "spawn 3 in 2"),
        ("fails 3", &format!("bury 3, {GIVEN_UP}")),
    ]);
    assert_eq!(scene.supervisor.target(), 2);
}

#[test]
fn a_reload_with_more_workers_stops_an_old_one_past_the_target() {
    Scene::serving().play(&[
        ("reload", "load"),
        (
            "loaded 4",
            "spawn 3 in 2, spawn 4 in 3, spawn 5 in 4, spawn 6 in 5",
        ),
        ("ready 3", "settle"),
        ("ready 4", ""),
        ("ready 5", "SIGTERM 101"),
        ("ready 6", "SIGTERM 102"),
    ]);
}

#[test]
fn a_reload_during_the_start_takes_the_new_settings() {
    let mut scene = Scene::new(DEFAULT);
    scene.play(&[
        ("wake", "spawn 1 in 0, spawn 2 in 1"),
        ("reload", "load"),
        ("loaded 2", "spawn 3 in 2, spawn 4 in 3"),
        ("ready 3", "settle, SIGTERM 101, SIGTERM 102"),
        ("ready 4", ""),
    ]);
}

#[test]
fn a_reload_during_the_start_that_cannot_boot_fails_the_start() {
    Scene::new(DEFAULT).play(&[
        ("wake", "spawn 1 in 0, spawn 2 in 1"),
        ("reload", "load"),
        ("loaded 1", "spawn 3 in 2"),
        (
            "fails 3",
            "bury 3, retry in 0ns, close, SIGQUIT 101, SIGQUIT 102",
        ),
    ]);
}

// Gunicorn: HUP8
#[test]
fn a_reload_during_a_reload_gives_the_first_one_up() {
    let mut scene = Scene::serving();
    scene.play(&[
        ("reload", "load"),
        ("loaded 3", "spawn 3 in 2, spawn 4 in 3, spawn 5 in 4"),
        ("reload", "load"),
        (
            "loaded 2",
            "SIGTERM 103, SIGTERM 104, SIGTERM 105, supersede 2, spawn 6 in 5, spawn 7 in 6",
        ),
        ("ready 3", ""),
        ("ready 6", "settle, SIGTERM 101"),
        ("ready 7", "SIGTERM 102"),
    ]);
    let mut scene = Scene::serving();
    scene.play(&[
        ("reload", "load"),
        ("loaded 3", "spawn 3 in 2, spawn 4 in 3, spawn 5 in 4"),
        ("reload", "load"),
        (
            "loaded 1",
            "SIGTERM 103, SIGTERM 104, SIGTERM 105, supersede 2, spawn 6 in 5",
        ),
        // What is gone back to is what served before either of them.
        ("fails 6", &format!("bury 6, {GIVEN_UP}")),
    ]);
    assert_eq!(scene.supervisor.target(), 2);
}

#[test]
fn unreadable_settings_leave_those_on_trial_in_place() {
    Scene::serving().play(&[
        ("reload", "load"),
        ("loaded 2", "spawn 3 in 2, spawn 4 in 3"),
        ("reload", "load"),
        ("unreadable", ""),
        ("ready 3", "settle, SIGTERM 101"),
        ("ready 4", "SIGTERM 102"),
    ]);
}

#[test]
fn reloads_that_come_together_are_one() {
    let mut scene = Scene::serving();
    assert_eq!(scene.command(Command::Reload), ["load"]);
    scene.play(&[("reload", ""), ("unreadable", ""), ("reload", "load")]);
}

#[test]
fn a_fork_names_its_generation_whatever_is_read_meanwhile() {
    let mut scene = Scene::serving();
    let mut actions = Vec::new();
    for input in [
        Input::Command(Command::Grow),
        Input::Command(Command::Reload),
    ] {
        scene.supervisor.step(scene.now, input, &mut actions);
    }
    let [resized, spawn, load] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(describe(resized), "resized 2 to 3");
    assert!(matches!(
        spawn,
        Action::Ask(Request::Spawn {
            id: 3,
            generation: 1,
            ..
        })
    ));
    assert_eq!(describe(load), "load");
    scene.loaded(&[DEFAULT]);
    let row = scene.supervisor.table.get_mut(4).map(|row| row.generation);
    assert_eq!(row, Some(2));
}

/// The settings on trial may have proven good meanwhile.
#[test]
fn settings_may_come_when_the_trial_before_them_is_over() {
    let mut scene = Scene::serving();
    scene.play(&[
        ("reload", "load"),
        ("loaded 2", "spawn 3 in 2, spawn 4 in 3"),
    ]);
    assert_eq!(scene.command(Command::Reload), ["load"]);
    scene.play(&[
        ("ready 3", "settle, SIGTERM 101"),
        ("loaded 2", "spawn 5 in 4, spawn 6 in 5"),
    ]);
}

#[test]
fn a_stop_is_not_disturbed_by_a_reload() {
    let mut scene = Scene::serving();
    scene.play(&[
        ("reload", "load"),
        ("stop", "close, SIGTERM 101, SIGTERM 102"),
        ("loaded 5", ""),
        ("reload", ""),
        ("leaves 1", "bury 1"),
        ("leaves 2", "bury 2, exit"),
    ]);
    assert_eq!(scene.supervisor.target(), 2);
}

#[test]
fn a_reload_ends_a_rest_and_one_that_fails_brings_it_back() {
    let mut scene = Scene::serving();
    scene.play(&[
        ("rest", "SIGTERM 101, SIGTERM 102"),
        ("leaves 1", "bury 1"),
        ("leaves 2", "bury 2"),
        ("reload", "load"),
        ("loaded 2", "spawn 3 in 0, spawn 4 in 1"),
        ("fails 4", &format!("bury 4, SIGTERM 103, {GIVEN_UP}")),
        ("leaves 3", "bury 3"),
    ]);
    assert_eq!(scene.supervisor.target(), 0);
}

#[test]
fn an_old_worker_that_dies_during_a_trial_is_replaced() {
    Scene::serving().play(&[
        ("reload", "load"),
        ("loaded 2", "spawn 3 in 2, spawn 4 in 3"),
        ("is-killed 1", "bury 1"),
        ("ready 3", "settle"),
        ("ready 4", "SIGTERM 102"),
    ]);
    Scene::serving().play(&[
        ("reload", "load"),
        ("loaded 2", "spawn 3 in 2, spawn 4 in 3"),
        ("is-killed 1", "bury 1"),
        (
            "fails 3",
            &format!("bury 3, SIGTERM 104, {GIVEN_UP}, spawn 5 in 0"),
        ),
    ]);
}

// Gunicorn: G55
#[test]
fn an_old_worker_that_hangs_during_a_trial_may_come_back() {
    Scene::serving().play(&[
        ("pass 20", ""),
        ("beats 2", ""),
        ("reload", "load"),
        ("loaded 2", "spawn 3 in 2, spawn 4 in 3"),
        ("deadline", "SIGRTMIN+6 101"),
        ("beats 1", ""),
        ("fails 3", &format!("bury 3, SIGTERM 104, {GIVEN_UP}")),
    ]);
}

#[test]
fn nobody_waits_for_an_old_worker_that_is_being_ended() {
    let mut scene = Scene::serving();
    scene.play(&[
        ("pass 20", ""),
        ("beats 2", ""),
        ("deadline", "SIGRTMIN+6 101"),
        ("deadline", "SIGABRT 101"),
        ("reload", "load"),
        ("loaded 2", "spawn 3 in 2, spawn 4 in 3"),
        ("ready 3", "settle"),
        ("ready 4", "SIGTERM 102"),
    ]);
    assert_eq!(scene.supervisor.rollout, Rollout::Complete);
}

#[test]
fn a_reload_tries_at_once_what_was_tried_ever_more_slowly() {
    Scene::serving().play(&[
        ("is-killed 1", "bury 1, spawn 3 in 0"),
        ("fails 3", "bury 3, retry in 0ns, spawn 4 in 0"),
        ("fails 4", "bury 4, retry in 250ms"),
        ("reload", "load"),
        ("loaded 2", "spawn 5 in 0, spawn 6 in 2"),
    ]);
}

// Gunicorn: HUP8
#[test]
fn workers_that_were_asked_for_during_a_trial_outlast_it() {
    let mut scene = Scene::serving();
    scene.play(&[
        ("reload", "load"),
        ("loaded 4", "spawn 3 in 2, spawn 4 in 3, spawn 5 in 4, spawn 6 in 5"),
        ("grow", "spawn 7 in 6"),
        (
            "fails 3",
            &format!(
                "bury 3, SIGTERM 104, SIGTERM 105, SIGTERM 106, SIGTERM 107, {GIVEN_UP}, spawn 8 in 2"
            ),
        ),
    ]);
    assert_eq!(scene.supervisor.target(), 3);
    let mut scene = Scene::serving();
    scene.play(&[
        ("reload", "load"),
        ("loaded 1", "spawn 3 in 2"),
        ("shrink", "SIGTERM 102"),
        ("fails 3", &format!("bury 3, {GIVEN_UP}")),
    ]);
    assert_eq!(scene.supervisor.target(), 1);
}

#[test]
fn a_rest_during_a_trial_is_a_rest() {
    let mut scene = Scene::serving();
    scene.play(&[
        ("reload", "load"),
        ("loaded 1", "spawn 3 in 2"),
        ("rest", "SIGTERM 102, SIGTERM 101, SIGTERM 103"),
        ("fails 3", "bury 3"),
        ("grow", "spawn 4 in 2"),
        ("fails 4", &format!("bury 4, {GIVEN_UP}, spawn 5 in 2")),
    ]);
    assert_eq!(scene.supervisor.target(), 1);
}

#[test]
fn a_worker_is_held_to_the_settings_that_it_was_started_with() {
    for timeout in [None, Some(secs(1.0))] {
        let mut scene = Scene::serving();
        scene.happens("reload");
        scene.loaded(&[Policy {
            timeout,
            boot_timeout: None,
            graceful_timeout: secs(1.0),
            ..DEFAULT
        }]);
        scene.play(&[
            ("pass 15", ""),
            ("beats 1", ""),
            ("beats 2", ""),
            ("wake", ""),
            ("pass 29", ""),
            ("wake", ""),
            ("deadline", "SIGRTMIN+6 101, SIGRTMIN+6 102"),
            ("beats 2", ""),
            ("ready 3", "settle"),
            ("ready 4", "SIGTERM 102"),
        ]);
    }
}

#[test]
fn new_settings_that_put_a_deadline_in_the_past_delay_no_step() {
    let mut scene = Scene::serving();
    scene.happens("reload");
    scene.loaded(&[Policy {
        max_worker_age: Some(secs(1.0)),
        ..DEFAULT
    }]);
    scene.play(&[(
        "stop",
        "close, SIGTERM 101, SIGTERM 102, SIGTERM 103, SIGTERM 104",
    )]);
    scene.expect_next_in(10.0);
}

#[test]
fn workers_of_one_age_are_replaced_one_after_the_other() {
    let mut scene = Scene::new(Policy {
        max_worker_age: Some(secs(25.0)),
        ..DEFAULT
    });
    scene.play(&[
        ("wake", "spawn 1 in 0, spawn 2 in 1"),
        ("ready 1", ""),
        ("ready 2", ""),
    ]);
    scene.expect_next_in(25.0);
    scene.play(&[
        (
            "deadline",
            "recycle 101, Age(25s), recycle 102, Age(25s), spawn 3 in 2",
        ),
        ("ready 3", "SIGTERM 101, spawn 4 in 3"),
        ("ready 4", "SIGTERM 102"),
    ]);
}

#[test]
fn a_worker_that_is_worn_and_old_goes_once() {
    Scene::serving().play(&[
        ("recycle 1", "recycle 101, Requests(9), spawn 3 in 2"),
        ("reload", "load"),
        ("loaded 2", "spawn 4 in 3, spawn 5 in 4"),
        ("ready 4", "settle, SIGTERM 101, SIGTERM 103"),
        ("ready 5", "SIGTERM 102"),
        ("recycle 2", ""),
    ]);
}

#[test]
fn a_worker_due_for_recycling_is_replaced_though_examined() {
    let examined = || {
        let mut scene = Scene::serving();
        scene.play(&[
            ("pass 20", ""),
            ("beats 2", ""),
            ("deadline", "SIGRTMIN+6 101"),
            ("recycle 1", "recycle 101, Requests(9), spawn 3 in 2"),
        ]);
        scene
    };
    examined().play(&[
        ("beats 1", ""),
        ("recycle 1", ""),
        ("ready 3", "SIGTERM 101"),
    ]);
    examined().play(&[
        ("deadline", "SIGABRT 101"),
        ("is-killed 1", "bury 1"),
        ("ready 3", ""),
    ]);
}

#[test]
fn a_worn_worker_that_dies_is_replaced_by_who_was_to_replace_it() {
    Scene::serving().play(&[
        ("recycle 1", "recycle 101, Requests(9), spawn 3 in 2"),
        ("is-killed 1", "bury 1"),
        ("ready 3", ""),
    ]);
}

#[test]
fn a_replacement_that_cannot_boot_leaves_the_old_worker_serving() {
    Scene::serving().play(&[
        ("recycle 1", "recycle 101, Requests(9), spawn 3 in 2"),
        ("fails 3", "bury 3, retry in 0ns, spawn 4 in 2"),
        ("fails 4", "bury 4, retry in 250ms"),
        ("deadline", "spawn 5 in 2"),
        ("ready 5", "SIGTERM 101"),
    ]);
}

#[test]
fn who_does_not_serve_cannot_be_worn() {
    Scene::new(DEFAULT).play(&[
        ("wake", "spawn 1 in 0, spawn 2 in 1"),
        ("recycle 1", ""),
        ("ready 1", ""),
        ("stop", "close, SIGTERM 101, SIGTERM 102"),
        ("recycle 1", ""),
    ]);
}

#[test]
fn the_stage_is_what_is_so_whatever_becomes_of_reloads() {
    use crate::arbiter::ArbiterState::{Quiesced, Reloading, Serving, Starting, Stopping};
    let mut scene = Scene::new(DEFAULT);
    for (event, stage) in [
        ("wake", Starting),
        // The settings are read, and cannot be used: nothing follows.
        ("reload", Starting),
        ("ready 1", Starting),
        ("loaded 2", Starting),
        ("ready 3", Starting),
        ("ready 4", Serving),
        ("is-killed 3", Serving),
        ("rest", Quiesced),
        ("reload", Quiesced),
        ("loaded 2", Reloading),
        ("ready 6", Reloading),
        ("ready 7", Serving),
        ("stop", Stopping),
        ("reload", Stopping),
        ("loaded 2", Stopping),
    ] {
        scene.happens(event);
        assert_eq!(scene.supervisor.state(), stage, "after {event:?}");
    }
}

#[test]
fn it_is_complete_when_all_serve_with_the_settings_in_force() {
    let mut scene = Scene::new(DEFAULT);
    let mut complete = |event: &str| {
        scene.happens(event);
        scene.supervisor.rollout == Rollout::Complete
    };
    for (event, is_complete) in [
        ("wake", false),
        ("ready 1", false),
        ("ready 2", true),
        ("is-killed 1", true),
        ("reload", true),
        ("loaded 2", false),
        ("ready 4", false),
        ("ready 5", true),
    ] {
        assert_eq!(complete(event), is_complete, "after {event:?}");
    }
}
