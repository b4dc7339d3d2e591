//! The example of a server under a name of its own: flags, file, reload and exit statuses.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::{Client, Exited, Serve, eventually};

fn ask(folder: &Path, path: &str) -> Option<String> {
    let stream = UnixStream::connect(folder.join("sock")).ok()?;
    Some(Client::unix(stream).get_last(path).text().to_owned())
}

fn run(folder: &Path, args: &[&str]) -> Exited {
    Serve::example("shopd").started_in(folder).args(args).run()
}

#[test]
fn shopd_serves_by_its_flags_and_its_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("shopd.toml");
    let write = |price: &str| {
        let bind = format!("unix:{}", folder.path().join("sock").display());
        let text = format!("bind = '{bind}'\n\n[prices]\ntea = {price}\n");
        fs::write(&file, text).expect("the file is written");
    };
    write("2.5");
    let shop = Serve::example("shopd").started_in(folder.path());
    let shop = shop.args(["-G", "Welcome", "--chdir", "/"]).spawn();
    let first = eventually("the shop does not open", || ask(folder.path(), "/tea"));
    assert_eq!(first, "Welcome: 2.5\n");
    assert_eq!(ask(folder.path(), "/").as_deref(), Some("sold out\n"));
    eventually("there are not two workers", || {
        (shop.others().len() == 2).then_some(())
    });

    // The file is found again although the server has changed its folder.
    write("3");
    shop.signal(Signal::SIGHUP);
    eventually("the price stays", || {
        (ask(folder.path(), "/tea")? == "Welcome: 3\n").then_some(())
    });
    shop.signal(Signal::SIGTERM);
    let exited = shop.wait();
    assert_eq!(exited.status, 0, "{exited:#?}");
}

#[test]
fn shopd_ends_with_gunicorns_statuses_and_its_own_texts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |text: &str| fs::write(folder.path().join("shopd.toml"), text);
    let asked = run(folder.path(), &["--version"]);
    assert_eq!(asked.status, 0);
    assert_eq!(asked.stdout, ["shopd (version 2.1)"]);
    let help = run(folder.path(), &["--help"]);
    assert_eq!(help.status, 0);
    assert_eq!(help.stdout[0], "Sells");

    let usage = run(folder.path(), &["--greetin", "x"]);
    assert_eq!(usage.status, 2);
    assert!(usage.stderr[0].starts_with("Error: unexpected argument '--greetin'"));
    let python = run(folder.path(), &["shop:app"]);
    assert_eq!(python.status, 2);

    file("workers = 2\n[prices]\ntea = 'cheap'\n").expect("the file is written");
    let wrong = run(folder.path(), &[]);
    assert_eq!(wrong.status, 1);
    let place = folder.path().join("shopd.toml");
    let told = format!(
        "Error: prices ({}:3): invalid type: string \"cheap\", expected f64",
        place.display()
    );
    assert_eq!(wrong.stderr, [told]);

    file("").expect("the file is written");
    let empty = run(folder.path(), &["-b", "unix:sock"]);
    assert_eq!(empty.status, 1);
    assert_eq!(empty.last(), "Error: the shop has no prices");

    file("bind = '192.0.2.1:80'\n").expect("the file is written");
    let unbound = run(folder.path(), &[]);
    assert_eq!(unbound.status, 1);
    let told = format!("Error: bind ({}:1): ", place.display());
    assert!(unbound.stderr[0].starts_with(&told), "{unbound:#?}");
}
