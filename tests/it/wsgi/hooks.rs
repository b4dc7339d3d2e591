//! Gunicorn's server hooks, as configuration files set them: their processes, their order, their objects, their failures.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::{Exited, Serve, Server, eventually, send};

const APP: &str = "
def app(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/raises':
        raise KeyError('x')
    start_response('200 OK', [('X-Name', 'value')])
    return [environ.get('HTTP_X_ADDED', 'none').encode()]
";

/// What every file begins with: a function that prints a hook's name and facts, with the process that it ran in.
const HEAD: &str = "
import os, sys, threading, time
bind = '127.0.0.1:0'
arbiter = os.getpid()
def note(*facts):
    process = 'arbiter' if os.getpid() == arbiter else 'worker'
    line = ' '.join(str(fact) for fact in ('hook', process, *facts))
    os.write(1, (line + '\\n').encode())
";

fn site(file: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("app.py"), APP).expect("the folder is there");
    write(folder.path(), file);
    folder
}

fn write(folder: &Path, file: &str) {
    let text = format!("{HEAD}{file}");
    fs::write(folder.join("gunicorn.conf.py"), text).expect("the folder is there");
}

fn serve(folder: &TempDir) -> Serve {
    Serve::command_line(["app:app"]).started_in(folder.path())
}

/// What the hooks have printed so far.
fn noted(lines: &[String]) -> Vec<&str> {
    lines
        .iter()
        .filter_map(|line| line.strip_prefix("hook "))
        .collect()
}

/// Waits for a line of a hook.
#[track_caller]
fn wait_for(server: &Server, fact: &str) {
    server.stdout().wait_for(&format!("hook {fact}"));
}

const ALL: &str = "
def on_starting(server): note('on_starting')
def on_reload(server): note('on_reload')
def when_ready(server): note('when_ready')
def pre_fork(server, worker): note('pre_fork', worker.age)
def post_fork(server, worker): note('post_fork', worker.age)
def post_worker_init(worker): note('post_worker_init', worker.age)
def worker_int(worker): note('worker_int', worker.age)
def pre_request(worker, req): note('pre_request', req.path)
def post_request(worker, req, environ, resp): note('post_request', resp.status)
def child_exit(server, worker): note('child_exit', worker.age)
def worker_exit(server, worker): note('worker_exit', worker.age)
def nworkers_changed(server, new_value, old_value): note('nworkers_changed', new_value, old_value)
def on_exit(server): note('on_exit')
";

// Gunicorn: H1, H2, H3, H4, H5, H6, H7, H10, H11, H12, H13, H14, H15
#[test]
fn hooks_run_in_gunicorns_order_and_processes() {
    let folder = site(ALL);
    let server = serve(&folder).start();
    server.get("/").expect(200);
    server.signal(Signal::SIGHUP);
    wait_for(&server, "arbiter child_exit 1");
    server.signal(Signal::SIGTTIN);
    wait_for(&server, "worker post_worker_init 3");
    server.signal(Signal::SIGINT);
    let exited = server.wait();
    assert_eq!(exited.status, 0, "{exited:#?}");
    let noted = noted(&exited.stdout);
    let starting = [
        "arbiter nworkers_changed 1 None",
        "arbiter on_starting",
        "arbiter when_ready",
        "arbiter pre_fork 1",
        "worker post_fork 1",
        "worker post_worker_init 1",
        "worker pre_request /",
        "worker post_request 200 OK",
        "arbiter nworkers_changed 1 1",
        "arbiter on_reload",
        "arbiter pre_fork 2",
        "worker post_fork 2",
    ];
    assert_eq!(noted[..starting.len()], starting, "{noted:#?}");
    let rest = &noted[starting.len()..];
    for wanted in [
        "worker post_worker_init 2",
        "worker worker_exit 1",
        "arbiter nworkers_changed 2 1",
        "worker post_worker_init 3",
        "worker worker_int 2",
        "worker worker_exit 2",
        "arbiter child_exit 2",
        "arbiter child_exit 3",
    ] {
        let found = rest.iter().filter(|line| **line == wanted).count();
        assert_eq!(found, 1, "{wanted}: {noted:#?}");
    }
    assert_eq!(noted.last(), Some(&"arbiter on_exit"), "{noted:#?}");
}

