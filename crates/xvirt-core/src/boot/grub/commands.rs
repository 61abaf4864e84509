//! GRUB commands, as far as they affect what is booted. Other commands succeed and do nothing.

use super::super::entry::{MAX_INITRDS, MAX_TITLE};
use super::super::filesystem::Metadata;
use super::super::loader_entries;
use super::super::volume::DiskPath;
use super::interpreter::{Block, Flow, Interpreter, Item};
use super::parser::Script;
use super::{device, test_command};

/// A `grubenv` has 1024 bytes; this allows for larger ones.
const MAX_ENVIRONMENT: u64 = 64 << 10;

const MAX_ITEMS: usize = 512;

/// The cost of a file system lookup in steps.
const FILE_STEPS: u32 = 20;

impl Interpreter<'_, '_> {
    /// Runs a built-in command.
    pub(super) fn built_in(&mut self, name: &str, arguments: Vec<String>, block: Option<&Script>) -> Flow {
        self.success = true;
        match name {
            "menuentry" | "submenu" => self.menu_item(name == "submenu", arguments, block),
            "set" => arguments.iter().for_each(|argument| self.assign(argument)),
            "unset" => arguments.iter().for_each(|name| self.environment.unset(name)),
            "setparams" => self.arguments = arguments,
            "shift" => {
                let count = arguments.first().and_then(|count| count.parse().ok()).unwrap_or(1);
                self.arguments.drain(..self.arguments.len().min(count));
            }
            "[" | "test" => self.test(name, &arguments),
            // Conditions that do not hold here: no key is pressed, and no special hardware is present.
            "false" | "keystatus" | "regexp" | "fwsetup" => self.success = false,
            "return" => {
                self.success = arguments.first().is_none_or(|status| status == "0");
                return Flow::Return;
            }
            "break" => return Flow::Break,
            "continue" => return Flow::Continue,
            "eval" => return self.run_text(&arguments.join(" ")),
            "source" | "." | "configfile" | "normal" => {
                // Without an argument, `normal` runs the standard file.
                let file = arguments.into_iter().next().unwrap_or_else(|| "$prefix/grub.cfg".into());
                let file = file.replace("$prefix", self.environment.get("prefix"));
                return self.include_file(&file);
            }
            "load_env" => self.load_env(&arguments),
            "search" | "search.fs_uuid" | "search.fs_label" | "search.file" => self.search(name, &arguments),
            "probe" => self.probe(&arguments),
            "linux" | "linux16" | "linuxefi" => {
                if let Some((path, rest)) = positional(&arguments).split_first() {
                    let at = device::resolve(path, self.environment.get("root"));
                    self.outcome.linux(path, at, rest);
                }
            }
            "initrd" | "initrd16" | "initrdefi" => {
                let root = self.environment.get("root");
                self.outcome.initrd(positional(&arguments).iter().map(|path| device::resolve(path, root)));
            }
            "multiboot" | "multiboot2" | "xen_hypervisor" => {
                self.outcome.obstacle("it starts the Xen hypervisor or another multiboot program, not Linux");
            }
            "chainloader" => self.outcome.obstacle("it starts another boot loader"),
            "blscfg" => self.loader_entries(),
            "exit" => return Flow::Halt,
            _ => {
                if block.is_none() && arguments.is_empty() && name.contains('=') {
                    self.assign(name);
                }
            }
        }
        Flow::Next
    }

    fn assign(&mut self, argument: &str) {
        if let Some((name, value)) = argument.split_once('=') {
            self.environment.set(name, value);
        }
    }

