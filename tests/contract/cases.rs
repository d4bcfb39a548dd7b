//! The cases, by chapter. Each is a story that can be read alone.

pub mod adopt;
pub mod alter;
pub mod console;
pub mod devices;
pub mod disks;
pub mod events;
pub mod guest_agent;
pub mod layers;
pub mod life;
pub mod live;
pub mod migrate;
pub mod numbers;
pub mod pause;
pub mod reset;
pub mod restart;
pub mod screen;
pub mod snapshots;
pub mod trouble;
pub mod view;
