//! A program that depends on this package: made from the README's words, built by Cargo, and run.

#![cfg(all(feature = "wsgi", feature = "cli", feature = "tracing"))]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use support::{Client, Process, eventually, python_env, root, target};

/// Tells which libpython its process has loaded (`proc_pid_maps(5)`).
const APP: &str = r#"
def application(environ, start_response):
    with open("/proc/self/maps") as maps:
        paths = {line.split()[-1] for line in maps if "/libpython3." in line}
    start_response("200 OK", [])
    return [" ".join(paths).encode()]
"#;

/// The first block of the README that is of that kind and has that word in it.
fn block(kind: &str, word: &str) -> String {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let fence = format!("```{kind}\n");
    let mut blocks = readme.split(&fence).skip(1);
    let found = blocks.find_map(|rest| rest.split("```").next().filter(|text| text.contains(word)));
    found
        .unwrap_or_else(|| panic!("the README has no {kind} with {word}"))
        .to_owned()
}

/// Writes the program beside Cargo's other output, where it is a package of its own.
fn write_program() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dependent");
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("a folder");
        fs::write(path, text).expect("the target folder is writable");
    };
    let manifest = "[package]\nname = \"shop\"\nedition = \"2024\"\n[workspace]\n";
    let path = format!("{{ path = \"{}\" }}", root().display());
    let dependency = block("toml", "oxicorn").replace("\"0.1\"", &path);
    write("Cargo.toml", &format!("{manifest}{dependency}"));
    write("build.rs", &block("rust,no_run", "rustc-link-arg"));
    let main = block("rust,no_run", "shop.wsgi:application");
    write(
        "src/main.rs",
        &main.replace("127.0.0.1:8000", "unix:./shop.sock"),
    );
    write("shop/wsgi.py", APP);
    // The versions that were fetched for this package.
    write(
        "Cargo.lock",
        &fs::read_to_string(root().join("Cargo.lock")).expect("the lock file"),
    );
    let venv = folder.join(".venv");
    let _ = fs::remove_file(&venv);
    symlink(python_env(), venv).expect("a link");
    folder
}

#[test]
fn program_of_the_readme_runs_with_its_linked_libpython() {
    let folder = write_program();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--offline", "--target-dir"])
        .arg(target())
        .current_dir(&folder)
        .status();
    assert!(built.is_ok_and(|status| status.success()));

    let mut program = Command::new(target().join("debug/shop"));
    program
        .current_dir(&folder)
        .env_remove("LD_LIBRARY_PATH")
        .stdin(Stdio::null());
    let program = Process::spawn(&mut program, None);
    let mut client = eventually("the program does not listen", || {
        let stream = UnixStream::connect(folder.join("shop.sock")).ok()?;
        Some(Client::unix(stream))
    });
    let answer = client.get("/").expect(200);
    let loaded = fs::canonicalize(answer.text()).expect("one path");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.wait().status, 0);

    let script = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))";
    let linked = Command::new(python_env().join("bin/python"))
        .args(["-c", script])
        .output();
    let linked = String::from_utf8(linked.expect("Python runs").stdout).expect("a path");
    let linked = fs::canonicalize(linked.trim()).expect("its folder");
    // A machine may have another one of the same name where the loader looks by itself.
    assert!(
        loaded.starts_with(&linked),
        "{loaded:?} is not in {linked:?}"
    );
}
