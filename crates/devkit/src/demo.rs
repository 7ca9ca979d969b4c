//! `odin-devkit demo`: everything between a publisher and a table of prices, on one machine.
//!
//! What is started lives in process groups of its own, so Ctrl-C reaches only us and the client, and we stop the rest in
//! order. The client alone shares our group: a process outside of it may not read the terminal.

use std::ffi::OsStr;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use odin_devkit::Gateway;

use crate::fleet::{Fleet, GOODBYE_LIMIT, Servers, SignIn, USER, free_or_any, page_in};
use crate::programs::Programs;
use crate::stop::StopSignals;

/// Ports of the gateways: (clients, admin). Free ones are used instead of those that are taken.
const GATEWAY_PORTS: [(u16, u16); 2] = [(8080, 9090), (8081, 9091)];

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
    let programs = Programs::find(None)?;
    let client = programs.other("odin")?;
    // Dropping a half-started demo kills what runs of it.
    let fleet = tokio::select! {
        fleet = start(&programs, &args) => fleet?,
        () = stop.received() => return Ok(()),
    };
    let time_is_up = async {
        match args.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    let mut client = start_client(&client, &fleet)?;
    let outcome = tokio::select! {
        status = client.wait() => client_ended(status.context("cannot wait for the client")?),
        part = fleet.broken() => Err(part),
        () = stop.received() => Ok(()),
        () = time_is_up => Ok(()),
    };
    // The client first: it puts the terminal back in order, and the gateways then have nobody left to say goodbye to.
    stop_client(&mut client).await;
    fleet.stop().await;
    outcome
}

/// Starts everything behind the client, and says what there is.
async fn start(programs: &Programs, args: &Args) -> anyhow::Result<Fleet> {
    let publisher = programs.other("odin-publisher")?;
    let nats = Servers::start(1, None).await?;
    for node in nats.nodes() {
        eprintln!("nats-server  {} (monitoring {})", node.url(), node.monitor_url());
    }
    let mut fleet = Fleet::begin(programs, nats, 1, &[], None).await?;
    let page = page_in(&args.page)?;
    let sign_in = SignIn::new()?;
    for ports in GATEWAY_PORTS {
        let [listen, admin_listen] = <[u16; 2]>::from(ports).map(|port| format!("127.0.0.1:{}", free_or_any(port)));
        let gateway = fleet.add_gateway(|gateway| {
            gateway
                .args(["--listen", &listen, "--admin-listen", &admin_listen])
                // No load balancer has to notice, and the person who pressed Ctrl-C waits.
                .args(["--drain-pause", "0s", "--drain-window", "1s"])
                .args(sign_in.options())
                .args(page.iter().flat_map(|folder| ["--http-files", folder.as_str()]))
        });
        say_gateway(gateway.await?);
    }
    fleet.simulate(&publisher, ["--tokens", &args.tokens.to_string()])?;
    eprintln!("publisher    {} tokens (log {})", args.tokens, fleet.log("publisher").display());
    let token = sign_in.token(&programs.other("odin")?).await?;
    eprintln!("token        {token}\n             of {USER}, to sign in with");
    match (page, fleet.gateways().next()) {
        (Some(_), Some(first)) => eprintln!("page         http://{}/", first.listen()),
        _ => eprintln!("page         not built: `make page` needs npm"),
    }
    Ok(fleet)
}

fn say_gateway(gateway: &Gateway) {
    let (process, admin) = (gateway.process(), gateway.admin_url());
    eprintln!("{}    {} (admin {admin}, log {})", process.name(), gateway.ws_url(), process.log_path().display());
}

/// The live table on a terminal, else one JSON line per update.
fn start_client(program: &Path, fleet: &Fleet) -> anyhow::Result<tokio::process::Child> {
    let urls = fleet.gateways().map(Gateway::ws_url).collect::<Vec<_>>().join(",");
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
