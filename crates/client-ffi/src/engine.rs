//! The two threads of a client: one runs the connection, one tells the listener.
//!
//! Between them is the client's own queue of events and nothing else. Both end with the client. Who closes it waits for
//! them, but not for ever: a listener may never return.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use odin_client::{Client, Events, Options};
use tokio::runtime::{Builder, Handle};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    event::{OdinEvent, OdinListener, OdinListenerError},
    options::OdinConnectError,
    positions::Positions,
};

/// Threads that look up names, which the system does not do without blocking.
const LOOKUP_THREADS: usize = 2;

/// How long [`Engine::end`] waits for a listener that was not told everything yet.
const LISTENER_LIMIT: Duration = Duration::from_secs(2);

/// What is left to ask of the threads.
#[derive(Debug)]
pub(crate) struct Engine {
    runtime: Handle,
    /// The listener was told everything, and let go of.
    told: CancellationToken,
    /// The runtime is gone, and with it the source of tokens.
    gone: CancellationToken,
}

impl Engine {
    /// Runs something beside the client.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(future);
    }

    /// Waits until nothing of the app is called any more, or [`LISTENER_LIMIT`] for a listener that does not return.
    pub(crate) async fn end(&self) {
        let told = self.told.clone();
        // the timer is the runtime's: without one there is nothing to wait for, and the task is an error
        let limited = self.runtime.spawn(async move { timeout(LISTENER_LIMIT, told.cancelled()).await });
        if let Ok(Ok(())) | Err(_) = limited.await {
            self.gone.cancelled().await;
        }
    }
}

/// Starts the threads.
///
/// # Errors
/// [`OdinConnectError`]; then no thread stays.
pub(crate) fn start(
    options: Options,
    listener: Arc<dyn OdinListener>,
    positions: Arc<Positions>,
) -> Result<(Client, Engine), OdinConnectError> {
    let failed = |error: io::Error| OdinConnectError::System { reason: error.to_string() };
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .thread_name("odin-lookup")
        .max_blocking_threads(LOOKUP_THREADS)
        .build()
        .map_err(failed)?;
    let handle = runtime.handle().clone();
    let (client, events) = {
        let _guard = runtime.enter();
        Client::connect(options).map_err(|error| OdinConnectError::InvalidOptions { reason: error.to_string() })?
    };
    let (told, gone) = (CancellationToken::new(), CancellationToken::new());
    let engine = Engine { runtime: handle.clone(), told: told.clone(), gone: gone.clone() };
    let teller = Teller { events, listener, positions, _told: told.clone().drop_guard() };
    let driver = thread::Builder::new().name("odin-client".to_owned());
    driver
        .spawn(move || {
            let _gone = gone.drop_guard();
            runtime.block_on(told.cancelled());
            // a name that is still looked up is not waited for
            runtime.shutdown_background();
        })
        .map_err(failed)?;
    // without this thread the teller is dropped, and the one above ends
    thread::Builder::new().name("odin-listener".to_owned()).spawn(move || teller.run(&handle)).map_err(failed)?;
    Ok((client, engine))
}

/// Takes the events and tells the listener.
struct Teller {
    events: Events,
    listener: Arc<dyn OdinListener>,
    positions: Arc<Positions>,
    /// The last field: who waits for it may rely on the listener being let go of.
    _told: DropGuard,
}

impl Teller {
    fn run(mut self, runtime: &Handle) {
        self.tell(OdinEvent::Connecting);
        while let Some(event) = runtime.block_on(self.events.recv()) {
            if let Some(told) = OdinEvent::of(&event) {
                self.tell(told);
            }
            self.positions.observe(&event);
        }
    }

    /// Tells the listener, and tells it too that it failed; if it fails again it knows already.
    fn tell(&self, event: OdinEvent) {
        if let Err(error) = self.call(event) {
            tracing::error!(%error, "listener failed");
            let _ = self.call(OdinEvent::ListenerFailed { reason: error.to_string() });
        }
    }

    /// A listener written in Rust may panic; a foreign one throws, which comes as an error.
    fn call(&self, event: OdinEvent) -> Result<(), OdinListenerError> {
        catch_unwind(AssertUnwindSafe(|| self.listener.on_event(event)))
            .unwrap_or_else(|_| Err(OdinListenerError::Failed { reason: "the listener panicked".to_owned() }))
    }
}
