//! The result of a menu entry's commands: a kernel to start, or the reason why there is none.

use super::super::entry::{BootEntry, BootSource, MAX_COMMAND_LINE, MAX_INITRDS};
use super::super::volume::DiskPath;
use super::environment::Unknown;

/// What an entry's commands have loaded so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    kernel: Option<DiskPath>,
    initrds: Vec<DiskPath>,
    command_line: String,
    obstacle: Option<String>,
    unknown: Option<Unknown>,
}

impl Outcome {
    /// The command `linux`: the path as written, the file it refers to or where that is, and the kernel's arguments.
    pub(super) fn linux(&mut self, path: &str, at: Result<DiskPath, String>, arguments: &[String]) {
        match at {
            Ok(at) => self.kernel = Some(at),
            Err(place) => self.obstacle(format!("its kernel is {place}")),
        }
        // GRUB passes the kernel's path as the first argument.
        let mut line = format!("BOOT_IMAGE={path}");
        for argument in arguments {
            line.push(' ');
            push_quoted(&mut line, argument);
        }
        if line.len() > MAX_COMMAND_LINE {
            self.obstacle("its kernel command line is too long");
            line.clear();
        }
        self.command_line = line;
    }

    /// The command `initrd`, which replaces earlier ones.
    pub(super) fn initrd(&mut self, files: impl Iterator<Item = Result<DiskPath, String>>) {
        self.initrds.clear();
        for at in files.take(MAX_INITRDS) {
            match at {
                Ok(at) => self.initrds.push(at),
                Err(place) => self.obstacle(format!("its initrd is {place}")),
            }
        }
    }

    /// Records why the entry cannot be booted; the first reason is kept.
    pub(super) fn obstacle(&mut self, why: impl Into<String>) {
        self.obstacle.get_or_insert_with(|| why.into());
    }

    /// Whether a kernel is loaded.
    pub(super) fn has_kernel(&self) -> bool {
        self.kernel.is_some()
    }

    /// Records that the entry depends on a command that is not known here.
    pub(super) fn doubt(&mut self, unknown: &Unknown) {
        self.unknown.get_or_insert_with(|| unknown.clone());
        self.obstacle(format!("it depends on GRUB's command {unknown}, which xvirt does not know"));
    }

    /// The unknown command on which the entry depends.
    pub(super) fn unknown(&self) -> Option<Unknown> {
        self.unknown.clone()
    }

    /// The resulting entry.
    pub(super) fn into_entry(self, id: &str, title: &str, submenu: &[String]) -> BootEntry {
        let mut entry = BootEntry::new(BootSource::Grub, id, title);
        entry.submenu = submenu.to_vec();
        entry.not_bootable = match self.kernel {
            None => Some(self.obstacle.unwrap_or_else(|| "it does not start a Linux kernel".into())),
            Some(_) => self.obstacle,
        };
        entry.kernel = self.kernel;
        entry.initrds = self.initrds;
        entry.command_line = self.command_line;
        entry
    }
}

/// Quotes an argument so that the kernel parses it like GRUB's `linux` command would pass it.
fn push_quoted(line: &mut String, argument: &str) {
    let quote = argument.contains(' ');
    if quote {
        line.push('"');
    }
    for c in argument.chars() {
        if matches!(c, '\\' | '\'' | '"') {
            line.push('\\');
        }
        line.push(c);
    }
    if quote {
        line.push('"');
    }
}
