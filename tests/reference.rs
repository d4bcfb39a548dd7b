//! The pages of docs/ that are never written by hand: each is written from the code by a test here,
//! and a change of it is seen in review. `SKERRY_BLESS=1` writes them anew.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "reference/lifecycle.rs"]
mod lifecycle;

use skerry_tests::golden::golden;

#[test]
fn lifecycle_page() -> anyhow::Result<()> {
    golden("docs/lifecycle.md", &lifecycle::page())
}
