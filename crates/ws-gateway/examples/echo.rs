//! The gateway's own accept loop, handshake, decoder and writes, with an echo instead of odin's
//! protocol behind them: what a conformance suite for RFC 6455 is run against (`make autobahn`).
//!
//! Prints `listening on ws://ADDRESS/` and runs until it is interrupted.

use std::{ffi::OsString, future::Future};

use ws_gateway::{Listeners, args::Args, config};

/// Every case of the suite fits: 16 MiB in one message, 64 Ki fragments of one.
const LIMITS: [&str; 4] = ["--limits-message-bytes", "16MiB", "--limits-message-fragments", "65537"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listen = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let line =
        ["ws-gateway", "serve", "--listen", &listen, "--admin-listen", "127.0.0.1:0", "--path", "/", "--shards", "1"];
    let line = line.into_iter().chain(LIMITS).map(OsString::from);
    let inputs = Args::parse(line)?.inputs(std::iter::empty()).map_err(|problem| problem.to_string())?;
    let config = config::build(&inputs)?;
    let listeners = Listeners::bind(&config)?;
    println!("listening on ws://{}/", listeners.address());
    ws_gateway::run(config, listeners, interrupted()).await?;
    Ok(())
}

fn interrupted() -> impl Future<Output = ()> {
    async {
        // Without a handler the suite ends the process by a signal, which does as well.
        let _ = tokio::signal::ctrl_c().await;
    }
}
