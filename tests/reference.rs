//! The pages of docs/ that are never written by hand: each is written from the code by a test here,
//! and a change of it is seen in review. `SKERRY_BLESS=1` writes them anew.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "reference/approvals.rs"]
mod approvals;
#[path = "reference/audit.rs"]
mod audit;
#[path = "reference/commands.rs"]
mod commands;
#[path = "reference/devices.rs"]
mod devices;
#[path = "reference/examples.rs"]
mod examples;
#[path = "reference/handover.rs"]
mod handover;
#[path = "reference/lifecycle.rs"]
mod lifecycle;
#[path = "reference/networks.rs"]
mod networks;
#[path = "reference/numbers.rs"]
mod numbers;
#[path = "reference/permissions.rs"]
mod permissions;
#[path = "reference/protocol.rs"]
mod protocol;
#[path = "reference/rights.rs"]
mod rights;
#[path = "reference/xml.rs"]
mod xml;

use skerry_tests::golden::golden;

#[test]
fn lifecycle_page() -> anyhow::Result<()> {
    golden("docs/lifecycle.md", &lifecycle::page())
}

#[test]
fn handover_page() -> anyhow::Result<()> {
    golden("docs/handover.md", &handover::page())
}

#[test]
fn commands_page() -> anyhow::Result<()> {
    golden("docs/commands.md", &commands::page())
}

#[test]
fn permissions_page() -> anyhow::Result<()> {
    golden("docs/permissions.md", &permissions::page())
}

#[test]
fn protocol_page() -> anyhow::Result<()> {
    golden("docs/protocol.md", &protocol::page())
}
