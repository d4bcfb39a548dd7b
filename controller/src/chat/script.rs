//! A talk without a terminal: each line of the input is a message; the next one is sent when the
//! answer is there. Answers go to stdout as they are.

use std::{io::Write as _, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    sync::mpsc,
};

use super::{
    Partner,
    incoming::{Incoming, incoming, receipt},
};
use crate::{
    failure::{Failure, Kind, Outcome},
    session::{Inbound, Session},
};

/// Talks until the input ends.
///
/// # Errors
/// No answer, not delivered, the connection broke, or nobody reads.
pub(super) async fn talk(
    session: &Session,
    mut inbound: mpsc::Receiver<Inbound>,
    partner: &Partner,
    patience: Duration,
) -> Outcome<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line?,
            _ = tokio::signal::ctrl_c() => return Err(Failure::new(Kind::Interrupted, "interrupted")),
        };
        let Some(line) = line else { return Ok(()) };
        if line.trim().is_empty() {
            continue;
        }
        // What came unasked for, before: shown, but no answer.
        while let Ok(earlier) = inbound.try_recv() {
            show(session, partner, earlier).await?;
        }
        session.send(partner.message(&line).1).await?;
        let answered = tokio::select! {
            answered = tokio::time::timeout(patience, answer(session, partner, &mut inbound)) => answered,
            _ = tokio::signal::ctrl_c() => return Err(Failure::new(Kind::Interrupted, "interrupted")),
        };
        answered.map_err(|_| {
            let patience = humantime::format_duration(patience);
            Failure::unreachable(format!("{} did not answer within {patience}", partner.name))
        })??;
    }
}

/// Shows what comes in up to the answer.
async fn answer(session: &Session, partner: &Partner, inbound: &mut mpsc::Receiver<Inbound>) -> Outcome<()> {
    while let Some(inbound) = inbound.recv().await {
        if show(session, partner, inbound).await? {
            return Ok(());
        }
    }
    Err(Failure::unreachable("the connection ended before the answer came"))
}

/// Shows one thing; whether it was an answer.
async fn show(session: &Session, partner: &Partner, inbound: Inbound) -> Outcome<bool> {
    let stanza = match inbound {
        Inbound::Stanza(stanza) => stanza,
        Inbound::Down(why) => return Err(Failure::unreachable(format!("the connection broke: {why}"))),
        Inbound::Up { .. } => return Ok(false),
    };
    match incoming(&stanza, partner) {
        Some(Incoming::Said(said)) => {
            if let Some(id) = &said.receipt {
                session.send(receipt(partner, id)).await?;
            }
            if said.interim {
                return Ok(false);
            }
            let mut out = std::io::stdout();
            writeln!(out, "{}", said.text)?;
            out.flush()?;
            Ok(true)
        }
        Some(Incoming::Undelivered(why)) => Err(Failure::unreachable(format!("not delivered: {why}"))),
        Some(Incoming::State(_) | Incoming::Arrived) | None => Ok(false),
    }
}
