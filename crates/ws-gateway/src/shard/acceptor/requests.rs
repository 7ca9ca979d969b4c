//! The requests of one TCP connection: whether it is a connection of HTTP by now, how fast they come, and whether it is
//! stuck.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use odin_protocol::{error::ErrorCode, message::ErrorMessage};
use tokio::{sync::Notify, time::Instant};

use super::super::rate::{Quota, Used};
use crate::{config::Config, http::Refusal};

/// How often a connection is looked at that writes an answer which nobody takes.
const LOOK: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Requests(Rc<State>);

#[derive(Debug)]
struct State {
    is_http: Cell<bool>,
    became_http: Notify,
    used: RefCell<Used>,
    began: Instant,
    in_progress: Cell<u32>,
    answered: Cell<Instant>,
}

impl Requests {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self(Rc::new(State {
            is_http: Cell::new(false),
            became_http: Notify::new(),
            used: RefCell::default(),
            began: now,
            in_progress: Cell::new(0),
            answered: Cell::new(now),
        }))
    }

    /// A request that is no handshake has come.
    ///
    /// # Errors
    /// Too many have, or its body does not say how long it is: with another length beside the coding, which hyper has
    /// removed by now, a proxy may take the end of the body for a request.
    pub(super) fn begin(&self, headers: &HeaderMap, config: &Config) -> Result<(), Refusal> {
        if !self.0.is_http.replace(true) {
            self.0.became_http.notify_one();
        }
        let quota = Quota { most: config.http.requests_per_second, period: Duration::from_secs(1) };
        let now_us = u64::try_from(self.0.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.0.used.borrow_mut().take(1, quota, now_us).map_err(|retry_ms| {
            let text = format!("more than {} requests of a connection in a second", quota.most);
            let mut error = ErrorMessage::new(None, ErrorCode::RateLimited, text);
            (error.limit, error.retry_after_ms) = (Some(quota.most.into()), Some(retry_ms));
            Refusal::of_error(&error)
        })?;
        if headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(Refusal::bad_request("a body has a Content-Length and no Transfer-Encoding"));
        }
        self.0.in_progress.set(self.0.in_progress.get() + 1);
        Ok(())
    }

    /// The handler has answered; the client still has to take it.
    pub(super) fn end(&self, response: &mut Response, is_leaving: bool) {
        self.0.in_progress.set(self.0.in_progress.get().saturating_sub(1));
        self.0.answered.set(Instant::now());
        if is_leaving && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// Whether one has come that is no handshake.
    pub(super) fn are_http(&self) -> bool {
        self.0.is_http.get()
    }

    /// Waits until the connection is one of HTTP.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn became_http(&self) {
        self.0.became_http.notified().await;
    }

    /// Waits until an answer was not taken for so long that nobody can be there to do it. hyper closes connections
    /// without a request by itself, so that one that is there has a request, or an answer under way.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn are_stuck(&self, config: &Config) {
        let patience = config.http.keep_alive + config.heartbeat.not_reading_timeout;
        loop {
            tokio::time::sleep(LOOK).await;
            if self.0.in_progress.get() == 0 && self.0.answered.get().elapsed() > patience {
                return;
            }
        }
    }
}
