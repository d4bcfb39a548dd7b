//! What may happen next.

use super::{
    super::{Attempt, Input, Message, Standing},
    Rules,
    world::{Broken, Guest, World, attempt},
};

/// One thing that may happen, to the host of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    Asked(usize),
    Performs(usize),
    Hears(usize, Message),
    Crashes(usize),
    ComesBack(usize),
    /// Its hypervisor says so.
    Told(usize, Input),
    Ticks(usize),
    GivesUp(usize),
    Completes(usize),
    Breaks(usize),
    BreaksAtOneEnd(usize),
    LosesAll,
}

impl Move {
    /// What goes on by itself when nothing goes wrong any more, and the other can be heard.
    pub(super) fn is_fair(self) -> bool {
        self.is_alone() || matches!(self, Self::Hears(..))
    }

    /// The same without hearing from the other.
    pub(super) fn is_alone(self) -> bool {
        match self {
            Self::Performs(_) | Self::ComesBack(_) | Self::Told(..) | Self::Ticks(_) => true,
            // A time that is over: of something that waits for what may have been lost.
            Self::GivesUp(_) | Self::Completes(_) => true,
            Self::Asked(_) | Self::Hears(..) | Self::Crashes(_) | Self::LosesAll => false,
            Self::Breaks(_) | Self::BreaksAtOneEnd(_) => false,
        }
    }

    pub(super) fn is_timer(self) -> bool {
        matches!(self, Self::Ticks(_) | Self::GivesUp(_)) || matches!(self, Self::Told(_, Input::Failed))
    }

    pub(super) fn is_asked(self) -> bool {
        matches!(self, Self::Asked(_))
    }
}

/// All that may happen in this world, and what becomes of it.
pub(super) fn moves(world: &World, rules: Rules) -> Vec<(Move, Result<World, Broken>)> {
    let mut found = Vec::new();
    for at in [0, 1] {
        let host = &world.hosts[at];
        if !host.up {
            found.push((Move::ComesBack(at), Ok(world.clone().come_back(at, rules))));
            continue;
        }
        if let Some(world) = world.clone().fault() {
            found.push((Move::Crashes(at), Ok(world.crash(at))));
        }
        if !host.pending.is_empty() {
            found.push((Move::Performs(at), world.clone().perform(at)));
            continue;
        }
        let mut feed = |what, input| found.push((what, Ok(world.clone().feed(at, input, rules))));
        for message in world.to(at) {
            feed(Move::Hears(at, message), Input::Heard(message));
        }
        for input in told(world, at) {
            feed(Move::Told(at, input), input);
        }
        feed(Move::Ticks(at), Input::Tick);
        feed(Move::GivesUp(at), Input::GiveUp);
        if world.attempts < world.attempts_max && matches!(host.standing, Standing::Owner { .. }) {
            let number = world.attempts + 1;
            let asked = World { attempts: number, ..world.clone() };
            let asked = asked.feed(at, Input::Move(attempt(number)), rules);
            found.push((Move::Asked(at), Ok(asked)));
        }
    }
    for at in [0, 1] {
        stream(world, at, &mut found);
    }
    if let Some(world) = world.clone().fault().filter(World::any_said) {
        found.push((Move::LosesAll, Ok(world.lose_all())));
    }
    found
}

/// What its hypervisor says to a host.
fn told(world: &World, at: usize) -> Vec<Input> {
    let (host, other) = (&world.hosts[at], &world.hosts[1 - at]);
    match host.standing {
        Standing::Preparing { .. } => vec![Input::Prepared, Input::Failed],
        Standing::Prepared { .. } => match host.guest {
            Guest::Arrived { .. } => vec![Input::Received],
            _ => vec![Input::Failed],
        },
        Standing::Sending { pass } => match host.guest {
            Guest::Runs { sending } if sending != Some(pass.attempt) => vec![Input::Failed],
            Guest::Runs { .. } if other.guest != Guest::Incoming(pass.attempt) => vec![Input::Failed],
            _ => vec![],
        },
        Standing::Holding { pass } => match host.guest {
            Guest::Sent(attempt) if attempt == pass.attempt => vec![Input::Held],
            _ => vec![Input::Failed],
        },
        _ => vec![],
    }
}

/// What the stream of this source may do: it goes on without the hosts' agents.
fn stream(world: &World, at: usize, found: &mut Vec<(Move, Result<World, Broken>)>) {
    let Guest::Runs { sending: Some(attempt) } = world.hosts[at].guest else { return };
    let tear = |through: bool| Ok(world.clone().tear(at, attempt, through));
    if is_incoming(world, 1 - at, attempt) {
        found.push((Move::Completes(at), Ok(world.clone().complete(at, attempt))));
        found.push((Move::BreaksAtOneEnd(at), tear(true)));
    }
    found.push((Move::Breaks(at), tear(false)));
}

fn is_incoming(world: &World, at: usize, attempt: Attempt) -> bool {
    world.hosts[at].guest == Guest::Incoming(attempt)
}
