//! What people do in a new lab: the administrator makes the machines, and everybody with a role puts
//! hosts and machines on the contact list. Done as people would, through the server.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use minidom::Element;
use skerry_stanzas::{
    command::{COMMANDS, Object},
    ns,
};
use tokio::time::timeout;
use xmpp_parsers::jid::{BareJid, Jid};

use super::{
    record::Machine,
    site::{Site, User},
};
use crate::{
    call::{Call, Consent},
    config::Config,
    session::{Inbound, SHORT, Session},
    wire,
};

/// How many machines are being made at a time.
const MADE_AT_ONCE: usize = 32;

/// How long hosts and machines may take to accept somebody.
const ACCEPTANCE_MAX: Duration = Duration::from_secs(30);

/// Machines beyond this many are not put on contact lists: a list of thousands helps nobody.
const CONTACTS_MAX: usize = 50;

/// Makes `count` machines, `web1` and so on, spread evenly over the hosts.
pub(super) async fn make_machines(site: &Site, count: u32) -> Result<Vec<Machine>> {
    let Some(admin) = site.users.iter().find(|user| user.role() == "admin") else { return Ok(Vec::new()) };
    if count == 0 || site.hosts.is_empty() {
        return Ok(Vec::new());
    }
    let session = log_in(site, admin).await?.deaf();
    let made = (1..=count).zip(site.hosts.iter().cycle()).map(|(number, host)| {
        let (name, session) = (format!("web{number}"), &session);
        async move { make(session, &site.host_jid(host), site.is_account(host), name).await }
    });
    let made = stream::iter(made).buffered(MADE_AT_ONCE).try_collect().await;
    session.close().await;
    made
}

async fn make(session: &Session, host: &str, is_account: bool, name: String) -> Result<Machine> {
    let declaration = COMMANDS
        .iter()
        .find(|declaration| declaration.object == Object::Host && declaration.verb == "create")
        .context("there is no command create")?;
    let call = Call {
        to: Jid::new(host)?,
        node: declaration.verb.to_owned(),
        declaration,
        argv: vec![format!("--name={name}"), "--image=linux".to_owned()],
        together: None,
    };
    call.run(session, Consent::Given)
        .await
        .map_err(|why| anyhow!("the machine {name} could not be made on {host}: {why}"))?;
    let jid = match is_account {
        false => format!("{name}@{host}"),
        // Its host's address: it is named in the chat, and in the nodes of its commands.
        true => host.to_owned(),
    };
    Ok(Machine { jid, name, host: host.to_owned() })
}

/// Puts the hosts, and the machines that have addresses of their own, on everybody's contact list.
pub(super) async fn make_contacts(site: &Site, machines: &[Machine]) -> Result<()> {
    let hosts = site.hosts.iter().map(|host| site.login(host));
    let own = machines.iter().filter(|machine| machine.jid != machine.host).take(CONTACTS_MAX);
    let contacts: BTreeSet<BareJid> = hosts
        .chain(own.map(|machine| machine.jid.clone()))
        .map(|jid| BareJid::new(&jid).with_context(|| format!("{jid} is no address")))
        .collect::<Result<_>>()?;
    if contacts.is_empty() {
        return Ok(());
    }
    for user in site.users.iter().filter(|user| !user.is_stranger()) {
        let mut session = log_in(site, user).await?;
        let befriended = befriend(&mut session, contacts.clone()).await;
        session.close().await;
        befriended.with_context(|| format!("the contact list of {}", user.name))?;
    }
    Ok(())
}

/// Asks each for its presence (RFC 6121 §3.1), lets each see ours when it asks back, and waits until all
/// have done both: a question that nobody answered would come to every client that logs in later.
async fn befriend(session: &mut Session, mut contacts: BTreeSet<BareJid>) -> Result<()> {
    let mut inbound = session.inbound();
    // Only who has asked for the contact list hears of its changes (RFC 6121 §2.2).
    let roster = || wire::get(None, Element::bare("query", wire::ROSTER));
    let list = session.ask(roster(), SHORT).await.context("the contact list cannot be had")?;
    let mut asking = contacts.clone();
    for item in list.iter().flat_map(Element::children) {
        let seen_by = matches!(item.attr("subscription"), Some("from" | "both"));
        asking.retain(|contact| !seen_by || item.attr("jid") != Some(contact.as_str()));
    }
    session.appear().await?;
    for contact in &contacts {
        let to_them = [("type", "subscribe"), ("to", contact.as_str())];
        session.send(wire::element("presence", ns::CLIENT, &to_them)).await?;
    }
    let all = async {
        while !contacts.is_empty() || !asking.is_empty() {
            let Some(inbound) = inbound.recv().await else { bail!("the connection ended") };
            let Inbound::Stanza(stanza) = inbound else { continue };
            let from = stanza.attr("from").and_then(|from| Jid::new(from).ok());
            let (Some(from), "presence") = (from, stanza.name()) else { continue };
            match stanza.attr("type") {
                Some("subscribed") => drop(contacts.remove(&from.to_bare())),
                Some("subscribe") if asking.remove(&from.to_bare()) => {
                    let to_them = [("type", "subscribed"), ("to", from.as_str())];
                    session.send(wire::element("presence", ns::CLIENT, &to_them)).await?;
                }
                _ => {}
            }
        }
        // What was sent before this is answered has been done.
        session.ask(roster(), SHORT).await.context("the contact list cannot be had")?;
        Ok(())
    };
    match timeout(ACCEPTANCE_MAX, all).await {
        Ok(befriended) => befriended,
        Err(_) => {
            contacts.append(&mut asking);
            let left: Vec<&str> = contacts.iter().map(|contact| contact.as_str()).collect();
            bail!("not accepted within {} s by {}", ACCEPTANCE_MAX.as_secs(), left.join(", "))
        }
    }
}

/// Logs in with the file that `skerry --config` is given.
async fn log_in(site: &Site, user: &User) -> Result<Session> {
    let config = Config::load(Some(&site.user_configuration(user)))?;
    Session::open(&config, false).await.with_context(|| format!("{} cannot log in", user.name))
}
