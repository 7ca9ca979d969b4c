use odin_devkit::NatsServer;

use crate::support::{create_stream, exists, jetstream, publish};

#[tokio::test]
async fn answers_jetstream_and_dies_with_its_handle() {
    let server = NatsServer::start().await.expect("a server starts");
    let context = jetstream(&[server.url()]).await;
    create_stream(&context, "A", 1).await;
    assert_eq!(publish(&context, "A.x", "1").await, 1);

    let (pid, store) = (server.pid(), server.store_dir().to_owned());
    assert!(exists(pid) && store.exists());
    drop(server);
    assert!(!exists(pid), "the process is still there");
    assert!(!store.exists(), "the store is still there");
}

#[tokio::test]
async fn a_restart_keeps_port_and_stream() {
    let mut server = NatsServer::builder().sync_interval("always").start().await.expect("a server starts");
    let (url, first_pid) = (server.url(), server.pid());
    let context = jetstream(std::slice::from_ref(&url)).await;
    create_stream(&context, "A", 1).await;
    publish(&context, "A.x", "1").await;

    server.kill().await;
    assert!(!server.is_running());
    server.restart().await.expect("it comes back after a crash");
    assert_eq!(server.url(), url);
    assert_ne!(server.pid(), first_pid);
    assert_eq!(publish(&context, "A.x", "2").await, 2, "the first message is still stored");

    server.restart().await.expect("it comes back while running");
    assert_eq!(publish(&context, "A.x", "3").await, 3);
    server.terminate().await.expect("it shuts down");
}

#[tokio::test]
async fn a_frozen_server_answers_again_when_resumed() {
    let server = NatsServer::start().await.expect("a server starts");
    let client = async_nats::connect(server.url()).await.expect("it accepts clients");
    server.pause();
    let request = tokio::spawn(async move { async_nats::jetstream::new(client).query_account().await });
    tokio::task::yield_now().await;
    assert!(server.is_running() && !request.is_finished());
    server.resume();
    request.await.expect("the request does not panic").expect("it is answered once the server goes on");
}

#[tokio::test]
async fn servers_started_together_do_not_collide() {
    let (a, b, c) = tokio::join!(NatsServer::start(), NatsServer::start(), NatsServer::start());
    let servers = [a, b, c].map(|server| server.expect("a server starts"));
    for (index, server) in servers.iter().enumerate() {
        let context = jetstream(&[server.url()]).await;
        // The same name everywhere: a shared server or store would refuse or count on.
        create_stream(&context, "SAME", 1).await;
        assert_eq!(publish(&context, "SAME.x", "1").await, 1, "server {index}");
    }
}

#[tokio::test]
async fn a_taken_fixed_port_is_an_error_with_the_log() {
    let server = NatsServer::start().await.expect("a server starts");
    let error = NatsServer::builder().port(server.port()).start().await.expect_err("the port is taken");
    assert!(error.to_string().contains("address already in use"), "{error}");
}

#[tokio::test]
async fn extra_configuration_is_obeyed() {
    let extra = "authorization { user: odin, password: secret }";
    let server = NatsServer::builder().extra_config(extra).start().await.expect("a server starts");
    async_nats::connect(server.url()).await.expect_err("without a password");
    let options = async_nats::ConnectOptions::with_user_and_password("odin".into(), "secret".into());
    options.connect(server.url()).await.expect("with the password");
}
