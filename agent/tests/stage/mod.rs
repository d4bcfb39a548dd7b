//! A stage for tests: an agent on the fake driver, in a folder of its own.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

pub mod ear;
pub mod signer;
pub mod web;

use std::{path::Path, sync::Arc, time::Duration};

use hypervisor_core::{
    driver::{
        Driver,
        fake::{Fake, FakeWorld, Faults},
    },
    machine::{MachineId, MachineName},
};
use skerry_agent::{
    agent::{Agent, Announcement, Event},
    asked::{Answer, Asked, Confirmation, Door, Target},
    config::Config,
};
use skerry_stanzas::{
    command::{COMMANDS, Declaration, Object},
    refusal::{Reason, Refusal},
    reply::REQUEST,
    words,
};
use tokio::sync::broadcast;
use xmpp_parsers::jid::Jid;

pub const ANN: &str = "ann@example.org/phone";
pub const OTTO: &str = "otto@example.org/desk";
pub const VERA: &str = "vera@example.org/tab";
pub const EVE: &str = "eve@elsewhere.org/x";

/// An agent, the world its machines live in, and its folder.
pub struct Stage {
    pub agent: Agent,
    pub world: FakeWorld,
    pub folder: tempfile::TempDir,
}

pub fn config(folder: &Path) -> Config {
    let config = config_of(folder);
    config.check().unwrap();
    config
}

/// The same, not looked at whether it is right.
pub fn config_of(folder: &Path) -> Config {
    let secret = folder.join("secret");
    std::fs::write(&secret, "hush\n").unwrap();
    let kernel = folder.join("vmlinuz");
    std::fs::write(&kernel, "kernel").unwrap();
    let text = format!(
        "name = \"kvm1\"\nstate = {:?}\n\
         [link]\nkind = \"component\"\njid = \"kvm1.example.org\"\nserver = \"127.0.0.1:5347\"\nsecret_file = {:?}\n\
         [roles]\nadmin = [\"ann@example.org\"]\noperator = [\"otto@example.org\"]\nviewer = [\"vera@example.org\"]\n\
         [drivers]\nenabled = [\"fake\"]\n\
         [images.linux]\nkernel = {:?}\ncmdline = \"console=ttyS0\"\nabout = \"a small Linux\"\n",
        folder.join("state").display().to_string(),
        secret.display().to_string(),
        kernel.display().to_string(),
    );
    Config::parse(&text, &folder.join("agent.toml")).unwrap()
}

/// Puts a small disk where the agent of this folder imports images from.
pub fn disk(folder: &Path, name: &str) {
    let imports = folder.join("state/import");
    std::fs::create_dir_all(&imports).unwrap();
    // Version 3, clusters of 64 KiB, 1 MiB: the tables follow in the next clusters.
    let mut image = vec![0_u8; 4 << 16];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"QFI\xfb\0\0\0\x03");
    put(20, &16_u32.to_be_bytes());
    put(24, &(1_u64 << 20).to_be_bytes());
    put(36, &1_u32.to_be_bytes());
    put(40, &(3_u64 << 16).to_be_bytes());
    put(48, &(1_u64 << 16).to_be_bytes());
    put(56, &1_u32.to_be_bytes());
    put(96, &4_u32.to_be_bytes());
    put(100, &104_u32.to_be_bytes());
    put(1 << 16, &(2_u64 << 16).to_be_bytes());
    for cluster in 0..4 {
        put((2 << 16) + 2 * cluster, &1_u16.to_be_bytes());
    }
    std::fs::write(imports.join(name), image).unwrap();
}

pub async fn stage() -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let world = FakeWorld::new();
    let agent = open(folder.path(), &world).await;
    Stage { agent, world, folder }
}

pub async fn open(folder: &Path, world: &FakeWorld) -> Agent {
    let drivers: Vec<Arc<dyn Driver>> = vec![Arc::new(Fake::on(world))];
    Agent::open(config(folder), drivers).await.unwrap()
}

pub fn declaration(object: Object, verb: &str) -> &'static Declaration {
    COMMANDS.iter().find(|d| d.object == object && d.verb == verb).unwrap()
}

pub fn name(name: &str) -> MachineName {
    MachineName::new(name).unwrap()
}

