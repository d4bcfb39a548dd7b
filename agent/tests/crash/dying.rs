//! The dying agent: this test's own binary, run again.

use super::{Command, FOLDER, LINE, Path, crash};

/// True when it died at the step; false when the command does not pass it.
pub fn dies_at(folder: &Path, line: &str, step: &str) -> bool {
    dies_in("the_one_that_dies", folder, line, step)
}

/// The same, in another test that does more than give a line.
pub fn dies_in(test: &str, folder: &Path, line: &str, step: &str) -> bool {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .envs([(FOLDER, folder.as_os_str()), (LINE, line.as_ref()), (crash::VARIABLE, step.as_ref())])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    !status.success()
}
