//! `odin-devkit demo`: everything between a publisher and a table of prices, on one machine.
//!
//! What is started lives in process groups of its own, so Ctrl-C reaches only us and the client, and we stop the rest in
//! order. The client alone shares our group: a process outside of it may not read the terminal.

use std::ffi::OsStr;
use std::io::IsTerminal as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use odin_devkit::{Gateway, NatsServer, Process, START_LIMIT};

use crate::stop::StopSignals;

/// Ports of the gateways: (clients, admin). Free ones are used instead of those that are taken.
const GATEWAY_PORTS: [(u16, u16); 2] = [(8080, 9090), (8081, 9091)];
/// How long a part may take to leave at the end, before it is killed: a person waits, and no data matters.
const GOODBYE_LIMIT: Duration = Duration::from_secs(4);
/// How often we look whether a part has ended by itself.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Whom the token is of. The simulator calls its users so.
const USER: &str = "user-1";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of simulated tokens
    #[arg(long, default_value_t = 20)]
    tokens: u32,
    /// Folder with the built page
    #[arg(long, value_name = "FOLDER", default_value = "clients/web/dist")]
    page: PathBuf,
    /// End by itself after this many seconds
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut stop = StopSignals::catch().context("cannot catch signals")?;
    let programs = Programs::beside_us()?;
    // Dropping a half-started demo kills what runs of it.
    let demo = tokio::select! {
        demo = Demo::start(&programs, &args) => demo?,
        () = stop.received() => return Ok(()),
    };
    let time_is_up = async {
        match args.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    let mut client = start_client(&programs.client, &demo)?;
    let outcome = tokio::select! {
        status = client.wait() => client_ended(status.context("cannot wait for the client")?),
        part = demo.broken() => Err(part),
        () = stop.received() => Ok(()),
        () = time_is_up => Ok(()),
    };
    // The client first: it puts the terminal back in order, and the gateways then have nobody left to say goodbye to.
    stop_client(&mut client).await;
    demo.stop().await;
    outcome
}

/// The other programs, which cargo puts into the folder of this one.
#[derive(Debug)]
struct Programs {
    gateway: PathBuf,
    publisher: PathBuf,
    client: PathBuf,
}

impl Programs {
    fn beside_us() -> anyhow::Result<Programs> {
        let us = std::env::current_exe().context("cannot find the path of this program")?;
        let folder = us.parent().context("a program is in a folder")?;
        let names = ["ws-gateway", "odin-publisher", "odin"];
        let missing: Vec<&str> = names.into_iter().filter(|name| !folder.join(name).is_file()).collect();
        if !missing.is_empty() {
            bail!("{} not in {}: `make demo` builds all that is needed", missing.join(", "), folder.display());
        }
        let [gateway, publisher, client] = names.map(|name| folder.join(name));
        Ok(Programs { gateway, publisher, client })
    }
}

/// What runs behind the client. Dropping it kills all of it, the servers last.
#[derive(Debug)]
struct Demo {
    publisher: Process,
    gateways: Vec<Gateway>,
    nats: NatsServer,
    _logs: tempfile::TempDir,
}

impl Demo {
    async fn start(programs: &Programs, args: &Args) -> anyhow::Result<Demo> {
        let tokens = args.tokens;
        let logs =
            tempfile::Builder::new().prefix("odin-demo-").tempdir().context("cannot create a folder for logs")?;
        let nats = NatsServer::start().await.context("cannot start nats-server")?;
        let url = nats.url();
        eprintln!("nats-server  {url} (monitoring {})", nats.monitor_url());

        let provision = Process::builder("ws-gateway provision", &programs.gateway)
            .args(["provision", "--nats-url", &url, "--stream-replicas", "1"])
            .spawn()?;
        let status = provision.wait(START_LIMIT).await?;
        if !status.success() {
            bail!("the streams were not created: ws-gateway provision ended with {status}\n{}", provision.log());
        }

        let page = page_in(&args.page)?;
        let secret = random_secret().context("no random numbers")?;
        let mut gateways = Vec::new();
        for (index, (port, admin_port)) in GATEWAY_PORTS.into_iter().enumerate() {
            let name = format!("gateway-{}", index + 1);
            let log = logs.path().join(format!("{name}.log"));
            let gateway = Gateway::builder(&programs.gateway, &url)
                .name(&name)
                .log(&log)
                .args(["--listen", &free_or_any(port), "--admin-listen", &free_or_any(admin_port)])
                // No load balancer has to notice, and the person who pressed Ctrl-C waits.
                .args(["--drain-pause", "0s", "--drain-window", "1s"])
                .args(["--auth-algorithms", "HS256", "--auth-hs256-secret", &secret])
                .args(page.iter().flat_map(|folder| ["--http-files", folder.as_str()]))
                .start()
                .await
                .with_context(|| format!("cannot start {name}"))?;
            eprintln!("{name}    {} (admin {}, log {})", gateway.ws_url(), gateway.admin_url(), log.display());
            gateways.push(gateway);
        }

        let log = logs.path().join("publisher.log");
        let publisher = Process::builder("odin-publisher", &programs.publisher)
            .args(["simulate", "--nats-url", &url, "--tokens", &tokens.to_string()])
            .log(&log)
            .spawn()?;
        eprintln!("publisher    {tokens} tokens (log {})", log.display());
        let token = token(&programs.client, &secret).await?;
        eprintln!("token        {token}\n             of {USER}, to sign in with");
        match page {
            Some(_) => eprintln!("page         http://{}/", gateways[0].listen()),
            None => eprintln!("page         not built: `make page` needs npm"),
        }
        Ok(Demo { publisher, gateways, nats, _logs: logs })
    }

