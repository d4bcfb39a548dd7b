//! Two hosts, what is between them, and what must never be.

use std::{collections::VecDeque, fmt};

use uuid::Uuid;

use super::{
    super::{Attempt, Deed, Effect, Input, Message, Pass, Standing, Word},
    Rules,
};

/// What a host's hypervisor has of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Guest {
    Nothing,
    /// It runs; all it does is being sent, in this attempt.
    Runs {
        sending: Option<Attempt>,
    },
    /// It stands still, and all of it was sent.
    Sent(Attempt),
    /// Nothing of it has come yet.
    Incoming(Attempt),
    /// All of it has come. If it ran on elsewhere since, it must never run on from here.
    Arrived {
        attempt: Attempt,
        stale: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Host {
    pub(super) up: bool,
    /// What is in the journal.
    pub(super) written: Standing,
    pub(super) standing: Standing,
    /// What is still to be done for the last step.
    pub(super) pending: VecDeque<Effect>,
    pub(super) guest: Guest,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) hosts: [Host; 2],
    /// What was said and not lost, one bit each: see [`bit`].
    pub(super) said: u64,
    /// Attempts made so far, and how many may be.
    pub(super) attempts: u8,
    pub(super) attempts_max: u8,
    /// How often something may still go wrong.
    pub(super) faults: u8,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken(pub(super) &'static str);

/// The most that [`bit`] can tell apart.
const ATTEMPTS_MAX: u8 = 2;
/// As many faults as there can be: of them nobody keeps count.
pub(super) const ANY: u8 = u8::MAX;
const WORDS: usize = Word::ALL.len();

impl Host {
    fn new(standing: Standing, guest: Guest) -> Self {
        Self { up: true, written: standing, standing, pending: VecDeque::new(), guest }
    }

    pub(super) fn waits(&self) -> bool {
        self.up && self.pending.is_empty()
    }
}

pub(super) fn attempt(number: u8) -> Attempt {
    Attempt(Uuid::from_u128(number.into()))
}

impl World {
    /// The first host has it, and it runs.
    pub(super) fn first(attempts_max: u8, faults: u8) -> Self {
        let runs = Guest::Runs { sending: None };
        let hosts = [
            Host::new(Standing::Owner { epoch: 1 }, runs),
            Host::new(Standing::Away { epoch: 0 }, Guest::Nothing),
        ];
        Self { hosts, said: 0, attempts: 0, attempts_max, faults }
    }

    /// One fault less that there may be.
    pub(super) fn fault(mut self) -> Option<Self> {
        if self.faults != ANY {
            self.faults = self.faults.checked_sub(1)?;
        }
        Some(self)
    }

    pub(super) fn crash(mut self, at: usize) -> Self {
        let host = &mut self.hosts[at];
        host.up = false;
        host.pending.clear();
        host.standing = host.written;
        self
    }

    pub(super) fn come_back(mut self, at: usize, rules: Rules) -> Self {
        let host = &mut self.hosts[at];
        let step = (rules.recover)(host.written);
        (host.up, host.standing, host.pending) = (true, step.next, step.effects.into());
        self
    }

    pub(super) fn feed(mut self, at: usize, input: Input, rules: Rules) -> Self {
        let host = &mut self.hosts[at];
        let step = (rules.step)(host.standing, input);
        (host.standing, host.pending) = (step.next, step.effects.into());
        self
    }

    /// The next effect of this host.
    pub(super) fn perform(mut self, at: usize) -> Result<Self, Broken> {
        match self.hosts[at].pending.pop_front().unwrap() {
            Effect::Write(standing) => {
                if standing.epoch() < self.hosts[at].written.epoch() {
                    return Err(Broken("a host's epoch became less"));
                }
                self.hosts[at].written = standing;
            }
            Effect::Say(message) => self.said |= bit(1 - at, message),
            Effect::Do(deed) => self.act(at, deed)?,
        }
        Ok(self)
    }

    fn act(&mut self, at: usize, deed: Deed) -> Result<(), Broken> {
        let other = 1 - at;
        let guest = self.hosts[at].guest;
        self.hosts[at].guest = match (deed, guest) {
            (Deed::Prepare(pass), Guest::Nothing) => Guest::Incoming(pass.attempt),
            (Deed::Send(pass), Guest::Runs { .. }) => Guest::Runs { sending: Some(pass.attempt) },
            (Deed::Hold(_), _) => guest,
            (Deed::CallOff(_), Guest::Runs { .. } | Guest::Sent(_)) => {
                if let Guest::Arrived { stale, .. } = &mut self.hosts[other].guest {
                    *stale = true;
                }
                Guest::Runs { sending: None }
            }
            (Deed::Clear(_), Guest::Sent(_) | Guest::Nothing) => Guest::Nothing,
            (Deed::Discard(_), Guest::Incoming(_) | Guest::Arrived { .. } | Guest::Nothing) => Guest::Nothing,
            (Deed::Continue(_), Guest::Arrived { stale: false, .. }) => Guest::Runs { sending: None },
            (Deed::Continue(_), Guest::Runs { .. }) => guest,
            (Deed::Continue(_), Guest::Arrived { stale: true, .. }) => {
                return Err(Broken("a guest that ran on elsewhere was continued from where it had been"));
            }
            _ => return Err(Broken("something was done to a guest that is not there, or runs")),
        };
        Ok(())
    }

    /// The stream has come through.
    pub(super) fn complete(mut self, from: usize, attempt: Attempt) -> Self {
        self.hosts[from].guest = Guest::Sent(attempt);
        self.hosts[1 - from].guest = Guest::Arrived { attempt, stale: false };
        self
    }

    /// The source's hypervisor takes it for broken, and lets the guest run on; the destination's need not.
    pub(super) fn tear(mut self, from: usize, attempt: Attempt, came_through: bool) -> Self {
        self.hosts[from].guest = Guest::Runs { sending: None };
        if came_through {
            self.hosts[1 - from].guest = Guest::Arrived { attempt, stale: true };
        }
        self
    }

    pub(super) fn lose_all(mut self) -> Self {
        self.said = 0;
        self
    }

    /// It was heard, and is not heard again.
    pub(super) fn heard(mut self, at: usize, message: Message) -> Self {
        self.said &= !bit(at, message);
        self
    }

    /// What this host may hear.
    pub(super) fn to(&self, at: usize) -> impl Iterator<Item = Message> + '_ {
        let of = move |number: u8| {
            Word::ALL.into_iter().flat_map(move |word| {
                (2..=3).map(move |epoch| Message { word, pass: Pass { attempt: attempt(number), epoch } })
            })
        };
        (1..=ATTEMPTS_MAX).flat_map(of).filter(move |message| self.said & bit(at, *message) != 0)
    }

    pub(super) fn any_said(&self) -> bool {
        self.said != 0
    }

    /// What holds at every instant.
    pub(super) fn check(&self) -> Result<(), Broken> {
        let [one, two] = &self.hosts;
        let runs = |host: &Host| matches!(host.guest, Guest::Runs { .. });
        if runs(one) && runs(two) {
            return Err(Broken("both run the guest"));
        }
        if one.written.owns() && two.written.owns() || one.standing.owns() && two.standing.owns() {
            return Err(Broken("both take it for their own"));
        }
        for (host, other) in [(one, two), (two, one)] {
            if runs(host) && !host.written.owns() {
                return Err(Broken("a host runs what its journal does not call its own"));
            }
            if host.written.owns() && other.written.epoch() > host.written.epoch() {
                return Err(Broken("the owner's epoch is not the newest"));
            }
        }
        if !self.hosts.iter().any(|host| host.written.owns()) && !self.is_between() {
            return Err(Broken("nobody has it"));
        }
        let kept = |host: &Host| {
            matches!(host.guest, Guest::Runs { .. } | Guest::Sent(_) | Guest::Arrived { stale: false, .. })
        };
        if !self.hosts.iter().any(kept) {
            return Err(Broken("the guest is lost"));
        }
        Ok(())
    }

    /// Handed over by one, and received by the other, which may not know it yet.
    fn is_between(&self) -> bool {
        let between = |one: &Host, two: &Host| match (one.written, two.written) {
            (Standing::HandedOver { pass }, Standing::Received { pass: own, .. }) => pass == own,
            _ => false,
        };
        between(&self.hosts[0], &self.hosts[1]) || between(&self.hosts[1], &self.hosts[0])
    }

    /// One has it and runs it, and the other has nothing of it.
    pub(super) fn is_settled(&self) -> bool {
        let has = |host: &Host| {
            host.waits()
                && matches!((host.written, host.standing), (Standing::Owner { .. }, Standing::Owner { .. }))
                && host.guest == Guest::Runs { sending: None }
        };
        let has_not = |host: &Host| {
            host.waits()
                && matches!((host.written, host.standing), (Standing::Away { .. }, Standing::Away { .. }))
                && host.guest == Guest::Nothing
        };
        let [one, two] = &self.hosts;
        has(one) && has_not(two) || has(two) && has_not(one)
    }

    /// Each alone has done what it can, without hearing from the other: nothing is half done but what only
    /// the other can decide.
    pub(super) fn rests(&self) -> bool {
        self.hosts.iter().all(|host| {
            host.waits()
                && match host.written {
                    Standing::Owner { .. } => host.guest == Guest::Runs { sending: None },
                    Standing::Away { .. } => host.guest == Guest::Nothing,
                    Standing::HandedOver { .. } => true,
                    Standing::Received { .. } => matches!(host.guest, Guest::Arrived { .. }),
                    _ => false,
                }
        })
    }
}

/// The place of a message in the set of what was said: to whom, which word, which attempt, which epoch.
fn bit(to: usize, message: Message) -> u64 {
    let word = Word::ALL.iter().position(|word| *word == message.word).unwrap();
    // With two attempts the epochs passed on are 2 and 3, and the second attempt alone may have either.
    let which = match (message.pass.attempt.0.as_u128(), message.pass.epoch) {
        (1, 2) => 0,
        (2, 2) => 1,
        (2, 3) => 2,
        _ => return 0,
    };
    1 << ((to * WORDS + word) * 3 + which)
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, host) in ["one", "two"].iter().zip(&self.hosts) {
            let up = if host.up { "" } else { " (down)" };
            let (written, standing) = (host.written.word(), host.standing.word());
            write!(f, "{name}{up}: {written}/{standing}, {:?}; ", host.guest)?;
        }
        Ok(())
    }
}
