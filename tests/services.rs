//! Services as a program writes them: answers, files, middleware and routers, called by a client in memory.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use oxicorn::service::{Address, Files, Router, ServiceContext, ServiceRuntime};
use oxicorn::testing::{Client, ClientResponse};
use oxicorn::{Error, MakeService, Request, Responded, Responder, Result, Service};
use tempfile::TempDir;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn header<'r>(response: &'r ClientResponse, name: &str) -> Option<&'r str> {
    response
        .header(name)
        .map(|value| std::str::from_utf8(value).unwrap())
}

/// Shows what it is asked.
fn show(request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
    let headers: Vec<_> = request.headers().map(|(name, _)| name).collect();
    let text = format!(
        "{} {} {} at {:?} {:?} from {}",
        request.method(),
        request.path(),
        request.version(),
        request.mount(),
        headers,
        request.peer(),
    );
    let mut body = String::new();
    std::io::Read::read_to_string(&mut request.into_body(), &mut body)?;
    reply.text(200, format!("{text} {body}"))
}

#[test]
fn a_request_comes_as_a_server_reads_it() {
    let peer = Address::Ip("192.0.2.1:7".parse().unwrap());
    let client = Client::new(show).unwrap().from_peer(peer);
    let response = client
        .post("/a%20b?c")
        .header("x-one", "1")
        .body("hi")
        .send();
    let expected = "POST /a%20b HTTP/1.1 at \"\" [\"Host\", \"Content-Length\", \"x-one\"] from 192.0.2.1:7 hi";
    assert_eq!(response.text(), expected);
    assert!(response.is_complete() && response.error().is_none());
    // What a server refuses is refused.
    assert_eq!(client.request("get", "/").send().status(), 400);
    assert_eq!(client.get("/").header("host", "a b").send().status(), 400);
    assert_eq!(
        client
            .post("/")
            .header("content-length", "9")
            .body("hi")
            .send()
            .status(),
        400
    );
    assert_eq!(
        client
            .post("/")
            .header("transfer-encoding", "chunked")
            .body("2\r\nhi\r\n0\r\n\r\n")
            .send()
            .status(),
        400
    );
}

#[test]
fn a_response_goes_out_as_a_server_sends_it() {
    let client = Client::new(
        |request: Request<'_>, reply: Responder<'_>| match request.path() {
            "/short" => reply.start(200, b"", [], Some(5))?.finish_with(b"1234"),
            "/long" => reply.start(200, b"", [], Some(3))?.finish_with(b"1234"),
            "/split" => reply.send(200, &[("x", "a\r\nb: c")], b""),
            "/none" => reply.send(204, &[], b"not sent"),
            "/moved" => reply.redirect(303, "/new?a=b"),
            _ => reply.text(200, "whole"),
        },
    );
    let client = client.unwrap();
    assert!(!client.get("/short").send().is_complete());
    assert_eq!(client.get("/long").send().body(), b"123");
    let split = client.get("/split").send();
    assert_eq!(split.status(), 500);
    assert!(split.error().unwrap().is_response(), "{split:?}");
    assert_eq!(client.get("/none").send().body(), b"");
    let moved = client.get("/moved").send();
    assert_eq!(
        (moved.status(), header(&moved, "location")),
        (303, Some("/new?a=b"))
    );
    let head = client.head("/").send();
    assert_eq!(
        (head.body(), header(&head, "content-length")),
        (&b""[..], Some("5"))
    );
}

#[expect(clippy::needless_pass_by_value, reason = "a service's signature")]
fn fails(request: Request<'_>, reply: Responder<'_>) -> Result<Responded, AnyError> {
    let number: u32 = request.query().parse()?;
    assert!(number < 100, "{number} is too much");
    if number == 42 {
        Err(Error::bad_request("not <42>"))?;
    }
    if number == 43 {
        File::open("/does/not/exist")?;
    }
    Ok(reply.text(200, format!("{number}"))?)
}

