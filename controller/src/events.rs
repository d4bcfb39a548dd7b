//! `skerry events`: what happened on the hosts, and what happens, in order and without gaps.
//!
//! First the subscription, then the replay, then what is told: nothing falls between. Each host counts
//! its events; a number that is left out is fetched, and when it is gone there too, the gap is shown.

mod line;
mod order;

use std::{io::Write, time::Duration};

use futures::{StreamExt as _, stream};
use tokio::sync::mpsc;

use self::{
    line::Line,
    order::{Next, Order},
};
use crate::{
    cli::{EventsArgs, Output},
    config::Config,
    failure::{Failure, Outcome},
    fleet::{Fleet, Host},
    name::{Among, Meant, resolve},
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
/// How many hosts are asked at a time.
const HOSTS_AT_ONCE: usize = 16;

/// Shows events.
///
/// # Errors
/// No host can be asked, or nobody reads what is shown.
pub async fn run(args: &EventsArgs, config: &Config, output: Output) -> Outcome<()> {
    let mut session = Session::open(config, args.follow).await?;
    let inbound = session.inbound();
    let hosts = hosts(args, config, &session).await?;
    let wanted = match (args.since, args.last) {
        (Some(since), _) => Wanted::Since(since),
        (None, Some(last)) => Wanted::Last(last),
        (None, None) => Wanted::Last(if args.follow { 0 } else { LAST }),
    };
    let mut out = std::io::stdout();
    let result = if args.follow {
        tokio::select! {
            result = follow(&session, inbound, &hosts, wanted, output, &mut out) => result,
            // The ordinary way to leave.
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    } else {
        drop(inbound);
        replay(&session, &hosts, wanted, output, &mut out).await.map(drop)
    };
    if args.follow {
        for host in &hosts {
            // Bound to this session, which ends now: whether it is heard is no matter.
            pubsub::unsubscribe(&session, host).await.ok();
        }
    }
    session.close().await;
    result
}

async fn hosts(args: &EventsArgs, config: &Config, session: &Session) -> Outcome<Vec<Host>> {
    let fleet = Fleet::hosts(session, config).await?;
    fleet.warn_of_away();
    if fleet.hosts.is_empty() {
        return Err(fleet.nobody());
    }
    if args.hosts.is_empty() {
        return Ok(fleet.hosts);
    }
    let named = args.hosts.iter().map(|word| match resolve(word, Among::Hosts, &fleet)? {
        Meant::Host(host) => Ok(host),
        Meant::Machine(_) => Err(Failure::usage(format!("{word} is no host"))),
    });
    named.collect()
}

/// Shows what is kept, merged by time, and gives each host's place in its count.
async fn replay(
    session: &Session,
    hosts: &[Host],
    wanted: Wanted,
    output: Output,
    out: &mut impl Write,
) -> Outcome<Vec<Order>> {
    let kept: Vec<(Host, Outcome<Vec<_>>)> = stream::iter(hosts.to_vec())
        .map(|host| async {
            // At least one, so that the count is known and a later gap is seen.
            let asked = match wanted {
                Wanted::Last(last) => Wanted::Last(last.max(1)),
                since => since,
            };
            let events = pubsub::events(session, &host, asked).await;
            (host, events)
        })
        .buffered(HOSTS_AT_ONCE)
        .collect()
        .await;
    let mut orders = Vec::new();
    let mut lines = Vec::new();
    for (host, events) in kept {
        let events = match events {
            Ok(events) => events,
            Err(failure) if hosts.len() > 1 => {
                eprintln!("skerry: {}: {failure}", host.name);
                orders.push(Order::anywhere());
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let mut order = match wanted {
            Wanted::Since(since) => Order::after(since),
            Wanted::Last(_) => Order::anywhere(),
        };
        for event in events {
            if let Next::Gap { from, to } = order.take(&event) {
                lines.push(Line::gap(&host, from, to, event.at));
            }
            lines.push(Line::event(&host, event));
        }
        orders.push(order);
    }
    lines.sort_by_key(|line| line.at);
    if wanted == Wanted::Last(0) {
        lines.clear();
    }
    for line in lines {
        line.show(out, output)?;
    }
    Ok(orders)
}

async fn follow(
    session: &Session,
    mut inbound: mpsc::Receiver<Inbound>,
    hosts: &[Host],
    wanted: Wanted,
    output: Output,
    out: &mut impl Write,
) -> Outcome<()> {
    subscribe(session, hosts).await?;
    let mut orders = replay(session, hosts, wanted, output, out).await?;
    let mut broken = false;
    let mut renewal = tokio::time::interval(RENEWED_EVERY);
    loop {
        let inbound = tokio::select! {
            inbound = inbound.recv() => inbound,
            _ = renewal.tick() => {
                if !catch_up(session, hosts, &mut orders, output, out).await? {
                    renewal.reset_after(RETRIED_AFTER);
                }
                continue;
            }
        };
        match inbound {
            Some(Inbound::Stanza(stanza)) => {
                let Some((from, events)) = pubsub::told(&stanza) else { continue };
                // Anybody can send such a message; only a host's own counts.
                let Some(at) = hosts.iter().position(|host| host.jid.to_bare() == from) else { continue };
                for event in events {
                    tell(session, &hosts[at], &mut orders[at], event, output, out).await?;
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
                    session.appear().await?;
                    renewal.reset_immediately();
                }
            }
            None => return Err(Failure::unreachable("the connection ended")),
        }
    }
}

async fn subscribe(session: &Session, hosts: &[Host]) -> Outcome<()> {
    session.appear().await?;
    let mut heard = 0;
    let mut last = None;
    for host in hosts {
        match pubsub::subscribe(session, host).await {
            Ok(()) => heard += 1,
            Err(failure) => {
                eprintln!("skerry: {} does not tell us its events: {failure}", host.name);
                last = Some(failure);
            }
        }
    }
    match last {
        Some(failure) if heard == 0 => Err(failure),
        _ => Ok(()),
    }
}

/// One event that was told, and those before it that were not.
async fn tell(
    session: &Session,
    host: &Host,
    order: &mut Order,
    event: skerry_stanzas::payload::Event,
    output: Output,
    out: &mut impl Write,
) -> Outcome<()> {
    if let Some(since) = order.missing_before(&event) {
        // What cannot be fetched is a gap, which the next lines show.
        let missed = pubsub::events(session, host, Wanted::Since(since)).await.unwrap_or_default();
        for missed in missed.into_iter().filter(|missed| missed.sequence < event.sequence) {
            show(host, order, missed, output, out)?;
        }
    }
    show(host, order, event, output, out)
}

fn show(
    host: &Host,
    order: &mut Order,
    event: skerry_stanzas::payload::Event,
    output: Output,
    out: &mut impl Write,
) -> Outcome<()> {
    match order.take(&event) {
        Next::Seen => return Ok(()),
        Next::Gap { from, to } => Line::gap(host, from, to, event.at).show(out, output)?,
        Next::InOrder => {}
    }
    Line::event(host, event).show(out, output)
}

/// Subscribes again and fetches what was missed: a subscription of one session ends with the agent,
/// and with a break of ours. Whether all hosts did it; one that is away is asked again the next time.
async fn catch_up(
    session: &Session,
    hosts: &[Host],
    orders: &mut [Order],
    output: Output,
    out: &mut impl Write,
) -> Outcome<bool> {
    let mut all = true;
    for (host, order) in hosts.iter().zip(orders) {
        if pubsub::subscribe(session, host).await.is_err() {
            all = false;
            continue;
        }
        let wanted = order.last().map_or(Wanted::Last(1), Wanted::Since);
        for event in pubsub::events(session, host, wanted).await.unwrap_or_default() {
            show(host, order, event, output, out)?;
        }
    }
    Ok(all)
}
