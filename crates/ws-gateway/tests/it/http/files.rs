//! The files of a page.

use std::fs;

use ws_gateway::config::Config;

use super::support::{Web, ask, get, get_with};
use crate::support::Gateway;

/// A page in a folder of its own, and something beside it that is nobody's business.
fn page() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("page");
    fs::create_dir_all(root.join("assets")).expect("a folder");
    fs::write(root.join("index.html"), "<!doctype html><title>odin</title>").expect("written");
    fs::write(root.join("assets/app.js"), "export const plain = 1;").expect("written");
    fs::write(root.join("assets/app.js.gz"), b"gzipped").expect("written");
    fs::write(root.join("assets/app.js.br"), b"brotli").expect("written");
    fs::write(folder.path().join("secret.txt"), "secret").expect("written");
    folder
}

fn gateway(folder: &tempfile::TempDir, change: impl FnOnce(&mut Config)) -> Gateway {
    Gateway::without_nats(|config| {
        config.http.files = Some(folder.path().join("page"));
        change(config);
    })
}

#[tokio::test]
async fn serves_a_page_with_its_types_and_a_policy_for_what_it_may_load() {
    let folder = page();
    let gateway = gateway(&folder, |_| {});
    for (path, kind, body) in [
        ("/", "text/html", "<!doctype html><title>odin</title>"),
        ("/index.html", "text/html", "<!doctype html><title>odin</title>"),
        ("/assets/app.js", "text/javascript", "export const plain = 1;"),
        ("/assets/app.js?v=1", "text/javascript", "export const plain = 1;"),
    ] {
        let answer = get(&gateway, path).await;
        assert_eq!((answer.status, &*answer.body), (200, body), "{path}");
        assert_eq!(answer.header("content-type"), Some(kind), "{path}");
        let policy = answer.header("content-security-policy").expect("a policy");
        for part in ["default-src 'self'", "object-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(part), "{part} in {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
    }
}

#[tokio::test]
async fn serves_what_is_still_the_same_and_what_is_compressed_without_sending_it_again() {
    let folder = page();
    let gateway = gateway(&folder, |_| {});
    let mut web = Web::connect(&gateway).await;
    assert!(web.get("/assets/app.js").await.header("last-modified").is_some());
    let later = "If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT\r\n";
    let same = web.ask("GET", "/assets/app.js", later, "").await;
    assert_eq!((same.status, &*same.body), (304, ""));
    let head = web.ask("HEAD", "/assets/app.js", "", "").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("23")));
    for (accepted, encoding, body) in [("br, gzip", "br", "brotli"), ("gzip", "gzip", "gzipped")] {
        let answer = web.ask("GET", "/assets/app.js", &format!("Accept-Encoding: {accepted}\r\n"), "").await;
        assert_eq!((answer.header("content-encoding"), &*answer.body), (Some(encoding), body));
        assert_eq!(answer.header("content-type"), Some("text/javascript"));
        assert!(answer.header("vary").is_some_and(|vary| vary.contains("accept-encoding")), "{}", answer.head);
    }
    let part = web.ask("GET", "/assets/app.js", "Range: bytes=0-5\r\n", "").await;
    assert_eq!((part.status, &*part.body), (206, "export"));
}

/// Attack: a path that would lead out of the folder.
#[tokio::test]
async fn serves_nothing_outside_of_its_folder() {
    let folder = page();
    let gateway = gateway(&folder, |_| {});
    let absolute = folder.path().join("secret.txt");
    for path in [
        "/../secret.txt",
        "/assets/../../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/assets/%2e%2e/%2e%2e/secret.txt",
        "/..%5csecret.txt",
        "/..;/secret.txt",
        "/%252e%252e/secret.txt",
        "//secret.txt",
        "/./../secret.txt",
        "/%00../secret.txt",
        &absolute.display().to_string(),
        &format!("//{}", absolute.display()),
        &format!("/{}", absolute.display().to_string().replace('/', "%2f")),
        "/etc/passwd",
        "/assets",
        "/nothing.html",
        "/assets/app.js/",
        "/index.html/../../secret.txt",
    ] {
        let answer = get(&gateway, path).await;
        assert!(!answer.body.contains("secret") && !answer.body.contains("root:"), "{path}: {}", answer.body);
        assert!([307, 400, 404].contains(&answer.status), "{path}: {}", answer.status);
        let location = answer.header("location").unwrap_or("/");
        assert!(location.starts_with('/') && !location.starts_with("//"), "{path} leads to {location}");
    }
    for path in ["/index.html", "/assets/app.js"] {
        for method in ["POST", "PUT", "DELETE"] {
            assert_eq!(ask(&gateway, method, path, "", "").await.status, 405, "{method} {path}");
        }
    }
    assert_eq!(get(&gateway, "/").await.status, 200);
}

#[tokio::test]
async fn a_page_hides_nothing_of_the_protocol_and_the_other_way_round() {
    let folder = page();
    let gateway = gateway(&folder, |_| {});
    fs::create_dir_all(folder.path().join("page/v1")).expect("a folder");
    fs::write(folder.path().join("page/v1/poll"), "a file").expect("written");
    fs::write(folder.path().join("page/ws"), "a file").expect("written");
    assert_eq!(get(&gateway, "/v1/poll").await.status, 400, "no channels");
    assert_eq!(get(&gateway, "/ws").await.status, 426);
    assert_eq!(get_with(&gateway, "/v1/other", "").await.status, 404);
    assert_eq!(get(&gateway, "/metrics").await.status, 404, "that is on the other address");
    // A page is for whoever asks, from wherever it is opened.
    assert_eq!(
        get_with(&gateway, "/", "Origin: https://evil.example\r\n").await.header("access-control-allow-origin"),
        None
    );
}

#[tokio::test]
async fn serves_no_files_where_there_are_none() {
    let gateway = Gateway::without_nats(|_| {});
    for path in ["/", "/index.html", "/v1", "/v1/", "/v1/channels/price:BTC"] {
        let answer = get(&gateway, path).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &"not_found".into()), "{path}");
    }
    gateway.metric_becomes("odin_gateway_handshakes_refused_total{reason=\"not_found\"}", 5).await;
}