// Gunicorn: H1, H5, H10, H11
#[test]
fn objects_have_what_hooks_use_and_keep_what_they_are_given() {
    let folder = site(
        "
workers = 2
timeout = 17
raw_env = ['A=1']
def on_starting(server):
    note('server', server.pid == os.getpid(), server.address[0][0], server.num_workers,
         server.cfg.workers, server.cfg.timeout, server.cfg.bind, server.cfg.preload_app,
         server.cfg.env, server.cfg.proc_name, server.WORKERS)
def pre_fork(server, worker):
    worker.mark = 'mark %d' % worker.age
def post_fork(server, worker):
    note(worker.mark, worker.pid == os.getpid(), worker.ppid == server.pid == os.getppid(), worker.cfg.workers)
    threading.Thread(target=lambda: note('thread', worker.age), daemon=True).start()
def post_worker_init(worker):
    note('loaded', worker.wsgi.__name__, worker.app.callable is worker.wsgi, worker.nr, worker.alive)
    worker.tmp.notify()
def pre_request(worker, req):
    req.began = time.time()
    note('req', req.method, req.uri, req.path, req.query, req.version, req.remote_addr[0],
         [value for name, value in req.headers if name == 'X-ONE'])
    req.headers.append(('X-ADDED', 'by hook'))
def post_request(worker, req, environ, resp):
    note('resp', req.began > 0, environ['PATH_INFO'], resp.status, resp.headers, resp.sent)
def child_exit(server, worker):
    note('left', worker.mark, worker.pid in server.WORKERS)
",
    );
    let server = serve(&folder).start();
    server.workers(2);
    for worker in ["1", "2"] {
        wait_for(&server, &format!("worker mark {worker} True True 2"));
        wait_for(&server, &format!("worker thread {worker}"));
    }
    wait_for(
        &server,
        "arbiter server True 127.0.0.1 2 2 17 ['127.0.0.1:0'] False {'A': '1'} app:app {}",
    );
    wait_for(&server, "worker loaded app True 0 True");
    let mut client = server.client();
    let response = client
        .send("GET /a%20b?c=d HTTP/1.1\r\nHost: x\r\nX-One: 1\r\n\r\n")
        .response();
    assert_eq!(response.expect(200).text(), "by hook");
    wait_for(
        &server,
        "worker req GET /a%20b?c=d /a%20b c=d (1, 1) 127.0.0.1 ['1']",
    );
    wait_for(
        &server,
        "worker resp True /a b 200 OK [('X-Name', 'value')] 7",
    );
    server.signal(Signal::SIGTERM);
    let exited = server.wait();
    let noted = noted(&exited.stdout);
    for worker in ["1", "2"] {
        let wanted = format!("arbiter left mark {worker} True");
        assert!(noted.contains(&&*wanted), "{noted:#?}");
    }
}

#[test]
fn hooks_take_fewer_arguments_where_gunicorn_lets_them() {
    let folder = site(
        "
def post_request(worker, req): note('two', req.path)
",
    );
    let server = serve(&folder).start();
    server.get("/x").expect(200);
    wait_for(&server, "worker two /x");
    server.stop();
    let folder = site("\ndef post_fork(server): pass\n");
    let exited = serve(&folder).run();
    assert_eq!(exited.status, 1, "{exited:#?}");
    let line = HEAD.lines().count() + 2;
    let wanted = format!(
        "gunicorn.conf.py:{line}): expected a function of (server, worker), and not of (server)"
    );
    assert!(exited.last().ends_with(&wanted), "{exited:#?}");
    let folder = site("\npost_fork = 'app.nothing'\n");
    let exited = serve(&folder).run();
    assert!(
        exited
            .last()
            .contains("invalid value 'app.nothing' for post_fork"),
        "{exited:#?}"
    );
}

