//! The same by TLS: hyper gives the connection back with what it has read, and the shard goes on.

use std::time::Duration;

use odin_protocol::{Mode, ServerMessage, close::CloseCode, message::SystemState};

use super::support::{Events, Polled, Web, cursor_of};
use crate::door::tls::Certificate;
use crate::support::{Chains, Odin};

async fn start(certificate: &Certificate) -> Odin {
    Odin::start_with(|config| {
        certificate.is_for(config);
        config.http.require_tls = true;
        config.sockets.send_buffer_bytes = Some(16 * 1024);
        config.drain.window = Duration::from_secs(1);
    })
    .await
}

#[tokio::test]
async fn a_stream_by_tls_is_one_like_others() {
    let certificate = Certificate::new();
    let mut odin = start(&certificate).await;
    let request = Events::request("price:BTC&mode=all", "");
    let mut events = Events::on(certificate.connect(odin.gateway.address).await, &request).await;
    events.begun(1, Mode::All).await;
    // More than a record and more than the socket takes at once.
    let published = odin.publisher.prices("BTC", 1, 500, 1_000).await;
    let (mut chains, mut last) = (Chains::default(), String::new());
    for seq in &published {
        let update = events.update().await;
        assert_eq!(update.seq, *seq);
        chains.take(&update);
        last = cursor_of(&update);
    }
    while events.last_id != last {
        events.next().await.expect("its id");
    }
    odin.gateway.begin_stop();
    let said = events.message().await;
    assert!(matches!(said, ServerMessage::System { status: SystemState::Draining, .. }), "{said:?}");
    events.closed_with(CloseCode::ServiceRestart).await;
    assert_eq!(odin.gateway.ended().await.remained, 0);
}

#[tokio::test]
async fn requests_by_tls_share_a_connection_and_may_end_in_a_stream() {
    let certificate = Certificate::new();
    let odin = start(&certificate).await;
    let seq = odin.publisher.price("BTC", 1).await;
    let mut web = Web::on(certificate.connect(odin.gateway.address).await);
    for _ in 0..3 {
        assert_eq!(Polled::of(&web.get("/v1/poll?channels=price:BTC&wait=0").await).seqs(), [seq]);
        assert_eq!(web.get("/v1/channels/price:BTC/latest").await.status, 200);
    }
    let mut events = Events::of(web, &Events::request("price:BTC", "")).await;
    events.begun(1, Mode::Latest).await;
    assert_eq!(events.update().await.seq, seq);
    // What came in the same record as the request is not lost either: it is one thing too many.
    let request = Events::request("price:BTC", "");
    let connection = certificate.connect(odin.gateway.address).await;
    let mut early = Events::on(connection, &format!("{request}{request}")).await;
    early.closed_with(CloseCode::PolicyViolation).await;
}
