//! A nats-server with gateways, and a Python program that does what it is told.

use std::path::{Path, PathBuf};
use std::process::{Command as Blocking, Stdio};
use std::time::Duration;

use odin_devkit::{Gateway, NatsServer};
use odin_publisher::Publisher;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Wide, because a loaded machine is slow; nothing waits this long when all is well.
const LIMIT: Duration = Duration::from_secs(60);
const SECRET: &str = "what the program and the gateways of these tests share";
const CONFIG: &str = r#"
[auth]
algorithms = ["HS256"]
hs256_secret = "what the program and the gateways of these tests share"
leeway = "0s"

[[rules]]
channel = "chat:{room}"
subject = "odin.chat.{room}"
access = "signed_in"
mode = "all"
publish = "signed_in"

[[rules]]
channel = "price:{token}"
subject = "odin.tokens.{token}.price"
access = "public"
mode = "latest"
"#;

/// `target/<profile>`, where this test lies below.
fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    test.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps").to_owned()
}

/// The gateway named by `ODIN_GATEWAY`, else that of this build.
fn gateway_binary() -> PathBuf {
    let named = std::env::var_os("ODIN_GATEWAY").filter(|name| !name.is_empty()).map(PathBuf::from);
    let binary = named.unwrap_or_else(|| profile_folder().join(format!("ws-gateway{}", std::env::consts::EXE_SUFFIX)));
    assert!(
        binary.is_file(),
        "{} is missing: build it with `cargo build -p ws-gateway` in the same profile, or name it by ODIN_GATEWAY",
        binary.display()
    );
    binary
}

/// Runs `generate.sh`, which builds the library first.
pub(crate) fn generate(language: &str, folder: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("generate.sh");
    let profile = profile_folder();
    let target = profile.parent().expect("a profile lies in the target folder");
    let mut command = Blocking::new(&script);
    command.arg(language).arg(folder).env("CARGO_TARGET_DIR", target).stdin(Stdio::null());
    let output = command.output().expect("the script starts, which needs bash");
    assert!(output.status.success(), "{language}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A nats-server with odin's streams, and the gateways' configuration.
pub(crate) struct Stage {
    nats: NatsServer,
    folder: TempDir,
}

impl Stage {
    pub(crate) async fn start() -> Stage {
        let binary = gateway_binary();
        let nats = NatsServer::start().await.expect("nats-server starts");
        let folder = TempDir::new().expect("a temporary folder");
        std::fs::write(folder.path().join("odin.toml"), CONFIG).expect("written");
        let mut provision = Command::new(binary);
        // a gateway refuses variables it does not know
        provision.args(["provision", "--nats-url", &nats.url()]).env_remove("ODIN_GATEWAY");
        let output = soon("provisioning", provision.output()).await.expect("the program starts");
        assert!(output.status.success(), "no stream: {}", String::from_utf8_lossy(&output.stderr));
        Stage { nats, folder }
    }

    pub(crate) async fn gateway(&self) -> Gateway {
        let config = self.folder.path().join("odin.toml");
        let args = ["--config", config.to_str().expect("a path of ASCII"), "--shards", "1"];
        Gateway::start(&gateway_binary(), self.nats.url(), args).await.expect("the gateway starts")
    }

    pub(crate) async fn publisher(&self) -> Publisher {
        let options = odin_publisher::Options { urls: vec![self.nats.url()], ..odin_publisher::Options::default() };
        Publisher::connect(options).await.expect("nats is there")
    }
}

/// Publishes to the room and gives the sequence.
pub(crate) async fn publish(publisher: &Publisher, payload: &str) -> u64 {
    publish_to(publisher, "odin.chat.lobby", payload).await
}

/// Publishes and gives the sequence.
pub(crate) async fn publish_to(publisher: &Publisher, subject: &str, payload: &str) -> u64 {
    let ack = publisher.publish(subject, payload.to_owned()).await.expect("accepted");
    ack.await.expect("stored").sequence
}

/// Waits for something that has to happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("{what} did not happen within {LIMIT:?}"))
}

/// `watch.py` with a client of these gateways.
pub(crate) struct Program {
    child: Child,
    orders: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    _binding: TempDir,
}

impl Program {
    pub(crate) async fn start(gateways: &[Gateway]) -> Program {
        let version = "import sys; sys.exit(sys.version_info < (3, 10))";
        let found = Blocking::new("python3").args(["-c", version]).status();
        assert!(found.is_ok_and(|status| status.success()), "these tests need python3, 3.10 or newer, on the PATH");
        let binding = TempDir::new().expect("a temporary folder");
        generate("python", binding.path());
        let mut child = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/watch.py"))
            .arg(binding.path())
            .arg(SECRET)
            .args(gateways.iter().map(Gateway::ws_url))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python3 starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Program { orders: child.stdin.take(), child, lines, _binding: binding }
    }

    pub(crate) async fn order(&mut self, order: Value) {
        let orders = self.orders.as_mut().expect("not ended");
        orders.write_all(format!("{order}\n").as_bytes()).await.expect("the program reads");
    }

    /// The next line.
    pub(crate) async fn line(&mut self, what: &str) -> Value {
        let line = soon(what, self.lines.next_line()).await.expect("readable");
        let line = line.unwrap_or_else(|| panic!("the program ended before {what}"));
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("not a line of JSON: {line}"))
    }

    /// Reads until a line has this value; what must never come is a failure.
    pub(crate) async fn until(&mut self, member: &str, value: &str) -> Value {
        loop {
            let line = self.line(value).await;
            for never in ["gap", "repeated", "two_at_once"] {
                assert_ne!(line["event"], never, "{line}");
            }
            if line[member] == value {
                return line;
            }
        }
    }

    /// No more orders: the program ends by itself, and well.
    pub(crate) async fn end(mut self) {
        drop(self.orders.take());
        let status = soon("the end of the program", self.child.wait()).await.expect("waited for");
        assert!(status.success(), "{status}");
    }
}
