//! `odin`: watch, tail and publish from a terminal. Everything it does is in `terminal`.

mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    terminal::main()
}
