//! The protocol held against its vectors, its documentation and hostile input.

mod chains;
mod docs;
mod hostile;
mod properties;
mod support;
mod vectors;
