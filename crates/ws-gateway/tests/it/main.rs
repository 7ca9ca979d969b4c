//! The gateway by its door: real sockets, real bytes, a real nats-server, the gateway running in the test process.
//!
//! | file | one thing |
//! |---|---|
//! | `connect` | the handshake, sub-protocols, what a connection is told first, heartbeat and idleness |
//! | `subscribe` | what a client may say, and what it is answered |
//! | `fanout` | from a publication to everybody who wants it: chains, patterns, poison, filters |
//! | `overlap` | a pattern and its own channels on one connection: everything once |
//! | `pulse` | NATS that is frozen, silent, without a quorum or without the stream |
//! | `resume` | those who come back, on any gateway |
//! | `slow_reader` | those who take less than there is |
//! | `bus` | NATS that is late, lossy, restarted, re-created |
//! | `cluster` | NATS with three nodes, and one of them killed |
//! | `door` | pages, proxies, tokens, TLS: who comes in, and what the others are told |
//! | `drain` | how a gateway leaves |
//! | `freshness` | audits, positions, and how clients learn that what they have may be old |
//! | `late` | feeds that some get late |
//! | `http` | event streams, polls, last values, history, publishing and files by HTTP |
//! | `interest` | what is kept for clients, on the bus and in memory, and let go of |
//! | `abuse` | hostile handshakes, frames and messages, one test for each attack |
//! | `users` | signing in, and what a user may have |
//! | `publish` | publications of clients |
//! | `reload` | another configuration while the gateway runs |
//! | `traces` | spans from a publisher to a shard, and what happens without a collector |
//! | `wide` | patterns over more subjects than Direct Get reads at once |
//! | `admin` | probes, metrics, statistics, logs, and who may order |
//! | `control` | orders and revocations, from an operator to every gateway |
//! | `orders` | what orders do to connections, on three gateways |
//! | `cluster_limits` | what gateways know of each other |
//!
//! A test waits for an event. Limits in time are there so that a broken gateway fails a test instead of hanging it.

mod abuse;
mod admin;
mod auth_parts;
mod bus;
mod cluster;
mod cluster_limits;
mod connect;
mod control;
mod door;
mod drain;
mod fanout;
mod freshness;
mod http;
mod interest;
mod late;
mod orders;
mod overlap;
mod publish;
mod pulse;
mod reload;
mod resume;
mod slow_reader;
mod subscribe;
mod support;
mod traces;
mod users;
mod wide;
