//! Changing a machine that runs as far as its driver can, once its new definition is stored.

use hypervisor_core::{
    definition::{Definition, Difference, Effective, Live, Network},
    driver::{Altered, DriverError},
};

use crate::machine::Card;

/// Makes a difference so where that can be done now, and says when it is in effect.
pub(super) async fn alter(card: &Card, runs: bool, difference: &Difference) -> String {
    match difference.effective {
        _ if !runs => Effective::Now.words().into(),
        Effective::Now => Effective::Now.words().into(),
        Effective::NextStart => Effective::NextStart.words().into(),
        Effective::Live(what) => now(card, what).await,
    }
}

async fn now(card: &Card, what: Live) -> String {
    let next_start = Effective::NextStart.words();
    let Some(driver) = card.driver.alter() else { return next_start.into() };
    match driver.alter(&card.launch(), what).await {
        Ok(Altered::Now) => Effective::Now.words().into(),
        Ok(Altered::Asked(why)) => format!("as soon as its guest does it: {why}"),
        Ok(Altered::NextStart(why)) => format!("{next_start}: {why}"),
        // It stopped just now: there is nothing to change any more.
        Err(DriverError::NotRunning) => Effective::Now.words().into(),
        Err(error) => {
            tracing::warn!(machine = %card.record().name, %error, ?what, "could not be changed while it runs");
            format!("{next_start}: {error}")
        }
    }
}

/// Asks once more for the devices that it is to have, and says since when it does.
pub(crate) async fn again(card: &Card, runs: bool) -> String {
    if runs { now(card, Live::Devices).await } else { Effective::Now.words().into() }
}

/// Makes all of it so that can be: what an agent that ended meanwhile may not have come to.
pub(crate) async fn catch_up(card: &Card) {
    for what in all(&card.record().definition) {
        now(card, what).await;
    }
}

/// Everything of a definition that may be changed while it runs.
fn all(definition: &Definition) -> Vec<Live> {
    let mut all = vec![Live::Memory, Live::Vcpus, Live::Devices];
    all.extend((0..definition.disks.len()).map(Live::Limits));
    all.extend((0..definition.nics.len()).map(Live::Link));
    let nics = definition.nics.iter().enumerate();
    all.extend(
        nics.filter(|(_, nic)| matches!(nic.network, Network::User { .. })).map(|(n, _)| Live::Forwards(n)),
    );
    all
}
