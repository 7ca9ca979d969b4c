//! Tests that enter by the door: real sockets, real bytes.
//!
//! | file | against |
//! |---|---|
//! | `connection.rs` | a scripted server: handshakes, close codes, heartbeats, back-pressure |
//! | `terminal.rs` | the `odin` program and a scripted server |
//! | `gateway.rs` | a real gateway and a real nats-server |

mod connection;
mod gateway;
mod support;
#[cfg(feature = "terminal")]
mod terminal;
