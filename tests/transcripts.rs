//! Every protocol transcript of tests/transcripts/, each as a test of its own.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{collections::BTreeSet, path::Path};

use skerry_stanzas::command::COMMANDS;
use skerry_tests::transcript::{asked, play};

macro_rules! transcripts {
    ($($name:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                let name = stringify!($name).replace('_', "-");
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("transcripts/{name}.txt"));
                if let Err(why) = play(&path).await {
                    panic!("{why:#}");
                }
            }
        )*

        /// A file that nobody names here would never be played.
        #[test]
        fn each_file_is_played() {
            let named: Vec<String> = vec![$(stringify!($name).replace('_', "-")),*];
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts");
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                assert!(named.contains(&name), "{} is not in tests/transcripts.rs", path.display());
            }
        }
    };
}

/// What no transcript asks for, and why. Not longer than it has to be.
const ELSEWHERE: &[(&str, &str)] = &[];

#[test]
fn every_command_is_in_a_transcript() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        found.extend(asked(&entry.unwrap().path()).unwrap());
    }
    for declaration in COMMANDS {
        let permission = declaration.permission();
        let excused = ELSEWHERE.iter().any(|(name, _)| *name == permission);
        assert_ne!(
            found.contains(&permission),
            excused,
            "{permission} is in no transcript, or is and need not be"
        );
    }
}

transcripts! {
    adhoc_bot,
    adhoc_confirm,
    adhoc_errors,
    adhoc_one_step,
    adhoc_sessions,
    adhoc_several_steps,
    adhoc_steps,
    alerts,
    approval,
    audit,
    caps,
    caps_forged,
    chat_asked_again,
    chat_commands,
    chat_file,
    chat_console,
    chat_confirm,
    chat_confirm_by_name,
    chat_hello_and_help,
    chat_ignored,
    chat_not_now,
    chat_progress,
    chat_restart,
    chat_stranger,
    chat_watch,
    console,
    definition,
    disks,
    devices,
    disco,
    farewell,
    firewall,
    guest_agent,
    guest_exec,
    host,
    hostile,
    images,
    layers,
    machine_life,
    metrics,
    metrics_slow,
    migrate,
    names,
    networks,
    nics,
    notify,
    numbers,
    presence_by_role,
    presence_reconnect,
    pubsub,
    quotas,
    rename,
    rights,
    screen,
    screen_upload,
    signing,
    simple,
    storage,
    together,
    single,
    single_delete,
    vnc,
}
