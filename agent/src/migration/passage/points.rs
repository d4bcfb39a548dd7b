//! Where a debug build dies for the tests of crashes.

use hypervisor_core::handover::{Deed, Effect, Standing, Word};

/// The step of [`crash::STEPS`] after an effect.
pub(super) fn point(effect: Effect) -> Option<&'static str> {
    Some(match effect {
        Effect::Write(Standing::Offered { .. }) => "move-offered",
        Effect::Write(Standing::HandedOver { .. }) => "move-handed-over",
        Effect::Write(Standing::Preparing { .. }) => "move-room-noted",
        Effect::Write(Standing::Received { .. }) => "move-received",
        Effect::Write(Standing::Dropping { .. }) => "move-dropping",
        Effect::Write(Standing::Taking { .. }) => "move-taken",
        Effect::Write(Standing::Owner { .. }) => "move-owned",
        Effect::Write(Standing::Away { .. }) => "move-away",
        Effect::Do(Deed::Send(_)) => "move-send-begun",
        Effect::Do(Deed::Hold(_)) => "move-held",
        Effect::Do(Deed::CallOff(_)) => "move-called-off",
        Effect::Do(Deed::Clear(_)) => "move-cleared",
        Effect::Do(Deed::Discard(_)) => "move-discarded",
        Effect::Do(Deed::Continue(_)) => "move-continued",
        Effect::Do(Deed::Prepare(_)) | Effect::Write(_) | Effect::Say(_) => return None,
    })
}

/// The step after a word was heard, or lost.
pub(super) fn said_point(word: Word) -> Option<&'static str> {
    Some(match word {
        Word::Offer => "move-offer-said",
        Word::Accept => "move-accept-said",
        Word::Ready => "move-ready-said",
        Word::Commit => "move-commit-said",
        Word::Taken => "move-taken-said",
        Word::Refuse | Word::Failed | Word::Ask | Word::Abort => return None,
    })
}
