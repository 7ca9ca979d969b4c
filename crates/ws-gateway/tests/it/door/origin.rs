//! Pages that may connect, and pages that may not.

use super::{refuses, shake};
use crate::support::Gateway;

/// Checklist 7: a page of somebody else's opens a WebSocket with its visitor's cookies.
#[tokio::test]
async fn refuses_pages_that_are_not_in_the_list() {
    let gateway = Gateway::without_nats(|config| {
        config.http.origins =
            ["https://good.example", "https://*.app.example:8443"].map(|rule| rule.parse().expect("a rule")).into();
    });
    for origin in ["https://good.example", "HTTPS://GOOD.EXAMPLE:443", "https://a.app.example:8443"] {
        assert_eq!(shake(&gateway, &format!("Origin: {origin}\r\n")).await.status, 101, "{origin}");
    }
    assert_eq!(shake(&gateway, "").await.status, 101, "programs say no origin");
    let evil = [
        "null",
        "https://good.example.evil.com",
        "http://good.example",
        "https://good.example:8443",
        "https://app.example:8443",
        "https://good.example/",
        "",
    ];
    for origin in evil {
        let answer = shake(&gateway, &format!("Origin: {origin}\r\n")).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &"origin_not_allowed".into()), "{origin}");
        assert!(!answer.body.contains("good.example"), "the list is nobody's business");
    }
    let twice = shake(&gateway, "Origin: https://good.example\r\nOrigin: https://good.example\r\n").await;
    assert_eq!(twice.status, 403);
    refuses(&gateway, "origin", evil.len() as u64 + 1).await;
}

#[tokio::test]
async fn refuses_whoever_says_no_origin_where_it_must_be_said() {
    let gateway = Gateway::without_nats(|config| config.http.allow_missing_origin = false);
    assert_eq!(shake(&gateway, "").await.status, 403);
    assert_eq!(shake(&gateway, "Origin: null\r\n").await.status, 101, "* stands for all");
    refuses(&gateway, "origin", 1).await;
}
