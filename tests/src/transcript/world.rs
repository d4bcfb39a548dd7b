//! The stage of a transcript: a whole agent with fake machines, and a played server.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, ensure};
use async_trait::async_trait;
use hypervisor_core::{
    definition::{Boot, Definition},
    driver::fake::{Fake, Faults},
};
use minidom::{
    Element,
    rxml::{Namespace, NcName},
};
use skerry_agent::{
    agent::Agent,
    asked::{Answer, Asked, Door, Target},
    config::Config,
    face::{Face, Wire},
};
use skerry_link::{Ask, LinkEvent, SendError};
use skerry_stanzas::command::{COMMANDS, Declaration, Object};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use xmpp_parsers::jid::Jid;

use super::script::{Person, Script};

/// The address of the one who asks whether all is done.
const BARRIER: &str = "barrier@server.test/b";

/// The played server: what the faces send comes out of `sent`, what they ask waits in `asked`.
struct Stage {
    sent: mpsc::UnboundedSender<Element>,
    asked: Mutex<HashMap<String, oneshot::Sender<Element>>>,
}

#[async_trait]
impl Wire for Stage {
    async fn send(&self, stanza: Element) -> Result<(), SendError> {
        self.sent.send(stanza).map_err(|_| SendError::Closed)
    }

    async fn ask(&self, mut iq: Element, patience: Duration) -> Result<Element, Ask> {
        let (answer, answered) = oneshot::channel();
        {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            let id = format!("asked-{}", asked.len() + 1);
            set(&mut iq, "id", &id);
            asked.insert(id, answer);
        }
        self.send(iq).await?;
        let answer = tokio::time::timeout(patience, answered).await.map_err(|_| Ask::TimedOut(patience))?;
        let answer = answer.map_err(|_| Ask::NotSent(SendError::Down))?;
        match answer.attr("type") {
            Some("error") => Err(Ask::Refused(Box::new(answer))),
            _ => Ok(answer),
        }
    }
}

fn set(element: &mut Element, name: &str, value: &str) {
    if let Ok(name) = NcName::try_from(name) {
        element.set_attr(Namespace::NONE, name, value);
    }
}

/// Everything a transcript plays on.
pub(super) struct World {
    people: Vec<Person>,
    own: Jid,
    script: Script,
    config: std::path::PathBuf,
    agent: Agent,
    driver: Faults,
    face: Arc<Face>,
    stage: Arc<Stage>,
    events: mpsc::Sender<LinkEvent>,
    sent: mpsc::UnboundedReceiver<Element>,
    inboxes: HashMap<String, VecDeque<Element>>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
    barriers: u32,
    _folder: tempfile::TempDir,
}

