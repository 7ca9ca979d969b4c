//! What several tests need.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use odin_devkit::Process;

/// Longer than anything takes; reached only by failures.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// The gateway named by `ODIN_GATEWAY`, else that of this build; without one there is nothing to test.
pub(crate) fn gateway_binary() -> Option<PathBuf> {
    let named = std::env::var_os("ODIN_GATEWAY").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_BIN_EXE_odin-devkit")).with_file_name("ws-gateway");
    let found = named.or_else(|| beside.is_file().then_some(beside));
    if found.is_none() {
        eprintln!("skipped: no ws-gateway; build it with `cargo build -p ws-gateway`, or name it by ODIN_GATEWAY");
    }
    found
}

/// A program of the system. Debian keeps servers where not everybody's `PATH` goes. CI must have it.
pub(crate) fn system_binary(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is missing: install the package");
        eprintln!("skipped: {name} is missing");
    }
    found
}

/// A file of the folder `deploy`.
pub(crate) fn deployed(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(name)
}

/// Creates odin's streams, one copy of each.
pub(crate) async fn provision(gateway: &std::path::Path, nats_url: &str) {
    let process = Process::builder("ws-gateway provision", gateway).args(["provision", "--nats-url", nats_url]).spawn();
    let process = process.expect("the program starts");
    let status = process.wait(LIMIT).await.expect("it ends");
    assert!(status.success(), "{status}\n{}", process.log());
}

/// Whether any process, also one that nobody has waited for, has this id.
pub(crate) fn exists(pid: u32) -> bool {
    let pid = Pid::from_raw(i32::try_from(pid).expect("process ids are positive 32-bit numbers"));
    kill(pid, None) != Err(Errno::ESRCH)
}

/// Repeats a question until it is answered with yes.
pub(crate) async fn until(what: &str, mut question: impl FnMut() -> bool) {
    let poll = async {
        while !question() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, poll).await.unwrap_or_else(|_| panic!("{what}: not within {LIMIT:?}"));
}

/// A JetStream client of `urls`.
pub(crate) async fn jetstream(urls: &[String]) -> jetstream::Context {
    let addresses: Result<Vec<async_nats::ServerAddr>, _> = urls.iter().map(|url| url.parse()).collect();
    let client = async_nats::connect(addresses.expect("urls are valid")).await.expect("the server accepts clients");
    jetstream::new(client)
}

/// A file stream of one subject.
pub(crate) async fn create_stream(context: &jetstream::Context, name: &str, replicas: usize) -> stream::Stream {
    let config = stream::Config {
        name: name.to_owned(),
        subjects: vec![format!("{name}.>")],
        storage: stream::StorageType::File,
        num_replicas: replicas,
        ..Default::default()
    };
    context.create_stream(config).await.expect("JetStream creates a stream")
}

/// Publishes with the acknowledgement awaited, again and again while there is no leader; returns the sequence.
pub(crate) async fn publish(context: &jetstream::Context, subject: &str, id: &str) -> u64 {
    let attempts = async {
        loop {
            let message = jetstream::message::PublishMessage::build().payload("x".into()).message_id(id);
            if let Ok(ack) = context.send_publish(subject.to_owned(), message).await
                && let Ok(ack) = ack.await
            {
                return ack.sequence;
            }
        }
    };
    tokio::time::timeout(LIMIT, attempts).await.expect("JetStream acknowledges")
}