#[test]
fn what_a_service_fails_with_is_there_for_the_test() {
    let client = Client::new(fails).unwrap();
    assert_eq!(client.get("/?7").send().text(), "7");
    for (query, status, error) in [
        ("/?x", 500, "invalid digit found in string"),
        ("/?100", 500, "the service panicked: 100 is too much"),
        ("/?42", 400, "not <42>"),
        ("/?43", 500, "No such file or directory (os error 2)"),
    ] {
        let response = client.get(query).send();
        assert_eq!(response.status(), status);
        assert_eq!(response.error().unwrap().to_string(), error);
        assert_eq!(response.text().contains("not &lt;42&gt;"), status == 400);
        assert!(format!("{response:?}").contains(error));
    }
}

#[test]
fn forms_and_cookies_are_those_of_a_browser() {
    let login = |request: Request<'_>, reply: Responder<'_>| {
        let cookie = request.header("cookie").map(<[u8]>::to_vec);
        let (path, mut body) = (request.path(), String::new());
        std::io::Read::read_to_string(&mut request.into_body(), &mut body)?;
        match (path, cookie) {
            ("/login", _) => reply
                .header("set-cookie", "user=ada; Path=/; HttpOnly")
                .header("set-cookie", "theme=dark")
                .text(200, body),
            ("/logout", _) => reply.header("set-cookie", "user=; Max-Age=0").status(204),
            (_, cookie) => reply.text(200, cookie.unwrap_or_default()),
        }
    };
    let client = Client::new(login).unwrap().with_cookies();
    let answer = client
        .post("/login")
        .form([("name", "Ada & Co"), ("a", "ü=")])
        .send();
    assert_eq!(answer.text(), "name=Ada%20%26%20Co&a=%C3%BC%3D");
    assert_eq!(client.get("/").send().text(), "user=ada; theme=dark");
    assert_eq!(client.cookie("user").as_deref(), Some("ada"));
    client.get("/logout").send();
    assert_eq!(client.get("/").send().text(), "theme=dark");
}

#[test]
fn one_client_serves_many_threads() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let client = Client::new(move |request: Request<'_>, reply: Responder<'_>| {
        counted.fetch_add(1, Ordering::Relaxed);
        reply.text(200, request.query())
    });
    let client = client.unwrap();
    thread::scope(|scope| {
        for number in 0..8 {
            let client = &client;
            scope.spawn(move || {
                for again in 0..50 {
                    let query = format!("{number}-{again}");
                    assert_eq!(client.get(&format!("/?{query}")).send().text(), query);
                }
            });
        }
    });
    assert_eq!(count.load(Ordering::Relaxed), 400);
}

/// Tells of each of its methods that is called.
#[derive(Clone)]
struct Told(Arc<AtomicUsize>);

struct NoThreads;

impl ServiceRuntime for NoThreads {}

impl Service for Told {
    fn call(&self, request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
        show(
            request,
            reply.header("x-from", "inside").header("vary", "cookie"),
        )
    }