impl World {
    pub(super) async fn open(script: &Script) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        for file in ["secret", "vmlinuz"] {
            std::fs::write(folder.path().join(file), "s3cret\n")?;
        }
        let config = folder.path().join("agent.toml");
        let people: Vec<Person> = script
            .people
            .iter()
            .map(|one| Person { name: one.name.clone(), jid: one.jid.clone(), role: one.role.clone() })
            .collect();
        std::fs::write(&config, toml(folder.path(), script, &people))?;
        std::fs::write(folder.path().join("keys"), script.keys.join("\n"))?;
        let imports = folder.path().join("state/import");
        std::fs::create_dir_all(&imports)?;
        for disk in &script.disks {
            std::fs::File::create(imports.join(disk))?.set_len(1 << 20)?;
        }
        let fake = Fake::new();
        let driver = fake.faults();
        if let Some(name) = &script.foreign {
            let boot = Boot::Kernel { kernel: "/boot/vmlinuz".into(), initrd: None, cmdline: String::new() };
            driver.foreign(name, Definition::new(1, 64, boot));
        }
        let agent = Agent::open(Config::load(&config)?, vec![Arc::new(fake)]).await?;
        let (sent, outbox) = mpsc::unbounded_channel();
        let stage = Arc::new(Stage { sent, asked: Mutex::default() });
        if let Some(admin) = people.iter().find(|person| person.role == "admin") {
            for (name, running) in &script.machines {
                make(&agent, &admin.jid, name, *running).await?;
            }
        }
        let face = Face::new(agent.clone(), Arc::clone(&stage) as Arc<dyn Wire>).await?;
        let (events, happening) = mpsc::channel(1024);
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn({
            let face = Arc::clone(&face);
            async move {
                let stopped = async move { drop(stopped.await) };
                face.serve(happening, |_| {}, stopped).await;
            }
        });
        let own = agent.addresses().host();
        let mut world = Self {
            people,
            own,
            script: script.clone(),
            config,
            agent,
            driver,
            face,
            stage,
            events,
            sent: outbox,
            inboxes: HashMap::new(),
            stop: Some(stop),
            serving,
            barriers: 0,
            _folder: folder,
        };
        world.link("up").await?;
        Ok(world)
    }

    /// A stanza with the sender the server would vouch for.
    pub(super) fn stamp(&self, person: &str, mut stanza: Element) -> anyhow::Result<Element> {
        let one = self.people.iter().find(|one| one.name == person);
        match (stanza.attr("from"), one) {
            (None, Some(one)) => set(&mut stanza, "from", &one.jid),
            (None, None) => ensure!(person == "server", "there is no {person}"),
            (Some(""), _) => {
                let kept = stanza.attrs().iter().filter(|((_, name), _)| name.as_str() != "from");
                let kept: Vec<(String, String)> =
                    kept.map(|((_, name), value)| (name.to_string(), value.clone())).collect();
                stanza.attrs_mut().clear();
                for (name, value) in kept {
                    set(&mut stanza, &name, &value);
                }
            }
            (Some(_), _) => {}
        }
        Ok(stanza)
    }

    /// Gives the faces a stanza; or the answer to what they asked.
    pub(super) async fn send(&mut self, stanza: Element) -> anyhow::Result<()> {
        if stanza.name() == "iq" && matches!(stanza.attr("type"), Some("result" | "error")) {
            let id = stanza.attr("id").unwrap_or_default().to_owned();
            let asked = self.stage.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            if let Some(asked) = asked {
                drop(asked.send(stanza));
                return Ok(());
            }
        }
        self.events.send(LinkEvent::Stanza(stanza)).await.context("the faces ended")
    }

    /// The next stanza for somebody.
    pub(super) async fn next_for(&mut self, person: &str) -> anyhow::Result<Element> {
        loop {
            if let Some(stanza) = self.inboxes.get_mut(person).and_then(VecDeque::pop_front) {
                return Ok(stanza);
            }
            let stanza = self.sent.recv().await.context("the faces ended")?;
            self.deliver(stanza);
        }
    }

    fn deliver(&mut self, stanza: Element) {
        let to = stanza.attr("to").and_then(|to| Jid::new(to).ok());
        let name = match to {
            None => "server".to_owned(),
            Some(to) if to.to_string() == BARRIER => "barrier".to_owned(),
            Some(to) => {
                let person = self
                    .people
                    .iter()
                    .find(|one| Jid::new(&one.jid).is_ok_and(|jid| jid == to || jid.to_bare() == to));
                person.map_or_else(|| to.to_string(), |one| one.name.clone())
            }
        };
        self.inboxes.entry(name).or_default().push_back(stanza);
    }

    /// What is there for somebody once everything sent so far was read.
    pub(super) async fn quiet(&mut self, person: &str) -> anyhow::Result<Option<Element>> {
        self.barriers += 1;
        let id = format!("barrier-{}", self.barriers);
        let own = self.own.to_string();
        let ping = format!(
            "<iq xmlns='jabber:client' type='get' id='{id}' from='{BARRIER}' to='{own}'>\
             <ping xmlns='urn:xmpp:ping'/></iq>"
        );
        self.send(ping.parse()?).await?;
        while self.next_for("barrier").await?.attr("id") != Some(&id) {}
        Ok(self.inboxes.get_mut(person).and_then(VecDeque::pop_front))
    }

    pub(super) async fn set_role(&mut self, person: &str, role: &str) -> anyhow::Result<()> {
        let one = self.people.iter_mut().find(|one| one.name == person);
        one.with_context(|| format!("there is no {person}"))?.role = role.to_owned();
        let folder = self.config.parent().context("a file is in a folder")?;
        std::fs::write(&self.config, toml(folder, &self.script, &self.people))?;
        self.agent.reload(Config::load(&self.config)?)?;
        let face = Arc::clone(&self.face);
        // It may ask the server something, which the transcript answers.
        tokio::spawn(async move { face.apply_roles().await });
        Ok(())
    }

    pub(super) fn driver_takes(&self, time: Duration) {
        self.driver.slow(time);
    }

    pub(super) async fn link(&mut self, what: &str) -> anyhow::Result<()> {
        let event = match what {
            "down" => LinkEvent::Down { why: "cut".into(), retry_in: None },
            _ => LinkEvent::Up { jid: self.own.clone(), resumed: what == "resumed" },
        };
        self.events.send(event).await.context("the faces ended")
    }

    pub(super) async fn close(mut self) {
        if let Some(stop) = self.stop.take() {
            let _gone = stop.send(());
        }
        drop(self.serving.await);
        self.face.close().await;
    }
}

