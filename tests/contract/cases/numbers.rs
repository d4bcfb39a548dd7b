//! What machines use.

use hypervisor_core::driver::{Launch, numbers::Reading};

use crate::story::{Story, not_running};

async fn read(story: &Story, launch: &Launch) -> Reading {
    let driver = story.driver();
    story.goes_well("read", driver.numbers().unwrap().read(launch)).await
}

pub async fn grow_while_a_guest_works(story: &mut Story) {
    let launch = story.listening().await;
    let first = read(story, &launch).await;
    assert!(first.resident_bytes > 0);
    // Whatever the guest does, it will have done more at some time.
    let more = async {
        loop {
            let now = read(story, &launch).await;
            if now.cpu_time > first.cpu_time && now.running_for > first.running_for {
                return now;
            }
            tokio::task::yield_now().await;
        }
    };
    let now = story.happens("more was used", more).await;
    let busy = (first.vcpu_time.unwrap(), now.vcpu_time.unwrap());
    assert!(
        busy.1 >= busy.0 && busy.1 <= now.cpu_time + std::time::Duration::from_millis(50),
        "{busy:?} {now:?}"
    );
    assert!(now.steal.unwrap() >= first.steal.unwrap());
    let names = |reading: &Reading| reading.disks.iter().map(|disk| disk.name.clone()).collect::<Vec<_>>();
    let disks: Vec<String> = launch.definition.disks.iter().map(|disk| disk.name.clone()).collect();
    assert_eq!(names(&now), disks);
}

pub async fn are_found_again_by_the_next_driver(story: &mut Story) {
    let launch = story.listening().await;
    let before = read(story, &launch).await;
    story.restart().await;
    story.observe(&launch).await;
    let after = read(story, &launch).await;
    assert!(after.running_for >= before.running_for && after.cpu_time >= before.cpu_time);
}

pub async fn of_a_new_run_begin_anew(story: &mut Story) {
    let launch = story.listening().await;
    let longer = async {
        while read(story, &launch).await.cpu_time.is_zero() {
            tokio::task::yield_now().await;
        }
        read(story, &launch).await
    };
    let before = story.happens("it has used something", longer).await;
    story.kill(launch.id).await;
    let restarted = story.happens("its start", async {
        story.start(&launch).await;
        read(story, &launch).await
    });
    let after = restarted.await;
    assert!(after.running_for <= before.running_for, "{after:?} after {before:?}");
}

pub async fn of_one_that_is_off_there_are_none(story: &mut Story) {
    let launch = story.bench.launch();
    let driver = story.driver();
    not_running("read", driver.numbers().unwrap().read(&launch).await);
}
