use odin_devkit::NatsCluster;

use crate::support::{create_stream, jetstream, publish};

#[tokio::test]
async fn three_nodes_survive_the_loss_of_a_stream_leader() {
    let mut cluster = NatsCluster::start(3).await.expect("a cluster forms");
    let context = jetstream(&cluster.urls()).await;
    create_stream(&context, "A", 3).await;
    assert_eq!(publish(&context, "A.x", "1").await, 1);

    let leader = cluster.stream_leader("A").await.expect("the stream has a leader");
    cluster.node_mut(leader).kill().await;
    let next = cluster.stream_leader("A").await.expect("another is elected");
    assert_ne!(next, leader);
    assert_eq!(publish(&context, "A.x", "2").await, 2, "what was acknowledged is still there");

    cluster.node_mut(leader).restart().await.expect("the node comes back");
    cluster.wait_ready().await.expect("it catches up");
    assert_eq!(publish(&context, "A.x", "3").await, 3);
}