fn toml(folder: &std::path::Path, script: &Script, people: &[Person]) -> String {
    let folder = folder.display();
    let link = match script.component {
        true => "kind = \"component\"\njid = \"kvm1.example.org\"",
        false => "kind = \"single\"\njid = \"kvm1@example.org\"",
    };
    let role = |role: &str| {
        let people = people.iter().filter(|person| person.role == role);
        let people: Vec<String> = people
            .filter_map(|person| Some(format!("\"{}\"", Jid::new(&person.jid).ok()?.to_bare())))
            .collect();
        format!("{role} = [{}]", people.join(", "))
    };
    let peers = script.peer.iter().map(|(name, jid)| {
        format!("[peers]\n{name} = \"{jid}\"\n[migration]\nlisten = \"127.0.0.1\"\nports = \"20000-40000\"\n")
    });
    let peers: String = peers.collect();
    format!(
        "name = \"kvm1\"\nstate = \"{folder}/state\"\n[link]\n{link}\nserver = \"127.0.0.1:1\"\n\
         secret_file = \"{folder}/secret\"\n[roles]\n{}\n{}\n{}\n{peers}[files]\nallow = [\"/usr/share\"]\n[drivers]\nenabled = [\"fake\"]\n\
         [audit]\npublish = {}\n[images.linux]\nkernel = \"{folder}/vmlinuz\"\nabout = \"a small Linux\"\n",
        role("admin"),
        role("operator"),
        role("viewer"),
        // On an account a head goes out when a second is over: in no order with what else does.
        script.component
    )
}

/// Makes a machine, as an admin would.
async fn make(agent: &Agent, admin: &str, name: &str, running: bool) -> anyhow::Result<()> {
    let declaration = |object: Object, verb: &str| -> Option<&'static Declaration> {
        COMMANDS.iter().find(|declaration| declaration.object == object && declaration.verb == verb)
    };
    let create = declaration(Object::Host, "create").context("there is a create")?;
    let mut argv = vec![format!("--name={name}"), "--image=linux".to_owned()];
    if running {
        argv.push("--start".to_owned());
    }
    let asked = Asked {
        caller: Jid::new(admin)?,
        target: Target::Host,
        declaration: create,
        argv,
        door: Door::Adhoc,
        key: None,
        patience: Duration::from_secs(60),
        hops: Vec::new(),
        together: None,
        signature: None,
    };
    match agent.ask(asked, None).await {
        Answer::Done { .. } => Ok(()),
        other => anyhow::bail!("cannot make {name}: {other:?}"),
    }
}
