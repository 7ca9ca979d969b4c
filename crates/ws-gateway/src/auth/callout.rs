//! The session service: whoever answers requests on a NATS subject says who a token is.
//!
//! Without a usable answer nobody is let in, and clients hear that it may be otherwise later. An answer is remembered for
//! a while, so that a storm of reconnects asks once for each session, and a question that is under way is not asked
//! again. Remembered is the hash of a question, never the token in it.

mod answers;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_nats::Request;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, watch};

use self::answers::{Answer, Answers, Known, QuestionHash};
use super::{
    Visit,
    claims::{Claims, Demands, object},
    fault::Fault,
};
use crate::{
    clock::now_ms,
    config::Auth,
    control::Link,
    metrics::{ControlMetrics, Outcome},
    seldom::Seldom,
};

/// Questions under way; who comes with one more hears that nobody can say at present.
const MAX_QUESTIONS: usize = 256;

/// Answers that are remembered; then the oldest goes.
const MAX_ANSWERS: usize = 65_536;

/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// Asks the session service.
#[derive(Debug, Clone)]
pub(super) struct Callout(Arc<Shared>);

/// What is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Settings {
    subject: String,
    timeout: Duration,
    cache: Duration,
    demands: Demands,
}

struct Shared {
    link: Link,
    settings: Settings,
    metrics: Arc<ControlMetrics>,
    answers: Mutex<Answers>,
    places: Arc<Semaphore>,
    failed: Seldom,
}

/// What the service is asked.
#[derive(Serialize)]
struct Question<'a> {
    token: &'a str,
    ip: std::net::IpAddr,
    origin: Option<&'a str>,
}

/// What the service says instead of claims.
#[derive(Deserialize)]
struct Refusal {
    error: Option<String>,
}

/// A question under way. Dropped without an answer, as in a panic, it has none.
struct Asked {
    shared: Arc<Shared>,
    question: QuestionHash,
    tell: watch::Sender<Option<Answer>>,
}

impl Callout {
    /// None without a subject. What a predecessor with the same settings remembers is remembered.
    pub(super) fn new(auth: &Auth, link: &Link, metrics: &Arc<ControlMetrics>, old: Option<&Callout>) -> Option<Self> {
        let settings = Settings {
            subject: auth.callout_subject.clone()?,
            timeout: auth.callout_timeout,
            cache: auth.callout_cache,
            // The service has looked at what a session must be; this is about the times in its answer.
            demands: Demands { issuer: None, audience: None, leeway: auth.leeway, must_end: false },
        };
        if let Some(old) = old.filter(|old| old.0.settings == settings) {
            return Some(old.clone());
        }
        Some(Callout(Arc::new(Shared {
            link: link.clone(),
            answers: Mutex::new(Answers::new(MAX_ANSWERS)),
            settings,
            metrics: metrics.clone(),
            places: Arc::new(Semaphore::new(MAX_QUESTIONS)),
            failed: Seldom::default(),
        })))
    }

    /// Who the token belongs to.
    ///
    /// # Errors
    /// See [`Fault`].
    ///
    /// # Cancel safety
    /// Cancel safe: the question goes on by itself, for others who wait and for the memory.
    pub(super) async fn check(&self, token: &str, visit: &Visit) -> Answer {
        let question = Question { token, ip: visit.ip, origin: visit.origin.as_deref() };
        let question = serde_json::to_vec(&question).expect("texts and an address");
        // All of it: a service may decide by where the client is.
        let hash = Sha256::digest(&question).into();
        let mut answer = {
            let mut answers = self.0.answers();
            match answers.get(&hash, Instant::now()) {
                Some(Known::Answer(answer)) => return answer,
                Some(Known::Question(answer)) => answer,
                None => {
                    let Ok(place) = self.0.places.clone().try_acquire_owned() else {
                        self.0.warn("too many questions under way");
                        return Err(Fault::Busy);
                    };
                    let (tell, answer) = watch::channel(None);
                    answers.ask(hash, answer.clone());
                    let asked = Asked { shared: self.0.clone(), question: hash, tell };
                    tokio::spawn(async move {
                        let answer = asked.shared.ask(question.into()).await;
                        asked.tell.send_replace(Some(answer));
                        drop((asked, place));
                    });
                    answer
                }
            }
        };
        match answer.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or(Err(Fault::NoAnswer)),
            Err(_) => Err(Fault::NoAnswer),
        }
    }
}

impl Shared {
    fn answers(&self) -> MutexGuard<'_, Answers> {
        // Nothing in between is left half done.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, question: Bytes) -> Answer {
        let timeout = self.settings.timeout;
        let request = Request::new().payload(question).timeout(None);
        let reply = async {
            let Some(client) = self.link.connected() else {
                return Err("no connection to nats".to_owned());
            };
            let reply = client.send_request(self.settings.subject.clone(), request).await;
            reply.map_err(|error| error.to_string())
        };
        let (answer, error) = match tokio::time::timeout(timeout, reply).await {
            Ok(Ok(reply)) => (self.read(&reply.payload), "the answer is not readable".to_owned()),
            Ok(Err(error)) => (Err(Fault::NoAnswer), error),
            Err(_) => (Err(Fault::NoAnswer), "no answer in time".to_owned()),
        };
        if matches!(answer, Err(Fault::NoAnswer)) {
            self.metrics.callouts.of(Outcome::Failed).count();
            self.warn(&error);
        } else {
            self.metrics.callouts.of(Outcome::Ok).count();
        }
        answer
    }

    fn warn(&self, error: &str) {
        self.failed.log(|others| tracing::warn!(error, others, "session service cannot be asked"));
    }

    /// What is not understood is no answer, whatever it says.
    fn read(&self, payload: &[u8]) -> Answer {
        if payload.len() > MAX_ANSWER_BYTES {
            return Err(Fault::NoAnswer);
        }
        let refusal: Refusal = object(payload).ok_or(Fault::NoAnswer)?;
        match refusal.error.as_deref() {
            None => {}
            Some("denied") => return Err(Fault::Denied),
            Some("expired") => return Err(Fault::Expired),
            Some("revoked") => return Err(Fault::CalledRevoked),
            Some(_) => return Err(Fault::NoAnswer),
        }
        let user = Claims::read(payload).and_then(|claims| claims.into_user(&self.settings.demands, now_ms()));
        match user {
            Ok(user) => Ok(Arc::new(user)),
            Err(Fault::Expired) => Err(Fault::Expired),
            Err(fault) => {
                tracing::debug!(%fault, "session service vouches for nobody");
                Err(Fault::NoAnswer)
            }
        }
    }

    /// How long the answer may be remembered; None: not at all.
    fn lifetime(&self, answer: &Answer) -> Option<Duration> {
        match answer {
            Ok(user) => {
                let left = user.expires_at_ms.map(|end| {
                    Duration::from_millis(end.saturating_sub(now_ms()).try_into().unwrap_or(0))
                        .saturating_add(self.settings.demands.leeway)
                });
                Some(left.map_or(self.settings.cache, |left| left.min(self.settings.cache)))
            }
            Err(Fault::NoAnswer | Fault::Busy) => None,
            Err(_) => Some(self.settings.cache),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let answer = self.tell.borrow().clone().unwrap_or(Err(Fault::NoAnswer));
        let lifetime = self.shared.lifetime(&answer);
        self.shared.answers().settle(self.question, answer, lifetime, Instant::now());
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callout").field("settings", &self.settings).finish_non_exhaustive()
    }
}