    fn menu_item(&mut self, is_submenu: bool, arguments: Vec<String>, block: Option<&Script>) {
        let mut id = None;
        let mut plain = Vec::new();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--id" => id = arguments.next(),
                "--class" | "--users" | "--hotkey" | "--source" => drop(arguments.next()),
                "--unrestricted" => {}
                _ => match argument.strip_prefix("--id=") {
                    Some(given) => id = Some(given.to_owned()),
                    None if argument.starts_with("--") => {}
                    None => plain.push(argument),
                },
            }
        }
        let (Some(title), Some(body)) = (plain.first().cloned(), block) else {
            self.success = false;
            return;
        };
        let id = id.unwrap_or_else(|| title.clone());
        if self.items.len() < MAX_ITEMS && title.len() <= MAX_TITLE && id.len() <= MAX_TITLE {
            let block = Block { id, title, body: body.clone(), arguments: plain };
            self.items.push(if is_submenu { Item::Submenu(block) } else { Item::Entry(block) });
        }
    }

    fn test(&mut self, name: &str, arguments: &[String]) {
        let arguments = match arguments.split_last() {
            Some((last, rest)) if name == "[" && last == "]" => rest,
            _ => arguments,
        };
        self.success = test_command::evaluate(arguments, &|path| self.metadata(path));
    }

    fn metadata(&self, path: &str) -> Option<Metadata> {
        if !self.spend(FILE_STEPS) {
            return None;
        }
        let at = device::resolve(path, self.environment.get("root")).ok()?;
        self.volumes.files(at.partition)?.metadata(&at.path).ok()
    }

    fn include_file(&mut self, path: &str) -> Flow {
        match device::resolve(path, self.environment.get("root")) {
            Ok(at) => {
                let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
                self.environment.set("config_directory", directory);
                self.environment.set("config_file", path);
                self.include(&at)
            }
            Err(_) => {
                self.success = false;
                Flow::Next
            }
        }
    }

    fn load_env(&mut self, arguments: &[String]) {
        let (mut file, mut names) = (None, Vec::new());
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "-f" | "--file" => file = arguments.next().cloned(),
                "-s" | "--skip-sig" => {}
                _ => match argument.strip_prefix("--file=") {
                    Some(given) => file = Some(given.to_owned()),
                    None => names.push(argument.clone()),
                },
            }
        }
        let file = file.unwrap_or_else(|| format!("{}/grubenv", self.environment.get("prefix")));
        let at = device::resolve(&file, self.environment.get("root")).ok().filter(|_| self.spend(FILE_STEPS));
        match at.and_then(|at| self.volumes.text(&at, MAX_ENVIRONMENT)) {
            Some(block) => self.environment.load_block(&block, &names),
            None => self.success = false,
        }
    }

    /// Searches for a partition and sets a variable (default `root`) to its name.
    fn search(&mut self, name: &str, arguments: &[String]) {
        let mut by = match name {
            "search.fs_uuid" => By::Uuid,
            "search.fs_label" => By::Label,
            _ => By::File,
        };
        // The short forms take the variable as an argument: `search.fs_uuid UUID root hints…`.
        let is_short = name != "search";
        let mut variable = None;
        let mut wanted = Vec::new();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "-u" | "--fs-uuid" => by = By::Uuid,
                "-l" | "--label" | "--fs-label" => by = By::Label,
                "-f" | "--file" => by = By::File,
                "-s" | "--set" => variable = Some("root".to_owned()),
                "-h" | "--hint" | "--hint-bios" | "--hint-efi" | "--hint-baremetal" => drop(arguments.next()),
                option if option.starts_with('-') => {
                    if let Some(given) = option.strip_prefix("--set=") {
                        variable = Some(given.to_owned());
                    }
                }
                plain => wanted.push(plain.to_owned()),
            }
        }
        if is_short && variable.is_none() {
            variable = wanted.get(1).cloned();
        }
        let found = wanted.first().and_then(|wanted| self.find_partition(by, wanted));
        self.success = found.is_some();
        if let (Some(partition), Some(variable)) = (found, variable) {
            self.environment.set(&variable, device::name(self.volumes, partition));
        }
    }

    fn find_partition(&self, by: By, wanted: &str) -> Option<u32> {
        let mut volumes = self.volumes.readable();
        let found = volumes.find(|(partition, files)| match by {
            By::Uuid => files.uuid().eq_ignore_ascii_case(wanted),
            By::Label => files.label() == wanted,
            By::File => {
                let at = DiskPath::new(*partition, wanted);
                self.spend(FILE_STEPS) && self.volumes.file_length(&at).is_some()
            }
        });
        found.map(|(partition, _)| partition)
    }

    /// Fedora's `blscfg`: creates menu entries from the files in `/loader/entries`, which may contain variables.
    fn loader_entries(&mut self) {
        let devices = [self.environment.get("boot"), self.environment.get("root")];
        let partitions = devices.into_iter().filter_map(|device| device::partition(device.trim_matches(['(', ')'])));
        let configured = self.environment.get("blsdir");
        let places = [configured, "/loader/entries", "/boot/loader/entries"].map(str::to_owned);
        let mut directories = partitions.flat_map(|partition| {
            let places = places.iter().filter(|place| !place.is_empty());
            places.map(move |place| DiskPath::new(partition, place))
        });
        let found = directories.find_map(|directory| {
            let entries = loader_entries::read_directory(self.volumes, &directory);
            (self.spend(50 * FILE_STEPS) && !entries.is_empty()).then_some((directory, entries))
        });
        let Some((directory, entries)) = found else {
            self.success = false;
            return;
        };
        let device = device::name(self.volumes, directory.partition);
        let place = |path: &str| match path.strip_prefix('$') {
            // A variable expands to a whole path, or to nothing.
            Some(_) => path.to_owned(),
            None => format!("({device}){}", loader_entries::resolve(self.volumes, &directory, path).path),
        };
        for entry in entries {
            let words = entry.initrds.iter().flat_map(|line| line.split_whitespace());
            let initrds: Vec<_> = words.take(MAX_INITRDS).map(place).collect();
            let script =
                format!("linux {} {}\ninitrd {}", place(&entry.linux), entry.options.join(" "), initrds.join(" "));
            if self.items.len() < MAX_ITEMS
                && let Some(body) = self.parse(&script)
            {
                let (id, title) = (entry.id, entry.title);
                let arguments = vec![title.clone()];
                self.items.push(Item::Entry(Block { id, title, body, arguments }));
            }
        }
    }

    /// Queries a device: `probe --set=variable --fs-uuid device`.
    fn probe(&mut self, arguments: &[String]) {
        let (mut variable, mut label, mut partition) = (None, false, None);
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "-s" | "--set" => variable = arguments.next().cloned(),
                "-l" | "--label" => label = true,
                option if option.starts_with('-') => {
                    variable = option.strip_prefix("--set=").map(str::to_owned).or(variable);
                }
                name => partition = device::partition(name.trim_matches(['(', ')'])),
            }
        }
        let files = partition.and_then(|partition| self.volumes.files(partition));
        self.success = files.is_some();
        if let (Some(files), Some(variable)) = (files, variable) {
            let value = if label { files.label() } else { files.uuid() };
            self.environment.set(&variable, value);
        }
    }
}

#[derive(Clone, Copy)]
enum By {
    Uuid,
    Label,
    File,
}

/// The arguments after the options, which these commands ignore here.
fn positional(arguments: &[String]) -> &[String] {
    let options = arguments.iter().take_while(|argument| argument.starts_with("--")).count();
    arguments.get(options..).unwrap_or_default()
}
