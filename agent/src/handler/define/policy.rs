//! Restart policy and the turn when the host starts, given one by one.

use hypervisor_core::definition::{Definition, Restart, Startup};
use skerry_stanzas::{
    command::machine,
    refusal::{Reason, Refusal},
};

/// Says them in `asked`; what is given as it is `now` says nothing.
pub(super) fn say(
    asked: &mut Definition,
    now: &Definition,
    restart: Option<machine::Restart>,
    order: Option<&str>,
    delay: Option<&str>,
) -> Result<(), Refusal> {
    let restart = restart.map(|restart| match restart {
        machine::Restart::No => Restart::No,
        machine::Restart::OnFailure => Restart::OnFailure,
        machine::Restart::Always => Restart::Always,
    });
    if let Some(restart) = restart.filter(|restart| *restart != now.restart) {
        asked.restart = restart;
    }
    if let Some(order) = order.map(turn).transpose()?
        && order != now.startup.order
    {
        asked.startup.order = order;
    }
    if let Some(delay_seconds) = delay.map(seconds).transpose()?
        && delay_seconds != now.startup.delay_seconds
    {
        asked.startup.delay_seconds = delay_seconds;
    }
    Ok(())
}

fn turn(text: &str) -> Result<Option<u32>, Refusal> {
    match text.trim() {
        "last" | "" => Ok(None),
        number => number.parse().map(Some).map_err(|_| {
            Refusal::new(Reason::BadRequest, format!("{text:?} is no turn."))
                .field("order")
                .hint("Give a whole number, such as 1, or \"last\".")
        }),
    }
}

fn seconds(text: &str) -> Result<u32, Refusal> {
    let seconds = humantime::parse_duration(text.trim()).ok().and_then(|time| time.as_secs().try_into().ok());
    seconds.filter(|seconds| *seconds <= Startup::DELAY_SECONDS_MAX).ok_or_else(|| {
        Refusal::new(Reason::BadRequest, format!("{text:?} cannot be waited."))
            .field("delay")
            .hint("Give a time of at most an hour, such as 30s.")
    })
}
