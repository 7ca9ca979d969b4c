//! A server with odin's stream, and what it has stored.

use std::future::Future;
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use odin_devkit::NatsServer;
use odin_publisher::{Message, Options, Publisher, Subject};

/// A server and its stream `ODIN`.
pub(crate) struct World {
    pub(crate) server: NatsServer,
    pub(crate) stream: stream::Stream,
}

/// One stored message.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) sequence: u64,
    pub(crate) subject: String,
    pub(crate) id: String,
    pub(crate) headers: async_nats::HeaderMap,
    pub(crate) payload: Vec<u8>,
}

/// Odin's stream, as far as publishing is concerned.
pub(crate) fn odin_stream() -> stream::Config {
    stream::Config {
        name: "ODIN".to_owned(),
        subjects: vec!["odin.>".to_owned()],
        storage: stream::StorageType::File,
        duplicate_window: Duration::from_secs(60),
        max_message_size: 64 * 1024,
        allow_direct: true,
        allow_message_ttl: true,
        ..stream::Config::default()
    }
}

impl World {
    pub(crate) async fn start() -> World {
        World::with(odin_stream()).await
    }

    pub(crate) async fn with(config: stream::Config) -> World {
        World::on(NatsServer::start().await.expect("a nats-server"), config).await
    }

    pub(crate) async fn on(server: NatsServer, config: stream::Config) -> World {
        let client = async_nats::connect(server.url()).await.expect("a connection");
        let stream = jetstream::new(client).create_stream(config).await.expect("a stream");
        World { server, stream }
    }

    /// Options with short waits.
    pub(crate) fn options(&self) -> Options {
        Options { ack_timeout: Duration::from_millis(300), ..self.defaults() }
    }

    pub(crate) fn defaults(&self) -> Options {
        Options { urls: vec![self.server.url()], ..Options::default() }
    }

    /// Freezes the server, and returns when it really stands still: the signal reaches threads on other cores a moment
    /// later, time enough for one more answer.
    pub(crate) async fn freeze(&self) {
        self.server.pause();
        let tasks = format!("/proc/{}/task", self.server.pid());
        until("a frozen server", || stands_still(&tasks)).await;
    }

    pub(crate) async fn publisher(&self) -> Publisher {
        Publisher::connect(self.options()).await.expect("a connection")
    }

    /// Everything in the stream, in order.
    pub(crate) async fn stored(&mut self) -> Vec<Stored> {
        let state = self.stream.info().await.expect("stream info").state.clone();
        let mut stored = Vec::new();
        for sequence in state.first_sequence.max(1)..=state.last_sequence {
            let message = self.stream.get_raw_message(sequence).await.expect("a stored message");
            let id = message.headers.get("Nats-Msg-Id").map(ToString::to_string).unwrap_or_default();
            stored.push(Stored {
                sequence,
                subject: message.subject.to_string(),
                id,
                headers: message.headers,
                payload: message.payload.to_vec(),
            });
        }
        stored
    }
}

/// Whether every thread of a process is stopped; where there is no /proc, that is believed.
fn stands_still(tasks: &str) -> bool {
    let Ok(tasks) = std::fs::read_dir(tasks) else {
        return true;
    };
    tasks.flatten().all(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // pid (name) state …
        stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('T'))
    })
}

pub(crate) fn message(subject: &str, payload: impl Into<String>) -> Message {
    Message::new(Subject::parse(subject).expect("a subject"), payload.into())
}

/// Waits for a condition that has no event of its own.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(what, wait).await;
}

/// A limit on waiting, far beyond what anything takes.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap_or_else(|_| panic!("{what} did not come"))
}
