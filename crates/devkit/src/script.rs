//! A small program written by a test.

use std::path::Path;
use std::process::Command;

/// Makes `path` a program: `lines` of shell.
///
/// A child writes it. A file that this process has open for writing is also open in whatever another thread forks at
/// that moment, and cannot be run until that one has called exec ("text file busy").
///
/// # Panics
/// If there is no shell, or the file cannot be written.
pub fn write_script(path: &Path, lines: &str) {
    let write = r#"printf '#!/bin/sh\n%s\n' "$2" >"$1" && chmod 755 "$1""#;
    let done = Command::new("sh").args(["-c", write, "sh"]).arg(path).arg(lines).status();
    assert!(done.expect("a shell").success(), "{} cannot be written", path.display());
}