    /// Waits until a part ends by itself, which none should.
    async fn broken(&self) -> anyhow::Error {
        loop {
            for process in self.parts() {
                if let Some(status) = process.exit_status() {
                    return anyhow::anyhow!("{} ended by itself ({status})\n{}", process.name(), process.log());
                }
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    fn parts(&self) -> impl Iterator<Item = &Process> {
        let gateways = self.gateways.iter().map(Gateway::process);
        std::iter::once(&self.publisher).chain(gateways).chain([self.nats.process()])
    }

    /// Asks each part to leave, downstream of the data last; one that does not is killed.
    async fn stop(self) {
        let terminate = async |process: &Process| {
            if let Err(error) = process.terminate(GOODBYE_LIMIT).await {
                tracing::debug!(%error, "killed");
            }
        };
        terminate(&self.publisher).await;
        futures_util::future::join_all(self.gateways.iter().map(|gateway| terminate(gateway.process()))).await;
        terminate(self.nats.process()).await;
    }
}

/// The folder of the page, if it was built.
fn page_in(folder: &Path) -> anyhow::Result<Option<String>> {
    if !folder.join("index.html").is_file() {
        return Ok(None);
    }
    let folder = folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?;
    Ok(Some(folder.to_str().context("the folder of the page has a name that is no text")?.to_owned()))
}

/// A secret that is gone with the demo.
fn random_secret() -> std::io::Result<String> {
    use std::io::Read as _;

    let mut bytes = [0; 24];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A token of a user whom the simulator has trades for.
async fn token(client: &Path, secret: &str) -> anyhow::Result<String> {
    let made = tokio::process::Command::new(client)
        .args(["token", "--sub", USER, "--tier", "premium", "--secret", secret])
        .output()
        .await
        .with_context(|| format!("cannot start {}", client.display()))?;
    if !made.status.success() {
        bail!("no token was made: {}", String::from_utf8_lossy(&made.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&made.stdout).trim().to_owned())
}

/// An address with this port, or with any port when it is taken.
fn free_or_any(port: u16) -> String {
    let free = TcpListener::bind(("127.0.0.1", port)).is_ok();
    format!("127.0.0.1:{}", if free { port } else { 0 })
}

/// The live table on a terminal, else one JSON line per update.
fn start_client(program: &Path, demo: &Demo) -> anyhow::Result<tokio::process::Child> {
    let urls = demo.gateways.iter().map(Gateway::ws_url).collect::<Vec<_>>().join(",");
    let terminal = std::io::stdout().is_terminal();
    let command: [&str; 2] = if terminal { ["watch", "price:*"] } else { ["tail", "price:*"] };
    let mut client = tokio::process::Command::new(program);
    client.args(command).args(["--url", &urls]).kill_on_drop(true);
    if !terminal {
        client.arg(OsStr::new("--json"));
    }
    client.spawn().with_context(|| format!("cannot start {}", program.display()))
}

fn client_ended(status: ExitStatus) -> anyhow::Result<()> {
    use std::os::unix::process::ExitStatusExt as _;
    // Ctrl-C in a terminal reaches the client as well as us, and a reader as `head` may have had enough.
    let asked_to_end = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGPIPE].map(|signal| Some(signal as i32));
    if status.success() || asked_to_end.contains(&status.signal()) {
        return Ok(());
    }
    bail!("the client ended with {status}");
}

async fn stop_client(client: &mut tokio::process::Child) {
    // None: its end has been seen.
    let Some(pid) = client.id() else { return };
    let pid = Pid::from_raw(i32::try_from(pid).expect("process ids are positive 32-bit numbers"));
    // A refusal can only mean that it is ending already.
    let _ = kill(pid, Signal::SIGTERM);
    if tokio::time::timeout(GOODBYE_LIMIT, client.wait()).await.is_err() {
        let _ = client.kill().await;
    }
}
