//! The host's memory and page sizes.

use serde::{Deserialize, Serialize};

use super::root::HostRoot;
use crate::{Error, ErrorKind, Result};

/// The memory of a host, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The total.
    pub total: u64,
    /// The memory available to VMs without swapping.
    pub available: u64,
    /// The pools of huge pages, smallest page first.
    pub huge_pages: Vec<HugePages>,
    /// The mode of transparent huge pages: `always`, `madvise` (on request; xvirt requests them) or `never`.
    pub transparent_huge_pages: Option<String>,
}

/// The pool of huge pages of one size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HugePages {
    /// The size of a page in bytes.
    pub page_size: u64,
    /// The number of reserved pages.
    pub total: u64,
    /// The number of unused pages.
    pub free: u64,
}

impl Memory {
    pub(super) fn probe(root: &HostRoot) -> Result<Self> {
        let text = root.read("proc/meminfo").map_err(|source| {
            Error::new(ErrorKind::HostUnsupported, "cannot read /proc/meminfo")
                .because(source)
                .with_remedy("mount the process file system: mount -t proc proc /proc")
        })?;
        Ok(Self {
            total: field(&text, "MemTotal"),
            available: field(&text, "MemAvailable"),
            huge_pages: huge_pages(root),
            transparent_huge_pages: transparent(root),
        })
    }
}

/// A field of `meminfo` in bytes; the file uses KiB.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

fn huge_pages(root: &HostRoot) -> Vec<HugePages> {
    let folder = "sys/kernel/mm/hugepages";
    let mut pools: Vec<HugePages> = root
        .names(folder)
        .iter()
        .filter_map(|name| {
            let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            Some(HugePages {
                page_size: kib.checked_mul(1024)?,
                total: root.number(&format!("{folder}/{name}/nr_hugepages"))?,
                free: root.number(&format!("{folder}/{name}/free_hugepages"))?,
            })
        })
        .collect();
    pools.sort_by_key(|pool| pool.page_size);
    pools
}

/// The kernel lists all modes, with the active one in brackets.
fn transparent(root: &HostRoot) -> Option<String> {
    let text = root.word("sys/kernel/mm/transparent_hugepage/enabled")?;
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}
