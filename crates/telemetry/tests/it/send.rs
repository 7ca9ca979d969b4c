//! One POST.

use std::time::Duration;

use bytes::Bytes;
use odin_telemetry::{
    ExportError,
    collector::{Answer, Collector, SECRET, sender},
};

#[tokio::test]
async fn sends_protobuf_with_the_configured_headers() {
    let mut collector = Collector::start().await;
    let sender = sender(&format!("{}/base/", collector.url), Duration::from_secs(20));
    sender.post("/v1/metrics", Bytes::from_static(b"\x01\x02")).await.unwrap();
    let taken = collector.request().await;
    assert_eq!(taken.path, "/base/v1/metrics");
    assert_eq!(taken.headers["content-type"], "application/x-protobuf");
    assert_eq!(taken.headers["authorization"], format!("Bearer {SECRET}"));
    assert_eq!(&taken.body[..], b"\x01\x02");
}

#[tokio::test]
async fn says_whether_and_when_to_come_back() {
    let collector = Collector::start().await;
    for (answer, may_retry, after) in [
        (Answer::RetryAfter(429, "7"), true, Some(7)),
        (Answer::RetryAfter(503, "99999999999"), true, Some(86_400)),
        (Answer::RetryAfter(503, "-1"), true, None),
        (Answer::RetryAfter(503, "Wed, 21 Oct 2015 07:28:00 GMT"), true, None),
        (Answer::Status(502), true, None),
        (Answer::Status(500), false, None),
        (Answer::Status(400), false, None),
        (Answer::Status(301), false, None),
    ] {
        collector.answers(answer.clone());
        let error = collector.sender().post("/v1/traces", Bytes::new()).await.unwrap_err();
        assert!(matches!(error, ExportError::Status { .. }), "{answer:?}: {error}");
        assert_eq!(error.may_retry(), may_retry, "{answer:?}");
        assert_eq!(error.retry_after().map(|after| after.as_secs()), after, "{answer:?}");
    }
}

/// A collector that answers without end.
#[tokio::test]
async fn reads_no_more_of_an_answer_than_its_bound() {
    let collector = Collector::start().await;
    collector.answers(Answer::Large(64 * 1024));
    collector.sender().post("/v1/traces", Bytes::new()).await.unwrap();
    collector.answers(Answer::Large(64 * 1024 + 1));
    let error = collector.sender().post("/v1/traces", Bytes::new()).await.unwrap_err();
    assert!(matches!(error, ExportError::TooLarge), "{error}");
}

/// A collector that never answers, and one that is not there.
#[tokio::test]
async fn gives_up_in_time() {
    let collector = Collector::start().await;
    collector.answers(Answer::Never);
    let patient = sender(&collector.url, Duration::from_millis(50));
    let error = patient.post("/v1/traces", Bytes::new()).await.unwrap_err();
    assert!(matches!(error, ExportError::Timeout), "{error}");

    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = sender(&format!("http://{free}"), Duration::from_secs(20)).post("/", Bytes::new()).await.unwrap_err();
    assert!(matches!(error, ExportError::Request(_)), "{error}");
    assert!(error.may_retry());
}

/// Checklist 17: secrets in what is printed.
#[tokio::test]
async fn prints_no_secret() {
    let sender = sender("http://127.0.0.1:1", Duration::from_secs(20));
    let error = sender.post("/v1/traces", Bytes::new()).await.unwrap_err();
    let printed = format!("{sender:?} {error:?} {error}");
    assert!(!printed.contains(SECRET), "{printed}");
}
