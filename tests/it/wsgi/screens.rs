//! The screens of the README: each is what the program shows.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::{Address, Gate, Process, Serve, Server, eventually, root};

/// A line of a screen that stands for any lines, also for none.
const LEFT_OUT: &str = "…";

/// A block of the README: its command lines, each with what follows it.
fn screens() -> Vec<Vec<(String, Vec<String>)>> {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let blocks = readme.split("```console\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap_or_default());
    let screen = |block: &str| {
        let mut commands: Vec<(String, Vec<String>)> = Vec::new();
        for line in block.lines() {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((command.to_owned(), Vec::new())),
                (None, Some((_, shown))) => shown.push(line.to_owned()),
                (None, None) => panic!("no command is before {line:?}"),
            }
        }
        commands
    };
    blocks.map(screen).collect()
}

/// A line without what differs from run to run: this folder, and the numbers of a log line, a port or a duration.
fn masked(line: &str) -> String {
    // The README's folder may end as this one does, so it is the README's that is replaced.
    let line = line.replace("/home/me/oxicorn", root().to_str().expect("UTF-8"));
    if !["[2", "://", " ms", ", Python "]
        .iter()
        .any(|part| line.contains(part))
    {
        return line;
    }
    let mut masked = String::new();
    for letter in line.chars() {
        if !letter.is_ascii_digit() {
            masked.push(letter);
        } else if !masked.ends_with('0') {
            masked.push('0');
        }
    }
    // Of a time, the offset of its zone.
    masked.replace(" -0]", " +0]")
}

/// Whether the lines are what the screen shows, line by line.
fn agree(screen: &[String], lines: &[String]) -> bool {
    match screen {
        [] => lines.is_empty(),
        [first, rest @ ..] if first == LEFT_OUT => {
            (0..=lines.len()).any(|left_out| agree(rest, &lines[left_out..]))
        }
        [first, rest @ ..] => lines
            .split_first()
            .is_some_and(|(line, lines)| masked(first) == masked(line) && agree(rest, lines)),
    }
}

fn oxicorn(line: &str) -> Serve {
    let args = line.strip_prefix("oxicorn ").expect("the program");
    let serve = Serve::program(env!("CARGO_BIN_EXE_oxicorn")).started_in(root());
    let serve = serve.args(args.split(' '));
    // Another program may listen at the default address.
    let listens = !["--help", "--print-config"]
        .iter()
        .any(|flag| line.contains(flag));
    serve.args(listens.then_some("--bind=127.0.0.1:0"))
}

/// What a terminal shows, line by line, without its codes and without empty lines.
fn on_screen(shown: &[String]) -> Vec<String> {
    // What stands between these codes is written over.
    let stays = shown.iter().filter(|part| !part.contains("\x1b[?7l"));
    let text: String = stays.map(String::as_str).collect();
    let lines = text.lines().map(|line| {
        let codes = line.split('\x1b').skip(1);
        let after = codes.map(|rest| {
            rest.split_once(['m', 'K', 'l', 'h'])
                .map_or("", |(_, text)| text)
        });
        let before = line.split('\x1b').take(1);
        before.chain(after).collect::<String>()
    });
    lines.filter(|line| !line.is_empty()).collect()
}

/// Runs a server on a terminal, and sends it the signals of the further commands.
fn assert_serves(command: &str, shown: &[String], signals: &[(String, Vec<String>)]) {
    let process = oxicorn(command).spawn_on_terminal();
    let mut seen = 0;
    let mut assert_shown = |shown: &[String]| {
        let shown: Vec<String> = shown
            .iter()
            .filter(|line| !line.is_empty())
            .cloned()
            .collect();
        seen = process.stderr.wait_until(&shown.join("\n"), |lines| {
            let screen = on_screen(lines);
            agree(&shown, &screen[seen..]).then_some(screen.len())
        });
    };
    assert_shown(shown);
    for (command, shown) in signals {
        assert!(command.starts_with("kill -HUP "), "{command}");
        process.signal(Signal::SIGHUP);
        assert_shown(shown);
    }
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().status, 0);
}

