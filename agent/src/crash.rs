//! Named steps at which a debug build dies when the environment says so, for the tests that kill the
//! agent at each of them. A release build has none.

/// The steps, in the order a command passes them.
pub const STEPS: &[&str] = &[
    "before-accepted",
    "accepted",
    "request-stored",
    "approval-asked",
    "approval-stored",
    "approval-begun",
    "request-ended",
    "approval-told",
    "policy-stored",
    "folder-made",
    "disk-made",
    "adopted",
    "machine-stored",
    "intent-stored",
    "program-begun",
    "keys-pressed",
    "guest-quieting",
    "guest-quieted",
    "before-driver",
    "after-driver",
    "base-made",
    "base-linked",
    "definition-stored",
    "snapshot-hidden",
    "layers-merged",
    "layers-turned",
    "layers-stored",
    "disk-removed",
    "snapshot-noted",
    "schedule-written",
    "state-stored",
    "turn-taken",
    "row-trashed",
    "row-restored",
    "share-offered",
    "share-accepted",
    "share-sending",
    "share-arriving",
    "share-sent",
    "share-told",
    "image-staged",
    "image-arrived",
    "image-converting",
    "image-finished",
    "image-kept",
    "image-stored",
    "image-renamed",
    "image-row-gone",
    "image-file-gone",
    "device-mapped",
    "device-row-gone",
    "device-noted",
    "device-taken",
    "device-returned",
    "network-stored",
    "network-row-gone",
    "net-noted",
    "net-ruled",
    "net-bridged",
    "net-joined",
    "net-configured",
    "net-silent",
    "net-served",
    "net-switched",
    "export-written",
    "export-named",
    "move-offered",
    "move-offer-said",
    "move-room-noted",
    "move-room-made",
    "move-accept-said",
    "move-send-begun",
    "move-sent",
    "move-all-here",
    "move-received",
    "move-ready-said",
    "move-held",
    "move-handed-over",
    "move-commit-said",
    "move-taken",
    "move-continued",
    "move-taken-said",
    "move-owned",
    "move-cleared",
    "move-away",
    "move-called-off",
    "move-dropping",
    "move-discarded",
    "alert-stored",
    "alert-turned",
    "alert-told",
    "grant-stored",
    "role-stored",
    "witness-stored",
    "apply-stored",
    "quota-stored",
    "before-close",
    "closed",
];

/// The steps of what an agent does by itself as it begins: no command passes them.
pub const AT_START: &[&str] = &["audit-written", "audit-named", "audit-cut"];

/// The variable that names the step to die at.
pub const VARIABLE: &str = "SKERRY_CRASH_AT";

/// Dies here, without any clean-up, if this is the step that was named.
#[cfg(debug_assertions)]
pub(crate) fn point(step: &'static str) {
    use std::sync::OnceLock;
    static AT: OnceLock<Option<String>> = OnceLock::new();
    debug_assert!(STEPS.contains(&step) || AT_START.contains(&step), "{step} is not in STEPS");
    if AT.get_or_init(|| std::env::var(VARIABLE).ok()).as_deref() == Some(step) {
        std::process::abort();
    }
}

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
pub(crate) fn point(_step: &'static str) {}
