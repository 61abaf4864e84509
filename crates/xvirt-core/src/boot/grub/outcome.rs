//! What the commands of a menu entry come to: a kernel to start, or the reason why not.

use super::super::entry::{BootEntry, BootSource, MAX_COMMAND_LINE, MAX_INITRDS};
use super::super::volume::DiskPath;

/// What is to be started, as far as an entry's commands have said.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    kernel: Option<DiskPath>,
    initrds: Vec<DiskPath>,
    command_line: String,
    obstacle: Option<String>,
}

impl Outcome {
    /// The command `linux`: the path as written, what it means, and the kernel's arguments.
    pub(super) fn linux(&mut self, path: &str, at: Result<DiskPath, String>, arguments: &[String]) {
        match at {
            Ok(at) => self.kernel = Some(at),
            Err(device) => self.obstacle(not_here("kernel", &device)),
        }
        // GRUB tells the kernel its file first.
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

    /// The command `initrd`: replaces what was given before.
    pub(super) fn initrd(&mut self, files: impl Iterator<Item = Result<DiskPath, String>>) {
        self.initrds.clear();
        for at in files.take(MAX_INITRDS) {
            match at {
                Ok(at) => self.initrds.push(at),
                Err(device) => self.obstacle(not_here("initrd", &device)),
            }
        }
    }

    /// Notes why the entry cannot be booted; the first reason stays.
    pub(super) fn obstacle(&mut self, why: impl Into<String>) {
        self.obstacle.get_or_insert_with(|| why.into());
    }

    /// The entry that came out.
    pub(super) fn into_entry(self, id: &str, title: &str, submenu: &[String]) -> BootEntry {
        let mut entry = BootEntry::new(BootSource::Grub, id, title);
        entry.submenu = submenu.to_vec();
        entry.not_bootable = match self.kernel {
            None => Some(self.obstacle.unwrap_or_else(|| "it starts no Linux kernel".into())),
            Some(_) => self.obstacle,
        };
        entry.kernel = self.kernel;
        entry.initrds = self.initrds;
        entry.command_line = self.command_line;
        entry
    }
}

fn not_here(role: &str, device: &str) -> String {
    match device {
        "" => format!("its {role} lies on a device that was not found on this disk"),
        device => format!("its {role} lies on {device}, which is not on this disk"),
    }
}

/// Writes an argument so that the kernel takes it apart as GRUB's `linux` command has it do.
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