    fn retire(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn interrupt(&self) {
        self.0.fetch_add(10, Ordering::Relaxed);
    }

    fn interrupter(&self) -> Option<fn(i32)> {
        Some(|_| ())
    }

    fn abandon(&self) {
        self.0.fetch_add(100, Ordering::Relaxed);
    }

    fn runtime(&self) -> Option<&dyn ServiceRuntime> {
        Some(&NoThreads)
    }
}

#[test]
fn a_wrapped_service_keeps_its_end_and_its_runtime() {
    let told = Arc::new(AtomicUsize::new(0));
    let service = Told(Arc::clone(&told));
    let wrapped = service.wrap(|request, reply, next| next.call(request, reply));
    let routed = Router::new().mount("/a", wrapped).mount("/b", show);
    let made = routed.wrap(|request, reply, next| next.call(request, reply));
    let made = made.make(&ServiceContext::new(&[])).unwrap();
    made.retire();
    made.interrupt();
    made.abandon();
    assert_eq!(told.load(Ordering::Relaxed), 111);
    assert!(made.interrupter().is_some() && made.runtime().is_some());
}

#[test]
fn middleware_lets_in_adds_changes_and_observes() {
    struct User(String);
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let page = |request: Request<'_>, reply: Responder<'_>| {
        let user = &request.value::<User>().expect("a user").0;
        reply
            .header("vary", "cookie")
            .header("x-kind", "old")
            .text(200, format!("Hello, {user}"))
    };
    let page = page
        .wrap(|request, reply, next| match request.query() {
            "" => reply.status(401),
            user => {
                let user = User(user.to_owned());
                let reply = reply
                    .header("vary", "authorization")
                    .replace_header("X-Kind", "new");
                next.call(request.with_value(user), reply)
            }
        })
        .wrap(move |request, reply, next| -> Result<Responded, AnyError> {
            let responded = next.call(request, reply)?;
            count.fetch_add(
                usize::from(responded.status()) + responded.sent() as usize,
                Ordering::Relaxed,
            );
            Ok(responded)
        });
    let client = Client::new(page).unwrap();
    assert_eq!(client.get("/").send().status(), 401);
    let response = client.get("/?ada").send();
    assert_eq!(response.text(), "Hello, ada");
    let fields: Vec<_> = response
        .headers()
        .map(|(name, value)| (name, std::str::from_utf8(value).unwrap()))
        .collect();
    let expected = [
        ("content-type", "text/plain; charset=utf-8"),
        ("vary", "authorization"),
        ("X-Kind", "new"),
    ];
    for field in expected {
        assert!(fields.contains(&field), "{fields:?} lack {field:?}");
    }
    // The service behind it answers with its own fields first: those that are replaced are gone.
    assert!(!fields.contains(&("x-kind", "old")), "{fields:?}");
    assert_eq!(seen.load(Ordering::Relaxed), 401 + 200 + 10);
}

#[test]
fn a_router_takes_the_longest_path_and_nests() {
    let inner = Router::new()
        .mount("/deep/", show)
        .mount("", |_: Request<'_>, reply: Responder<'_>| reply.status(201));
    let outer = Router::new().mount("/", |_: Request<'_>, reply: Responder<'_>| {
        reply.status(202)
    });
    let client = Client::new(outer.mount("/a", inner).mount("/a/b", show)).unwrap();
    for (target, expected) in [
        ("/a/deep/x", "GET /x HTTP/1.1 at \"/a/deep\""),
        ("/%61/deep", "GET / HTTP/1.1 at \"/%61/deep\""),
        ("/a/b/c?d", "GET /c HTTP/1.1 at \"/a/b\""),
    ] {
        let text = client.get(target).send().text().into_owned();
        assert!(text.starts_with(expected), "{target}: {text}");
    }
    assert_eq!(client.get("/a/other").send().status(), 201);
    assert_eq!(client.get("/ab").send().status(), 202);
    let client = Client::new(Router::new().mount("/a", show)).unwrap();
    assert_eq!(client.get("/b").send().status(), 404);
    let wrong = |router: Router| Client::new(router).unwrap_err().to_string();
    assert!(wrong(Router::new().mount("a", show)).contains("\"a\""));
    assert!(wrong(Router::new().mount("/a", show).mount("/a/", show)).contains("\"/a\""));
}

const TIME: u64 = 1_700_000_000;
const TIME_TEXT: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

fn write(path: &Path, content: &str) {
    let mut file = File::create(path).unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(TIME))
        .unwrap();
}

fn site() -> (TempDir, Client<Files>) {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("root");
    fs::create_dir_all(root.join("docs")).unwrap();
    write(&root.join("a.txt"), "0123456789");
    write(&root.join("docs/index.html"), "<p>docs</p>");
    write(&root.join(".secret"), "hidden");
    write(&outer.path().join("outside"), "outside");
    symlink("../outside", root.join("link")).unwrap();
    let client = Client::new(Files::new(root)).unwrap();
    (outer, client)
}

