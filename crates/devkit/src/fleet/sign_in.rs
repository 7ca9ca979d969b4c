//! A secret that lives as long as the fleet, and a token made with it, for whoever wants to see what is not public.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, ensure};

/// Whom the token is of. The simulator calls its users so.
pub(crate) const USER: &str = "user-1";

/// See the module.
#[derive(Debug)]
pub(crate) struct SignIn {
    secret: String,
}

impl SignIn {
    /// With a secret of its own.
    pub(crate) fn new() -> anyhow::Result<SignIn> {
        let mut bytes = [0; 24];
        let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
        read.context("no random numbers")?;
        Ok(SignIn { secret: bytes.iter().map(|byte| format!("{byte:02x}")).collect() })
    }

    /// Options of a gateway that takes tokens of this secret.
    pub(crate) fn options(&self) -> [&str; 4] {
        ["--auth-algorithms", "HS256", "--auth-hs256-secret", &self.secret]
    }

    /// A token of [`USER`], for whom the simulator has trades, made by the `odin` program.
    pub(crate) async fn token(&self, client: &Path) -> anyhow::Result<String> {
        let made = tokio::process::Command::new(client)
            .args(["token", "--sub", USER, "--tier", "premium", "--secret", &self.secret])
            .output()
            .await
            .with_context(|| format!("cannot start {}", client.display()))?;
        ensure!(made.status.success(), "no token was made: {}", String::from_utf8_lossy(&made.stderr).trim());
        Ok(String::from_utf8_lossy(&made.stdout).trim().to_owned())
    }
}
