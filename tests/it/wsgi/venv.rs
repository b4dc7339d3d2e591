//! Which Python environment an application gets.

use std::fs;

use crate::support::{Serve, Server, python_env};

#[derive(serde::Deserialize)]
struct Facts {
    argv: Vec<String>,
    executable: String,
    prefix: String,
}

#[track_caller]
fn assert_in_env(server: Server) {
    let response = server.get("/process").expect(200);
    let facts: Facts = serde_json::from_str(response.text()).expect("it is JSON");
    let env = python_env().to_str().expect("UTF-8");
    assert_eq!(facts.prefix, env);
    assert!(facts.executable.starts_with(env), "{}", facts.executable);
    assert_eq!(facts.argv.len(), 1, "{:?}", facts.argv);
    // What is installed there can be imported.
    server.get("/imports?flask").expect(200);
    server.stop();
}

#[test]
fn venv_that_a_flag_names_is_used() {
    let env = python_env().as_os_str();
    assert_in_env(
        Serve::app("probe:app")
            .args(["--venv".as_ref(), env])
            .start(),
    );
}

#[test]
fn activated_venv_just_works() {
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", python_env().join("bin").display());
    let activated = Serve::app("probe:app")
        .env("VIRTUAL_ENV", python_env())
        .env("PATH", &path);
    assert_in_env(activated.start());
    assert_in_env(
        Serve::app("probe:app")
            .env("VIRTUAL_ENV", python_env())
            .start(),
    );
    assert_in_env(Serve::app("probe:app").env("PATH", &path).start());
}

#[test]
fn venv_of_another_python_version_is_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cfg = "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.2.5\n";
    fs::create_dir(folder.path().join("bin")).expect("the folder is writable");
    fs::write(folder.path().join("pyvenv.cfg"), cfg).expect("the folder is writable");
    fs::write(folder.path().join("bin/python"), "").expect("the folder is writable");
    let by_flag = Serve::app("probe:app").args(["--venv".as_ref(), folder.path().as_os_str()]);
    let by_name = Serve::app("probe:app").env("VIRTUAL_ENV", folder.path());
    for serve in [by_flag, by_name] {
        let exited = serve.run();
        assert_ne!(exited.status, 0, "{exited:#?}");
        let last = exited.last();
        assert!(last.starts_with("Error: "), "{exited:#?}");
        assert!(
            last.contains("3.2") && last.contains(folder.path().to_str().expect("UTF-8")),
            "{last}"
        );
    }
}

#[test]
fn folder_that_is_no_venv_is_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for venv in [folder.path().to_str().expect("UTF-8"), "/no/such/venv"] {
        let exited = Serve::app("probe:app").args(["--venv", venv]).run();
        assert_ne!(exited.status, 0, "{exited:#?}");
        let last = exited.last();
        assert!(
            last.starts_with("Error: ") && last.contains(venv),
            "{exited:#?}"
        );
    }
}
