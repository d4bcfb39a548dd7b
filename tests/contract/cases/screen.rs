//! The screen and the keyboard.

use hypervisor_core::driver::screen::{Picture, keys};

use crate::story::{Story, not_running};

async fn picture(story: &Story, id: hypervisor_core::machine::MachineId) -> Picture {
    let driver = story.driver();
    story.goes_well("picture", driver.screen().unwrap().picture(id)).await
}

pub async fn shows_what_the_guest_draws(story: &mut Story) {
    let launch = story.listening().await;
    let picture = picture(story, launch.id).await;
    assert!(!picture.is_blank(), "{} × {} pixels of nothing", picture.width(), picture.height());
    story.kill(launch.id).await;
    story.leaves_nothing(&launch).await;
}

pub async fn stays_when_the_guest_is_held_still(story: &mut Story) {
    let launch = story.listening().await;
    let driver = story.driver();
    let Some(pause) = driver.pause() else { return };
    story.goes_well("pause", pause.pause(launch.id)).await;
    let held = picture(story, launch.id).await;
    assert!(!held.is_blank());
    assert_eq!(picture(story, launch.id).await, held);
}

pub async fn of_one_that_is_off_is_dark(story: &mut Story) {
    let launch = story.bench.launch();
    let driver = story.driver();
    let screen = driver.screen().unwrap();
    not_running("picture", screen.picture(launch.id).await);
    not_running("press", screen.press(launch.id, &keys::written("x").unwrap()).await);
}

pub async fn keys_reach_the_guest(story: &mut Story) {
    let launch = story.listening().await;
    let driver = story.driver();
    // Small and capital letters, digits, and what takes shift.
    let typed = "Skerry #1: {by} hand? \"Yes!\"";
    let chords = keys::written(&story.bench.at_the_keyboard(typed)).unwrap();
    story.goes_well("press", driver.screen().unwrap().press(launch.id, &chords)).await;
    story.shows(&launch, typed.as_bytes()).await;
}
