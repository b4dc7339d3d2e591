//! Frameworks, middleware and extensions that people use, unchanged: an application of `tests/apps/libraries` each.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::side_listener::Watched;
use crate::support::{Address, Client, Response, Serve, Server, eventually, python_env, root};

fn serve(app: &str) -> Serve {
    Serve::app(app)
        .chdir(root().join("tests/apps/libraries"))
        .args(["--venv".as_ref(), python_env().as_os_str()])
}

/// What is sent to one application, and what must come.
struct Talk {
    server: Server,
    client: Client,
}

impl Talk {
    #[track_caller]
    fn with(app: &str) -> Self {
        let server = serve(app).start();
        let client = server.client();
        Self { server, client }
    }

    #[track_caller]
    fn get(&mut self, target: &str, status: u16, text: &str) -> Response {
        self.ask("GET", target, &[], "", status, text)
    }

    /// The response, of which `text` is a part.
    #[track_caller]
    fn ask(
        &mut self,
        method: &str,
        target: &str,
        fields: &[&str],
        body: &str,
        status: u16,
        text: &str,
    ) -> Response {
        let fields = [fields, &[""]].concat().join("\r\n");
        let length = body.len();
        self.client.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: shop\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
        ));
        let response = if method == "HEAD" {
            self.client.head()
        } else {
            self.client.response()
        };
        let response = response.expect(status);
        let shown = response.text();
        assert!(shown.contains(text), "{method} {target}: {shown}");
        response
    }

    /// A form with one field, `name`, and one file, `file`.
    #[track_caller]
    fn upload(&mut self, target: &str, content: &str, text: &str) {
        let body = format!(
            "--b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nAda\r\n--b\r\nContent-Disposition: form-data; \
             name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\n{content}\r\n--b--\r\n"
        );
        let kind = "Content-Type: multipart/form-data; boundary=b";
        self.ask("POST", target, &[kind], &body, 200, text);
    }

    /// The file that the examples have, in all that can be asked of it.
    #[track_caller]
    fn css(&mut self, target: &str, cached: bool) {
        let css = self.get(target, 200, "color-scheme");
        assert!(css.header("content-type").unwrap().starts_with("text/css"));
        let head = self.ask("HEAD", target, &[], "", 200, "");
        assert_eq!(head.header("content-length"), css.header("content-length"));
        if cached {
            let modified = css.header("last-modified").expect("a date");
            let since = format!("If-Modified-Since: {modified}");
            self.ask("GET", target, &[&since], "", 304, "");
        }
    }

    /// The whole of what the error log has to say.
    #[track_caller]
    fn end(self, expected: &[&str]) {
        let exited = self.server.stop();
        let log = exited.stderr.join("\n");
        for words in expected {
            assert!(log.contains(words), "{log}");
        }
        let failed = expected.iter().any(|words| words.contains("Error"));
        assert_eq!(log.contains("[ERROR]"), failed, "{log}");
    }
}

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const JSON: &str = "Content-Type: application/json";

#[test]
fn falcon_media_streams_uploads_files_and_errors_work() {
    let mut falcon = Talk::with("falcon_app:app");
    let thing = falcon.get("/things/7?word=%C3%BC", 200, "\"number\": 7");
    assert!(
        thing.text().contains("\"host\": \"shop\""),
        "{}",
        thing.text()
    );
    assert!(thing.header("set-cookie").unwrap().starts_with("seen=7"));
    assert!(thing.text().contains("\"ü\"") || thing.text().contains("\\u00fc"));
    let fields = [JSON, "Cookie: seen=7"];
    let put = falcon.ask(
        "PUT",
        "/things/7",
        &fields,
        "{\"a\": [1]}",
        201,
        "\"a\": [1]",
    );
    assert!(put.text().contains("\"seen\": \"7\""));
    falcon.ask("PUT", "/things/7", &[JSON], "{", 400, "");
    falcon.ask("DELETE", "/things/7", &[], "", 204, "");
    falcon.ask("PATCH", "/things/7", &[], "", 405, "");
    falcon.ask("POST", "/raw", &[], "raw bytes", 200, "raw bytes");
    falcon.get("/raw", 200, "0\n1\n2\n");
    falcon.upload("/upload", "12345", "\"file\": 5");
    falcon.css("/static/style.css", true);
    falcon.get("/static/../secret", 404, "");
    falcon.get("/nothing", 404, "");
    falcon.get("/fails", 500, "");
    falcon.get("/raw", 200, "0\n1\n2\n");
    // Falcon reports it to `wsgi.errors`.
    falcon.server.stderr().wait_for("the resource that fails");
    falcon.server.stop();
}

