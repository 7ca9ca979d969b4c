//! The real nginx with the deployed configuration.

use std::path::Path;

use odin_devkit::{Gateway, NatsServer, Process};
use tokio::net::TcpStream;

use crate::support::{LIMIT, deployed, gateway_binary, provision, system_binary};
use crate::transports::{carries_everything, connections_by_address};

struct Nginx {
    address: String,
    process: Process,
    gateways: Vec<Gateway>,
    nats: NatsServer,
    _folder: tempfile::TempDir,
}

/// Starts gateways and nginx before them; `None` where one of the programs is missing.
async fn start(gateways: usize, options: &[&str]) -> Option<Nginx> {
    let (program, binary) = (system_binary("nginx")?, gateway_binary()?);
    let nats = NatsServer::start().await.expect("a nats-server");
    provision(&binary, &nats.url()).await;
    let mut started = Vec::new();
    for _ in 0..gateways {
        let gateway = Gateway::builder(&binary, nats.url()).args(["--http-trusted-proxies", "127.0.0.1/32"]);
        started.push(gateway.args(options).start().await.expect("a gateway"));
    }
    let folder = tempfile::tempdir().expect("a folder");
    // nginx drops its rights, and goes into this folder without them.
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it is ours");
    for _ in 0..5 {
        let address = free_address();
        let config = configure(folder.path(), &address, &started);
        let process = Process::builder("nginx", &program).arg("-p").arg(folder.path()).arg("-c").arg(config);
        let process = process.args(["-g", "daemon off;"]).spawn().expect("the program starts");
        if listens(&process, &address).await {
            return Some(Nginx { address, process, gateways: started, nats, _folder: folder });
        }
    }
    panic!("nginx found no port")
}

/// What `envsubst` makes of the template.
fn configure(folder: &Path, address: &str, gateways: &[Gateway]) -> std::path::PathBuf {
    let servers: String = gateways.iter().map(|gateway| format!("server {}; ", gateway.listen())).collect();
    let template = std::fs::read_to_string(deployed("nginx/nginx.conf.template")).expect("it is in the repository");
    let text = template
        .replace("${NGINX_LISTEN}", address)
        .replace("${NGINX_GATEWAYS}", &servers)
        .replace("${NGINX_RUN}", folder.to_str().expect("a path of text"));
    let path = folder.join("nginx.conf");
    std::fs::write(&path, text).expect("written");
    path
}

/// An address that was free a moment ago.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

/// Waits until it listens; false if another program took the port first.
async fn listens(process: &Process, address: &str) -> bool {
    let poll = async {
        loop {
            if process.exit_status().is_some() {
                assert!(process.log().contains("Address already in use"), "{}", process.log());
                return false;
            }
            if TcpStream::connect(address).await.is_ok() {
                return true;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, poll).await.unwrap_or_else(|_| panic!("it does not listen\n{}", process.log()))
}

#[tokio::test]
async fn every_transport_passes() {
    let Some(mut odin) = start(2, &[]).await else { return };
    carries_everything(&odin.address, &odin.nats.url()).await;
    // The other one is tried without a word to the client.
    odin.gateways[0].kill().await;
    carries_everything(&odin.address, &odin.nats.url()).await;
    assert!(odin.process.is_running());
}

/// Checklist 11: clients count by the address that the balancer heard from, whatever they say of themselves.
#[tokio::test]
async fn the_gateway_knows_whom_the_balancer_speaks_for() {
    let Some(odin) = start(1, &["--limits-connections-per-ip", "1"]).await else { return };
    connections_by_address(&odin.address).await;
}
