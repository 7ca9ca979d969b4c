//! devkit with real processes and real nats-servers.
//!
//! - `process`: starting, waiting for, freezing and ending any child
//! - `server`: one nats-server: JetStream, restart, ports
//! - `cluster`: three of them: election, loss of a leader
//! - `command`: the `odin-devkit` program
//! - `conform`: the examination of clients, and bad ones that take it
//! - `stage`: a whole odin that takes orders
//! - `haproxy`: clients that go on behind the real HAProxy while gateways are killed and rolled
//! - `nginx`: the real nginx
//! - `witness`, `transports`: what the last two have in common: a client that proves its history, and every way in

mod cluster;
mod command;
mod conform;
mod haproxy;
mod nginx;
mod process;
mod server;
mod stage;
mod support;
mod transports;
mod witness;
