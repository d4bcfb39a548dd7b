//! The screen and the keyboard.

use std::time::Duration;

use hypervisor_core::driver::{
    DriverError,
    screen::{Picture, keys},
};

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
    let pressed = driver.screen().unwrap().press(launch.id, &keys::written("x").unwrap()).await;
    let Err(DriverError::Unfit(why)) = pressed else { panic!("{pressed:?}") };
    assert_eq!(why, "its guest is paused, and takes no keys: resume it first");
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

pub async fn no_key_stays_down_when_whoever_pressed_it_is_gone(story: &mut Story) {
    let launch = story.listening().await;
    // Whoever presses shift ends a little later, wherever it is then: at last before it could let go.
    for after in (0..8).rev() {
        let (driver, id) = (story.driver(), launch.id);
        let pressing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                let shift = [keys::chord("shift").unwrap()];
                let pressed = driver.screen().unwrap().press(id, &shift);
                let _ = tokio::time::timeout(Duration::from_millis(after * 5), pressed).await;
            });
        });
        tokio::task::spawn_blocking(|| pressing.join().unwrap()).await.unwrap();
    }
    let driver = story.driver();
    let typed = "small";
    let chords = keys::written(&story.bench.at_the_keyboard(typed)).unwrap();
    story.goes_well("press", driver.screen().unwrap().press(launch.id, &chords)).await;
    story.shows(&launch, typed.as_bytes()).await;
}