#[test]
fn bottle_forms_cookies_uploads_files_and_errors_work() {
    let mut bottle = Talk::with("bottle_app:app");
    let hello = bottle.get("/hello/Ada?q=1", 200, "\"name\": \"Ada\"");
    assert!(hello.header("set-cookie").unwrap().starts_with("name=Ada"));
    bottle.ask(
        "GET",
        "/hello/B",
        &["Cookie: name=Ada"],
        "",
        200,
        "\"before\": \"Ada\"",
    );
    bottle.ask(
        "POST",
        "/sign",
        &[FORM],
        "name=Ada&message=%C3%BC",
        201,
        "Ada: ü",
    );
    bottle.upload("/upload", "the file", "the file");
    let stream = bottle.get("/stream", 200, "one two");
    assert_eq!(stream.header("transfer-encoding"), Some("chunked"));
    bottle.css("/static/style.css", true);
    let part = bottle.ask(
        "GET",
        "/static/style.css",
        &["Range: bytes=0-3"],
        "",
        206,
        "",
    );
    assert_eq!(part.body.len(), 4);
    let away = bottle.get("/away", 303, "");
    assert!(away.header("location").unwrap().ends_with("/hello/there"));
    bottle.get("/refused", 403, "not for you");
    bottle.get("/nothing", 404, "");
    bottle.get("/fails", 500, "");
    bottle.server.stderr().wait_for("the route that fails");
    bottle.get("/hello/still", 200, "still");
    bottle.server.stop();
}

#[test]
fn pyramid_sessions_uploads_files_and_exception_views_work() {
    let mut pyramid = Talk::with("pyramid_app:app");
    let first = pyramid.get("/count/Ada", 200, "\"visits\": 1");
    let cookie = first.header("set-cookie").unwrap();
    let cookie = format!("Cookie: {}", cookie.split(';').next().unwrap());
    pyramid.ask("GET", "/count/Ada", &[&cookie], "", 200, "\"visits\": 2");
    pyramid.ask(
        "POST",
        "/sign",
        &[FORM],
        "name=Ada&message=%C3%BC",
        200,
        "Ada: ü",
    );
    pyramid.upload("/upload", "the file", "the file");
    pyramid.get("/stream", 200, "one two");
    pyramid.css("/file", false);
    pyramid.css("/static/style.css", true);
    pyramid.get("/away", 302, "");
    pyramid.get("/fails", 503, "sorry: the view that fails");
    pyramid.get("/nothing", 404, "");
    pyramid.end(&[]);
}

#[test]
fn djangos_coroutine_views_work_with_and_without_threads() {
    for threads in ["1", "4"] {
        let server = serve("django_async:app")
            .args(["--threads", threads])
            .start();
        let client = server.client();
        let mut django = Talk { server, client };
        django.get("/gathers", 200, "[0, 2, 4, 6, 8]");
        django.get("/thread", 200, "True");
        django.upload("/upload", "12345", "5");
        django.get("/stream", 200, "0 1 2 ");
        django.get("/fails", 500, "");
        django.get("/gathers", 200, "[0, 2, 4, 6, 8]");
        let log = django.server.stop().stderr.join("\n");
        assert!(!log.contains("Error handling request"), "{log}");
    }
}

