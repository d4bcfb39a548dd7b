//! Starts that fail or are given up, crashes, and many machines at once.

use futures::future::join_all;
use hypervisor_core::driver::{DriverError, GuestEvent, Power};

use crate::story::{Story, cut};

pub async fn a_start_that_fails_leaves_nothing(story: &mut Story) {
    let launch = story.bench.broken();
    for _ in 0..2 {
        let result = story.happens("start", story.driver().start(&launch)).await;
        let Err(error) = result else { panic!("it started: {launch:?}") };
        assert!(!matches!(error, DriverError::AlreadyRunning | DriverError::NotRunning), "{error:?}");
        assert!(!error.to_string().is_empty());
        story.is_gone(&launch).await;
    }
    story.kill(launch.id).await;
}

/// The agent kills a machine that is starting by dropping the start, wherever it is, and then killing.
pub async fn a_start_dropped_midway_can_be_killed(story: &mut Story) {
    for polls in [1, 2, 3, 5, 8, 13, 21] {
        let launch = story.bench.launch();
        story.happens("start, or its end", cut(polls, story.driver().start(&launch))).await;
        let power = story.power(&launch).await;
        assert!(matches!(power, Power::Off | Power::Running), "dropped after {polls} polls: {power:?}");
        story.kill(launch.id).await;
        story.is_gone(&launch).await;
        story.start(&launch).await;
        assert_eq!(story.power(&launch).await, Power::Running);
        story.kill(launch.id).await;
        story.is_gone(&launch).await;
    }
}

pub async fn a_crash_is_told_once(story: &mut Story) {
    let launch = story.running().await;
    story.bench.crash(&launch).await;
    let GuestEvent::Crashed(cause) = story.event(launch.id).await else { panic!("something else is told") };
    assert!(!cause.0.is_empty(), "the cause is a sentence");
    let power = story.power(&launch).await;
    assert!(matches!(power, Power::Crashed(_) | Power::Off), "{power:?}");
    story.kill(launch.id).await;
    story.is_gone(&launch).await;
    story.told_nothing(&launch).await;
}

pub async fn many_at_once(story: &mut Story) {
    let fleet: Vec<_> = (0..story.bench.fleet()).map(|_| story.bench.launch()).collect();
    join_all(fleet.iter().map(|launch| story.start(launch))).await;
    for power in join_all(fleet.iter().map(|launch| story.power(launch))).await {
        assert_eq!(power, Power::Running);
    }
    let (killed, kept) = fleet.split_at(fleet.len() / 2);
    join_all(killed.iter().map(|launch| story.kill(launch.id))).await;
    join_all(killed.iter().map(|launch| story.is_gone(launch))).await;
    for power in join_all(kept.iter().map(|launch| story.power(launch))).await {
        assert_eq!(power, Power::Running, "others were killed, not this one");
    }
    join_all(kept.iter().map(|launch| story.kill(launch.id))).await;
    join_all(kept.iter().map(|launch| story.is_gone(launch))).await;
}
