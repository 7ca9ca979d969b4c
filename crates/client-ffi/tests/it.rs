//! The binding as other languages see it: generated, loaded, and driven against real gateways.
//!
//! | file | one thing |
//! |---|---|
//! | `generated.rs` | the sources that `generate.sh` writes |
//! | `listener.rs` | a listener that is slow, and one that panics |
//! | `python.rs` | a Python program (`watch.py`) that uses the binding, gateways that are killed |
//! | `support.rs` | nats-server, gateways and the program |

#[path = "it/generated.rs"]
mod generated;
#[path = "it/listener.rs"]
mod listener;
#[path = "it/python.rs"]
mod python;
#[path = "it/support.rs"]
mod support;
