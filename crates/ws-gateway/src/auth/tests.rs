//! Tokens that are good, tokens that are not, and everything they are checked with misbehaving.

mod any;
mod callout;
mod jwks;
mod jwt;
#[path = "../../tests/it/auth_parts.rs"]
mod parts;
mod setup;

use std::{future::Future, net::Ipv4Addr, sync::Arc, time::Duration};

use super::*;
use crate::config::Secret;
use parts::SECRET;

/// The safety net under everything that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at something that does not tell by itself.
const LOOK: Duration = Duration::from_millis(2);

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what}"),
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    in_time(what, async {
        while !is_so() {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}

fn visit() -> Visit {
    Visit { ip: Ipv4Addr::new(192, 0, 2, 7).into(), origin: Some("https://app.example".to_owned()) }
}

fn algorithms(names: &[&str]) -> Vec<Algorithm> {
    names.iter().map(|name| name.parse().expect("known")).collect()
}

/// Where tokens are signed with [`SECRET`].
fn with_secret() -> Config {
    let mut config = Config::default();
    config.auth.algorithms = algorithms(&["HS256"]);
    config.auth.hs256_secret = Some(Secret::new(SECRET));
    config
}

fn authenticator(config: &Config) -> Authenticator {
    let metrics: Arc<ControlMetrics> = Arc::default();
    Authenticator::without_nats(config, Arc::default(), metrics).expect("a good configuration")
}

impl Authenticator {
    /// The user's id, or why there is none.
    async fn sub(&self, token: &str) -> Result<String, AuthError> {
        in_time("an answer", self.check(token, &visit())).await.map(|user| user.sub.clone())
    }

    fn metrics(&self) -> &ControlMetrics {
        &self.surroundings.metrics
    }
}

fn failed<T>() -> Result<T, AuthError> {
    Err(AuthError::Failed)
}

fn unavailable<T>() -> Result<T, AuthError> {
    Err(AuthError::Unavailable)
}
