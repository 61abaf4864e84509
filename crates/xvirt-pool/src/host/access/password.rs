//! Passwords: hashed with Argon2id, as RFC 9106 has it.

use std::sync::OnceLock;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{self, PasswordHasher as _, PasswordVerifier as _};

use crate::operation::{Failure, codes};

/// The characters of a password.
const LEAST: usize = 8;
const MOST: usize = 1024;

/// The hash of a password, with its salt and what it was made with.
///
/// # Errors
/// `INVALID_VALUE`: it is too short or too long.
pub(super) fn hash(password: &str) -> Result<String, Failure> {
    if !(LEAST..=MOST).contains(&password.chars().count()) {
        // The password itself is told nobody.
        return Err(codes::invalid_value("password", "(secret)", format!("give {LEAST} to {MOST} characters")));
    }
    hashed(password).map_err(|error| codes::internal(format!("cannot hash a password: {error}")))
}

fn hashed(password: &str) -> password_hash::Result<String> {
    let hash: PasswordHash = Argon2::default().hash_password(password.as_bytes())?;
    Ok(hash.to_string())
}

/// Whether a password is the one of a hash; `None` is that of a user who does not exist, which takes as long. Which
/// password is wrong cannot be told from how long it takes.
pub(super) fn is_right(password: &str, hash: Option<&str>) -> bool {
    static NOBODY: OnceLock<String> = OnceLock::new();
    let nobody = || NOBODY.get_or_init(|| hashed("nobody's password").unwrap_or_default()).as_str();
    let parsed = PasswordHash::new(hash.unwrap_or_else(nobody));
    // No longer password was ever taken.
    let password = if password.chars().count() <= MOST { password } else { "" };
    let right = parsed.is_ok_and(|parsed| Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok());
    right && hash.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_right_or_wrong() {
        let hash = hash("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(is_right("correct horse", Some(&hash)));
        for wrong in ["", "correct hors", "correct horse ", "Correct horse", &"x".repeat(5000)] {
            assert!(!is_right(wrong, Some(&hash)));
        }
        assert!(!is_right("nobody's password", None));
        assert!(!is_right("", Some("$argon2id$damaged")));
    }

    #[test]
    fn the_same_password_has_another_hash_each_time_and_short_ones_are_refused() {
        assert_ne!(hash("correct horse").unwrap(), hash("correct horse").unwrap());
        for wrong in ["", "seven77", &"x".repeat(MOST + 1)] {
            let failure = hash(wrong).unwrap_err();
            assert!(failure.code == "INVALID_VALUE" && !failure.to_string().contains("seven77"), "{failure}");
        }
    }
}
