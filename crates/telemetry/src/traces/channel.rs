//! From the SDK's exporter to the [`Sender`]: the exporter writes the body, the sender knows where to.
//!
//! The thread that gathers batches has no runtime, so that a task of another one sends for it. What the exporter would
//! add from the environment, address and headers, is left out. An outage is told once, and its end.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;

use super::State;
use crate::{ExportError, Sender};

const PATH: &str = "/v1/traces";

#[derive(Debug)]
pub(super) struct Channel {
    line: Arc<Line>,
    runtime: Handle,
}

/// What the tasks that send share.
#[derive(Debug)]
struct Line {
    sender: Sender,
    state: Arc<State>,
    /// The collector did not take the last batch.
    is_down: AtomicBool,
}

impl Channel {
    pub(super) fn new(sender: Sender, runtime: Handle, state: Arc<State>) -> Self {
        Channel { line: Arc::new(Line { sender, state, is_down: AtomicBool::new(false) }), runtime }
    }
}

#[async_trait]
impl HttpClient for Channel {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (line, body) = (self.line.clone(), request.into_body());
        // An error means that the runtime has ended, and with it the process.
        Ok(self.runtime.spawn(async move { line.send(body).await }).await?)
    }
}

impl Line {
    async fn send(&self, body: Bytes) -> Response<Bytes> {
        match self.sender.exchange(PATH, body).await {
            Ok(answer) => {
                if self.is_down.swap(false, Ordering::Relaxed) {
                    tracing::info!("spans can be sent again");
                }
                answer
            }
            Err(error) => {
                self.say(&error);
                self.refusal(&error)
            }
        }
    }

    fn say(&self, error: &ExportError) {
        let cause = error.source().map(|cause| root(cause).to_string());
        if self.is_down.swap(true, Ordering::Relaxed) {
            tracing::debug!(%error, cause, "spans cannot be sent");
        } else {
            tracing::warn!(%error, cause, "spans cannot be sent; no more is said until they can be again");
        }
    }

    /// A response instead of an error, so that the exporter knows whether and when to try again.
    fn refusal(&self, error: &ExportError) -> Response<Bytes> {
        let is_final = self.state.is_stopping.load(Ordering::Relaxed) || !error.may_retry();
        let mut answer = Response::new(Bytes::new());
        // What the exporter takes for final, and what for temporary.
        *answer.status_mut() = if is_final { StatusCode::BAD_REQUEST } else { StatusCode::SERVICE_UNAVAILABLE };
        if let Some(pause) = error.retry_after() {
            answer.headers_mut().insert(header::RETRY_AFTER, pause.as_secs().into());
        }
        answer
    }
}

fn root<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error
}