/// Runs a server whose hook fails while it starts.
#[track_caller]
fn fails(hook: &str, arguments: &str) -> Exited {
    let folder = site(&format!(
        "\ndef {hook}({arguments}):\n    raise ValueError('bad day')\n"
    ));
    let exited = serve(&folder).run();
    let all = exited.log();
    assert!(all.contains("Traceback"), "{exited:#?}");
    let last = exited.last();
    assert!(last.contains(&format!("the hook {hook} ")), "{exited:#?}");
    assert!(last.contains("ValueError: bad day ("), "{exited:#?}");
    exited
}

// Gunicorn: G35, G45, H4
#[test]
fn hook_that_fails_before_the_server_serves_ends_the_start() {
    for hook in ["on_starting", "when_ready"] {
        assert_eq!(fails(hook, "server").status, 1);
    }
    let counted = fails("nworkers_changed", "server, new_value, old_value");
    assert_eq!(counted.status, 1);
    // Gunicorn's status of an exception in its loop.
    assert_eq!(fails("pre_fork", "server, worker").status, 255);
    assert_eq!(fails("post_fork", "server, worker").status, 3);
    assert_eq!(fails("post_worker_init", "worker").status, 3);
}

// Gunicorn: H10, H11
#[test]
fn hook_that_fails_later_costs_at_most_its_request() {
    let folder = site(
        "
def pre_request(worker, req):
    if req.path == '/refused': raise ValueError('no')
def post_request(worker, req, environ, resp):
    note('after', resp and resp.status)
    raise ValueError('after')
def child_exit(server, worker): raise ValueError('child')
def worker_exit(server, worker): raise ValueError('worker')
def on_exit(server): raise ValueError('exit')
",
    );
    let server = serve(&folder).start();
    server.get("/refused").expect(500);
    wait_for(&server, "worker after None");
    server.get("/").expect(200);
    wait_for(&server, "worker after 200 OK");
    server.get("/raises").expect(500);
    let worker = server.workers(1)[0];
    send(worker, Signal::SIGTERM);
    eventually("no new worker", || {
        Some(server.workers(1)[0]).filter(|new| *new != worker)
    });
    server.get("/").expect(200);
    server.signal(Signal::SIGTERM);
    let exited = server.wait();
    assert_eq!(exited.status, 0, "{exited:#?}");
    for hook in ["post_request", "child_exit", "worker_exit", "on_exit"] {
        let logged = format!("Error in the hook {hook}");
        assert!(exited.log().contains(&logged), "{exited:#?}");
    }
}

// Gunicorn: HUP1, HUP2
#[test]
fn reload_brings_new_hooks_and_one_that_fails_brings_none() {
    let file = |version: &str, rest: &str| {
        format!(
            "\nworkers = 1\nversion = '{version}'\n\
             def on_reload(server): note('on_reload', version)\n\
             def pre_fork(server, worker): note('pre_fork', worker.age, version)\n\
             def post_fork(server, worker): note('post_fork', version)\n{rest}"
        )
    };
    let folder = site(&file("one", ""));
    let server = serve(&folder).start();
    wait_for(&server, "worker post_fork one");
    // A worker that still boots would end by the signal, without a word of its own.
    server.get("/").expect(200);
    write(folder.path(), &file("two", ""));
    server.signal(Signal::SIGHUP);
    wait_for(&server, "arbiter on_reload two");
    wait_for(&server, "worker post_fork two");
    server.stderr().wait_for("exited with code 0");
    // A file that fails, and one whose workers cannot boot.
    write(folder.path(), "\nraise ValueError('bad')\n");
    server.signal(Signal::SIGHUP);
    let line = server.stderr().wait_for("Reload failed");
    assert!(line.contains("ValueError: bad ("), "{line}");
    let boom = "def post_worker_init(worker): raise ValueError('boot')\n";
    write(folder.path(), &file("three", boom));
    server.signal(Signal::SIGHUP);
    wait_for(&server, "worker post_fork three");
    server.stderr().wait_until("a second failure", |lines| {
        let failed = lines.iter().filter(|line| line.contains("eload failed"));
        (failed.count() == 2).then_some(())
    });
    send(server.workers(1)[0], Signal::SIGKILL);
    wait_for(&server, "arbiter pre_fork 4 two");
    server.workers(1);
    server.get("/").expect(200);
    server.stop();
}

