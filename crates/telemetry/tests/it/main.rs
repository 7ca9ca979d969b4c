//! Telemetry against a collector that listens on a real socket.

mod send;
mod spans;
