//! QEMU's words, and what they mean to people.

use serde_json::Value;

use crate::{driver::Power, lifecycle::Cause};

/// The sentence in which QEMU says why it could not start, without its own name and without the
/// option it stumbled over, both of which nobody typed.
pub(super) fn complaint(errors: &str, words: &[String]) -> Option<String> {
    let line = errors
        .lines()
        .map(|line| line.strip_prefix("qemu-system-x86_64: ").unwrap_or(line).trim())
        .find(|line| !line.is_empty() && !line.contains("warning: ") && !line.contains("info: "))?;
    if line.contains("/dev/net/tun") && line.contains("not permitted") {
        let why = "a NIC on a bridge takes the right to make network interfaces: the agent has to be root, \
                   or to have CAP_NET_ADMIN";
        return Some(why.into());
    }
    let option = words.windows(2).map(|pair| format!("{} {}: ", pair[0], pair[1]));
    let bare = option.into_iter().find_map(|option| line.strip_prefix(option.as_str())).unwrap_or(line);
    Some(bare.strip_prefix("qemu: ").unwrap_or(bare).to_owned())
}

/// What `query-status` means.
pub(super) fn power(status: &Value) -> Power {
    match status["status"].as_str().unwrap_or_default() {
        "internal-error" => Power::Crashed(Cause("the guest's processor failed in QEMU".into())),
        "guest-panicked" => Power::Crashed(panicked()),
        // Ended, but for its process.
        "shutdown" => Power::Off,
        "paused" | "prelaunch" | "io-error" | "inmigrate" | "postmigrate" | "finish-migrate" | "save-vm"
        | "restore-vm" | "debug" | "watchdog" => Power::Paused,
        // Also a guest that sleeps, and whatever later QEMUs may say of one that runs.
        _ if status["running"] == false && status["status"] != "suspended" => Power::Paused,
        _ => Power::Running,
    }
}

/// The cause when a guest's kernel says that it panicked.
pub(super) fn panicked() -> Cause {
    Cause("the guest's kernel panicked".into())
}

/// The cause when a guest hung so long that its watchdog cut the power.
pub(super) fn unfed() -> Cause {
    Cause("the guest hung, and its watchdog cut the power".into())
}

/// Why QEMU ended, when it was not the guest's doing, from the reason in its SHUTDOWN event.
pub(super) fn ended_by(reason: &str) -> Cause {
    Cause(match reason {
        "host-qmp-quit" => "somebody ended QEMU through its control socket".into(),
        "host-signal" => "somebody ended QEMU with a signal".into(),
        "host-ui" => "somebody closed QEMU's window".into(),
        "guest-panic" => return panicked(),
        "" => "QEMU shut the machine down without saying why".into(),
        reason => format!("QEMU shut the machine down ({reason})"),
    })
}

/// Why the machine ended without QEMU telling: how the process ended, and what it said last.
pub(super) fn vanished(how: Option<String>, errors: &str) -> Cause {
    let how = how.map_or_else(|| "QEMU ended unexpectedly".to_owned(), |how| format!("QEMU ended {how}"));
    let last = errors.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let last = last.map(|line| line.strip_prefix("qemu-system-x86_64: ").unwrap_or(line));
    Cause(match last {
        Some(last) => format!("{how}: {}", last.chars().take(300).collect::<String>()),
        None => how,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_qemu_complains_of_is_said_without_its_own_words() {
        let words = ["-m", "size=1M", "-blockdev", r#"{"driver":"qcow2"}"#].map(String::from);
        let errors = "qemu-system-x86_64: warning: host doesn't support it\n\
            qemu-system-x86_64: -blockdev {\"driver\":\"qcow2\"}: Could not open '/x/d.qcow2': No such file\n\
            more\n";
        let said = complaint(errors, &words);
        assert_eq!(said.as_deref(), Some("Could not open '/x/d.qcow2': No such file"));
        let kernel = "qemu: could not open kernel file '/x/vmlinuz': No such file or directory\n";
        assert_eq!(
            complaint(kernel, &words).as_deref(),
            Some("could not open kernel file '/x/vmlinuz': No such file or directory")
        );
        assert_eq!(complaint("\n", &words), None);
    }

    #[test]
    fn a_status_unknown_is_told_by_whether_it_runs() {
        let status = |status: &str, running: bool| power(&json!({"status": status, "running": running}));
        assert_eq!(status("running", true), Power::Running);
        assert_eq!(status("suspended", false), Power::Running);
        assert_eq!(status("prelaunch", false), Power::Paused);
        assert_eq!(status("of 2031", false), Power::Paused);
        assert_eq!(status("of 2031", true), Power::Running);
        assert!(matches!(status("internal-error", false), Power::Crashed(_)));
    }

    #[test]
    fn a_process_that_vanished_is_told_with_its_last_words() {
        assert_eq!(vanished(None, "").0, "QEMU ended unexpectedly");
        let cause = vanished(Some("by SIGABRT".into()), "a\nqemu-system-x86_64: assertion failed\n\n");
        assert_eq!(cause.0, "QEMU ended by SIGABRT: assertion failed");
    }
}
