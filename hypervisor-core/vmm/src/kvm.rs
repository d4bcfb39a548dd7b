//! What the KVM of this host is really worth.
//!
//! That `/dev/kvm` opens proves little. On some nested hosts KVM offers every call and then interprets
//! the guest's kernel instruction by instruction, a thousand times too slow, and fails at the first
//! instruction its interpreter lacks; stock Linux never boots there. So a guest of a few instructions
//! is run ([`trial`]): how long a loop in kernel mode takes, and whether `lock cmpxchg16b` works, which
//! Linux needs early. [`judge`] makes a [`Verdict`] of the figures, purely.

use std::{fmt, sync::mpsc, thread, time::Duration};

mod trial;

/// From here on a loop of [`trial::TURNS`] turns was not run by a processor: hardware needs some
/// microseconds, KVM nested in an emulator 0.12 ms at most, an instruction interpreter 26 ms.
const LOOP_MAX: Duration = Duration::from_millis(3);

/// How long the trial may take in all before KVM is given up: it needs 30 ms at the worst seen, and
/// a busy host may hold it up.
const TRIAL_MAX: Duration = Duration::from_millis(300);

/// What was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Processor features that the host has and its KVM hides from guests.
    pub hidden: Vec<&'static str>,
    /// Processor time the loop in the guest's kernel mode took.
    pub loop_time: Duration,
    /// Whether the guest could execute `lock cmpxchg16b`.
    pub cmpxchg16b: bool,
}

/// What KVM is worth here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Guests run at the processor's speed.
    Good(Figures),
    /// Guest kernel code is interpreted.
    Emulated(Figures),
    /// Fast enough, but an instruction that Linux needs is missing.
    CannotRunLinux(Figures),
    /// It lacks these capabilities, or its API has another version.
    Lacking(Vec<&'static str>),
    /// It cannot be opened, and why.
    Absent(String),
    /// It did not answer in time.
    Silent(Duration),
    /// It opens, and a call failed.
    Failed(String),
}

impl Verdict {
    /// Whether Linux guests can be run with it.
    pub fn usable(&self) -> bool {
        matches!(self, Verdict::Good(_))
    }
}

impl fmt::Display for Verdict {
    /// One sentence's worth, without the full stop.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Good(figures) if figures.hidden.is_empty() => f.write_str("KVM works here"),
            Verdict::Good(figures) => {
                write!(f, "KVM works here, but hides from guests {}", figures.hidden.join(", "))
            }
            Verdict::Emulated(figures) => {
                let took = figures.loop_time.as_secs_f64() * 1000.0;
                write!(
                    f,
                    "KVM opens here but emulates guest kernel code ({took:.0} ms where 0.1 ms is normal)"
                )?;
                if figures.cmpxchg16b { Ok(()) } else { f.write_str(" and cannot run Linux") }
            }
            Verdict::CannotRunLinux(_) => {
                f.write_str("KVM opens here but cannot run Linux (it fails on the instruction cmpxchg16b)")
            }
            Verdict::Lacking(what) => write!(f, "KVM opens here but lacks {}", what.join(", ")),
            Verdict::Absent(why) => write!(f, "KVM cannot be used here ({why})"),
            Verdict::Silent(limit) => {
                write!(f, "KVM opens here but did not run a few instructions within {limit:?}")
            }
            Verdict::Failed(what) => write!(f, "KVM opens here but does not work ({what})"),
        }
    }
}

/// Makes a verdict of what was measured.
pub fn judge(figures: Figures) -> Verdict {
    if figures.loop_time >= LOOP_MAX {
        Verdict::Emulated(figures)
    } else if !figures.cmpxchg16b {
        Verdict::CannotRunLinux(figures)
    } else {
        Verdict::Good(figures)
    }
}

/// Tries the KVM of this host. Blocks for some 30 ms, and for 300 ms at the most.
///
/// The trial has a thread of its own, which is left behind if KVM never answers: its guest ends by
/// itself after a known number of instructions, so only a broken kernel could hold it for good.
pub fn probe() -> Verdict {
    let (tell, told) = mpsc::channel();
    let trial = thread::Builder::new().name("kvm-trial".into()).spawn(move || {
        // Nobody listens any more when the time was up.
        let _ = tell.send(trial::run());
    });
    if let Err(error) = trial {
        return Verdict::Failed(error.to_string());
    }
    match told.recv_timeout(TRIAL_MAX) {
        Ok(Ok(figures)) => judge(figures),
        Ok(Err(verdict)) => verdict,
        Err(mpsc::RecvTimeoutError::Timeout) => Verdict::Silent(TRIAL_MAX),
        Err(mpsc::RecvTimeoutError::Disconnected) => Verdict::Failed("the trial broke off".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(loop_micros: u64, cmpxchg16b: bool) -> Figures {
        Figures { hidden: Vec::new(), loop_time: Duration::from_micros(loop_micros), cmpxchg16b }
    }

    #[test]
    fn figures_once_measured_are_judged_as_they_were() {
        // Hardware, KVM in an emulated SVM machine, and an interpreting KVM.
        assert!(judge(figures(12, true)).usable());
        assert!(judge(figures(120, true)).usable());
        assert_eq!(judge(figures(27_000, false)), Verdict::Emulated(figures(27_000, false)));
        assert_eq!(judge(figures(3_000, true)), Verdict::Emulated(figures(3_000, true)));
        assert_eq!(judge(figures(50, false)), Verdict::CannotRunLinux(figures(50, false)));
    }

    #[test]
    fn every_verdict_says_what_was_found() {
        let hidden = Figures { hidden: vec!["xsave", "popcnt"], ..figures(12, true) };
        for (verdict, sentence) in [
            (judge(figures(12, true)), "KVM works here"),
            (judge(hidden), "KVM works here, but hides from guests xsave, popcnt"),
            (
                judge(figures(26_600, false)),
                "KVM opens here but emulates guest kernel code (27 ms where 0.1 ms is normal) and cannot run Linux",
            ),
            (Verdict::Lacking(vec!["irqfd"]), "KVM opens here but lacks irqfd"),
            (
                Verdict::Absent("there is no /dev/kvm".into()),
                "KVM cannot be used here (there is no /dev/kvm)",
            ),
            (
                Verdict::Silent(Duration::from_millis(300)),
                "KVM opens here but did not run a few instructions within 300ms",
            ),
        ] {
            assert_eq!(verdict.to_string(), sentence);
        }
    }

    /// Says nothing about this machine, only that what is said of it fits together.
    #[test]
    fn the_probe_of_this_machine_is_consistent() {
        let verdict = probe();
        eprintln!("{verdict} {verdict:?}");
        match &verdict {
            Verdict::Good(figures) => assert!(figures.cmpxchg16b && figures.loop_time < LOOP_MAX),
            Verdict::Emulated(figures) => assert!(figures.loop_time >= LOOP_MAX),
            Verdict::CannotRunLinux(figures) => assert!(!figures.cmpxchg16b),
            Verdict::Lacking(what) => assert!(!what.is_empty()),
            Verdict::Absent(_) => assert!(std::fs::File::options().write(true).open("/dev/kvm").is_err()),
            Verdict::Silent(_) | Verdict::Failed(_) => {}
        }
        assert_eq!(verdict.usable(), matches!(verdict, Verdict::Good(_)));
    }
}
