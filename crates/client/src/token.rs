//! Where tokens come from: asked for every time one is needed, and never kept.
//!
//! A token is fetched for each connection and for each refresh, goes out in one `auth` message and is forgotten. No
//! error, log or `Debug` shows one.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use odin_protocol::Secret;
use thiserror::Error;

use crate::text::printable;

/// Longest token taken, in bytes. A larger one would come near to what a gateway reads at most.
pub const MAX_TOKEN_BYTES: usize = 16 * 1_024;

type Answer = Pin<Box<dyn Future<Output = Result<Secret, TokenError>> + Send>>;

/// Gives a token whenever the client needs one.
///
/// ```
/// use odin_client::{Options, TokenSource};
///
/// async fn log_in() -> Result<String, std::io::Error> {
///     Ok("eyJhbGciOi…".to_owned())
/// }
///
/// let fresh = TokenSource::from_fn(log_in);
/// let mounted = TokenSource::file("/run/secrets/odin-token");
/// let options = Options { token: Some(mounted), ..Options::default() };
/// ```
#[derive(Clone)]
pub struct TokenSource(Source);

#[derive(Clone)]
enum Source {
    Constant(Secret),
    File(Arc<Path>),
    Function(Arc<dyn Fn() -> Answer + Send + Sync>),
}

/// Why there is no token. It never shows one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{cause}")]
pub struct TokenError {
    cause: Box<str>,
}

impl TokenSource {
    /// Always the same token. It cannot be refreshed: once it has expired, every connection is refused.
    pub fn constant(token: impl Into<Box<str>>) -> TokenSource {
        TokenSource(Source::Constant(Secret::new(token)))
    }

    /// What a file holds at that moment, without white space around it: a secret that is mounted and replaced.
    pub fn file(path: impl Into<PathBuf>) -> TokenSource {
        TokenSource(Source::File(path.into().into()))
    }

    /// Calls a function each time. Whatever it waits for is given up after
    /// [`Options::token_timeout`](crate::Options::token_timeout) or when the connection ends. The text of an error
    /// reaches events and logs: it must not hold a secret.
    pub fn from_fn<F, A, E>(ask: F) -> TokenSource
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<String, E>> + Send + 'static,
        E: fmt::Display,
    {
        TokenSource(Source::Function(Arc::new(move || -> Answer {
            let answer = ask();
            Box::pin(async move { answer.await.map(Secret::new).map_err(TokenError::new) })
        })))
    }

    /// A token that can be sent.
    ///
    /// # Cancel safety
    /// Yes.
    pub(crate) async fn token(&self) -> Result<Secret, TokenError> {
        match &self.0 {
            Source::Constant(token) => check(token),
            Source::File(path) => {
                let path = Arc::clone(path);
                // a file may lie on a disk that does not answer
                let text = tokio::task::spawn_blocking(move || read(&path)).await.map_err(TokenError::new)??;
                check(&text)
            }
            Source::Function(ask) => check(&ask().await?),
        }
    }
}

/// Without white space around it, and with nothing that no token has.
fn check(token: &Secret) -> Result<Secret, TokenError> {
    let token = token.expose().trim_ascii();
    if token.is_empty() {
        return Err(TokenError::new("the token is empty"));
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::new(format_args!("the token has more than {MAX_TOKEN_BYTES} bytes")));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::new("the token has a character that no token has"));
    }
    Ok(Secret::new(token))
}

fn read(path: &Path) -> Result<Secret, TokenError> {
    let failed = |error: io::Error| TokenError::new(format_args!("cannot read {}: {error}", path.display()));
    let mut text = Vec::new();
    // white space around it counts too: a larger file is not a token's
    let limit = MAX_TOKEN_BYTES as u64 + 1_024;
    std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut text)).map_err(failed)?;
    match String::from_utf8(text) {
        Ok(text) => Ok(Secret::new(text)),
        // the error would hold the bytes
        Err(_) => Err(TokenError::new(format_args!("{} does not hold a token", path.display()))),
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Constant(_) => f.write_str("TokenSource::constant(***)"),
            Source::File(path) => write!(f, "TokenSource::file({path:?})"),
            Source::Function(_) => f.write_str("TokenSource::from_fn(..)"),
        }
    }
}

impl TokenError {
    pub(crate) fn new(cause: impl fmt::Display) -> TokenError {
        TokenError { cause: printable(&cause.to_string()).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn from_file(bytes: &[u8]) -> Result<Secret, TokenError> {
        let path = std::env::temp_dir().join(format!("odin-token-{}-{}", std::process::id(), bytes.len()));
        std::fs::write(&path, bytes).expect("writable");
        let token = TokenSource::file(&path).token().await;
        std::fs::remove_file(&path).expect("just written");
        token
    }

    #[tokio::test]
    async fn gives_what_a_file_holds_at_that_moment() {
        assert_eq!(from_file(b" a.b.c\n").await, Ok(Secret::new("a.b.c")));
        let gone = TokenSource::file("/no/such/file").token().await.expect_err("no such file");
        assert!(gone.to_string().starts_with("cannot read /no/such/file: "), "{gone}");
    }

    #[tokio::test]
    async fn asks_the_function_every_time() {
        let count = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let source = TokenSource::from_fn(move || {
            let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async move { if number < 2 { Ok(format!("t{number}")) } else { Err("no\u{1b} more") } }
        });
        assert_eq!(source.token().await, Ok(Secret::new("t0")));
        assert_eq!(source.token().await, Ok(Secret::new("t1")));
        assert_eq!(source.token().await.expect_err("two were enough").to_string(), "no? more");
    }

    #[tokio::test]
    async fn refuses_what_cannot_be_a_token_without_showing_it() {
        for text in ["", " \n", "secret secret", "secret\u{7}", "sécret", &"secret".repeat(5_000)] {
            let refused = TokenSource::constant(text).token().await.expect_err("no token").to_string();
            assert!(!refused.contains("cret"), "{refused}");
        }
        assert!(!format!("{:?}", from_file(b"secret\xff").await).contains("secret"));
        assert!(from_file(&[b'x'; 40_000]).await.is_err());
    }

    /// Checklist 17: a token must not reach a log by way of `Debug`.
    #[test]
    fn debug_shows_no_token() {
        let options = crate::Options { token: Some(TokenSource::constant("secret")), ..crate::Options::default() };
        let shown = format!("{options:?}");
        assert!(shown.contains("TokenSource::constant(***)") && !shown.contains("secret"), "{shown}");
    }
}
