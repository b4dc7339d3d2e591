//! What balancers and forwarders may say of a client, and who believes it.

use std::collections::BTreeMap;
use std::fs;

use crate::support::{Client, Serve, eventually};

const GET: &str = "GET /environ HTTP/1.1\r\nHost: shop.example\r\n\r\n";

/// The `repr` of each value of the environ that a request gives.
#[track_caller]
fn environ(client: &mut Client, request: impl AsRef<[u8]>) -> BTreeMap<String, String> {
    let response = client.send(request).response().expect(200);
    serde_json::from_str(response.text()).expect("it is JSON")
}

#[test]
fn client_that_a_balancer_announces_is_the_client_everywhere() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("access");
    let server = Serve::app("probe:app")
        .args(["--proxy-protocol", "--access-logfile"])
        .args([&log])
        .start();
    let mut client = server.client();
    let header = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";
    // The connection's second request has no header, and the same client.
    for request in [format!("{header}{GET}"), GET.to_owned()] {
        let environ = environ(&mut client, request);
        for (key, value) in [
            ("REMOTE_ADDR", "'192.0.2.7'"),
            ("REMOTE_PORT", "'4711'"),
            ("PROXY_PROTOCOL", "'TCP4'"),
            ("PROXY_ADDR", "'198.51.100.1'"),
            ("PROXY_PORT", "'443'"),
            ("oxicorn.peer_addr", "'127.0.0.1'"),
        ] {
            assert_eq!(environ[key], value, "{key} of {environ:#?}");
        }
    }
    eventually("two lines with the client", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        (text.matches("192.0.2.7 - - [").count() == 2).then_some(())
    });
}

#[test]
fn proxy_header_of_a_stranger_is_forbidden() {
    let server = Serve::app("probe:app")
        .args(["--proxy-protocol=v1", "--proxy-allow-from", "10.0.0.0/8"])
        .start();
    let mut stranger = server.client();
    stranger.send(format!("PROXY UNKNOWN\r\n{GET}"));
    stranger.response().expect(403);
    let plain = environ(&mut server.client(), GET);
    assert_eq!(plain["REMOTE_ADDR"], "'127.0.0.1'");
    assert!(!plain.contains_key("PROXY_PROTOCOL"));
}
