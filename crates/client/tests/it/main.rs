//! Tests that enter by the door: real sockets, real bytes.
//!
//! | file | against |
//! |---|---|
//! | `auth.rs` | a scripted server: signing in, refreshing, refusals |
//! | `conform.rs` | the examination of `odin_devkit::conformance` |
//! | `connection.rs` | a scripted server: handshakes, close codes, heartbeats, back-pressure |
//! | `publish.rs` | a scripted server: publications and what becomes of them |
//! | `resume.rs` | a scripted server: cursors, overlaps, broken promises |
//! | `sign_in.rs` | the `odin` program, tokens and TLS, and a scripted server |
//! | `terminal.rs` | the `odin` program and a scripted server |
//! | `tls.rs` | the same server behind TLS |
//! | `gateway.rs` | a real gateway and a real nats-server |
//! | `users.rs` | a real gateway that checks tokens, and the `odin` program |
//! | `rolling.rs` | real gateways that are killed and drained under load |

mod auth;
mod conform;
mod connection;
mod gateway;
mod publish;
mod resume;
mod rolling;
#[cfg(feature = "terminal")]
mod sign_in;
mod support;
#[cfg(feature = "terminal")]
mod terminal;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "terminal")]
mod users;
