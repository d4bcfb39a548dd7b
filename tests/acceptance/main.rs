//! Real servers, real agents, real guests: the main job from outside, each test in a lab of its own.
//!
//! A test takes what it needs with [`skerry_tests::lab::Wanted`], asks as people and programs would,
//! and waits for what it expects, never for a time. `scripts/test acceptance` sets up what they need.
#![allow(clippy::unwrap_used, clippy::panic)]

mod agent_dies;
mod apart;
mod approval;
mod circles;
mod cli;
mod console_log;
mod debian;
mod evacuation;
mod federation;
mod flood;
mod following;
mod forged;
mod full_disk;
mod grants;
mod guest;
mod hostile;
mod laboratory;
mod layers;
mod load;
mod main_job;
mod migration;
mod migration_links;
mod networks;
mod not_let_in;
mod profanity;
mod prometheus;
mod quiesce;
mod races;
mod real_guests;
mod roles;
mod screen;
mod server_dies;
mod shares;
mod signing;
mod slixmpp;
mod storage;
mod together;
mod vnc;
mod witness;
