//! `skerry events`: what happened on the hosts, and what happens, in order and without gaps.
//!
//! First the subscription, then the replay, then what is told: nothing falls between. Each host counts
//! its events; a number that is left out is fetched, and when it is gone there too, the gap is shown.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod line;
mod order;
mod reader;

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use self::reader::Reader;
use crate::{
    cli::{EventsArgs, Output},
    config::Config,
    failure::{Failure, Outcome},
    fleet::Fleet,
    pubsub::{self, Wanted},
    session::{Inbound, Session},
};

/// How many events are shown when nobody says.
const LAST: usize = 20;
/// How often subscriptions are renewed; an agent that was restarted is heard again after this at the
/// latest, with all that happened meanwhile.
const RENEWED_EVERY: Duration = Duration::from_secs(30);
/// How soon a host is asked again that was away, as after a break that was the server's.
const RETRIED_AFTER: Duration = Duration::from_secs(3);
/// How long leaving may take: somebody pressed Ctrl-C.
const LEAVING_MAX: Duration = Duration::from_secs(2);

/// Shows events.
///
/// # Errors
/// No host can be asked, or nobody reads what is shown.
pub async fn run(args: &EventsArgs, config: &Config, output: Output) -> Outcome<()> {
    let mut session = Session::open(config, args.follow).await?;
    let inbound = session.inbound();
    let hosts = Fleet::hosts_named(&session, config, &args.hosts).await?;
    let wanted = match (args.since, args.last) {
        (Some(since), _) => Wanted::Since(since),
        (None, Some(last)) => Wanted::Last(last),
        (None, None) => Wanted::Last(if args.follow { 0 } else { LAST }),
    };
    let mut reader = Reader::new(&session, hosts, wanted, output, std::io::stdout());
    let result = if args.follow {
        tokio::select! {
            result = follow(&mut reader, &session, inbound) => result,
            // The ordinary way to leave.
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    } else {
        drop(inbound);
        reader.replay().await
    };
    if args.follow {
        // Bound to this session, which ends now: whether it is heard is no matter.
        tokio::time::timeout(LEAVING_MAX, reader.unsubscribe()).await.ok();
    }
    session.close().await;
    result
}

/// Shows what is kept, then what happens, for ever.
async fn follow(
    reader: &mut Reader<'_, impl std::io::Write>,
    session: &Session,
    mut inbound: mpsc::Receiver<Inbound>,
) -> Outcome<()> {
    session.appear().await?;
    reader.subscribe().await?;
    reader.replay().await?;
    let mut broken = false;
    let mut due = Instant::now() + RENEWED_EVERY;
    loop {
        let inbound = tokio::select! {
            inbound = inbound.recv() => inbound,
            () = sleep_until(due), if !broken => {
                let all = reader.catch_up().await?;
                due = Instant::now() + if all { RENEWED_EVERY } else { RETRIED_AFTER };
                continue;
            }
        };
        match inbound {
            Some(Inbound::Stanza(stanza)) => {
                let complete = match pubsub::told(&stanza) {
                    Some((from, events)) => reader.tell(&from, events).await?,
                    // A host that appears may be an agent that was restarted and knows nothing of us.
                    None => !reader.is_presence_of_host(&stanza),
                };
                if !complete {
                    due = due.min(Instant::now() + RETRIED_AFTER);
                }
            }
            // Each try that fails is told here; a person wants to hear of the break once.
            Some(Inbound::Down(_)) if broken => {}
            Some(Inbound::Down(why)) => {
                broken = true;
                eprintln!("skerry: the connection broke ({why}); coming back …");
            }
            Some(Inbound::Up { fresh }) => {
                broken = false;
                eprintln!("skerry: connected again");
                if fresh {
                    // When it breaks again just now, the next time is another one.
                    session.appear().await.ok();
                    due = Instant::now();
                }
            }
            None => return Err(Failure::unreachable("the connection ended")),
        }
    }
}
