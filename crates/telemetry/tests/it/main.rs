//! Telemetry against a collector that listens on a real socket.

mod collector;
mod send;
mod spans;
