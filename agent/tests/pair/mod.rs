//! Two hosts on the fake driver, each with a folder and an agent of its own, which hear each other over unix
//! sockets instead of a server: so each may live in a process of its own, and die there.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use hypervisor_core::driver::{Driver, fake::Fake};
use serde_json::{Value, json};
use skerry_agent::{
    agent::Agent,
    config::Config,
    migration::{Peers, Unheard},
};
use skerry_stanzas::payload::{Handover, Share, migration::Plan, share::Answer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};
use xmpp_parsers::jid::Jid;

/// A host.
pub struct Host {
    pub agent: Agent,
    pub name: String,
    pub folder: PathBuf,
    /// False: nothing it says is heard, and it hears nothing.
    pub link: Arc<AtomicBool>,
    wire: Arc<Wire>,
    listens: JoinHandle<()>,
}

struct Wire {
    own: Jid,
    place: PathBuf,
    link: Arc<AtomicBool>,
    /// Where images go to instead of where they should.
    detour: std::sync::Mutex<Option<Detour>>,
    /// A word that is not heard.
    loses: std::sync::Mutex<Option<&'static str>>,
}

/// Makes of the port that an image is to be sent to another one.
pub type Detour = Box<dyn Fn(u16) -> u16 + Send>;

fn address(name: &str) -> Jid {
    Jid::new(&format!("{name}.example.org")).unwrap()
}

/// `place` has the folders of both.
pub fn config(place: &Path, name: &str) -> Config {
    let folder = place.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    for file in ["secret", "vmlinuz"] {
        std::fs::write(folder.join(file), "hush\n").unwrap();
    }
    let shared = place.join("shared");
    std::fs::create_dir_all(&shared).unwrap();
    let other = if name == "kvm1" { "kvm2" } else { "kvm1" };
    let text = format!(
        "name = \"{name}\"\nstate = {:?}\n\
         [link]\nkind = \"component\"\njid = \"{name}.example.org\"\nserver = \"127.0.0.1:5347\"\nsecret_file = {:?}\n\
         [roles]\nadmin = [\"ann@example.org\"]\nviewer = [\"vera@example.org\"]\n\
         [drivers]\nenabled = [\"fake\"]\n[peers]\n{other} = \"{other}.example.org\"\n\
         [migration]\nlisten = \"127.0.0.1\"\nports = \"20000-40000\"\n[files]\nallow = [{:?}]\n\
         [images.linux]\nkernel = {:?}\ncmdline = \"console=ttyS0\"\n",
        folder.join("state").display().to_string(),
        folder.join("secret").display().to_string(),
        shared.display().to_string(),
        folder.join("vmlinuz").display().to_string(),
    );
    let config = Config::parse(&text, &folder.join("agent.toml")).unwrap();
    config.check().unwrap();
    config
}

impl Host {
    pub async fn open(place: &Path, name: &str) -> Self {
        let config = config(place, name);
        let folder = place.join(name);
        let drivers: Vec<Arc<dyn Driver>> = vec![Arc::new(Fake::persistent(&folder.join("world")).unwrap())];
        let socket = place.join(format!("{name}.sock"));
        let _ = std::fs::remove_file(&socket);
        let agent = Agent::open(config, drivers).await.unwrap();
        let link = Arc::new(AtomicBool::new(true));
        let wire = Arc::new(Wire {
            own: address(name),
            place: place.into(),
            link: Arc::clone(&link),
            detour: std::sync::Mutex::default(),
            loses: std::sync::Mutex::default(),
        });
        let peers: std::sync::Weak<Wire> = Arc::downgrade(&wire);
        agent.peers_by(peers);
        let listener = UnixListener::bind(&socket).unwrap();
        let (hearing, up) = (agent.clone(), Arc::clone(&link));
        let listens = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if up.load(Ordering::SeqCst) {
                    tokio::spawn(hear(hearing.clone(), stream));
                }
            }
        });
        Self { agent, name: name.into(), folder, link, wire, listens }
    }

    pub async fn close(self) {
        self.listens.abort();
        self.agent.close().await;
    }

    /// From now on images it sends go there.
    pub fn detour(&self, detour: Detour) {
        *self.wire.detour.lock().unwrap() = Some(detour);
    }

    /// From now on this word of it is not heard.
    pub fn loses(&self, word: Option<&'static str>) {
        *self.wire.loses.lock().unwrap() = word;
    }

    /// The machine's state, if it is in the list.
    pub fn state(&self, machine: &str) -> Option<String> {
        let name = hypervisor_core::machine::MachineName::new(machine).unwrap();
        self.agent.machine(&name).map(|seen| seen.state.word().to_owned())
    }

    /// What its hypervisor does with machines, by the ledger it keeps: running or not, of those it has.
    pub fn lives(&self) -> Vec<String> {
        lives(&self.folder)
    }

    pub fn folders(&self) -> usize {
        std::fs::read_dir(self.folder.join("state/machines")).unwrap().count()
    }
}

