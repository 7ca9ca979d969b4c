//! Many clients, dropped and resumed at once.

use std::process::ExitCode;

/// What to drop.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Clients
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
}

/// Drops them.
///
/// # Errors
/// Something does not start.
pub async fn storm(args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not yet: {}", args.clients)
}
