//! `skerry vnc web1`: the screen of a machine in any VNC viewer, through the servers.
//!
//! A port on loopback (or a unix socket) here takes viewers; each gets a ticket of its own from the host
//! and a bytestream (XEP-0047) that speaks RFB with the machine's screen. Nothing listens anywhere else.
//! Who may connect here is the same user, as the kernel says ([`door`]). A viewer asks for each picture,
//! and each block is acknowledged before the next, so that a slow link gives fewer pictures and nothing
//! piles up.

mod carry;
mod door;
mod viewer;

use std::{
    collections::HashMap,
    io::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use minidom::Element;
use serde_json::json;
use skerry_stanzas::{
    command::{Declaration, machine::Vnc},
    reply::ScreenTicket,
};
use tokio::{sync::mpsc, task::JoinSet};

use self::{
    door::{Address, Door},
    viewer::Viewer,
};
use crate::{
    call::{Call, Consent},
    cli::{Asked, Output},
    config::Config,
    failure::{Failure, Kind, Outcome},
    fleet::{Fleet, Machine},
    session::{Inbound, Session},
};

/// The most viewers at a time.
const VIEWERS_MAX: usize = 4;
/// Stanzas of one stream that may wait: the other side sends one block, and perhaps the end.
const WAITING_MAX: usize = 4;

static DECLARED: Declaration = Declaration::of::<Vnc>();

/// The open streams, by session id: where their stanzas go.
#[derive(Clone, Default)]
struct Streams(Arc<Mutex<HashMap<String, mpsc::Sender<Element>>>>);

impl Streams {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, mpsc::Sender<Element>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a stanza to the stream it is of. One of none, or of one that takes no more than was agreed, is
    /// nobody's.
    fn give(&self, stanza: Element) {
        let sid = stanza.children().next().and_then(|payload| payload.attr("sid")).unwrap_or_default();
        let to = self.lock().get(sid).cloned();
        if let Some(to) = to {
            // Full is only where the other side does not wait for us: its block is lost, and it notices.
            let _ = to.try_send(stanza);
        }
    }

    fn open(&self, sid: &str) -> mpsc::Receiver<Element> {
        let (give, take) = mpsc::channel(WAITING_MAX);
        self.lock().insert(sid.to_owned(), give);
        take
    }

    fn close(&self, sid: &str) {
        self.lock().remove(sid);
    }
}

/// What every viewer needs of the session.
#[derive(Clone)]
struct Way {
    session: Arc<Session>,
    streams: Streams,
    call: Call,
}

impl Way {
    /// A ticket, for one viewer.
    async fn ticket(&self) -> Outcome<ScreenTicket> {
        let reply = self.call.run(&self.session, Consent::Ask).await?.reply;
        serde_json::from_value(reply.json)
            .map_err(|_| Failure::new(Kind::Internal, "the host gave no ticket for its screen"))
    }
}

/// Lets viewers in until Ctrl-C, or until the one that was started has ended.
///
/// # Errors
/// The machine is not found, has no screen now, or there is no right to it; no port is free; or the
/// connection broke.
pub async fn run(asked: &Asked, config: &Config, output: Output) -> Outcome<()> {
    let Some(args) = &asked.vnc else { return Err(Failure::usage("this is not vnc")) };
    let [word] = asked.words.as_slice() else {
        return Err(
            Failure::usage("vnc shows the screen of one machine").hint("For example: skerry vnc web1")
        );
    };
    let mut session = Session::open(config, false).await?;
    let machine = Fleet::machine(&session, config, word).await?;
    let inbound = session.inbound();
    // Answers of the agent to our address reach us without presence; some servers want it all the same.
    session.appear().await?;
    let call = Call {
        to: machine.jid.clone(),
        node: machine.command_node(DECLARED.verb),
        declaration: &DECLARED,
        argv: asked.flags.clone(),
        together: None,
    };
    let way = Way { session: Arc::new(session), streams: Streams::default(), call };
    // Whatever stands in its way is said now, and not to a viewer.
    let ticket = way.ticket().await?;
    let door = Door::open(args).await?;
    say(&machine, &ticket, door.address(), output)?;
    let served = serve(&way, &door, inbound, viewer::start(args, door.address())?).await;
    drop(door);
    if let Ok(session) = Arc::try_unwrap(way.session) {
        session.close().await;
    }
    served
}

/// Where viewers find it.
fn say(machine: &Machine, ticket: &ScreenTicket, at: &Address, output: Output) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    match output {
        Output::Table => {
            let only = if ticket.view_only { ", to look and not to type" } else { "" };
            writeln!(
                out,
                "The screen of {} is at {at} for VNC viewers{only}. Ctrl-C ends it.",
                machine.name
            )?;
        }
        Output::Plain => writeln!(out, "{}", at.plain())?,
        Output::Json => {
            let mut json = at.json();
            json["machine"] = json!(machine.name);
            json["view_only"] = json!(ticket.view_only);
            writeln!(out, "{json}")?;
        }
    }
    Ok(out.flush()?)
}

async fn serve(
    way: &Way,
    door: &Door,
    mut inbound: mpsc::Receiver<Inbound>,
    mut viewer: Option<Viewer>,
) -> Outcome<()> {
    let mut viewers: JoinSet<()> = JoinSet::new();
    let ended = async {
        match &mut viewer {
            Some(viewer) => viewer.wait().await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(ended);
    loop {
        tokio::select! {
            event = inbound.recv() => match event {
                Some(Inbound::Stanza(stanza)) => way.streams.give(stanza),
                Some(Inbound::Up { .. }) => {}
                Some(Inbound::Down(why)) => {
                    return Err(Failure::unreachable(format!("the connection broke: {why}")));
                }
                None => return Err(Failure::unreachable("the connection ended")),
            },
            came = door.accept() => match came {
                Ok(_) if viewers.len() >= VIEWERS_MAX => {
                    eprintln!("skerry: a viewer was turned away: {VIEWERS_MAX} look already");
                }
                Ok(stream) => {
                    let way = way.clone();
                    viewers.spawn(async move { carry::carry(way, stream).await });
                }
                Err(why) => eprintln!("skerry: {why}"),
            },
            Some(_) = viewers.join_next() => {}
            status = &mut ended => {
                let status = status?;
                return match status.success() {
                    true => Ok(()),
                    false => Err(Failure::new(Kind::Refused, format!("the viewer ended with {status}"))),
                };
            }
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}
