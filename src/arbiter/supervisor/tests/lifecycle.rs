//! How workers start, die, and are tried again.
//!
//! What is done to them is elsewhere.

use super::*;

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
fn a_boot_failure_at_the_start_stops_with_the_first_cause() {
    let mut scene = Scene::new(DEFAULT);
    scene.wake();
    assert_eq!(
        scene.exit_with_words(1, true, "no 'app'"),
        [
            "bury 1, retry in 0ns".to_owned(),
            "close".into(),
            order(WorkerSignal::Quit, 2)
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
        let mut scene = Scene::new(Policy {
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
    let mut scene = Scene::new(Policy {
        workers: 1,
        ..DEFAULT
    });
    scene.wake();
    assert_eq!(scene.wake_as_planned(), [order(WorkerSignal::Stacks, 1)]);
    assert_eq!(scene.wake_as_planned(), [order(WorkerSignal::Abort, 1)]);
    assert_eq!(
        scene
            .exit(1, Exit::Signal(Signal::SIGABRT))
            .pop()
            .as_deref(),
        Some("exit Boot(\"a worker was not ready within 120 s\")")
    );
}

#[test]
fn a_readiness_that_comes_with_the_exit_still_proves_a_boot() {
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
fn a_later_boot_failure_touches_no_other_and_backs_off() {
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
fn while_workers_fail_one_at_a_time_is_tried() {
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

// Gunicorn: G43
#[test]
fn one_that_was_ready_is_replaced_at_once_while_others_serve() {
    let mut scene = Scene::serving();
    scene.exit(1, Exit::Code(1));
    for id in 3..12 {
        scene.ready(id);
        let next = format!("spawn {} in 0", id + 1);
        assert_eq!(scene.exit(id, Exit::Code(1)), [format!("bury {id}"), next]);
    }
    // A failed boot is retried after its own pause, which delays no other worker.
    let failed = scene.exit(12, Exit::Code(3));
    assert_eq!(failed, ["bury 12, retry in 0ns", "spawn 13 in 0"]);
    scene.exit(13, Exit::Code(3));
    scene.wake_as_planned();
    assert_eq!(scene.exit(14, Exit::Code(3)), ["bury 14, retry in 500ms"]);
    let killed = scene.exit(2, Exit::Signal(Signal::SIGKILL));
    assert_eq!(killed, ["bury 2", "spawn 15 in 0"]);
}

// Gunicorn: G43
#[test]
fn workers_killed_repeatedly_are_back_within_a_second() {
    let mut scene = Scene::serving();
    let killed = Exit::Signal(Signal::SIGKILL);
    scene.exit(1, killed);
    scene.exit(2, killed);
    let mut oldest = 3;
    for _ in 0..8 {
        scene.stand_still(0.3);
        scene.wake();
        // One of them may have become ready. If all were killed, no worker would serve.
        let living: Vec<u64> = scene.supervisor.table.iter().map(|row| row.id).collect();
        if let Some(first) = living.first() {
            scene.ready(*first);
        }
        for id in living {
            oldest = id.max(oldest);
            scene.exit(id, killed);
        }
    }
    let pause = scene.due().map(|next| next.since(scene.now));
    assert!(pause <= Some(secs(1.0)), "{pause:?}");
    let words = scene.wake_as_planned();
    assert!(words[0].starts_with("spawn"), "{words:?}");
    let one = scene.supervisor.table.iter().map(|row| row.id).max();
    let words = scene.input(Input::Ready { id: one.unwrap() });
    let there = scene.supervisor.table.iter().count();
    assert_eq!(there, 2, "{words:?}");
}

#[test]
fn workers_that_die_after_ready_are_slowed_to_one_a_second() {
    let mut scene = Scene::new(Policy {
        workers: 1,
        ..DEFAULT
    });
    scene.wake();
    let mut id = 0;
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
fn a_worker_that_lasts_makes_the_next_replacement_immediate() {
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
        Some("exit Io(\"no more processes\")")
    );
}
