use std::path::Path;

use nix::sys::signal::Signal;
use odin_devkit::Process;

use crate::support::{LIMIT, exists, until};

/// A killed program cannot delete its temporary folders, so they are put into `folder`, which we delete.
fn nats(folder: &Path) -> Process {
    Process::builder("odin-devkit", env!("CARGO_BIN_EXE_odin-devkit"))
        .args(["nats", "--port", "0"])
        .env("TMPDIR", folder)
        .env("ODIN_PROBE", "x")
        .spawn()
        .expect("the program starts")
}

async fn pid_of_server(command: &Process) -> u32 {
    let line = command.wait_for_line("nats://", LIMIT).await.expect("it says where the server is");
    let pid = line.rsplit("pid ").next().expect("a split has a part");
    pid.trim_end_matches(')').parse().unwrap_or_else(|_| panic!("no process id in {line:?}"))
}

#[tokio::test]
async fn interrupting_nats_stops_the_server_which_never_saw_our_variables() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let command = nats(folder.path());
    let server = pid_of_server(&command).await;
    assert!(exists(server));
    // A gateway refuses variables that it does not know, such as the one that tells devkit where nats-server is.
    if let Ok(environment) = std::fs::read(format!("/proc/{server}/environ")) {
        let environment = String::from_utf8_lossy(&environment);
        assert!(environment.contains("TMPDIR=") && !environment.contains("ODIN_"), "{environment}");
    }
    command.signal(Signal::SIGINT).expect("it is ours");
    assert_eq!(command.wait(LIMIT).await.expect("it ends").code(), Some(0));
    assert!(!exists(server));
}

/// No destructor runs when a test binary is killed; its servers must not stay for ever.
#[tokio::test]
async fn killing_the_program_takes_the_server_along() {
    let has_setpriv = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join("setpriv").is_file()));
    if !has_setpriv {
        eprintln!("skipped: no setpriv on this machine, which the crate's page names as the limit");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let command = nats(folder.path());
    let server = pid_of_server(&command).await;
    command.kill().await;
    until("the end of the server", || {
        let state = std::fs::read_to_string(format!("/proc/{server}/stat")).unwrap_or_default();
        !exists(server) || state.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
    })
    .await;
}
