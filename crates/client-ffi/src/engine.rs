//! The two threads of a client: one runs the connection, one tells the listener.
//!
//! Between them is the client's own queue of events and nothing else. Both end with the client; nobody waits for
//! them, as a listener may never return.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use odin_client::{Client, Events, Options};
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    event::{OdinEvent, OdinListener, OdinListenerError},
    options::OdinConnectError,
    positions::Positions,
};

/// Threads that look up names, which the system does not do without blocking.
const LOOKUP_THREADS: usize = 2;

/// Starts the threads.
///
/// # Errors
/// [`OdinConnectError`]; then no thread stays.
pub(crate) fn start(
    options: Options,
    listener: Arc<dyn OdinListener>,
    positions: Arc<Positions>,
) -> Result<(Client, Handle), OdinConnectError> {
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
    let ended = CancellationToken::new();
    let teller = Teller { events, listener, positions, _ended: ended.clone().drop_guard() };
    let driver = thread::Builder::new().name("odin-client".to_owned());
    driver
        .spawn(move || {
            runtime.block_on(ended.cancelled());
            // a name that is still looked up is not waited for
            runtime.shutdown_background();
        })
        .map_err(failed)?;
    let runtime = handle.clone();
    // without this thread the teller is dropped, and the one above ends
    thread::Builder::new().name("odin-listener".to_owned()).spawn(move || teller.run(&runtime)).map_err(failed)?;
    Ok((client, handle))
}

/// Takes the events and tells the listener.
struct Teller {
    events: Events,
    listener: Arc<dyn OdinListener>,
    positions: Arc<Positions>,
    /// The last field: what it ends may be needed by those before.
    _ended: DropGuard,
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
