//! Which NATS server a connection goes to next.
//!
//! A server may be deaf without looking dead, so the one that was left is not taken again while there is
//! another. It may be known by two names, one that was configured and one that its cluster announces, so
//! it is also known by its identity, as far as that was seen.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::{ReconnectToServer, Server, ServerAddr, ServerInfo};

/// Pauses before a server is tried: full jitter up to the first, doubled with each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// What one connection remembers of the servers it tried.
#[derive(Debug, Default)]
pub(super) struct Route(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    /// The one tried last.
    last: Option<ServerAddr>,
    /// Which server was behind an address. As many as the pool has.
    identities: HashMap<String, String>,
}

impl Route {
    /// The server to try next. `info` is of the last one that took a connection.
    pub(super) fn choose(&self, servers: &[Server], info: &ServerInfo) -> Option<ReconnectToServer> {
        let mut memory = self.lock();
        let last = memory.last.clone();
        let is_last = |server: &&Server| Some(&server.addr) == last.as_ref();
        // Whoever failed last was not connected, so the identity is not his.
        let left = servers.iter().find(is_last).filter(|last| last.did_connect && last.failed_attempts == 0);
        if let Some(left) = left {
            memory.identities.insert(left.addr.as_url_str().to_owned(), info.server_id.clone());
            memory.identities.retain(|address, _| servers.iter().any(|server| server.addr.as_url_str() == address));
        }
        let is_left = |server: &Server| {
            left.is_some() && memory.identities.get(server.addr.as_url_str()) == Some(&info.server_id)
        };
        let mut candidates: Vec<&Server> = servers.iter().filter(|server| !is_last(server)).collect();
        if candidates.iter().any(|server| !is_left(server)) {
            candidates.retain(|server| !is_left(server));
        }
        if candidates.is_empty() {
            candidates.extend(servers);
        }
        let least = candidates.iter().map(|server| server.failed_attempts).min()?;
        candidates.retain(|server| server.failed_attempts == least);
        let chosen = candidates[rand::random_range(0..candidates.len())];
        memory.last = Some(chosen.addr.clone());
        let longest = FIRST_PAUSE.saturating_mul(1 << least.min(16)).min(LONGEST_PAUSE);
        Some(ReconnectToServer { addr: chosen.addr.clone(), delay: Some(longest.mul_f64(rand::random())) })
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        // A panic while holding it leaves a memory that is old at worst.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, did_connect: bool, failed_attempts: usize) -> Server {
        let addr = format!("nats://{name}:4222").parse().expect("an address");
        Server { addr, failed_attempts, did_connect, is_discovered: false, last_error: None }
    }

    fn info(id: &str) -> ServerInfo {
        ServerInfo { server_id: id.to_owned(), ..ServerInfo::default() }
    }

    fn chosen(route: &Route, servers: &[Server], id: &str) -> String {
        let choice = route.choose(servers, &info(id)).expect("there are some");
        assert!(choice.delay.is_some_and(|delay| delay <= LONGEST_PAUSE));
        choice.addr.host().to_owned()
    }

    #[test]
    fn takes_another_server_while_there_is_one() {
        for _ in 0..100 {
            let route = Route::default();
            let mut servers = [server("a", false, 0), server("b", false, 0)];
            let first = chosen(&route, &servers, "");
            servers.iter_mut().for_each(|server| server.did_connect = server.addr.host() == first);
            assert_ne!(chosen(&route, &servers, "1"), first);
        }
        let route = Route::default();
        let only = [server("a", true, 0)];
        assert_eq!(chosen(&route, &only, "1"), "a");
        assert_eq!(chosen(&route, &only, "1"), "a");
    }

    #[test]
    fn knows_a_server_by_its_other_name_once_it_has_seen_it() {
        for _ in 0..100 {
            let route = Route::default();
            let alias = [server("nats", true, 0)];
            assert_eq!(chosen(&route, &alias, ""), "nats");
            // Server 1 was behind `nats`, and then behind `10.0.0.1`.
            let both = [server("nats", true, 0), server("10.0.0.1", true, 0)];
            assert_eq!(chosen(&route, &both, "1"), "10.0.0.1");
            let three = [server("nats", true, 0), server("10.0.0.1", true, 0), server("10.0.0.2", false, 0)];
            assert_eq!(chosen(&route, &three, "1"), "10.0.0.2");
        }
    }

    #[test]
    fn comes_back_to_the_one_it_left_when_the_others_fail() {
        let route = Route::default();
        let mut servers = [server("a", true, 0)];
        assert_eq!(chosen(&route, &servers, ""), "a");
        let mut pool = vec![servers[0].clone(), server("b", false, 0), server("c", false, 0)];
        let mut tried = Vec::new();
        for _ in 0..6 {
            let host = chosen(&route, &pool, "1");
            for server in pool.iter_mut().filter(|server| server.addr.host() == host && host != "a") {
                server.failed_attempts += 1;
            }
            tried.push(host);
        }
        assert_ne!(tried[0], "a");
        assert!(tried.contains(&"a".to_owned()), "{tried:?}");
        servers[0].failed_attempts = 9;
        assert_eq!(chosen(&route, &servers, "1"), "a", "the only one is tried however often it failed");
    }
}
