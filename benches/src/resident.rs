//! How much memory a process really takes, with guest memory told apart from everything else.

use std::fs;

use crate::Result;

/// What a process keeps in memory, in KiB: its proportional set size, in which a page that several processes share
/// counts for each as its part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resident {
    /// Of the memory of its guests.
    pub guests: u64,
    /// Of all the rest: code, heap, stacks.
    pub rest: u64,
    /// How much memory its guests have, touched or not.
    pub guest_size: u64,
}

impl Resident {
    /// Looks at this process, whose guests have `guest` KiB of memory each.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn of_this_process(guest: u64) -> Result<Self> {
        Self::parse(&fs::read_to_string("/proc/self/smaps")?, guest)
    }

    /// Guest memory is not named there, but nothing else is so large, writable, and not counted as committed (`nr`).
    /// The memory of several guests may make up one area. Callers check `guest_size` against what they expect.
    fn parse(smaps: &str, guest: u64) -> Result<Self> {
        let mut sum = Self::default();
        let (mut size, mut pss) = (0, 0);
        for line in smaps.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            match key {
                "Size" => size = kib(value)?,
                "Pss" => pss = kib(value)?,
                // The last line of each area.
                "VmFlags" => {
                    let has = |flag| value.split_ascii_whitespace().any(|word| word == flag);
                    if size >= guest && has("wr") && has("nr") {
                        sum.guests += pss;
                        sum.guest_size += size;
                    } else {
                        sum.rest += pss;
                    }
                }
                _ => {}
            }
        }
        Ok(sum)
    }
}

fn kib(value: &str) -> Result<u64> {
    let number = value.trim().trim_end_matches("kB").trim();
    number.parse().map_err(|_| format!("/proc/self/smaps has a size of '{value}'").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55e0c2a00000-55e0c2b00000 r-xp 00000000 fe:00 123                        /usr/bin/vm
Size:               1024 kB
Rss:                 300 kB
Pss:                 150 kB
VmFlags: rd ex mr mw me
7f3800000000-7f3810000000 rw-p 00000000 00:00 0
Size:             262144 kB
Pss:                 208 kB
VmFlags: rd wr mr mw me nr
7f3818000000-7f3818021000 rw-p 00000000 00:00 0
Size:                132 kB
Pss:                  12 kB
VmFlags: rd wr mr mw me nr
7f3820000000-7f3830000000 ---p 00000000 00:00 0
Size:             262144 kB
Pss:                   0 kB
VmFlags: mr mw me nr
";

    #[test]
    fn guest_memory_is_what_is_large_and_writable_and_not_committed() {
        let sum = Resident::parse(SMAPS, 131_072).unwrap();
        assert_eq!(sum, Resident { guests: 208, rest: 162, guest_size: 262_144 });
    }

    #[test]
    fn what_the_kernel_never_writes_is_an_error() {
        assert!(Resident::parse("Size: many kB\n", 1).is_err());
    }
}
