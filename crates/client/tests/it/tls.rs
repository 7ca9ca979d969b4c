//! `wss`: a real TLS server with certificates made for the test.

use std::sync::Arc;
use std::time::Duration;

use odin_client::{Client, Event, Options, OptionsError, Parting};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use crate::support::{Place, Server, next, next_seq, options};

/// An authority of its own, and the file to trust it by.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub(crate) file: Place,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let file = Place::new(name);
        std::fs::write(file.path(), issuer.pem()).expect("writable");
        Authority { issuer, file }
    }

    /// A server with a certificate for these names or numbers.
    pub(crate) async fn serve(&self, names: &[&str]) -> Server {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new(names).expect("names").signed_by(&key, &self.issuer).expect("signed");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate and its key");
        Server::secure(TlsAcceptor::from(Arc::new(config))).await
    }

    fn options(&self, url: &str) -> Options {
        Options { tls_ca: Some(self.file.path().into()), ..options(&[url.to_owned()]) }
    }
}

/// Why there is no connection to this address.
async fn refusal(options: Options) -> String {
    let (_client, mut events) = Client::connect(options).expect("valid options");
    next(&mut events, "reconnecting", |event| match event {
        Event::Reconnecting { why, .. } => Some(why.to_string()),
        Event::Connected(_) => panic!("it believed the certificate"),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn speaks_tls_with_a_server_of_an_authority_it_trusts() {
    let authority = Authority::new("tls-trusted");
    let mut server = authority.serve(&["127.0.0.1"]).await;
    let (client, mut events) = Client::connect(authority.options(&server.url())).expect("valid options");
    client.subscribe(["price:BTC"]).await.expect("the client lives");
    let mut peer = server.greet().await;
    peer.confirm(false).await;
    // more than a TLS record
    let filler = "x".repeat(100_000);
    peer.say(&format!(
        r#"{{"type":"update","channel":"price:BTC","seq":5,"prev":0,"ts":1,"epoch":"k3j9x2m4","data":"{filler}"}}"#
    ))
    .await;
    assert_eq!(next_seq(&mut events).await, 5);
    // and the other way
    let data = format!("\"{}\"", "y".repeat(60_000));
    let publishing = tokio::spawn(async move { client.publish("chat:lobby", &data).await });
    assert!(peer.message().await.len() > 60_000);
    peer.say(r#"{"type":"published","id":2,"channel":"chat:lobby","seq":6,"epoch":"k3j9x2m4"}"#).await;
    assert_eq!(publishing.await.expect("no panic").expect("stored").seq, 6);
}

/// Attack: a server in the middle with a certificate of an authority that nobody asked to trust.
#[tokio::test]
async fn refuses_a_server_of_another_authority() {
    let (ours, other) = (Authority::new("tls-ours"), Authority::new("tls-other"));
    let server = other.serve(&["127.0.0.1"]).await;
    let why = refusal(ours.options(&server.url())).await;
    assert!(why.starts_with("connection failed: ") && why.contains("certificate"), "{why}");
}

/// Attack: a server with a certificate that is valid, but for another name.
#[tokio::test]
async fn refuses_a_server_with_a_certificate_of_another_name() {
    let authority = Authority::new("tls-name");
    let server = authority.serve(&["gateway.example", "127.0.0.2"]).await;
    let why = refusal(authority.options(&server.url())).await;
    assert!(why.contains("certificate not valid for name"), "{why}");
}

/// Attack: a server that lets the handshake hang.
#[tokio::test]
async fn leaves_a_server_that_does_not_shake_hands() {
    let authority = Authority::new("tls-hangs");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("wss://{}/ws", listener.local_addr().expect("an address"));
    let connect_timeout = Duration::from_millis(100);
    let why = refusal(Options { connect_timeout, ..authority.options(&url) }).await;
    assert_eq!(why, Parting::Timeout { limit: connect_timeout }.to_string());
}

#[tokio::test]
async fn does_not_speak_tls_with_a_server_that_does_not() {
    let authority = Authority::new("tls-plain");
    let server = Server::start().await;
    let why = refusal(authority.options(&server.url().replace("ws://", "wss://"))).await;
    assert!(why.starts_with("connection failed: "), "{why}");
}

#[tokio::test]
async fn names_the_file_that_has_no_certificates() {
    let place = Place::new("tls-none");
    std::fs::write(place.path(), "nothing").expect("writable");
    let options = Options { tls_ca: Some(place.path().into()), ..options(&["wss://127.0.0.1/ws".to_owned()]) };
    let error = Client::connect(options).expect_err("no certificates");
    assert!(matches!(&error, OptionsError::Tls { cause } if cause.contains(place.path())), "{error}");
}
