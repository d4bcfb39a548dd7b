//! All that can happen to two hosts that pass a machine on, gone through one by one.
//!
//! | what | how it is gone through |
//! |---|---|
//! | the network | a set of what was ever said; any of it may be heard at any time, any number of times |
//! | loss | what is never heard; and all at once may be lost, so that nothing counts on what was said |
//! | crashes | of either host, before and after each single effect of a step |
//! | people | call it off at any time, and have it moved again, here or back |
//! | the stream between the hypervisors | comes through, breaks, or comes through at one end only |
//! | a link that never comes back | see [`graph::Graph::ends_without_a_link`] |
//!
//! The broken machines in `mutants` show that what is looked for would be found.
#![allow(clippy::unwrap_used, clippy::panic)]

mod graph;
mod moves;
mod mutants;
mod world;

use self::world::{ANY, World};
use super::{Input, Standing, Step};

/// The machine that is gone through: the real one, or a broken one.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) step: fn(Standing, Input) -> Step,
    pub(super) recover: fn(Standing) -> Step,
}

const REAL: Rules = Rules { step: super::step, recover: super::recover };

/// Goes through everything that may follow; there must be more than so many worlds, or something is not gone
/// through any more.
fn go_through(start: World, worlds_min: usize) {
    let graph = graph::explore(REAL, start).unwrap_or_else(|found| panic!("{found}"));
    println!("{} worlds, {} ways", graph.len(), graph.ways());
    graph.ends_with_one_owner_that_runs().unwrap_or_else(|found| panic!("{found}"));
    graph.ends_without_a_link().unwrap_or_else(|found| panic!("{found}"));
    assert!(graph.len() > worlds_min, "only {}", graph.len());
}

#[test]
fn one_owner_at_every_instant_and_an_end_to_everything() {
    go_through(World::first(1, ANY), 5_000);
}

#[test]
fn what_is_left_of_one_attempt_does_no_harm_to_the_next() {
    go_through(World::first(2, 0), 50_000);
}

/// Some minutes in a debug build.
#[test]
#[ignore = "large: a million and a half worlds"]
fn nor_when_a_host_crashes_or_all_is_lost_twice() {
    go_through(World::first(2, 2), 1_000_000);
}

#[test]
fn undisturbed_it_is_the_others_with_the_next_epoch() {
    let mut world = World::first(1, ANY);
    world = moves::moves(&world, REAL).into_iter().find(|(m, _)| m.is_asked()).unwrap().1.unwrap();
    // Each word is heard once.
    while let Some((what, next)) =
        moves::moves(&world, REAL).into_iter().find(|(what, _)| what.is_fair() && !what.is_timer())
    {
        world = next.unwrap();
        if let moves::Move::Hears(at, message) = what {
            world = world.heard(at, message);
        }
    }
    assert_eq!(world.hosts[1].written, Standing::Owner { epoch: 2 });
    assert_eq!(world.hosts[0].written, Standing::Away { epoch: 2 });
    assert!(world.is_settled());
}
