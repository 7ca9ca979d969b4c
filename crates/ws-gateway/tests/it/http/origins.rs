//! Pages of other origins: what they may ask, and what a browser is told about it.

use odin_protocol::Mode;
use ws_gateway::config::Config;

use super::support::{Events, ask, get_with, is_refused};
use crate::support::{Answer, Gateway, Odin};

const GOOD: &str = "https://good.example";

/// Everything that is asked by GET or POST.
const TARGETS: [(&str, &str); 7] = [
    ("GET", "/v1/poll?channels=price:BTC&wait=0"),
    ("POST", "/v1/poll"),
    ("GET", "/v1/events?channels=price:BTC"),
    ("POST", "/v1/events"),
    ("GET", "/v1/channels/price:BTC/latest"),
    ("GET", "/v1/channels/price:BTC/history"),
    ("POST", "/v1/channels/price:BTC/publish"),
];

fn only_good(config: &mut Config) {
    config.http.origins = vec![GOOD.parse().expect("an origin")];
}

fn allowed(answer: &Answer) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

async fn preflight(gateway: &Gateway, origin: &str, target: &str) -> Answer {
    let headers = format!(
        "Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: authorization, content-type\r\n"
    );
    ask(gateway, "OPTIONS", target, &headers, "").await
}

/// Checklist 7: a page of somebody else's asks with what its visitor may see.
#[tokio::test]
async fn refuses_pages_that_are_not_in_the_list_before_anything_else() {
    let gateway = Gateway::without_nats(only_good);
    for origin in ["null", "https://good.example.evil.com", "http://good.example", ""] {
        for (method, target) in TARGETS {
            let headers = format!("Origin: {origin}\r\nAuthorization: Bearer no.such.token\r\n");
            let answer = ask(&gateway, method, target, &headers, "nonsense").await;
            is_refused(&answer, 403, "origin_not_allowed");
            assert_eq!(allowed(&answer), None, "{origin} {target}");
            assert!(!answer.body.contains("good.example"), "the list is nobody's business");
        }
    }
    let twice = format!("Origin: {GOOD}\r\nOrigin: https://evil.example\r\n");
    is_refused(&get_with(&gateway, TARGETS[0].1, &twice).await, 403, "origin_not_allowed");
    gateway.metric_becomes("odin_gateway_handshakes_refused_total{reason=\"origin\"}", 4 * 7 + 1).await;
    assert_eq!(gateway.metric("odin_gateway_http_questions_total").await, 0);
    assert_eq!(gateway.metric("odin_gateway_connections_opened_total").await, 0);
}

#[tokio::test]
async fn a_page_that_may_ask_may_read_the_answer() {
    let odin = Odin::start_with(only_good).await;
    odin.publisher.price("BTC", 1).await;
    let origin = format!("Origin: {GOOD}\r\n");
    for target in ["/v1/poll?channels=price:BTC&wait=0", "/v1/channels/price:BTC/latest", "/v1/channels/x:y/latest"] {
        let answer = get_with(&odin.gateway, target, &origin).await;
        assert_eq!(allowed(&answer), Some(GOOD), "{target} {}", answer.status);
        assert_eq!(answer.header("access-control-allow-credentials"), None, "no cookies");
        let exposed = answer.header("access-control-expose-headers").expect("headers");
        assert!(exposed.contains("etag") && exposed.contains("retry-after"), "{exposed}");
        assert!(answer.head.contains("vary: origin"), "{}", answer.head);
    }
    let mut events = Events::open_with(&odin.gateway, "price:BTC", &origin).await;
    assert_eq!(allowed(&events.head), Some(GOOD));
    events.begun(1, Mode::Latest).await;
    // Programs say no origin, and are told nothing about it.
    assert_eq!(allowed(&get_with(&odin.gateway, "/v1/channels/price:BTC/latest", "").await), None);
}

#[tokio::test]
async fn a_preflight_says_what_may_be_sent() {
    let gateway = Gateway::without_nats(only_good);
    for (_, target) in TARGETS {
        let answer = preflight(&gateway, GOOD, target).await;
        assert_eq!((answer.status, allowed(&answer)), (200, Some(GOOD)), "{target}");
        let methods = answer.header("access-control-allow-methods").expect("methods");
        assert!(methods.contains("get") && methods.contains("post"), "{methods}");
        let headers = answer.header("access-control-allow-headers").expect("headers");
        for header in ["authorization", "content-type", "last-event-id", "if-none-match"] {
            assert!(headers.contains(header), "{header} in {headers}");
        }
        assert_eq!(answer.header("access-control-max-age"), Some("7200"));
        assert_eq!(allowed(&preflight(&gateway, "https://evil.example", target).await), None);
    }
    // WebSockets have no preflight, and files none to give.
    for target in ["/ws", "/index.html"] {
        assert_eq!(allowed(&preflight(&gateway, GOOD, target).await), None, "{target}");
    }
}

/// A browser says no origin when a page asks its own with a GET, but where the page is.
#[tokio::test]
async fn the_gateways_own_page_may_ask_where_an_origin_must_be_said() {
    let odin = Odin::start_with(|config| {
        only_good(config);
        config.http.allow_missing_origin = false;
    })
    .await;
    let target = "/v1/poll?channels=price:BTC&wait=0";
    assert_eq!(get_with(&odin.gateway, target, "Sec-Fetch-Site: same-origin\r\n").await.status, 200);
    for headers in ["", "Sec-Fetch-Site: cross-site\r\n", "Sec-Fetch-Site: same-site\r\n", "Sec-Fetch-Site: none\r\n"] {
        is_refused(&get_with(&odin.gateway, target, headers).await, 403, "origin_not_allowed");
    }
    let both = "Sec-Fetch-Site: same-origin\r\nOrigin: https://evil.example\r\n";
    is_refused(&get_with(&odin.gateway, target, both).await, 403, "origin_not_allowed");
    let mut events = Events::open_with(&odin.gateway, "price:BTC", "Sec-Fetch-Site: same-origin\r\n").await;
    events.begun(1, Mode::Latest).await;
}
