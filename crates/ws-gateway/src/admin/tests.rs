//! The routes without sockets, and whether they are as described.

use std::collections::BTreeSet;

use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::config::Secret;
use crate::control::Link;
use crate::metrics::CONTENT_TYPE;
use crate::reload::Reloader;
use tokio::sync::mpsc;

const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH];

struct Answer {
    status: StatusCode,
    content_type: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a json body")
    }
}

const TOKEN: &str = "0123456789abcdef";

/// A gateway whose NATS never comes.
fn admin(token: Option<&str>, readiness: Readiness) -> Admin {
    let metrics = Metrics::new(2);
    metrics.shards[0].connections.set(2);
    metrics.shards[1].connections.set(3);
    let mut config = Config::default();
    config.admin.token = token.map(Secret::new);
    let summary = Summary::from(&config);
    let current = watch::channel(Arc::new(Current::of(config))).1;
    Admin {
        metrics: Arc::new(metrics),
        readiness: watch::channel(readiness).1,
        config: summary,
        started: Instant::now(),
        orders: Orders::new(Link::default(), current.clone(), Arc::default()),
        current,
        cluster: Arc::default(),
        drain: Arc::default(),
        reloader: Reloader(mpsc::channel(1).0),
    }
}

async fn send(admin: Admin, method: Method, path: &str, token: Option<&str>, body: impl Into<Body>) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(body.into()).expect("a request");
    let response = router(admin).oneshot(request).await.expect("routes do not fail");
    let status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let content_type = content_type.unwrap_or_default().to_owned();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    Answer { status, content_type, body: String::from_utf8(body.to_vec()).expect("text") }
}

async fn ask(method: Method, path: &str, readiness: Readiness) -> Answer {
    send(admin(Some(TOKEN), readiness), method, path, None, Body::empty()).await
}

async fn get(path: &str) -> Answer {
    ask(Method::GET, path, Readiness::Ready).await
}

/// With the token.
async fn order(method: Method, path: &str, body: &str) -> Answer {
    send(admin(Some(TOKEN), Readiness::Ready), method, path, Some(TOKEN), body.to_owned()).await
}

#[tokio::test]
async fn is_ready_or_says_why_not() {
    let answer = get("/readyz").await;
    assert_eq!((answer.status, &answer.json()["status"]), (StatusCode::OK, &json!("ready")));
    for reason in [
        NotReady::Starting,
        NotReady::NatsDisconnected,
        NotReady::StreamMissing,
        NotReady::StreamMisconfigured,
        NotReady::StreamSilent,
        NotReady::ControlMissing,
        NotReady::ControlUnread,
        NotReady::Draining,
    ] {
        let answer = ask(Method::GET, "/readyz", Readiness::NotReady(reason)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.json()["reason"], reason.as_str());
        assert_eq!(answer.json()["message"], reason.message());
    }
}