pub fn jid(text: &str) -> Jid {
    Jid::new(text).unwrap()
}

/// What `line` asks: "list" of the host, "web1: start" of a machine.
pub fn asked(caller: &str, line: &str) -> Asked {
    let (target, rest) = match line.split_once(": ") {
        Some((machine, rest)) => (Target::Machine(name(machine)), rest),
        None => (Target::Host, line),
    };
    let object = if target == Target::Host { Object::Host } else { Object::Machine };
    let mut split = words::joined(words::split(rest).unwrap());
    let declaration = declaration(object, &split.remove(0));
    Asked {
        caller: jid(caller),
        target,
        declaration,
        argv: words::arguments(declaration, &split).unwrap(),
        door: Door::Chat,
        key: None,
        patience: Duration::from_secs(30),
        hops: Vec::new(),
        together: None,
        signature: None,
    }
}

/// A description whose disk is this file.
pub fn ovf(disk: &str) -> String {
    format!(
        "<Envelope xmlns:ovf='http://schemas.dmtf.org/ovf/envelope/1'><References>\
         <File ovf:id='f' ovf:href='{disk}'/></References><DiskSection><Disk ovf:fileRef='f'/></DiskSection>\
         </Envelope>"
    )
}

impl Stage {
    pub async fn ask(&self, caller: &str, line: &str) -> Answer {
        // Like a chat: who hears how it goes waits for the end.
        let (hears, _) = tokio::sync::mpsc::channel(1);
        self.agent.ask(asked(caller, line), Some(hears)).await
    }

    pub async fn done(&self, caller: &str, line: &str) -> String {
        done(self.ask(caller, line).await)
    }

    pub async fn refused(&self, caller: &str, line: &str) -> Refusal {
        refused(self.ask(caller, line).await)
    }

    /// A destroying command, with the question answered by yes.
    pub async fn yes(&self, caller: &str, line: &str) -> Answer {
        let asked = asked(caller, line);
        let target = asked.target.clone();
        let question = question(self.agent.ask(asked, None).await);
        self.agent.confirm(&jid(caller), &target, Some(&question.code), Door::Chat, None, None).await
    }

    /// Puts a file where images are imported from.
    pub fn put(&self, name: &str, content: &[u8]) {
        std::fs::write(self.folder.path().join("state/import").join(name), content).unwrap();
    }

    /// Puts a small disk where images are imported from.
    pub fn image(&self, name: &str) {
        disk(self.folder.path(), name);
    }

    pub fn state(&self, machine: &str) -> String {
        self.agent.machine(&name(machine)).unwrap().state.word().into()
    }

    pub fn id(&self, machine: &str) -> MachineId {
        self.agent.machine(&name(machine)).unwrap().id
    }

    pub fn faults(&self) -> Faults {
        self.world.faults()
    }

    /// The agent ends as if killed by the store's measure, and another begins on the same world.
    pub async fn restart(self) -> Self {
        self.agent.close().await;
        drop(self.agent);
        let agent = open(self.folder.path(), &self.world).await;
        Self { agent, world: self.world, folder: self.folder }
    }
}

pub fn done(answer: Answer) -> String {
    match answer {
        Answer::Done { text, .. } => text,
        other => panic!("not done: {other:?}"),
    }
}

/// The code of the request that a command became.
#[track_caller]
pub fn code(answer: &Answer) -> String {
    match answer {
        Answer::Done { json, .. } if json[REQUEST].is_string() => json[REQUEST].as_str().unwrap().to_owned(),
        other => panic!("it asks nobody: {other:?}"),
    }
}

pub fn refused(answer: Answer) -> Refusal {
    match answer {
        Answer::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

pub fn question(answer: Answer) -> Confirmation {
    match answer {
        Answer::Confirm(confirmation) => confirmation,
        other => panic!("not asked back: {other:?}"),
    }
}

pub fn reason(answer: Answer) -> Reason {
    refused(answer).reason
}

/// Waits for the event of this name.
pub async fn event(from: &mut broadcast::Receiver<Announcement>, what: &str) -> Event {
    loop {
        if let Announcement::Event(event) = from.recv().await.unwrap()
            && event.what == what
        {
            return event;
        }
    }
}
