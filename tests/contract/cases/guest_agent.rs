//! What runs in the guest to do there what is asked from outside.

use std::time::Duration;

use hypervisor_core::{
    driver::{DriverError, GuestAgent, guest_agent::Ran},
    machine::MachineId,
};

use crate::story::{Story, not_running};

/// As long as a program may take that ends.
const WAIT: Duration = Duration::from_secs(60);

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

async fn exec(story: &Story, id: MachineId, command: &[&str]) -> Result<Ran, DriverError> {
    fed(story, id, command, b"").await
}

async fn fed(story: &Story, id: MachineId, command: &[&str], input: &[u8]) -> Result<Ran, DriverError> {
    let driver = story.driver();
    let agent = driver.guest_agent().unwrap();
    let command = words(command);
    let run = async { agent.wait(id, agent.begin(id, &command, input).await?, WAIT).await };
    story.happens("exec", run).await
}

async fn asks<T>(
    story: &Story,
    what: &str,
    ask: impl AsyncFnOnce(&dyn GuestAgent) -> Result<T, DriverError>,
) -> T {
    let driver = story.driver();
    story.goes_well(what, ask(driver.guest_agent().unwrap())).await
}

pub async fn runs_commands_without_a_shell(story: &mut Story) {
    let launch = story.listening().await;
    let ran = exec(story, launch.id, &["echo", "a  b", "$HOME", ";", "reboot"]).await.unwrap();
    assert_eq!(String::from_utf8(ran.output).unwrap(), "a  b $HOME ; reboot\n");
    assert_eq!((ran.code, ran.signal, ran.cut), (Some(0), None, false));
    assert_eq!(exec(story, launch.id, &["false"]).await.unwrap().code, Some(1));
    let read = fed(story, launch.id, &["cat"], b"in\xff\0\n").await.unwrap();
    assert_eq!(read.output, b"in\xff\0\n", "what it is given to read");
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
    let driver = story.driver();
    let agent = driver.guest_agent().unwrap();
    not_running("listens", agent.listens(launch.id).await);
    not_running("thaw", agent.thaw(launch.id).await);
}

/// The agent is restarted while a program runs: the next one asks the guest how it ended.
pub async fn a_program_is_found_again_by_its_number(story: &mut Story) {
    let launch = story.listening().await;
    let begin = async |agent: &dyn GuestAgent| agent.begin(launch.id, &words(&["echo", "still"]), b"").await;
    let number = asks(story, "begin", begin).await;
    story.restart().await;
    story.observe(&launch).await;
    let ran = asks(story, "its end", async |agent| agent.wait(launch.id, number, WAIT).await).await;
    assert_eq!(ran.output, b"still\n");
    let driver = story.driver();
    let again = driver.guest_agent().unwrap().ended(launch.id, number).await;
    assert!(matches!(again, Err(DriverError::Unfit(_))), "a guest tells an end once: {again:?}");
}

pub async fn files_are_written_and_read(story: &mut Story) {
    let launch = story.listening().await;
    let id = launch.id;
    let (path, first) = ("/root/kept", b"\0first\xff".repeat(50_000));
    asks(story, "write", async |agent| agent.write(id, path, &first, false).await).await;
    asks(story, "append", async |agent| agent.write(id, path, b"end", true).await).await;
    let whole = asks(story, "read", async |agent| agent.read(id, path, 0, 1 << 20).await).await;
    assert!(whole.ends && whole.bytes == [first.as_slice(), b"end"].concat());
    let from = first.len() as u64 - 2;
    let part = asks(story, "read a part", async |agent| agent.read(id, path, from, 4).await).await;
    assert_eq!((part.bytes.as_slice(), part.ends), (b"t\xffen".as_slice(), false));
    asks(story, "write again", async |agent| agent.write(id, path, b"short", false).await).await;
    let short = asks(story, "read again", async |agent| agent.read(id, path, 0, 100).await).await;
    assert_eq!(short.bytes, b"short");
    let driver = story.driver();
    let missing = driver.guest_agent().unwrap().read(id, "/there/is/none", 0, 1).await;
    assert!(matches!(missing, Err(DriverError::Unfit(_))), "{missing:?}");
}

pub async fn says_who_it_is_and_who_listens(story: &mut Story) {
    let launch = story.listening().await;
    let id = launch.id;
    assert!(asks(story, "listens", async |agent| agent.listens(id).await).await);
    let seen = asks(story, "describe", async |agent| agent.describe(id, WAIT).await).await;
    assert!(seen.agent.is_some() && seen.hostname.as_deref() == Some("guest"), "{seen:?}");
    let mut without = story.bench.launch();
    without.definition.guest_agent = false;
    story.boot(&without).await;
    let driver = story.driver();
    let agent = driver.guest_agent().unwrap();
    assert!(!story.goes_well("listens", agent.listens(without.id)).await);
    let refused = agent.begin(without.id, &words(&["true"]), b"").await;
    assert!(matches!(refused, Err(DriverError::Unfit(_))), "{refused:?}");
}

pub async fn what_is_not_used_is_given_back(story: &mut Story) {
    let launch = story.listening().await;
    // A guest without a file system on a disk has nothing to go through, and is not wrong to say so.
    let trimmed = asks(story, "trim", async |agent| agent.trim(launch.id, WAIT).await).await;
    assert!(trimmed.refused.is_none(), "{trimmed:?}");
    let off = story.bench.launch();
    let driver = story.driver();
    not_running("trim", driver.guest_agent().unwrap().trim(off.id, WAIT).await);
}

pub async fn nobody_is_given_a_password(story: &mut Story) {
    let launch = story.listening().await;
    let id = launch.id;
    let driver = story.driver();
    let nobody = driver.guest_agent().unwrap().set_password(id, "nobody-here", "x", false).await;
    assert!(matches!(nobody, Err(DriverError::Unfit(_))), "{nobody:?}");
}
