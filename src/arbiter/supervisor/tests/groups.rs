//! Several groups of workers: what concerns one of them leaves the others alone.

use super::*;

/// A first group of two workers, and a second one of one: 1 and 2, and 3.
fn two() -> Scene {
    let mut scene = Scene::of(&[DEFAULT, ONE]);
    scene.play(&[
        ("wake", "spawn 1 in 0, spawn 2 in 1, spawn 3 in 2"),
        ("ready 1", ""),
        ("ready 2", ""),
        ("ready 3", ""),
    ]);
    scene
}

const ONE: Policy = Policy {
    workers: 1,
    ..DEFAULT
};

#[test]
fn a_fork_is_of_the_generation_of_its_group() {
    let mut supervisor = Supervisor::new(number(&[DEFAULT, ONE], &mut 0), SLOTS);
    let mut out = Vec::new();
    supervisor.step(MonoTime::ZERO, Input::Wake, &mut out);
    let generations = out.iter().filter_map(|action| match action {
        Action::Ask(Request::Spawn { generation, .. }) => Some(*generation),
        _ => None,
    });
    assert!(generations.eq([1, 1, 2]), "{out:?}");
}

#[test]
fn each_group_tries_new_settings_by_itself() {
    let mut scene = two();
    scene.happens("reload");
    let spawned = scene.loaded(&[DEFAULT, ONE]);
    assert_eq!(spawned, ["spawn 4 in 3", "spawn 5 in 4", "spawn 6 in 5"]);
    scene.play(&[
        // The second group keeps what it had, and the first goes on.
        ("fails 6", &format!("bury 6, {GIVEN_UP}")),
        ("ready 4", "settle, SIGTERM 101"),
        ("ready 5", "SIGTERM 102"),
        ("is-killed 3", "bury 3, retry in 0ns, spawn 7 in 2"),
    ]);
}

const GIVEN_UP: &str = "revert \"a worker exited with code 3 before it was ready\"";

#[test]
fn a_group_is_scaled_within_what_the_others_leave() {
    let mut scene = two();
    let second = GroupId(1);
    let spawned = scene.command(Command::Scale(second, 100));
    assert_eq!(spawned, ["spawn 4 in 3", "spawn 5 in 4", "spawn 6 in 5"]);
    assert!(scene.supervisor.targets().eq([2, 4]));
    // No slot is left but those for replacements.
    scene.play(&[("grow", ""), ("shrink", "SIGTERM 101")]);
    assert!(scene.supervisor.targets().eq([1, 4]));
}

#[test]
fn rest_is_for_all_groups_and_growth_for_the_first() {
    let mut scene = two();
    scene.play(&[
        ("rest", "SIGTERM 101, SIGTERM 102, SIGTERM 103"),
        ("leaves 1", "bury 1"),
        ("leaves 2", "bury 2"),
        ("leaves 3", "bury 3"),
        ("grow", "spawn 4 in 0"),
    ]);
    assert!(scene.supervisor.targets().eq([1, 0]));
}

#[test]
fn failures_of_one_group_do_not_slow_the_others_down() {
    let mut scene = two();
    scene.play(&[
        ("is-killed 3", "bury 3, retry in 0ns, spawn 4 in 2"),
        ("fails 4", "bury 4, retry in 250ms"),
        // One of the first group is replaced at once.
        ("is-killed 1", "bury 1, spawn 5 in 0"),
    ]);
}

#[test]
fn a_group_whose_workers_never_booted_ends_a_start() {
    let mut scene = Scene::of(&[DEFAULT, ONE]);
    scene.play(&[
        ("wake", "spawn 1 in 0, spawn 2 in 1, spawn 3 in 2"),
        ("ready 1", ""),
        (
            "fails 3",
            "bury 3, retry in 0ns, close, SIGQUIT 101, SIGQUIT 102",
        ),
    ]);
}

#[test]
fn settings_without_room_for_old_and_new_are_refused() {
    let scene = two();
    // Each group has a slot for a replacement: six workers at the most.
    assert!(scene.supervisor.has_room_for([5, 1].into_iter()));
    assert!(!scene.supervisor.has_room_for([6, 1].into_iter()));
    assert!(!scene.supervisor.has_room_for([1, 5].into_iter()));
}
