use std::time::Duration;

use odin_devkit::{DevkitError, Process, ProcessBuilder};

use crate::support::{LIMIT, exists};

fn shell(script: &str) -> ProcessBuilder {
    Process::builder("shell", "/bin/sh").arg("-c").arg(script)
}

#[tokio::test]
async fn waits_for_a_line_of_either_output() {
    let process = shell("echo one; echo two >&2; exec sleep 60").spawn().expect("a shell");
    assert_eq!(process.wait_for_line("tw", LIMIT).await.expect("it is written"), "two");
    assert_eq!(process.wait_for_line("on", LIMIT).await.expect("an earlier line is found too"), "one");
}

#[tokio::test]
async fn a_line_is_waited_for_until_it_is_whole() {
    let process = shell("printf half; read x < /dev/null; printf ' done\\n'; exec sleep 60").spawn().expect("a shell");
    assert_eq!(process.wait_for_line("half", LIMIT).await.expect("it is written"), "half done");
}

#[tokio::test]
async fn an_early_end_is_reported_with_the_log() {
    let process = shell("echo broken pipe dream; exit 3").spawn().expect("a shell");
    let error = process.wait_for_line("ready", LIMIT).await.expect_err("it never says so");
    let DevkitError::Exited { status, log, .. } = &error else { panic!("{error}") };
    assert_eq!(status.code(), Some(3));
    assert!(log.contains("broken pipe dream"), "{log}");
}

#[tokio::test]
async fn a_silent_process_is_a_timeout() {
    let process = shell("exec sleep 60").spawn().expect("a shell");
    let error = process.wait_for_line("ready", Duration::from_millis(20)).await.expect_err("it never says so");
    assert!(matches!(error, DevkitError::Timeout { .. }), "{error}");
    assert!(process.is_running());
}

#[tokio::test]
async fn dropping_kills_the_process_and_its_children() {
    let process = shell("sleep 60 & echo child $!; wait").spawn().expect("a shell");
    let line = process.wait_for_line("child", LIMIT).await.expect("it is written");
    let child: u32 = line.trim_start_matches("child ").parse().expect("a process id");
    let parent = process.pid();
    drop(process);
    assert!(!exists(parent));
    // Orphaned, so somebody else waits for it.
    crate::support::until("the end of the grandchild", || is_gone_or_zombie(child)).await;
}

#[tokio::test]
async fn terminates_a_frozen_process() {
    let process = shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done").spawn().expect("a shell");
    process.wait_for_line("up", LIMIT).await.expect("it is written");
    process.pause();
    assert!(process.is_running());
    assert_eq!(process.terminate(LIMIT).await.expect("it ends").code(), Some(7));
    process.kill().await; // again is harmless
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let error = Process::builder("x", "no-such-program-of-odin").spawn().expect_err("there is none");
    assert!(error.to_string().contains("no-such-program-of-odin"), "{error}");
}

/// In a container without an init process nobody waits for orphans: they stay as zombies.
fn is_gone_or_zombie(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !exists(pid) || state.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}
