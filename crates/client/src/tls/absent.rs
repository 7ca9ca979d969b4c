//! What stands for TLS when the crate was built without it: `wss` addresses are refused.

use std::io;
use std::path::Path;

use tokio::net::TcpStream;

use crate::options::OptionsError;

/// There is none.
#[derive(Clone, Debug)]
pub(crate) enum Trust {}

/// There is none.
#[derive(Clone, Debug)]
pub(crate) enum Tls {}

impl Trust {
    pub(crate) fn load(_: Option<&Path>) -> Result<Trust, OptionsError> {
        Err(OptionsError::Tls { cause: "built without it (feature `tls`)".to_owned() })
    }

    pub(crate) fn for_host(&self, _: &str) -> Option<Tls> {
        match *self {}
    }
}

impl Tls {
    pub(crate) async fn secure(&self, _: TcpStream) -> io::Result<TcpStream> {
        match *self {}
    }
}