#[test]
fn files_have_type_time_tag_and_length() {
    let (_site, client) = site();
    let response = client.get("/a.txt").send();
    assert_eq!((response.status(), &*response.text()), (200, "0123456789"));
    assert_eq!(
        header(&response, "content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(header(&response, "last-modified"), Some(TIME_TEXT));
    assert_eq!(header(&response, "content-length"), Some("10"));
    assert_eq!(header(&response, "accept-ranges"), Some("bytes"));
    assert!(header(&response, "etag").is_some_and(|tag| tag.starts_with('"')));
    let head = client.head("/a.txt").header("range", "bytes=0-1").send();
    assert_eq!(
        (head.status(), head.body(), header(&head, "content-length")),
        (200, &b""[..], Some("10"))
    );
    let refused = client.post("/a.txt").send();
    assert_eq!(
        (refused.status(), header(&refused, "allow")),
        (405, Some("GET, HEAD"))
    );
    let folder = client.get("/docs?x=1").send();
    assert_eq!(
        (folder.status(), header(&folder, "location")),
        (301, Some("./docs/?x=1"))
    );
    let index = client.get("/docs/").send();
    assert_eq!(
        (&*index.text(), header(&index, "content-type")),
        ("<p>docs</p>", Some("text/html; charset=utf-8"))
    );
    let missing = Client::new(Files::new("/does/not/exist"))
        .unwrap()
        .get("/a")
        .send();
    assert_eq!(missing.status(), 500);
    assert!(
        missing
            .error()
            .unwrap()
            .to_string()
            .contains("/does/not/exist")
    );
}

#[test]
fn no_path_leads_out_of_the_folder() {
    let (folder, client) = site();
    for path in [
        "/../outside",
        "/docs/../../outside",
        "/%2e%2e/outside",
        "/..%2foutside",
        "/docs/..%2f..%2foutside",
        "//outside",
        "/link",
        "/.secret",
        "/a.txt/",
        "/a.txt%00.html",
        "/docs%2findex.html",
        "/./a.txt",
        "//etc/passwd",
        "/docs//index.html",
        "/%",
        "/missing",
        "//evil.example/..",
    ] {
        let response = client.get(path).send();
        assert_eq!(response.status(), 404, "{path}: {response:?}");
    }
    let mounted = Router::new().mount("/static", Files::new(folder.path().join("root")));
    let client = Client::new(mounted).unwrap();
    assert_eq!(client.get("/static/a.txt").send().status(), 200);
    let root = client.get("/static").send();
    assert_eq!(header(&root, "location"), Some("./static/"));
    assert_eq!(client.get("/static/../a.txt").send().status(), 404);
}

#[test]
fn conditions_are_evaluated_in_the_order_of_the_rfc() {
    let (_site, client) = site();
    let response = client.get("/a.txt").send();
    let tag = header(&response, "etag").unwrap();
    let (weak, list) = (format!("W/{tag}"), format!("\"a,b\", W/{tag}"));
    let strong = format!("\"x\" , {tag}");
    let (before, after) = (
        "Mon, 13 Nov 2023 22:13:20 GMT",
        "Wed, 15 Nov 2023 22:13:20 GMT",
    );
    let cases: &[(&[(&str, &str)], u16)] = &[
        (&[("if-none-match", tag)], 304),
        (&[("if-none-match", &list)], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"x\"")], 200),
        (&[("if-none-match", "\"x\""), ("if-none-match", tag)], 304),
        (&[("if-modified-since", TIME_TEXT)], 304),
        (&[("if-modified-since", after)], 304),
        (&[("if-modified-since", before)], 200),
        (&[("if-modified-since", "yesterday")], 200),
        (
            &[("if-modified-since", after), ("if-none-match", "\"x\"")],
            200,
        ),
        (&[("if-match", tag)], 200),
        (&[("if-match", &strong)], 200),
        (&[("if-match", &weak)], 412),
        (&[("if-match", "*")], 200),
        (&[("if-match", "\"x\"")], 412),
        (&[("if-unmodified-since", before)], 412),
        (&[("if-unmodified-since", TIME_TEXT)], 200),
        (&[("if-match", tag), ("if-unmodified-since", before)], 200),
        (&[("if-match", "\"x\""), ("if-none-match", tag)], 412),
        (&[("range", "bytes=0-1"), ("if-none-match", tag)], 304),
        (&[("range", "bytes=0-1"), ("if-match", "\"x\"")], 412),
        (&[("range", "bytes=0-1"), ("if-range", tag)], 206),
        (&[("range", "bytes=0-1"), ("if-range", &weak)], 200),
        (&[("range", "bytes=0-1"), ("if-range", "\"x\"")], 200),
        (&[("range", "bytes=0-1"), ("if-range", TIME_TEXT)], 206),
        (&[("range", "bytes=0-1"), ("if-range", after)], 200),
        (&[("range", "bytes=99-"), ("if-range", "\"x\"")], 200),
    ];
    for (fields, status) in cases {
        let request = client.get("/a.txt");
        let request = fields.iter().fold(request, |request, (name, value)| {
            request.header(name, *value)
        });
        let response = request.send();
        assert_eq!(response.status(), *status, "{fields:?}");
        assert_eq!(header(&response, "etag"), Some(tag), "{fields:?}");
    }
    let unchanged = client.get("/a.txt").header("if-none-match", tag).send();
    assert_eq!(
        (unchanged.body(), header(&unchanged, "content-length")),
        (&b""[..], None)
    );
}

