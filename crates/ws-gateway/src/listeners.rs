//! The sockets a gateway listens on.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{config::Config, error::RunError};

/// The sockets a gateway listens on, bound before anything else happens.
#[derive(Debug)]
pub struct Listeners {
    /// One for each shard, all on one address (`SO_REUSEPORT`).
    pub(crate) shards: Vec<TcpListener>,
    pub(crate) admin: TcpListener,
}

impl Listeners {
    /// Binds all of them. Port 0 takes a free port, the same for every shard.
    ///
    /// # Errors
    /// [`RunError::Bind`] with the address that could not be bound.
    pub fn bind(config: &Config) -> Result<Self, RunError> {
        let mut address = config.listen;
        refuse_company(address).map_err(|source| RunError::Bind { address, source })?;
        let mut shards = Vec::new();
        for _ in 0..config.shards.get() {
            let listener = bind(address, config).map_err(|source| RunError::Bind { address, source })?;
            address = listener.local_addr().map_err(|source| RunError::Bind { address, source })?;
            shards.push(listener);
        }
        let address = config.admin_listen;
        let admin = bind_admin(address).map_err(|source| RunError::Bind { address, source })?;
        Ok(Self { shards, admin })
    }

    /// Where clients connect.
    ///
    /// # Panics
    /// Never: there is at least one shard, and it is bound.
    pub fn address(&self) -> SocketAddr {
        self.shards[0].local_addr().expect("bound")
    }

    /// Where probes and metrics are.
    ///
    /// # Panics
    /// Never: it is bound.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.local_addr().expect("bound")
    }
}

/// Fails when somebody listens there. Shards share their port, and so would another gateway of the same user: each would
/// get a part of the clients, and nobody would notice.
fn refuse_company(address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a predecessor that end, or rest, are no reason to wait.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

/// Options are set on the listener: the kernel hands them down to every accepted socket.
fn bind(address: SocketAddr, config: &Config) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(config.sockets.user_timeout))?;
        if let Some(bytes) = config.sockets.notsent_lowat_bytes {
            socket.set_tcp_notsent_lowat(u32::try_from(bytes).unwrap_or(u32::MAX))?;
        }
    }
    if let Some(bytes) = config.sockets.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = config.sockets.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(config.sockets.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn bind_admin(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
