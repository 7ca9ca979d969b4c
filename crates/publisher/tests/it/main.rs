//! The publisher against a real nats-server.
//!
//! - `order`: per subject in order, across subjects pipelined
//! - `once`: retries are stored once, whatever the server does meanwhile
//! - `refused`: what cannot succeed is refused at once, by cause
//! - `bounded`: so much in flight and no more
//! - `trace`: spans of publications
//! - `program`: the `odin-publisher` program, from the outside

mod bounded;
mod once;
mod order;
mod program;
mod refused;
mod support;
mod trace;
