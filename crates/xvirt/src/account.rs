//! Users of this system.

use std::fs;
use std::str::FromStr;

/// The numbers of a user and of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
}

impl FromStr for Account {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((uid, gid)) = text.split_once(':') {
            let number =
                |text: &str| text.parse().map_err(|_| format!("{text:?} is no number; write UID:GID, such as 990:990"));
            return Ok(Self { uid: number(uid)?, gid: number(gid)? });
        }
        let users = fs::read_to_string("/etc/passwd").map_err(|error| format!("cannot read /etc/passwd: {error}"))?;
        find(&users, text)
            .ok_or_else(|| format!("there is no user {text:?} in /etc/passwd; create it, or write UID:GID"))
    }
}

/// Finds a user in the text of passwd(5).
fn find(users: &str, name: &str) -> Option<Account> {
    let mut lines = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines.find_map(|fields| match fields.as_slice() {
        [user, _, uid, gid, ..] if *user == name => Some(Account { uid: uid.parse().ok()?, gid: gid.parse().ok()? }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name_or_given_by_numbers() {
        assert_eq!("990:991".parse(), Ok(Account { uid: 990, gid: 991 }));
        let users = "root:x:0:0:root:/root:/bin/sh\nxvirt-vm:x:990:991::/:/usr/sbin/nologin\nbad:x:y:z\n";
        assert_eq!(find(users, "xvirt-vm"), Some(Account { uid: 990, gid: 991 }));
        for name in ["bad", "", "xvirt"] {
            assert_eq!(find(users, name), None);
        }
        for wrong in ["root:root", ":", "1:2:3", "no user of this name"] {
            assert!(wrong.parse::<Account>().is_err(), "{wrong}");
        }
    }
}
