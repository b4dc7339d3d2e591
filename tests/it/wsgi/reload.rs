//! Reloads when a file changes: what is watched, how an editor saves, and what a broken file shows.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::{Response, Serve, Server, eventually};

/// An application whose answer is in another module.
const APP: &str = "import words
def app(environ, start_response):
    if environ['PATH_INFO'] == '/late':
        import late
        words.TEXT = late.TEXT
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [words.TEXT.encode()]
";

/// A folder with the application.
fn project() -> TempDir {
    let project = tempfile::tempdir().expect("a temporary folder");
    save(&project, "shop.py", APP);
    save(&project, "words.py", "TEXT = 'one'\n");
    save(&project, "late.py", "TEXT = 'late one'\n");
    project
}

fn save(project: &TempDir, name: &str, text: &str) {
    fs::write(project.path().join(name), text).expect("it can be written");
}

/// Saves as many editors do: a new file takes the place of the old one.
fn save_by_renaming(project: &TempDir, name: &str, text: &str) {
    let (new, old) = (project.path().join(".new~"), project.path().join(name));
    fs::write(&new, text).expect("it can be written");
    fs::rename(new, old).expect("it can be renamed");
}

fn serve(project: &TempDir) -> Serve {
    Serve::app("shop:app")
        .chdir(project.path())
        .args(["--reload"])
}

/// Asks until the answer has this status and text.
#[track_caller]
fn shows(server: &Server, target: &str, status: u16, text: &str) -> Response {
    eventually(&format!("it does not show {text}"), || {
        let response = server.get(target);
        (response.status == status && response.text().contains(text)).then_some(response)
    })
}

/// Whether the arbiter has the system's watches.
fn has_inotify(server: &Server) -> bool {
    let folder = format!("/proc/{}/fd", server.pid());
    let mut descriptors = std::fs::read_dir(folder).expect("its descriptors");
    descriptors.any(|entry| {
        let file = entry.and_then(|entry| std::fs::read_link(entry.path()));
        file.is_ok_and(|file| file.ends_with("anon_inode:inotify"))
    })
}

// Gunicorn: S22, S23
#[test]
fn changed_module_is_served_with_either_engine() {
    for engine in ["auto", "poll", "inotify"] {
        let project = project();
        let server = serve(&project).args(["--reload-engine", engine]).start();
        server.stderr().wait_for("[WARNING] reload is on: ");
        shows(&server, "/", 200, "one");
        assert_eq!(has_inotify(&server), engine != "poll", "{engine}");
        // Of the same length, and perhaps within the same second.
        save(&project, "words.py", "TEXT = 'two'\n");
        shows(&server, "/", 200, "two");
        save_by_renaming(&project, "words.py", "TEXT = 'six'\n");
        shows(&server, "/", 200, "six");
        let path = project.path().join("words.py");
        server
            .stderr()
            .wait_for(&format!("{} has changed: reloading", path.display()));
        server.stop();
    }
}

#[test]
fn module_that_a_request_has_imported_is_watched() {
    let project = project();
    let server = serve(&project).start();
    shows(&server, "/late", 200, "late one");
    save(&project, "late.py", "TEXT = 'late two'\n");
    shows(&server, "/late", 200, "late two");
}

// Gunicorn: G46
#[test]
fn broken_file_shows_its_traceback_until_it_is_mended() {
    let project = project();
    let server = serve(&project).workers(2).start();
    shows(&server, "/", 200, "one");
    save_by_renaming(&project, "words.py", "TEXT = 'one\n");
    let page = shows(&server, "/any", 500, "SyntaxError");
    let words = project.path().join("words.py");
    assert!(
        page.text()
            .contains(&format!("File \"{}\", line 1", words.display()))
    );
    assert_eq!(
        page.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    server.stderr().wait_for("SyntaxError: ");
    server
        .stderr()
        .wait_for("this is shown to clients until a file changes");
    save_by_renaming(&project, "words.py", "TEXT = 'mended'\n");
    shows(&server, "/", 200, "mended");
    save(&project, "shop.py", "raise RuntimeError('not today')\n");
    shows(&server, "/", 500, "RuntimeError: not today");
    save(&project, "shop.py", APP);
    shows(&server, "/", 200, "mended");
    server.stop();
}

#[test]
fn server_that_starts_with_a_broken_file_recovers() {
    let project = project();
    save(&project, "shop.py", "def app(:\n");
    let server = serve(&project).start();
    shows(&server, "/", 500, "SyntaxError");
    save(&project, "shop.py", APP);
    shows(&server, "/", 200, "one");
    // An application that is not there is a mistake of the command line.
    let exited = Serve::app("nowhere:app")
        .chdir(project.path())
        .args(["--reload"])
        .run();
    assert_eq!(exited.status, 3, "{exited:#?}");
}

// Gunicorn: S24
#[test]
fn files_of_a_pattern_and_the_configuration_file_are_watched() {
    let project = project();
    let reads = "import pathlib
def app(environ, start_response):
    start_response('200 OK', [])
    return [repr(TEXTS).encode()]
TEXTS = sorted(path.read_text() for path in pathlib.Path('pages').glob('*.txt'))
";
    fs::create_dir(project.path().join("pages")).expect("it can be made");
    save(&project, "shop.py", reads);
    save(&project, "pages/a.txt", "a1");
    save(&project, "gunicorn.conf.py", "raw_env = ['SHOP=1']\n");
    let server = serve(&project)
        .started_in(project.path())
        .args([
            "-c",
            "gunicorn.conf.py",
            "--reload-extra-file",
            "pages/*.txt",
        ])
        .start();
    shows(&server, "/", 200, "['a1']");
    save(&project, "pages/a.txt", "a2");
    shows(&server, "/", 200, "['a2']");
    // A file that comes is a change, and so is one that goes.
    save(&project, "pages/b.txt", "b1");
    shows(&server, "/", 200, "['a2', 'b1']");
    fs::remove_file(project.path().join("pages/a.txt")).expect("it is there");
    shows(&server, "/", 200, "['b1']");
    save(&project, "gunicorn.conf.py", "raw_env = ['SHOP=2']\n");
    server
        .stderr()
        .wait_for("gunicorn.conf.py has changed: reloading");
    server.stop();
}

#[test]
fn burst_of_changes_is_one_reload_and_preloading_is_off() {
    let project = project();
    let server = serve(&project).args(["--preload"]).start();
    server
        .stderr()
        .wait_for("[WARNING] preload_app has no effect while reload is on");
    shows(&server, "/", 200, "one");
    for number in 0..20 {
        save(&project, "words.py", &format!("TEXT = 'number {number}'\n"));
        save_by_renaming(&project, "late.py", &format!("TEXT = 'late {number}'\n"));
    }
    shows(&server, "/", 200, "number 19");
    let exited = server.stop();
    let reloads = exited
        .stderr
        .iter()
        .filter(|line| line.contains("has changed: reloading"));
    assert_eq!(reloads.count(), 1, "{exited:#?}");
}

#[test]
fn without_the_setting_no_file_is_watched() {
    let project = project();
    let server = Serve::app("shop:app").chdir(project.path()).start();
    server.get("/").expect(200);
    let arbiter = server.pid();
    let links = fs::read_dir(format!("/proc/{arbiter}/fd")).expect("it lives");
    let links = links.filter_map(|link| fs::read_link(link.ok()?.path()).ok());
    let watches = links.filter(|link| link == Path::new("anon_inode:inotify"));
    assert_eq!(watches.count(), 0);
}
