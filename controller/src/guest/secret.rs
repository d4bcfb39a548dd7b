//! The new password of a user of a guest: asked for without showing it, or read; and hashed here, so that
//! neither the servers nor the host ever have it.

use std::io::{BufRead as _, IsTerminal as _};

use secrecy::{ExposeSecret as _, SecretString};
use sha_crypt::{PasswordHasher as _, ShaCrypt};

use crate::{
    cli::PasswordArgs,
    failure::{Failure, Kind, Outcome},
    setup::hidden,
};

/// The longest, in bytes.
const BYTES_MAX: usize = 256;

/// What is sent: the password's hash as `crypt` makes it (SHA-512), or itself.
///
/// # Errors
/// There is none, it is no password, or the two are not the same.
pub(super) fn password(args: &PasswordArgs) -> Outcome<String> {
    let password = match &args.password_file {
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|error| {
                Failure::usage(format!("the password file {} cannot be read: {error}", file.display()))
            })?;
            SecretString::from(text.lines().next().unwrap_or_default())
        }
        None if std::io::stdin().is_terminal() => asked()?,
        None => {
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line)?;
            SecretString::from(line.trim_end_matches(['\r', '\n']))
        }
    };
    check(password.expose_secret())?;
    match args.plain {
        true => Ok(password.expose_secret().to_owned()),
        false => hashed(password.expose_secret()),
    }
}

fn asked() -> Outcome<SecretString> {
    let first = hidden("The new password: ")?;
    let again = hidden("The same again: ")?;
    match first.expose_secret() == again.expose_secret() {
        true => Ok(first),
        false => Err(Failure::usage("these are two passwords; nothing was done")),
    }
}

fn check(password: &str) -> Outcome<()> {
    match password.is_empty() || password.len() > BYTES_MAX || password.chars().any(char::is_control) {
        true => Err(Failure::usage(format!(
            "a password has 1 to {BYTES_MAX} bytes, and no character that is not to be seen"
        ))),
        false => Ok(()),
    }
}

fn hashed(password: &str) -> Outcome<String> {
    let hash = ShaCrypt::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.as_str().to_owned())
        .map_err(|_| Failure::new(Kind::Internal, "the password could not be hashed"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn it_is_sent_as_a_hash_that_no_two_are_alike() {
        let (one, other) = (hashed("hunter2").unwrap(), hashed("hunter2").unwrap());
        assert!(one.starts_with("$6$") && one != other, "{one}");
        assert!(!one.contains("hunter2"));
    }

    #[test]
    fn what_is_no_password_is_refused_without_showing_it() {
        for odd in ["", "a\tb", &"x".repeat(BYTES_MAX + 1)] {
            let failure = check(odd).unwrap_err();
            assert!(odd.is_empty() || !failure.text.contains(odd));
        }
        check("it’s a $ecret: one").unwrap();
    }
}