#[test]
fn ranges_of_a_file_are_sent_alone_or_in_parts() {
    let (_site, client) = site();
    let get = |range: &str| client.get("/a.txt").header("range", range).send();
    let one = get("bytes=2-4");
    assert_eq!((one.status(), &*one.text()), (206, "234"));
    assert_eq!(header(&one, "content-range"), Some("bytes 2-4/10"));
    assert_eq!(get("bytes=-3").text(), "789");
    assert_eq!(get("bytes=7-99,100-").text(), "789");
    let none = get("bytes=10-");
    assert_eq!(
        (none.status(), header(&none, "content-range")),
        (416, Some("bytes */10"))
    );
    assert_eq!(
        (get("bytes=4-2").status(), get("items=0-1").status()),
        (200, 200)
    );

    let parts = get("bytes=0-1, -2");
    assert_eq!(parts.status(), 206);
    assert!(parts.is_complete() && header(&parts, "content-range").is_none());
    let media_type = header(&parts, "content-type").unwrap();
    let boundary = media_type
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let part = |range: &str, data: &str| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {range}/10\r\n\r\n{data}"
        )
    };
    let expected = format!(
        "{}{}\r\n--{boundary}--\r\n",
        part("0-1", "01"),
        part("8-9", "89")
    );
    assert_eq!(parts.text(), expected);
}

#[cfg(feature = "json")]
#[test]
fn json_is_read_and_written() {
    let add = |request: Request<'_>, reply: Responder<'_>| {
        let numbers: Vec<u32> = request.json()?;
        reply.json(201, &[("sum", numbers.iter().sum::<u32>())])
    };
    let client = Client::new(add).unwrap();
    let response = client.post("/").json(&[1, 2, 3]).send();
    assert_eq!(response.status(), 201);
    assert_eq!(header(&response, "content-type"), Some("application/json"));
    assert_eq!(
        response.json::<Vec<(String, u32)>>().unwrap(),
        [("sum".to_owned(), 6)]
    );
    let wrong = client.post("/").body("{}").send();
    assert_eq!(wrong.status(), 400);
    assert!(wrong.text().contains("expected a sequence"), "{wrong:?}");
}