// Gunicorn: H7, H8, G13, G14
#[test]
fn worker_that_is_ended_in_a_call_shows_a_hook_its_stack() {
    let folder = site(
        "
import faulthandler, traceback
timeout = 1
def dump(hook, worker):
    stack = ''.join(traceback.format_stack())
    note(hook, worker.pid == os.getpid(), worker.alive, 'in busy' in stack)
def worker_abort(worker): dump('worker_abort', worker)
def worker_int(worker): dump('worker_int', worker)
def worker_exit(server, worker): note('worker_exit')
",
    );
    fs::write(
        folder.path().join("app.py"),
        "
def busy():
    while True: pass
def app(environ, start_response):
    busy()
",
    )
    .expect("the folder is there");
    let server = serve(&folder).start();
    server.client().send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(&server, "worker worker_abort True False True");
    wait_for(&server, "worker worker_exit");
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("no request runs", || {
        let log = server.stderr().all();
        (log.iter()
            .filter(|line| line.contains("Booting worker"))
            .count()
            == 2)
            .then_some(())
    });
    server.signal(Signal::SIGINT);
    let exited = server.wait();
    let aborts = exited
        .stdout
        .iter()
        .filter(|line| line.contains("worker_abort"));
    assert_eq!(aborts.count(), 1, "{exited:#?}");
}

// Gunicorn: H9, G20
#[test]
fn upgrade_calls_pre_exec_and_starts_from_the_first_environment() {
    let folder = site(
        "
note('environ', os.environ.get('FROM_FILE'))
os.environ['FROM_FILE'] = 'yes'
upgrade_retire = True
def pre_exec(server):
    note('pre_exec', os.getpid() != server.pid, os.environ['FROM_FILE'])
def when_ready(server):
    def tick():
        while True: sum(range(1000))
    threading.Thread(target=tick, daemon=True).start()
    note('ready')
",
    );
    let server = serve(&folder).start();
    server.get("/").expect(200);
    server.signal(Signal::SIGUSR2);
    wait_for(&server, "worker pre_exec True yes");
    let told = |what: &str| {
        let what = what.to_owned();
        server.stdout().wait_until(&what.clone(), move |lines| {
            (noted(lines).iter().filter(|line| **line == what).count() == 2).then_some(())
        });
    };
    told("arbiter environ None");
    told("arbiter ready");
    server.stderr().wait_for("Shutting down: Master");
}

#[test]
fn worker_that_a_hook_lets_die_is_replaced_after_its_request() {
    let folder = site(
        "
def post_request(worker, req, environ, resp):
    if req.path == '/last': worker.alive = False
",
    );
    let server = serve(&folder).start();
    let before = server.workers(1)[0];
    server.get("/").expect(200);
    server.get("/last").expect(200);
    eventually("no new worker", || {
        let log = server.stderr().all();
        let booted = log.iter().filter(|line| line.contains("Booting worker"));
        (booted.count() == 2).then_some(())
    });
    assert_ne!(server.workers(1)[0], before);
    server.get("/").expect(200);
    server.stop();
}