#[test]
fn neither_webtests_lint_nor_the_validator_complains() {
    for app in ["watched:app", "watched:validated", "watched:both"] {
        let mut watched = Talk::with(app);
        for fields in [&[][..], &["Cookie: a=1", "X-One: ü"]] {
            watched.ask("GET", "/?a=b%20c", fields, "", 200, "seen: ");
        }
        let text = "Content-Type: text/plain";
        watched.ask("POST", "/%C3%BC", &[text], "body", 200, "seen: body");
        watched.ask(
            "POST",
            "/lines",
            &[text],
            "one\ntwo\r\nthree",
            200,
            "seen: one|two|three",
        );
        watched.ask("PUT", "/", &[text], &"x".repeat(200_000), 200, "seen: x");
        watched.ask("HEAD", "/", &[], "", 200, "");
        watched.get("/none", 204, "");
        watched.get("/written", 200, "written, returned");
        watched.client.send(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        );
        assert_eq!(watched.client.response().expect(200).text(), "seen: hi");
        watched.get("/raises", 500, "");
        let log = watched.server.stop().stderr.join("\n");
        assert!(log.contains("ValueError: watched"), "{log}");
        assert!(!log.contains("Assertion"), "{app}: {log}");
    }
}

#[test]
fn whitenoise_sends_files_parts_and_not_modified() {
    let mut files = Talk::with("static_files:app");
    files.css("/static/style.css", true);
    let css = files.get("/static/style.css", 200, "");
    assert_eq!(css.header("cache-control"), Some("max-age=60, public"));
    let part = files.ask(
        "GET",
        "/static/style.css",
        &["Range: bytes=2-5"],
        "",
        206,
        "",
    );
    assert_eq!(part.body, css.body[2..6]);
    files.ask(
        "GET",
        "/static/style.css",
        &["Range: bytes=99999-"],
        "",
        416,
        "",
    );
    files.ask("POST", "/static/style.css", &[], "", 405, "");
    files.get("/static/nothing.css", 404, "no such file");
    files.end(&[]);
}

#[test]
fn prometheus_metrics_of_all_workers_are_shown_by_any() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = serve("metered:app")
        .env("PROMETHEUS_MULTIPROC_DIR", folder.path())
        .workers(2)
        .start();
    let workers = server.workers(2);
    let mut asked = 0;
    let mut ask = || {
        asked += 1;
        server.get("/page").expect(200).text().to_owned()
    };
    let first = ask();
    eventually("only one worker answers", || (ask() != first).then_some(()));
    // Those of a worker that has ended stay.
    crate::support::send(workers[0], Signal::SIGTERM);
    eventually("the worker is not replaced", || {
        (server.workers(2)[0] != workers[0]).then_some(())
    });
    ask();
    let metrics = server.get("/metrics").expect(200);
    let counted = format!("calls_total{{path=\"/page\"}} {asked}.0");
    assert!(
        metrics.text().contains(&counted),
        "{counted}: {}",
        metrics.text()
    );
    let sized = format!("sizes_bucket{{le=\"64.0\"}} {asked}.0");
    assert!(metrics.text().contains(&sized), "{}", metrics.text());
    server.stop();
}

/// The lines of an exposition that are not the server's own.
fn of_the_application(text: &str) -> BTreeSet<String> {
    let lines = text
        .lines()
        .filter(|line| !line.contains("oxicorn_") && *line != "# EOF");
    lines.map(str::to_owned).collect()
}

