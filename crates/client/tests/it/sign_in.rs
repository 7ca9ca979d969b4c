//! The `odin` program with a token: signing in, publishing through a gateway, and how it ends when that fails.

use std::process::Output;

use odin_client::protocol::{ClientMessage, RequestId};
use tokio::process::Command;

use crate::support::{Heard, Manners, Peer, Place, Server};
use crate::terminal::{end, odin, start, text, three_updates};

const HELLO: &str = r#"{"text":"hello"}"#;

async fn run(command: &mut Command) -> Output {
    end(command.spawn().expect("the program starts")).await
}

/// Hears a `publish`; gives its id.
async fn publication(peer: &mut Peer) -> u64 {
    match peer.hear().await {
        Heard::Message(ClientMessage::Publish { id: Some(RequestId::Number(id)), channel, data }) => {
            assert_eq!((channel.as_str(), data.get()), ("chat:lobby", HELLO));
            id
        }
        other => panic!("expected a publish, heard {other:?}"),
    }
}

#[tokio::test]
async fn tail_signs_in_with_a_token_from_the_environment_and_prints_who_that_is() {
    let mut server = Server::start().await;
    let args = ["tail", "--json", "--events", "--count", "1", "--url", &server.url(), "price:BTC"];
    let child = odin(&args).env("ODIN_TOKEN", "secret").spawn().expect("the program starts");
    let mut peer = server.greet().await;
    let (id, token) = peer.token().await;
    assert_eq!(token, "secret");
    peer.authenticated(id, 3_600_000).await;
    peer.confirm(false).await;
    peer.update("price:BTC", 0, 1).await;
    let output = end(child).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let (lines, notes) = (text(&output.stdout), text(&output.stderr));
    assert!(lines.contains(r#""refresh":false,"sub":"user-7","type":"authenticated"}"#), "{lines}");
    assert!(notes.contains("odin: signed in as user-7"), "{notes}");
    assert!(!lines.contains("secret") && !notes.contains("secret"));
}

#[tokio::test]
async fn the_command_line_counts_more_than_the_environment_and_a_file_is_read() {
    let place = Place::new("sign-in");
    std::fs::write(place.path(), "from-file\n").expect("writable");
    let mut server = Server::start().await;
    let args = ["tail", "--token-file", place.path(), "--count", "3", "--url", &server.url(), "price:BTC"];
    let child = odin(&args).env("ODIN_TOKEN", "from-environment").spawn().expect("the program starts");
    let mut peer = server.greet().await;
    let (id, token) = peer.token().await;
    assert_eq!(token, "from-file");
    peer.authenticated(id, 3_600_000).await;
    peer.confirm(false).await;
    for seq in 1..=3 {
        peer.update("price:BTC", seq - 1, seq).await;
    }
    assert_eq!(end(child).await.status.code(), Some(0));
}

#[tokio::test]
async fn an_empty_variable_is_none() {
    let mut server = Server::start().await;
    let args = ["tail", "--count", "3", "--url", &server.url(), "price:BTC"];
    let child = odin(&args).env("ODIN_TOKEN", "").env("ODIN_TOKEN_FILE", "").spawn().expect("the program starts");
    let _peer = three_updates(&mut server).await;
    assert_eq!(end(child).await.status.code(), Some(0));
}

#[tokio::test]
async fn exit_code_2_for_two_tokens() {
    let mut command = odin(&["tail", "price:BTC"]);
    let output = run(command.env("ODIN_TOKEN", "secret").env("ODIN_TOKEN_FILE", "f")).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(!text(&output.stderr).contains("secret"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn exit_code_7_for_a_token_that_is_not_valid() {
    for command in ["tail", "watch"] {
        let mut server = Server::start().await;
        let child = start(&[command, "--token", "secret", "--url", &server.url(), "price:BTC"]);
        let mut peer = server.greet().await;
        let (id, _) = peer.token().await;
        peer.refuse(id, "auth_failed", "").await;
        let output = end(child).await;
        let notes = text(&output.stderr);
        assert_eq!(output.status.code(), Some(7), "{notes}");
        assert!(notes.contains("odin: not signed in: auth_failed: because") && !notes.contains("secret"), "{notes}");
    }
}

#[tokio::test]
async fn exit_code_7_without_the_file_or_when_the_token_is_revoked() {
    let mut server = Server::start().await;
    let output = run(&mut odin(&["tail", "--token-file", "/no/such/file", "--url", &server.url(), "price:BTC"])).await;
    assert_eq!(output.status.code(), Some(7));
    assert!(text(&output.stderr).contains("no token: cannot read /no/such/file"), "{}", text(&output.stderr));

    let child = start(&["tail", "--token", "secret", "--url", &server.url(), "price:BTC"]);
    let mut peer = server.greet().await;
    let (id, _) = peer.token().await;
    peer.authenticated(id, 3_600_000).await;
    peer.close(4440).await;
    assert_eq!(end(child).await.status.code(), Some(7));

    let server = Server::with(Manners::Refuse { status: 401, retry_after: "1" }).await;
    let output = run(&mut odin(&["tail", "--token", "secret", "--url", &server.url(), "price:BTC"])).await;
    assert_eq!(output.status.code(), Some(7));
}

#[tokio::test]
async fn publishes_through_a_gateway_as_the_signed_in_user() {
    let mut server = Server::start().await;
    for (format, expected) in [
        (None, "stored on chat:lobby as seq 2211 of k3j9x2m4\n"),
        (Some("--json"), "{\"channel\":\"chat:lobby\",\"epoch\":\"k3j9x2m4\",\"seq\":2211}\n"),
    ] {
        let url = server.url();
        let args = ["publish", "--gateway", "--token", "secret", "--url", &url, "chat:lobby", HELLO];
        let child = start(&args.into_iter().chain(format).collect::<Vec<_>>());
        let mut peer = server.greet().await;
        let (id, _) = peer.token().await;
        peer.authenticated(id, 3_600_000).await;
        let id = publication(&mut peer).await;
        peer.say(&format!(r#"{{"type":"published","id":{id},"channel":"chat:lobby","seq":2211,"epoch":"k3j9x2m4"}}"#))
            .await;
        let output = end(child).await;
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), expected);
    }
}

#[tokio::test]
async fn a_publication_that_is_refused_or_in_doubt_has_its_exit_code() {
    let mut server = Server::start().await;
    let url = server.url();
    let publish = || start(&["publish", "--url", &url, "chat:lobby", HELLO]);
    let child = publish();
    let mut peer = server.greet().await;
    let id = publication(&mut peer).await;
    peer.refuse(id, "forbidden", "").await;
    let output = end(child).await;
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("chat:lobby: forbidden: because"), "{}", text(&output.stderr));

    let child = publish();
    let mut peer = server.greet().await;
    publication(&mut peer).await;
    drop(peer);
    let output = end(child).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("it may be stored or not"), "{}", text(&output.stderr));

    let output = run(&mut odin(&["publish", "--gateway", "chat:*", HELLO])).await;
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

#[tokio::test]
async fn makes_a_token_and_shows_what_one_says() {
    let secret = "a secret of more than thirty-two bytes";
    let args = ["token", "--sub", "user-7", "--secret", secret, "--tier", "premium", "--kid", "k1", "--issuer", "me"];
    let output = run(&mut odin(&args)).await;
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    let token = text(&output.stdout);
    assert_eq!(token.lines().count(), 1);

    let shown = run(&mut odin(&["token", "--inspect", token.trim_end()])).await;
    let said: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!((&said["claims"]["sub"], &said["header"]["kid"]), (&"user-7".into(), &"k1".into()));
    assert!(text(&shown.stderr).contains("not verified"), "{}", text(&shown.stderr));

    let output = run(&mut odin(&["token", "--inspect", "hidden"])).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(!text(&output.stderr).contains("hidden"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn makes_an_api_key_whose_hash_goes_elsewhere() {
    let output = run(&mut odin(&["token", "api-key"])).await;
    let (key, hash) = (text(&output.stdout), text(&output.stderr));
    assert!(key.starts_with("odin_") && key.lines().count() == 1, "{key}");
    assert!(hash.starts_with("sha256:") && hash.trim_end().len() == 71, "{hash}");
}

/// The system's authorities count where no file is given; `SSL_CERT_FILE` names them.
#[cfg(feature = "tls")]
#[tokio::test]
async fn trusts_a_file_of_authorities_or_those_of_the_system() {
    let authority = crate::tls::Authority::new("sign-in-tls");
    let mut server = authority.serve(&["127.0.0.1"]).await;
    let url = server.url();
    let args = ["tail", "--count", "3", "--max-attempts", "1", "--url", &url, "price:BTC"];
    for name in ["ODIN_TLS_CA", "SSL_CERT_FILE"] {
        let child = odin(&args).env(name, authority.file.path()).spawn().expect("the program starts");
        let _peer = three_updates(&mut server).await;
        let output = end(child).await;
        assert_eq!(output.status.code(), Some(0), "{name}: {}", text(&output.stderr));
    }
    let other = crate::tls::Authority::new("sign-in-tls-other");
    let output = run(odin(&args).env("ODIN_TLS_CA", other.file.path())).await;
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("certificate"), "{}", text(&output.stderr));
    let output = run(odin(&args).env("ODIN_TLS_CA", "/no/such/file")).await;
    assert_eq!(output.status.code(), Some(2));
}
