//! What of a machine is changed while it runs.

use hypervisor_core::{
    definition::{Link, Live, Network, Nic},
    driver::{Altered, Launch, Power},
};

use crate::story::{Story, not_running};

async fn alter(story: &Story, launch: &Launch, what: Live) -> Altered {
    let driver = story.driver();
    story.goes_well("alter", driver.alter().unwrap().alter(launch, what)).await
}

pub async fn memory_goes_and_comes_within_what_it_was_started_with(story: &mut Story) {
    let mut launch = story.listening().await;
    let room_mib = launch.definition.memory_mib;
    for memory_mib in [room_mib - 8, room_mib, room_mib] {
        launch.definition.memory_mib = memory_mib;
        assert_eq!(alter(story, &launch, Live::Memory).await, Altered::Now, "{memory_mib}");
    }
    launch.definition.memory_mib = room_mib + 64;
    let Altered::NextStart(why) = alter(story, &launch, Live::Memory).await else { panic!("it grew") };
    assert_eq!(why, format!("it was started with room for {room_mib}M"));
    // What takes another start is not lost: another start has it.
    story.kill(launch.id).await;
    story.boot(&launch).await;
    assert_eq!(alter(story, &launch, Live::Memory).await, Altered::Now);
}

pub async fn a_cable_goes_out_and_in(story: &mut Story) {
    let mut launch = story.bench.launch();
    launch.definition.nics = vec![Nic { link: Link::Down, ..Nic::new(Network::default()) }];
    launch.definition.name_all();
    story.boot(&launch).await;
    for link in [Link::Down, Link::Up, Link::Up, Link::Down] {
        launch.definition.nics[0].link = link;
        assert_eq!(alter(story, &launch, Live::Link(0)).await, Altered::Now, "{link:?}");
    }
    story.restart().await;
    assert_eq!(story.power(&launch).await, Power::Running);
    launch.definition.nics[0].link = Link::Up;
    assert_eq!(alter(story, &launch, Live::Link(0)).await, Altered::Now);
}

pub async fn of_one_that_is_off_nothing_is(story: &mut Story) {
    let launch = story.bench.launch();
    let driver = story.driver();
    for what in [Live::Memory, Live::Vcpus, Live::Link(0)] {
        not_running("alter", driver.alter().unwrap().alter(&launch, what).await);
    }
}