// Gunicorn: S33
#[test]
fn raw_env_is_set_in_the_arbiter_before_its_first_hook() {
    let file = |setting: &str| {
        format!(
            "{setting}\n\
             import subprocess\n\
             def environ(hook):\n    \
                 child = subprocess.check_output(['sh', '-c', 'echo $SHOP_A']).decode().strip()\n    \
                 note(hook, os.environ.get('SHOP_A'), os.environ.get('SHOP_B'), child)\n\
             def on_starting(server): environ('on_starting')\n\
             def on_reload(server): environ('on_reload')\n\
             def post_fork(server, worker): environ('post_fork')\n"
        )
    };
    let folder = site(&file("raw_env = ['SHOP_A=one', 'SHOP_B=two']"));
    let server = serve(&folder).start();
    wait_for(&server, "arbiter on_starting one two one");
    wait_for(&server, "worker post_fork one two one");
    write(folder.path(), &file("raw_env = ['SHOP_A=three']"));
    server.signal(Signal::SIGHUP);
    wait_for(&server, "arbiter on_reload three None three");
    wait_for(&server, "worker post_fork three None three");
    server.stop();
}

#[test]
fn signal_handlers_of_a_file_run_and_leave_the_arbiter_its_own() {
    let folder = site(
        "
import signal
def handler(number, frame): note('handler', number)
def leave(number, frame): sys.exit(3)
signal.signal(signal.SIGALRM, handler)
signal.signal(signal.SIGVTALRM, leave)
def when_ready(server):
    signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGHUP, handler)
def post_fork(server, worker): note('forked', signal.set_wakeup_fd(-1))
",
    );
    let server = serve(&folder).start();
    server.get("/").expect(200);
    wait_for(&server, "worker forked -1");
    let line = server.stderr().wait_for("The handlers that the hook");
    assert!(
        line.contains("when_ready has set for SIGTERM, SIGHUP will not run"),
        "{line}"
    );
    server.signal(Signal::SIGALRM);
    wait_for(&server, "arbiter handler 14");
    server.signal(Signal::SIGHUP);
    server.stderr().wait_for("exited with code 0");
    server.stop();
    let server = serve(&folder).start();
    server.get("/").expect(200);
    server.signal(Signal::SIGVTALRM);
    let exited = server.wait();
    assert_eq!(exited.status, 0, "{exited:#?}");
    assert!(
        exited.log().contains("Shutting down: Master"),
        "{exited:#?}"
    );
}

#[test]
fn settings_and_the_beat_are_as_hooks_of_gunicorn_find_them() {
    let folder = site(
        "
timeout = 17
def when_ready(server):
    it = server.cfg.settings['timeout']
    note('setting', it.name, it.value, it.get(), it.default, sorted(server.cfg.settings)[:1])
    server.cfg.set('timeout', 18)
    note('set', server.cfg.timeout, server.cfg.settings['timeout'].get())
    try: server.cfg.set('tiemout', 1)
    except AttributeError as error: note(error)
def post_fork(server, worker):
    note('tmp', os.fstat(worker.tmp.fileno()).st_nlink, worker.tmp.last_update() > 0)
",
    );
    let server = serve(&folder).start();
    wait_for(
        &server,
        "arbiter setting timeout 17 17 30 ['access_log_format']",
    );
    wait_for(&server, "arbiter set 18 18");
    wait_for(&server, "arbiter No configuration setting for: tiemout");
    wait_for(&server, "worker tmp 0 True");
    let line = server.stderr().wait_for("cfg.set('timeout', 18)");
    assert!(line.contains("has no effect"), "{line}");
    server.stop();
}

#[test]
fn threads_of_a_file_run_while_the_arbiter_waits() {
    let folder = site(
        "
ticks = []
def when_ready(server):
    def tick():
        while True:
            ticks.append(1)
            if len(ticks) == 20: note('ticked')
            time.sleep(0.01)
    threading.Thread(target=tick, daemon=True).start()
",
    );
    let server = serve(&folder).start();
    wait_for(&server, "arbiter ticked");
    server.get("/").expect(200);
    server.stop();
}