#[test]
fn the_screens_of_the_readme_are_what_is_shown() {
    let screens = screens();
    assert!(screens.len() >= 4, "{screens:?}");
    for screen in screens {
        let [(command, shown), signals @ ..] = &*screen else {
            panic!("a screen without a command");
        };
        if !signals.is_empty() {
            assert_serves(command, shown, signals);
            continue;
        }
        let exited = oxicorn(command).run();
        let lines = [exited.stdout, exited.stderr].concat();
        assert!(agree(shown, &lines), "$ {command}\n{}", lines.join("\n"));
    }
}

/// Stops a server that answers a request until progress is shown; gives that, and all that was shown.
fn stopped_in_a_call(process: Process) -> (String, Vec<String>) {
    let server = Server::listening(process);
    let gate = Gate::new();
    let mut client = server.client();
    client.send(format!(
        "GET {} HTTP/1.1\r\nHost: a\r\n\r\n",
        gate.at("/hold")
    ));
    let arrived = gate.arrival();
    server.signal(Signal::SIGTERM);
    let line = server.stderr().wait_for("Stopping for ");
    drop(arrived);
    client.response().expect(200);
    let exited = server.wait();
    assert_eq!(exited.status, 0);
    (line, exited.stderr)
}

#[test]
fn a_slow_stop_says_which_request_is_waited_for() {
    let (line, shown) = stopped_in_a_call(Serve::app("probe:app").spawn());
    let (_, told) = line
        .split_once("[INFO] Stopping for ")
        .expect("a line of the log");
    assert!(told.contains(" s, waiting for 1 worker: pid "), "{line}");
    assert!(told.contains(" (GET /hold"), "{line}");
    assert!(!shown.concat().contains('\x1b'), "{shown:#?}");

    let (line, shown) = stopped_in_a_call(Serve::app("probe:app").spawn_on_terminal());
    assert!(
        line.contains(" (GET /hold") && !line.contains('\n'),
        "{line:?}"
    );
    // Each line of the log that comes later erases it.
    let later = shown
        .iter()
        .skip_while(|part| !part.contains("Stopping for "));
    let later: Vec<_> = later
        .skip(1)
        .filter(|part| part.contains("[INFO]"))
        .collect();
    assert!(!later.is_empty(), "{shown:#?}");
    assert!(
        later.iter().all(|part| part.contains("\x1b[K[2")),
        "{later:?}"
    );
}

#[test]
fn a_terminal_is_as_quiet_as_its_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("sock");
    let serve = Serve::app("probe:app").bind([format!("unix:{}", socket.display())]);
    let process = serve.args(["--log-level", "warning"]).spawn_on_terminal();
    let address = Address::Unix(socket);
    let mut client = eventually("it does not listen", || address.try_client());
    client.get("/pid").expect(200);
    drop(client);
    process.signal(Signal::SIGTERM);
    let exited = process.wait();
    assert_eq!((exited.status, exited.log().as_str()), (0, ""));
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let shown = |serve: Serve| {
        let server = Server::listening(serve.spawn_on_terminal());
        server.stderr().wait_for("ready in ");
        server.stop().log()
    };
    assert!(shown(Serve::app("probe:app")).contains("\x1b[1mhttp://"));
    let plain = shown(Serve::app("probe:app").env("NO_COLOR", "1"));
    assert!(
        plain.contains("  http://") && !plain.contains("\x1b[1m"),
        "{plain:?}"
    );
    let server = Serve::app("probe:app").start();
    server.stderr().wait_for("Ready in ");
    let exited = server.stop();
    assert!(!exited.log().contains('\x1b'), "{exited:#?}");
}

#[test]
fn a_screen_that_is_not_true_is_found() {
    let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
    let shown =
        lines("a\nb\n[2026-03-05 14:07:09 +0100] [4] Listening at: http://127.0.0.1:80 (4)\nd");
    for (screen, same) in [
        ("a\n…\nd", true),
        (
            "…\nb\n[1 2:3] [5] Listening at: http://127.0.0.1:8000 (5)\n…\nd\n…",
            false,
        ),
        (
            "…\n[2027-01-02 01:02:03 +0000] [51] Listening at: http://127.0.0.1:8000 (51)\nd",
            true,
        ),
        ("a\n…\nc", false),
        ("a\nb\n…\nb\n…", false),
        ("a\nb", false),
    ] {
        assert_eq!(agree(&lines(screen), &shown), same, "{screen}");
    }
}
