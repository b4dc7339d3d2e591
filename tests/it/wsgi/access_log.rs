//! The access log beside Gunicorn's own.

use std::process::Command;

use crate::support::{Client, Process, Serve, Server, python_env, root};

/// Gunicorn's default format, with the field `X-Pid` in front: all atoms that differ are masked behind it.
const EVERY_ATOM: &str = "%(h)s|%(l)s|%(u)s|%(t)s|%(r)s|%(s)s|%(m)s|%(U)s|%(q)s|%(H)s|%(B)d|%(b)s|%(f)s|%(a)s|%(p)s|\
                          %({x-one}i)s|%({Host}i)s|%({missing}i)s|%({x-one}o)s|%({Content-Type}o)s|\
                          %({content-length}o)s|%({Server}o)s|%({missing}o)s|%({REQUEST_METHOD}e)s|%({raw_uri}e)s|\
                          %({shop.user}e)s|%({wsgi.url_scheme}e)s|%({HTTP_X_ONE}e)s|%({missing}e)s|%(nothing)s|100%%|\
                          %(s)6s|%(m)-6s|%(B)05d|%(T)s|%(D)s|%(M)s|%(L)s";

/// The requests: at least 60, none of which Gunicorn logs in a way that is known to be wrong.
fn requests() -> Vec<String> {
    let mut all = Vec::new();
    for method in [
        "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND",
    ] {
        all.push(format!("{method} /a?size=7 HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    for target in [
        "/",
        "/?",
        "/a/b/c",
        "/a%20b",
        "/a%2Fb",
        "//a",
        "/a?b#c",
        "/~a+b",
        "/a;b=c",
        "/%7Ea",
        "/a?q=%20%41",
        "/a?x=a=b&c",
        "http://a/b?c=d",
        "/a%",
        "/a'(b)*",
        "/very/long/".repeat(40).as_str(),
    ] {
        all.push(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    for status in [
        "201 Created",
        "204 No Content",
        "206 Partial",
        "301 Moved",
        "304 Not Modified",
        "400 Bad",
        "404 Not Found",
        "418 Teapot",
        "500 Oh",
        "503 Busy",
    ] {
        let status = status.replace(' ', "%20");
        all.push(format!("GET /?status={status} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    for query in [
        "size=0",
        "size=1",
        "size=100000",
        "twice&size=5",
        "chunked",
        "chunked&twice",
        "chunked&size=0",
        "user=ann",
        "X-One=1",
        "X-One=1&X-One=2",
        "X-Two=a%22b",
        "size=5&status=404%20x",
    ] {
        all.push(format!("GET /?{query} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    for fields in [
        "User-Agent: curl/8.9",
        "User-Agent: a \"b\" c",
        "User-Agent:",
        "User-Agent: a\r\nUser-Agent: b",
        "Referer: http://a/?b=c",
        "Referer: \"",
        "Referer: a\r\nReferer: b",
        "X-One: 1",
        "X-One: 1\r\nx-one: 2",
        "Authorization: Basic YW5uOnNlY3JldA==",
        "authorization: basic YW5uOnNlY3JldA==",
        "Authorization: Bearer abc",
        "Authorization: Basic",
        "Authorization: Basic !!!",
        "Connection: close",
        "Cookie: a=b; c=d",
        "Accept: */*\r\nAccept-Encoding: gzip",
    ] {
        all.push(format!(
            "GET /?size=2 HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"
        ));
    }
    all.push("GET /?size=4 HTTP/1.0\r\n\r\n".to_owned());
    all.push("GET /?chunked HTTP/1.0\r\nUser-Agent: old\r\n\r\n".to_owned());
    all.push("POST /?size=4 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".to_owned());
    all.push(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
            .to_owned(),
    );
    all
}

/// Gunicorn, from the tests' own environment.
fn gunicorn(format: &str) -> Server {
    let mut command = Command::new(python_env().join("bin/python"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("PYTHON") || text.starts_with("GUNICORN") || text == "PORT" {
            command.env_remove(name);
        }
    }
    command
        .args(["-m", "gunicorn", "--no-control-socket", "--chdir"])
        .arg(root().join("tests/apps"))
        .args([
            "-b",
            "127.0.0.1:0",
            "-k",
            "gthread",
            "--access-logfile",
            "-",
        ])
        .args(["--access-logformat", format, "logged:app"]);
    Server::listening(Process::spawn(&mut command, None))
}

fn ours(format: &str) -> Server {
    Serve::app("logged:app")
        .args(["--access-logfile", "-", "--access-logformat", format])
        .start()
}

/// The lines of the requests, each on a connection of its own.
fn lines(server: Server) -> Vec<String> {
    let requests = requests();
    for (number, request) in requests.iter().enumerate() {
        let mut client: Client = server.client();
        client.send(request).end_output().rest();
        // One after another, so that the lines have their order.
        assert!(server.stdout().nth(number, "line of the log").is_some());
    }
    let exited = server.stop();
    assert_eq!(exited.stdout.len(), requests.len(), "{:#?}", exited.stdout);
    exited.stdout
}

/// The line without what differs from one run to the next: the time, the process and how long it took.
fn masked(line: &str, formatted: bool) -> String {
    let (start, end) = (line.find('['), line.find(']'));
    let (Some(start), Some(end)) = (start, end) else {
        panic!("no time in {line}");
    };
    let line = format!("{}TIME{}", &line[..start], &line[end + 1..]);
    if !formatted {
        return line;
    }
    let mut parts: Vec<_> = line.split('|').map(str::to_owned).collect();
    let count = parts.len();
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    for part in &mut parts[count - 4..count - 1] {
        assert!(digits(part), "{part} in {line}");
        "TIMES".clone_into(part);
    }
    let (whole, fraction) = parts[count - 1].split_once('.').expect("a fraction");
    assert!(
        digits(whole) && fraction.len() == 6 && digits(fraction),
        "{line}"
    );
    "SECONDS".clone_into(&mut parts[count - 1]);
    for part in &mut parts {
        if part.starts_with('<') && part.ends_with('>') && digits(&part[1..part.len() - 1]) {
            "PID".clone_into(part);
        }
    }
    parts.join("|")
}

fn compare(format: &str, formatted: bool) {
    let (theirs, ours) = (lines(gunicorn(format)), lines(ours(format)));
    let mut different = Vec::new();
    for ((request, theirs), ours) in requests().iter().zip(&theirs).zip(&ours) {
        let (theirs, ours) = (masked(theirs, formatted), masked(ours, formatted));
        if theirs != ours {
            different.push(format!("{request:?}\n  {theirs}\n  {ours}"));
        }
    }
    assert!(requests().len() >= 60, "{} requests", requests().len());
    assert!(
        different.is_empty(),
        "Gunicorn's line, and ours:\n{}",
        different.join("\n")
    );
}

// Gunicorn: S51, S53, L2, L12, L13, L14, L15, L16, L17, L18, L19
#[test]
fn default_access_lines_are_gunicorns_byte_for_byte() {
    let default = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;
    compare(default, false);
}

// Gunicorn: S53, L16, L18, L20, L21, L22
#[test]
fn a_line_of_every_atom_is_gunicorns_byte_for_byte() {
    compare(EVERY_ATOM, true);
}