#[tokio::test]
async fn is_alive_while_it_is_not_ready() {
    let answer = ask(Method::GET, "/livez", Readiness::NotReady(NotReady::NatsDisconnected)).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn metrics_are_openmetrics_text() {
    let answer = get("/metrics").await;
    assert_eq!((answer.status, answer.content_type.as_str()), (StatusCode::OK, CONTENT_TYPE));
    assert!(answer.body.contains("\nodin_gateway_connections 5\n") && answer.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn stats_sum_the_shards() {
    let stats = get("/v1/stats").await.json();
    assert_eq!(stats["connectedClients"], 5);
    assert_eq!(stats["shards"][1]["connections"], 3);
    assert_eq!(stats["bus"]["stream"], "ODIN");
    assert_eq!(stats["readiness"]["status"], "ready");
}

#[tokio::test]
async fn everything_else_is_a_json_404() {
    for path in ["/", "/ws", "/metrics/", "/debug/pprof", "/v1/config", "/v1"] {
        let answer = get(path).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (StatusCode::NOT_FOUND, &json!("not_found")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_is_open_changes_nothing() {
    for path in ["/livez", "/readyz", "/metrics", "/v1/stats"] {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let answer = ask(method, path, Readiness::Ready).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        }
    }
}

#[tokio::test]
async fn the_description_has_every_route_and_no_other() {
    let description: Value = serde_json::from_str(probes::OPENAPI).expect("json");
    let described = description["paths"].as_object().expect("paths");
    let routes: BTreeSet<_> =
        open_routes().iter().chain(&closed_routes()).map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(described.keys().cloned().collect::<BTreeSet<_>>(), routes);
    for (path, operations) in described {
        let concrete = path.replace("{sub}", "alice").replace("{id}", "user.2bd806c97f0e00af1a1fc3328fa763a9");
        for method in METHODS {
            let answer = send(admin(None, Readiness::Ready), method.clone(), &concrete, None, Body::empty()).await;
            let is_described = operations.get(method.as_str().to_lowercase()).is_some();
            assert_eq!(answer.status != StatusCode::METHOD_NOT_ALLOWED, is_described, "{method} {path}");
            let operation = &operations[method.as_str().to_lowercase()];
            if is_described {
                let is_open = operation["security"] == json!([]);
                assert_eq!(answer.status != StatusCode::FORBIDDEN, is_open, "{method} {path}");
                assert!(operation["responses"].get(answer.status.as_str()).is_some(), "{method} {path}");
            }
        }
    }
}

/// Checklist 59: nothing can be changed, and nothing be learned of users, without the operators' token.
#[tokio::test]
async fn what_is_closed_opens_to_the_token_only() {
    for (path, _) in closed_routes() {
        let path = path.replace("{sub}", "alice").replace("{id}", "user.x");
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let disabled = send(admin(None, Readiness::Ready), method.clone(), &path, Some(TOKEN), Body::empty()).await;
            if disabled.status == StatusCode::METHOD_NOT_ALLOWED {
                continue;
            }
            let code = (disabled.status, disabled.json()["error"]["code"].clone());
            assert_eq!(code, (StatusCode::FORBIDDEN, json!("admin_disabled")), "{method} {path}");
            for token in [None, Some(""), Some("0123456789abcdeg"), Some("0123456789abcdef0")] {
                let admin = admin(Some(TOKEN), Readiness::Ready);
                let metrics = admin.metrics.clone();
                let answer = send(admin, method.clone(), &path, token, Body::empty()).await;
                let code = (answer.status, answer.json()["error"]["code"].clone());
                assert_eq!(code, (StatusCode::UNAUTHORIZED, json!("unauthorized")), "{method} {path}");
                assert_eq!(metrics.control.admin_refused.get(), 1);
                assert!(!answer.body.contains(TOKEN));
            }
        }
    }
}

#[tokio::test]
async fn an_order_that_makes_no_sense_is_refused() {
    let long = "x".repeat(1_025);
    let (long_message, long_sub) = (format!(r#"{{"message":"{long}"}}"#), format!("/v1/users/{long}/disconnect"));
    let huge = format!(r#"{{"message":"{}"}}"#, "x".repeat(BODY_BYTES));
    let orders = [
        ("/v1/broadcast", "", 400),
        ("/v1/broadcast", "{", 400),
        ("/v1/broadcast", r#"{"message":""}"#, 400),
        ("/v1/broadcast", r#"{"message":7}"#, 400),
        ("/v1/broadcast", r#"{"message":"x","sub":"a"}"#, 400),
        ("/v1/broadcast", &long_message, 400),
        ("/v1/broadcast", &huge, 413),
        ("/v1/users/a/notify", &huge, 413),
        ("/v1/users/%FF/notify", r#"{"message":"x"}"#, 400),
        (&long_sub, "", 400),
        ("/v1/revocations", "{}", 400),
        ("/v1/revocations", r#"{"jti":"a","sub":"b"}"#, 400),
        ("/v1/revocations", r#"{"jti":"a","issuedBefore":5}"#, 400),
        ("/v1/revocations", r#"{"sub":"a","issuedBefore":"yesterday"}"#, 400),
        ("/v1/revocations", r#"{"sub":"a","issuedBefore":1.5}"#, 400),
        ("/v1/revocations", r#"{"sub":""}"#, 400),
        ("/v1/revocations", r#"{"sub":"a","expiresIn":"2days"}"#, 400),
        ("/v1/revocations", r#"{"sub":"a","expiresIn":"0s"}"#, 400),
        ("/v1/revocations", r#"{"sub":"a","expiresIn":60}"#, 400),
    ];
    for (path, body, status) in orders {
        let answer = order(Method::POST, path, body).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {body:.60}");
        assert!(answer.json()["error"]["message"].is_string(), "{path} {body:.60}");
    }
    for path in ["/v1/revocations/user.x", "/v1/revocations/user.2bd806c97f0e00af1a1fc3328fa763a9"] {
        assert_eq!(order(Method::DELETE, path, "").await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(order(Method::GET, "/v1/revocations?after=x", "").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(order(Method::GET, "/v1/revocations?befor=x", "").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_order_that_nobody_stores_is_not_done() {
    for (path, body) in [
        ("/v1/broadcast", r#"{"message":"x"}"#),
        ("/v1/users/a%2Fb/notify", r#"{"message":"x"}"#),
        ("/v1/users/a/disconnect", ""),
        ("/v1/revocations", r#"{"sub":"a","issuedBefore":"2026-01-01T00:00:00Z","expiresIn":"90m"}"#),
    ] {
        let answer = order(Method::POST, path, body).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(answer.json()["error"]["code"], "unavailable");
    }
}

#[tokio::test]
async fn a_gateway_is_told_to_leave_once_or_twice() {
    let admin = admin(Some(TOKEN), Readiness::Ready);
    for _ in 0..2 {
        let answer = send(admin.clone(), Method::POST, "/v1/drain", Some(TOKEN), Body::empty()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
    }
    admin.drain.notified().await;
}

#[tokio::test]
async fn a_reload_says_what_changed_or_why_nothing_did() {
    let (reload, mut asked) = mpsc::channel(1);
    let admin = Admin { reloader: Reloader(reload), ..admin(Some(TOKEN), Readiness::Ready) };
    tokio::spawn(async move {
        for outcome in [Ok(json!({ "changed": ["log.level"] })), Err("no such file".to_owned())] {
            asked.recv().await.expect("asked").send(outcome).expect("awaited");
        }
    });
    let reload = async || send(admin.clone(), Method::POST, "/v1/reload", Some(TOKEN), Body::empty()).await;
    let answer = reload().await;
    assert_eq!((answer.status, answer.json()["changed"][0].clone()), (StatusCode::OK, json!("log.level")));
    let answer = reload().await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.json()["error"]["message"], "no such file");
    assert_eq!(reload().await.status, StatusCode::SERVICE_UNAVAILABLE, "nobody reloads any more");
}

#[tokio::test]
async fn a_log_level_is_a_level_or_directives() {
    for (body, status) in [
        (r#"{"level":"debug"}"#, 200),
        (r#"{"level":"info,ws_gateway::bus=trace"}"#, 200),
        (r#"{"level":""}"#, 400),
        (r#"{"level":"info,=,"}"#, 400),
        (r#"{"level":5}"#, 400),
        (r#"{"level":"info","format":"text"}"#, 400),
        (&format!(r#"{{"level":"{}"}}"#, "a".repeat(1025)), 400),
        ("", 400),
    ] {
        let answer = order(Method::PUT, "/v1/log", body).await;
        assert_eq!(answer.status.as_u16(), status, "{body:.60}");
    }
}

#[tokio::test]
async fn a_gateway_alone_is_a_cluster_of_one() {
    let answer = order(Method::GET, "/v1/cluster", "").await.json();
    assert_eq!(answer["gateways"].as_array().expect("a list").len(), 1);
    assert_eq!(answer["gateways"][0]["isSelf"], true);
    let answer = order(Method::GET, "/v1/users/alice/connections", "").await.json();
    assert_eq!(answer, json!({ "sub": "alice", "connections": [], "isComplete": true }));
    let answer = order(Method::GET, "/v1/revocations", "").await.json();
    assert_eq!(answer, json!({ "revocations": [], "count": 0, "next": null }));
}
