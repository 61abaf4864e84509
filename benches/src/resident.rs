//! The memory use of a process, with guest memory separated from everything else.

use std::fs;

use crate::Result;

/// The memory of a process in KiB, as proportional set size: a page shared by several processes counts for each in
/// part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resident {
    /// The guest memory in use.
    pub guests: u64,
    /// Everything else: code, heap, stacks.
    pub rest: u64,
    /// The total size of guest memory, whether in use or not.
    pub guest_size: u64,
}

impl Resident {
    /// Measures this process.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn of_this_process() -> Result<Self> {
        Self::parse(&fs::read_to_string("/proc/self/smaps")?)
    }

    /// Guest memory has no name in smaps, but it is the only writable memory without reserved swap (`nr`) that child
    /// processes do not get (`dc`). Callers compare `guest_size` with the expected value.
    fn parse(smaps: &str) -> Result<Self> {
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
                    if ["wr", "nr", "dc"].into_iter().all(has) {
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
VmFlags: rd wr mr mw me dc nr dd
7f3818000000-7f3818021000 rw-p 00000000 00:00 0
Size:                132 kB
Pss:                  12 kB
VmFlags: rd wr mr mw me nr
7f3820000000-7f3830000000 ---p 00000000 00:00 0
Size:             262144 kB
Pss:                   0 kB
VmFlags: mr mw me dc nr
";

    #[test]
    fn guest_memory_is_what_is_writable_and_neither_reserved_nor_inherited() {
        let sum = Resident::parse(SMAPS).unwrap();
        assert_eq!(sum, Resident { guests: 208, rest: 162, guest_size: 262_144 });
    }

    #[test]
    fn what_the_kernel_never_writes_is_an_error() {
        assert!(Resident::parse("Size: many kB\n").is_err());
    }
}
