//! The short version of a chaos run: what breaks most often in production, once each, and every history checked.

use std::{path::PathBuf, time::Duration};

use odin_chaos::{
    arena::Programs,
    fault::Fault,
    load::Shape,
    run::{Options, run},
};

/// The programs are in the folder above that of the tests, in the same profile.
fn programs() -> Programs {
    let tests = std::env::current_exe().expect("the path of this test");
    let profile: PathBuf = tests.ancestors().nth(2).expect("target/profile/deps").into();
    Programs::in_folder(&profile).expect("the programs, built in the same profile")
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_every_promise_while_things_break() {
    let folder = std::env::temp_dir().join(format!("odin-chaos-short-{:08x}", rand::random::<u32>()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let seed = rand::random();
    eprintln!("seed {seed}, histories in {}", folder.display());
    let report = run(Options {
        seed,
        faults: vec![
            Fault::LeaderKill,
            Fault::AttachedKill,
            Fault::NatsCut,
            Fault::NatsBlackhole,
            Fault::GatewayKill,
            Fault::GatewayRolling,
            Fault::ReadersStop,
            Fault::PublisherKill,
        ],
        rounds: 1,
        gateways: 2,
        shape: Shape { tokens: 30, kinds: 3, rate: 150, padding: 100 },
        folder: folder.clone(),
        programs: programs(),
        drain_window: Duration::from_secs(1),
        crowd: 0,
    })
    .await
    .expect("what was broken came back");
    let total = report.total();
    assert!(!total.is_violated(), "histories in {}\n{}\n{:#?}", folder.display(), report.table(), total.findings.words);
    assert!(total.findings.deliveries > 1000 && total.findings.recovered > 50, "{}", report.table());
    std::fs::remove_dir_all(&folder).expect("ours");
}
