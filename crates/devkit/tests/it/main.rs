//! devkit with real processes and real nats-servers.
//!
//! - `process`: starting, waiting for, freezing and ending any child
//! - `server`: one nats-server: JetStream, restart, ports
//! - `cluster`: three of them: election, loss of a leader
//! - `command`: the `odin-devkit` program
//! - `conform`: the examination of clients, and bad ones that take it
//! - `stage`: a whole odin that takes orders

mod cluster;
mod command;
mod conform;
mod process;
mod server;
mod stage;
mod support;
