//! One viewer, from its first byte to its last.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf},
    sync::mpsc,
    time::timeout,
};

use super::{Way, door::Connection};
use crate::{
    bytestream::{BLOCK_BYTES_MAX, Bytestream, Heard, Incoming, KNOCK_EVERY, Outgoing},
    failure::{Failure, Kind, Outcome},
};

/// Carries what a viewer and a screen say to each other until one of them leaves. Why it could not, or no
/// longer, is said to the person.
pub(super) async fn carry(way: Way, viewer: Connection) {
    let carried = async {
        let ticket = way.ticket().await?;
        // Known before it is open: its first block may come with the answer.
        let stanzas = way.streams.open(&ticket.sid);
        let carried = stream(&way, &ticket, viewer, stanzas).await;
        way.streams.close(&ticket.sid);
        carried
    };
    match carried.await {
        Ok(()) => {}
        // The viewer went away.
        Err(failure) if failure.kind == Kind::OutputClosed => {}
        Err(failure) => {
            failure.report();
        }
    }
}

async fn stream(
    way: &Way,
    ticket: &skerry_stanzas::reply::ScreenTicket,
    viewer: Connection,
    mut stanzas: mpsc::Receiver<minidom::Element>,
) -> Outcome<()> {
    let block = usize::try_from(ticket.block_bytes_max).unwrap_or(usize::from(u16::MAX)).min(u16::MAX.into());
    let (handle, peer) = (way.session.handle(), way.call.to.clone());
    let Bytestream { mut outgoing, mut incoming } =
        Bytestream::open(handle, peer, ticket.sid.clone(), block).await?;
    let (mut from, mut to) = tokio::io::split(viewer);
    let carried = tokio::select! {
        carried = up(&mut from, &mut outgoing) => carried,
        carried = down(&mut stanzas, &mut incoming, &mut to) => carried,
    };
    incoming.close().await;
    // So that a viewer says that it is over.
    to.shutdown().await.ok();
    carried
}

/// What the viewer says; what it says while a block is under way goes with the next.
async fn up(from: &mut ReadHalf<Connection>, to: &mut Outgoing) -> Outcome<()> {
    let mut said = vec![0; BLOCK_BYTES_MAX];
    loop {
        let count = match timeout(KNOCK_EVERY, from.read(&mut said)).await {
            Ok(Ok(0)) | Ok(Err(_)) => return Ok(()),
            Ok(Ok(count)) => count,
            // An agent that was killed says no goodbye.
            Err(_) => 0,
        };
        if !to.send(said.get(..count).unwrap_or_default()).await? {
            return Err(Failure::new(Kind::Refused, "the screen was closed from there"));
        }
    }
}

/// What the screen says; each block is acknowledged, and the next one taken once the viewer has this one.
async fn down(
    stanzas: &mut mpsc::Receiver<minidom::Element>,
    from: &mut Incoming,
    to: &mut WriteHalf<Connection>,
) -> Outcome<()> {
    while let Some(stanza) = stanzas.recv().await {
        match from.hear(&stanza).await? {
            Heard::Bytes(bytes) => to.write_all(&bytes).await?,
            Heard::Closed => return Err(Failure::new(Kind::Refused, "the screen was closed from there")),
            Heard::Nothing => {}
        }
    }
    Ok(())
}