/// The lives in a world's file, the last word on each machine counting.
pub fn lives(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("world")).unwrap_or_default();
    let mut lives = std::collections::BTreeMap::new();
    for line in text.lines() {
        let Ok(record) = serde_json::from_str::<Value>(line) else { continue };
        let id = record["id"].as_str().unwrap_or_default().to_owned();
        match record["what"].as_str() {
            Some("guest") => drop(lives.insert(id, record["life"].to_string())),
            Some("forgotten") => drop(lives.remove(&id)),
            _ => {}
        }
    }
    lives.into_values().filter(|life| life != "\"off\"").collect()
}

async fn hear(agent: Agent, mut stream: UnixStream) {
    let mut text = Vec::new();
    if stream.read_to_end(&mut text).await.is_err() {
        return;
    }
    let Ok(said) = serde_json::from_slice::<Value>(&text) else { return };
    let from = Jid::new(said["from"].as_str().unwrap()).unwrap();
    if said["kind"] == "share" {
        let share = Share {
            word: said["word"].as_str().unwrap().to_owned(),
            id: said["id"].as_str().unwrap().to_owned(),
            content: said["content"].as_str().unwrap().to_owned(),
        };
        let answer = agent.share_said(&from, &share).await;
        let _ = stream.write_all(json!({ "share": answer }).to_string().as_bytes()).await;
        return;
    }
    let part = |name: &str| said[name].as_str().unwrap().to_owned();
    let word = Handover {
        word: part("word"),
        machine: part("machine"),
        attempt: part("attempt"),
        epoch: said["epoch"].as_u64().unwrap(),
        content: part("content"),
    };
    let answer = match agent.is_peer(&from.to_bare()) {
        false => json!({"refused": "who are you?"}),
        true if part("kind") == "plan" => json!({"plan": agent.plan_for(&from, &word).await}),
        true => match agent.heard(&from, word).await {
            true => json!({"heard": true}),
            false => json!({"refused": "that makes no sense"}),
        },
    };
    let _ = stream.write_all(answer.to_string().as_bytes()).await;
}

impl Wire {
    async fn ask(&self, to: &Jid, kind: &str, word: Handover) -> Result<Value, Unheard> {
        if self.loses.lock().unwrap().is_some_and(|lost| lost == word.word) {
            return Err(Unheard::Lost);
        }
        let said = json!({
            "from": self.own.to_string(), "kind": kind, "word": word.word, "machine": word.machine,
            "attempt": word.attempt, "epoch": word.epoch, "content": word.content,
        });
        self.say_json(to, said).await
    }

    async fn say_json(&self, to: &Jid, said: Value) -> Result<Value, Unheard> {
        if !self.link.load(Ordering::SeqCst) {
            return Err(Unheard::Lost);
        }
        let name = to.domain().as_str().split('.').next().unwrap().to_owned();
        let asked = async {
            let mut stream = UnixStream::connect(self.place.join(format!("{name}.sock"))).await.ok()?;
            stream.write_all(said.to_string().as_bytes()).await.ok()?;
            stream.shutdown().await.ok()?;
            let mut text = Vec::new();
            stream.read_to_end(&mut text).await.ok()?;
            serde_json::from_slice::<Value>(&text).ok()
        };
        let answer = asked.await.ok_or(Unheard::Lost)?;
        match answer["refused"].as_str() {
            Some(why) => Err(Unheard::Refused(why.into())),
            None => Ok(answer),
        }
    }
}

#[async_trait]
impl Peers for Wire {
    async fn say(&self, to: &Jid, word: Handover) -> Result<(), Unheard> {
        self.ask(to, "say", word).await.map(drop)
    }

    async fn plan(&self, to: &Jid, word: Handover) -> Result<Plan, Unheard> {
        let answer = self.ask(to, "plan", word).await?;
        serde_json::from_value(answer["plan"].clone()).map_err(|_| Unheard::Refused("no plan".into()))
    }

    async fn share(&self, to: &Jid, word: Share) -> Result<Answer, Unheard> {
        let said = json!({
            "from": self.own.to_string(), "kind": "share", "word": word.word, "id": word.id,
            "content": word.content,
        });
        let answer = self.say_json(to, said).await?;
        let mut answer: Answer = serde_json::from_value(answer["share"].clone())
            .map_err(|_| Unheard::Refused("that makes no sense".into()))?;
        if let (Answer::Accepted { place }, Some(detour)) = (&mut answer, &*self.detour.lock().unwrap()) {
            place.port = detour(place.port);
        }
        Ok(answer)
    }
}

/// Waits until it is so; a test that waits in vain fails.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
