//! Creating and verifying streams on real nats-servers.

use std::process::Command;
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use odin_devkit::{NatsCluster, NatsServer};
use ws_gateway::config::{Config, Inputs, build};
use ws_gateway::provision::{EPOCH_KEY, Outcome, ProvisionError, Report, provision};

const NAMES: [&str; 3] = ["ODIN", "ODIN_LAST", "ODIN_CTL"];

fn config(url: &str, flags: &[(&str, &str)]) -> Config {
    let mut all = vec![("nats.url".to_owned(), url.to_owned())];
    all.extend(flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    build(&Inputs { flags: all, ..Inputs::default() }).expect("valid")
}

async fn context(server: &NatsServer) -> jetstream::Context {
    jetstream::new(async_nats::connect(server.url()).await.expect("a connection"))
}

async fn found(context: &jetstream::Context, name: &str) -> stream::Config {
    context.get_stream(name).await.expect("the stream").cached_info().config.clone()
}

fn fields(report: &Report, index: usize) -> Vec<&'static str> {
    match &report.streams[index].outcome {
        Outcome::Differs(differences) | Outcome::Updated(differences) => differences.iter().map(|d| d.field).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn creates_once_and_verifies_ever_after() {
    let server = NatsServer::start().await.expect("a server");
    let config = config(&server.url(), &[]);
    let first = provision(&config, false).await.expect("created");
    assert_eq!(first.streams.iter().map(|stream| stream.name.as_str()).collect::<Vec<_>>(), NAMES);
    assert!(first.is_good() && first.streams.iter().all(|stream| stream.outcome == Outcome::Created), "{first}");

    for update in [false, true] {
        let again = provision(&config, update).await.expect("verified");
        assert!(again.streams.iter().all(|stream| stream.outcome == Outcome::Verified), "{again}");
        let epochs = |report: &Report| report.streams.iter().map(|stream| stream.epoch.clone()).collect::<Vec<_>>();
        assert_eq!(epochs(&first), epochs(&again));
        assert!(epochs(&first).iter().all(Option::is_some));
    }
}

#[tokio::test]
async fn what_is_published_is_republished_with_its_place_in_the_stream() {
    use futures_util::StreamExt;
    let server = NatsServer::start().await.expect("a server");
    provision(&config(&server.url(), &[]), false).await.expect("created");
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let mut live = client.subscribe("live.>").await.expect("subscribed");
    client.flush().await.expect("flushed");
    let context = jetstream::new(client);
    for subject in ["odin.tokens.BTC.price", "odinlast.x", "odinctl.user.1"] {
        context.publish(subject, "{}".into()).await.expect("sent").await.expect("stored");
        let message = live.next().await.expect("republished");
        assert_eq!(message.subject.as_str(), format!("live.{subject}"));
        let headers = message.headers.expect("headers");
        assert_eq!(headers.get("Nats-Sequence").expect("a sequence").as_str(), "1");
        assert_eq!(headers.get("Nats-Last-Sequence").expect("the one before").as_str(), "0");
    }
}

#[tokio::test]
async fn a_stream_of_another_shape_is_reported_and_left_alone() {
    let server = NatsServer::start().await.expect("a server");
    let context = context(&server).await;
    let foreign = stream::Config {
        name: "ODIN".to_owned(),
        subjects: vec!["odin.tokens.>".to_owned()],
        max_age: Duration::from_secs(60),
        allow_direct: true,
        description: Some("ours".to_owned()),
        ..stream::Config::default()
    };
    context.create_stream(foreign).await.expect("created");
    let before = found(&context, "ODIN").await;

    let report = provision(&config(&server.url(), &[]), false).await.expect("verified");
    assert!(!report.is_good());
    for field in ["subjects", "max_age", "republish", "deny_delete", "allow_msg_ttl"] {
        assert!(fields(&report, 0).contains(&field), "{field} is missing in {report}");
    }
    assert_eq!(report.streams[0].epoch, None);
    assert_eq!(found(&context, "ODIN").await, before);
}

#[tokio::test]
async fn update_changes_what_can_be_changed_and_keeps_the_epoch() {
    let server = NatsServer::start().await.expect("a server");
    let first = provision(&config(&server.url(), &[]), false).await.expect("created");
    let longer = config(&server.url(), &[("stream.max_age", "2h"), ("stream.max_bytes", "2GiB")]);

    let refused = provision(&longer, false).await.expect("verified");
    assert_eq!(fields(&refused, 0), ["max_age", "max_bytes"]);
    assert!(!refused.is_good());

    let updated = provision(&longer, true).await.expect("updated");
    assert_eq!(fields(&updated, 0), ["max_age", "max_bytes"]);
    assert!(updated.is_good(), "{updated}");
    let stream = found(&context(&server).await, "ODIN").await;
    assert_eq!(stream.max_age, Duration::from_secs(2 * 3600));
    assert_eq!(stream.metadata.get(EPOCH_KEY).cloned(), first.streams[0].epoch);
    assert!(provision(&longer, false).await.expect("verified").is_good());
}

#[tokio::test]
async fn update_leaves_what_cannot_be_changed() {
    let server = NatsServer::start().await.expect("a server");
    let context = context(&server).await;
    let in_memory = stream::Config {
        name: "ODIN_LAST".to_owned(),
        subjects: vec!["odinlast.>".to_owned()],
        storage: stream::StorageType::Memory,
        ..stream::Config::default()
    };
    context.create_stream(in_memory).await.expect("created");
    let before = found(&context, "ODIN_LAST").await;
    let report = provision(&config(&server.url(), &[]), true).await.expect("verified");
    assert!(!report.is_good() && report.to_string().contains("cannot be changed"), "{report}");
    assert_eq!(report.streams[0].outcome, Outcome::Created);
    assert_eq!(found(&context, "ODIN_LAST").await, before);
}

#[tokio::test]
async fn several_at_once_agree_on_one_epoch() {
    let server = NatsServer::start().await.expect("a server");
    let config = config(&server.url(), &[]);
    let (a, b, c, d) = tokio::join!(
        provision(&config, false),
        provision(&config, false),
        provision(&config, false),
        provision(&config, false)
    );
    let stream = found(&context(&server).await, "ODIN").await;
    let epoch = stream.metadata.get(EPOCH_KEY).cloned();
    for report in [a, b, c, d] {
        let report = report.expect("created or verified");
        assert!(report.is_good(), "{report}");
        assert_eq!(report.streams[0].epoch, epoch);
    }
}

#[tokio::test]
async fn more_replicas_than_servers_is_a_clear_error() {
    let server = NatsServer::start().await.expect("a server");
    let error =
        provision(&config(&server.url(), &[("stream.replicas", "3")]), false).await.expect_err("one server only");
    assert!(matches!(&error, ProvisionError::Create { name, .. } if name == "ODIN"), "{error:?}");
}

#[tokio::test]
async fn a_cluster_gets_three_replicas() {
    let cluster = NatsCluster::start(3).await.expect("a cluster");
    cluster.wait_ready().await.expect("ready");
    let config = config(&cluster.urls().join(","), &[("stream.replicas", "3")]);
    let report = provision(&config, false).await.expect("created");
    assert!(report.is_good(), "{report}");
    assert_eq!(found(&context(cluster.node(0)).await, "ODIN").await.num_replicas, 3);
    assert!(provision(&config, false).await.expect("verified").is_good());
}

#[tokio::test]
async fn the_command_tells_by_its_exit_code() {
    let server = NatsServer::start().await.expect("a server");
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ws-gateway"));
        command.arg("provision").arg("--nats-url").arg(server.url()).args(args);
        let output = command.output().expect("the program exists");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let (code, text) = run(&[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("nats-server ") && text.contains("stream ODIN: created"), "{text}");
    let (code, text) = run(&[]);
    assert!(code == Some(0) && text.contains("stream ODIN: as wanted"), "{text}");
    let (code, text) = run(&["--stream-max-age", "2h"]);
    assert!(code == Some(1) && text.contains("max_age: wanted 2h, found 1h"), "{text}");
    let (code, text) = run(&["--stream-max-age", "2h", "--update"]);
    assert!(code == Some(0) && text.contains("stream ODIN: updated"), "{text}");
}

#[tokio::test]
async fn a_gateway_is_ready_once_the_streams_exist() {
    let server = NatsServer::start().await.expect("a server");
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_ws-gateway"));
    let builder = odin_devkit::Gateway::builder(binary, server.url());
    let gateway = builder.start_listening().await.expect("it listens");
    provision(&config(&server.url(), &[]), false).await.expect("created");
    gateway.wait_ready(odin_devkit::START_LIMIT).await.expect("ready");
}
