//! Starting children so that they end with us, even when we are killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{LazyLock, Mutex, PoisonError, mpsc};

/// The tool that asks the kernel to kill a process when its parent dies, if this machine has it.
static SETPRIV: LazyLock<Option<PathBuf>> = LazyLock::new(|| resolve(Path::new("setpriv")));

/// A command for `program` that the kernel ends together with us, where that can be had.
pub(crate) fn command_for(program: &Path) -> Command {
    match &*SETPRIV {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Finds a program as a shell would: a name on the PATH, anything with a slash as it is.
pub(crate) fn resolve(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

type Job = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Starts a process from a thread that lasts as long as we do.
///
/// The kernel's "kill me when my parent dies" means the parent *thread*; started from a test's or a runtime's thread,
/// a shared server would die with the first test that ends.
pub(crate) fn spawn(command: Command) -> std::io::Result<Child> {
    static SPAWNER: LazyLock<Mutex<mpsc::Sender<Job>>> = LazyLock::new(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("devkit-spawner".to_owned())
            .spawn(move || {
                for (mut command, answer) in jobs {
                    // The caller waits for this very answer, so it cannot have gone away.
                    let _ = answer.send(command.spawn());
                }
            })
            .expect("a thread can be started");
        Mutex::new(sender)
    });
    let (answer, child) = mpsc::channel();
    SPAWNER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, answer))
        .expect("the spawner thread never ends");
    child.recv().expect("the spawner thread answers every job")
}
