//! Lines for people on standard error.

use std::fmt;
use std::io::{self, Write};

/// Writes a line to standard error. Unlike `eprintln` it survives that nobody reads there.
pub(crate) fn note(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}
