//! What runs in the guest to do there what is asked from outside.

use std::time::Duration;

use hypervisor_core::{
    driver::{DriverError, guest_agent::Ran},
    machine::MachineId,
};

use crate::story::{Story, not_running};

async fn exec(story: &Story, id: MachineId, words: &[&str]) -> Result<Ran, DriverError> {
    let (driver, command) = (story.driver(), words.iter().map(ToString::to_string).collect::<Vec<_>>());
    let agent = driver.guest_agent().unwrap();
    story.happens("exec", agent.exec(id, &command, Duration::from_secs(60))).await
}

pub async fn runs_commands_without_a_shell(story: &mut Story) {
    let launch = story.listening().await;
    let ran = exec(story, launch.id, &["echo", "a  b", "$HOME", ";", "reboot"]).await.unwrap();
    assert_eq!(String::from_utf8(ran.output).unwrap(), "a  b $HOME ; reboot\n");
    assert_eq!((ran.code, ran.signal, ran.cut), (Some(0), None, false));
    assert_eq!(exec(story, launch.id, &["false"]).await.unwrap().code, Some(1));
}

pub async fn says_when_there_is_no_such_program(story: &mut Story) {
    let launch = story.listening().await;
    let refused = exec(story, launch.id, &["no-such-program"]).await;
    assert!(matches!(refused, Err(DriverError::Unfit(_))), "{refused:?}");
    assert_eq!(exec(story, launch.id, &["true"]).await.unwrap().code, Some(0), "and goes on");
}

pub async fn of_one_that_is_off_does_nothing(story: &mut Story) {
    let launch = story.bench.launch();
    not_running("exec", exec(story, launch.id, &["true"]).await);
}