#[test]
fn the_side_listener_merges_metrics_as_the_package_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let variable = format!("PROMETHEUS_MULTIPROC_DIR={}", folder.path().display());
    let serve = serve("metered:app")
        .args(["--env", &variable, "--request-id"])
        .workers(2);
    let watched = Watched::start(serve);
    let workers = watched.server.workers(2);
    let mut answered = BTreeSet::new();
    eventually("only one worker answers", || {
        answered.insert(watched.server.get("/page").expect(200).text().to_owned());
        (answered.len() == 2).then_some(())
    });
    fs::write(folder.path().join("counter_0.db"), [0xff; 100]).expect("it is writable");
    // The package itself would show nothing for such a file.
    let shown = || watched.get("/metrics").expect(200).text().to_owned();
    let found = of_the_application(&shown());
    fs::remove_file(folder.path().join("counter_0.db")).expect("it is there");
    let package = watched.server.get("/metrics").expect(200);
    assert_eq!(found, of_the_application(package.text()));
    for kind in ["counter", "gauge", "histogram", "summary"] {
        assert!(
            found.iter().any(|line| line.ends_with(kind)),
            "{kind}: {found:#?}"
        );
    }
    assert!(!shown().contains("The server has one of this name"));
    let log = watched.server.stderr();
    log.wait_for("Metrics of applications: of counter_0.db in ");
    // A reader of the newer form, which is strict, agrees with it.
    let mut client = watched.client();
    client.send("GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: application/openmetrics-text\r\n\r\n");
    let file = folder.path().join("metrics.txt");
    fs::write(&file, client.response().expect(200).body).expect("it is writable");
    let code = "import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
                families = list(parse(open(sys.argv[1]).read()))\n\
                print(*(family.name for family in families))\n\
                print(*(sample.exemplar for family in families for sample in family.samples if sample.exemplar))";
    let output = Command::new(python_env().join("bin/python"))
        .args(["-c".as_ref(), code.as_ref(), file.as_os_str()])
        .output()
        .expect("the environment's Python runs");
    let names = String::from_utf8_lossy(&output.stdout);
    assert!(
        names.contains("last_livemin") && names.contains("{'request_id': '"),
        "{output:?}"
    );
    // What a worker alone has told of itself goes with it, and nothing else.
    let of_worker = |mode: &str| format!("last_{mode}{{a=\"2\",pid=\"{}\",z=\"1\"}}", workers[0]);
    assert!(shown().contains(&of_worker("liveall")));
    crate::support::send(workers[0], Signal::SIGKILL);
    eventually("the files of the worker stay", || {
        (!shown().contains(&of_worker("liveall"))).then_some(())
    });
    assert!(shown().contains(&of_worker("all")));
    let package = watched.server.get("/metrics").expect(200);
    assert_eq!(
        of_the_application(&shown()),
        of_the_application(package.text())
    );
    watched.server.stop();
}

#[test]
fn opentelemetrys_thread_exports_while_its_worker_is_idle() {
    for args in [&["--threads", "1"][..], &["--threads", "3"]] {
        let server = serve("traced:app").args(args).start();
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let mut client = server.client();
        client.send(format!(
            "GET /page HTTP/1.1\r\nHost: a\r\ntraceparent: 00-{trace}-b7ad6b7169203331-01\r\n\r\n"
        ));
        client.response().expect(200);
        // No request comes meanwhile.
        let span = format!("span GET /page 200 of {trace} from a thread");
        server.stdout().wait_for(&span);
        assert_eq!(client.get("/stream").expect(200).text(), "one two");
        client.get("/fails").expect(500);
        // What was not exported yet is, at the worker's end.
        let seen = server.stop().stdout.join("\n");
        assert!(seen.contains("span GET /stream 200 of none"), "{seen}");
        assert!(seen.contains("span GET /fails "), "{seen}");
    }
}

/// Runs a scene of the clients of websockets, with a server.
fn talk(server: &Server, scene: &str) -> std::process::Child {
    let Address::Tcp(address) = server.address() else {
        panic!("it is bound to TCP");
    };
    Command::new(python_env().join("bin/python"))
        .arg(root().join("tests/apps/libraries/websockets_client.py"))
        .args([&address.port().to_string(), scene])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the environment's Python runs")
}

#[track_caller]
fn done(client: std::process::Child) -> String {
    let output = client.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.ends_with("done\n"),
        "{text}"
    );
    text
}

// Gunicorn: E12
#[test]
fn flask_sock_serves_websockets_beside_pages() {
    let server = serve("websockets_app:app")
        .args(["--threads", "4", "--graceful-timeout", "3"])
        .start();
    done(talk(&server, "talks"));
    server.get("/page").expect(200);
    server
        .stderr()
        .wait_for("ValueError: the websocket that fails");
    // One that is open when the server stops has its time, and is ended then.
    let mut stays = talk(&server, "stays");
    let mut said = [0; 10];
    std::io::Read::read_exact(stays.stdout.as_mut().unwrap(), &mut said).expect("it connects");
    let exited = server.stop();
    assert_eq!(done(stays), "ended\ndone\n");
    let log = exited.stderr.join("\n");
    assert!(
        !log.contains("Killing") && !log.contains("StopIteration"),
        "{log}"
    );
    // Pings go out while nothing comes.
    let server = serve("websockets_app:pinged")
        .args(["--threads", "2"])
        .start();
    done(talk(&server, "waits"));
    server.stop();
    // Without threads there is no socket.
    let server = serve("websockets_app:app").start();
    done(talk(&server, "refused"));
    server.stderr().wait_for("no thread to spare");
    server.get("/page").expect(200);
    server.stop();
}
