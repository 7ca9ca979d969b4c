//! Tens of thousands of clients of odin in few processes, each of which proves that nothing was lost.
//!
//! One process is one thread and one epoll: a client is a socket, the positions of its subscriptions and a few numbers,
//! well below 4 KB. It speaks the protocol as `docs/protocol.md` says, by WebSocket, event stream or polls, comes back as
//! that page says, and compares each update with the one before it by the chain of `prev`. What is published is decoded
//! once for all who get the same bytes.
//!
//! | module | one thing |
//! |---|---|
//! | [`args`], [`plan`] | what was typed, and what this process has to do |
//! | [`channels`] | who subscribes to what; names as numbers |
//! | [`frame`], [`http`] | bytes of a client's side |
//! | [`news`] | what came, decoded once |
//! | [`ledger`] | what one client was sent, what is missing, where it goes on |
//! | [`client`], [`swarm`] | one client, and the loop that serves all |
//! | [`tally`], [`report`], [`bar`] | what was counted, as JSON and as a table, and whether that is good enough |
//! | [`fleet`] | several processes that begin at one moment |
//! | [`watch`] | processor time and memory of the servers |
//! | [`system`] | files and signals |
//! | [`token`] | tokens of signed-in clients |
//!
//! It publishes nothing, and it knows no TLS: it measures gateways, not a terminator. It takes only cursors of version 1.

pub mod args;
pub mod bar;
pub mod channels;
pub mod client;
pub mod fleet;
pub mod frame;
pub mod http;
pub mod ledger;
pub mod news;
pub mod plan;
pub mod report;
pub mod swarm;
pub mod system;
pub mod tally;
pub mod token;
pub mod watch;
