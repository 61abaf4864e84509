//! The memory use of a process, with guest memory separated from everything else.

use std::fs;

use xvirt_core::config::ByteSize;

use crate::Result;

/// The memory of a process in KiB, as proportional set size: a page shared by several processes counts for each in
/// part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resident {
    /// The guest memory in use.
    pub guests: u64,
    /// Everything else: code, heap, stacks.
    pub rest: u64,
    /// The part of `rest` that is pages of files: code and constants, unless the process has written to them.
    pub files: u64,
    /// The total size of guest memory, whether in use or not.
    pub guest_size: u64,
}

impl Resident {
    /// Measures this process.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn of_this_process() -> Result<Self> {
        Self::parse(&fs::read_to_string("/proc/self/smaps")?, None)
    }

    /// Measures a process of xvirt or of a peer, which runs one VM with this memory.
    ///
    /// # Errors
    /// There is no such process, or it belongs to somebody else.
    pub fn of_process(process: u32, memory: ByteSize) -> Result<Self> {
        let path = format!("/proc/{process}/smaps");
        let smaps = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
        Self::parse(&smaps, Some(memory.bytes() >> 10))
    }

    /// Guest memory has no name in smaps, but in xvirt it is the only writable memory without reserved swap (`nr`) that
    /// child processes do not get (`dc`). Peers let child processes have it, but it is one area, of size `whole`. Callers
    /// compare `guest_size` with the expected value.
    fn parse(smaps: &str, whole: Option<u64>) -> Result<Self> {
        let mut sum = Self::default();
        let (mut size, mut pss, mut anonymous) = (0, 0, 0);
        for line in smaps.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            match key {
                "Size" => size = kib(value)?,
                "Pss" => pss = kib(value)?,
                "Anonymous" => anonymous = kib(value)?,
                // The last line of each area.
                "VmFlags" => {
                    let has = |flag| value.split_ascii_whitespace().any(|word| word == flag);
                    if has("wr") && has("nr") && (has("dc") || whole == Some(size)) {
                        sum.guests += pss;
                        sum.guest_size += size;
                    } else {
                        sum.rest += pss;
                        sum.files += pss.saturating_sub(anonymous);
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
Anonymous:            20 kB
VmFlags: rd ex mr mw me
7f3800000000-7f3810000000 rw-p 00000000 00:00 0
Size:             262144 kB
Pss:                 208 kB
Anonymous:           208 kB
VmFlags: rd wr mr mw me dc nr dd
7f3818000000-7f3818021000 rw-p 00000000 00:00 0
Size:                132 kB
Pss:                  12 kB
Anonymous:            12 kB
VmFlags: rd wr mr mw me nr
7f3820000000-7f3830000000 ---p 00000000 00:00 0
Size:             262144 kB
Pss:                   0 kB
Anonymous:             0 kB
VmFlags: mr mw me dc nr
";

    #[test]
    fn guest_memory_is_what_is_writable_and_neither_reserved_nor_inherited() {
        let sum = Resident::parse(SMAPS, None).unwrap();
        assert_eq!(sum, Resident { guests: 208, rest: 162, files: 130, guest_size: 262_144 });
    }

    #[test]
    fn guest_memory_of_peers_may_be_inherited_and_is_one_area() {
        let smaps = SMAPS.replace("me dc nr dd", "me nr dd");
        let sum = Resident::parse(&smaps, Some(262_144)).unwrap();
        assert_eq!(sum, Resident { guests: 208, rest: 162, files: 130, guest_size: 262_144 });
        assert_eq!(Resident::parse(&smaps, Some(65_536)).unwrap().guest_size, 0);
    }

    #[test]
    fn what_the_kernel_never_writes_is_an_error() {
        assert!(Resident::parse("Size: many kB\n", None).is_err());
    }
}
