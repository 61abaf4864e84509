//! GRUB commands, as far as they affect what is booted. Other commands succeed and do nothing.

use super::super::entry::{MAX_INITRDS, MAX_TITLE};
use super::super::filesystem::Metadata;
use super::super::loader_entries;
use super::super::volume::DiskPath;
use super::devices::By;
use super::interpreter::{Block, FILE_STEPS, Flow, Interpreter, Item};
use super::known::is_command;
use super::options::{self, Known, Takes};
use super::parser::Script;
use super::selection::Names;
use super::{device, doubt, number, regexp, test_command};

const MAX_ITEMS: usize = 512;

const REGEXP: [Known; 1] = [('s', "set", Takes::Value)];

impl Interpreter<'_, '_> {
    /// Runs a built-in command.
    pub(super) fn built_in(&mut self, name: &str, arguments: Vec<String>, block: Option<&Script>) -> Flow {
        self.success = true;
        match name {
            "menuentry" | "submenu" => self.menu_item(name == "submenu", arguments, block),
            "set" => arguments.iter().for_each(|argument| self.assignment(argument)),
            "unset" => arguments.iter().for_each(|name| self.environment.unset(name)),
            "export" => arguments.iter().for_each(|name| self.environment.export(name)),
            "setparams" => self.arguments = arguments,
            "shift" => {
                let count = arguments.first().map_or(Some(1), |count| number::unsigned(count).map(|(count, _)| count));
                let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
                self.arguments.drain(..self.arguments.len().min(count));
            }
            "[" | "test" => self.test(name, &arguments),
            "regexp" => self.regexp(arguments),
            "insmod" => self.has_patterns |= arguments.iter().any(|module| module == "regexp"),
            // Conditions that do not hold here: no key is pressed, and no special hardware is present.
            "false" | "keystatus" | "fwsetup" | "smbios" => self.success = false,
            // The graphics of the guest are not on any list.
            "hwmatch" => self.assign("match", "0"),
            "increment" | "decrement" => self.count(name == "increment", &arguments),
            "return" => {
                self.success = arguments.first().is_none_or(|status| status == "0");
                return Flow::Return;
            }
            "break" => return Flow::Break,
            "continue" => return Flow::Continue,
            "eval" => return self.run_text(&arguments.join(" ")),
            "source" | "." => return self.source(&arguments),
            "configfile" | "normal" => return self.configfile(arguments),
            "load_env" => self.load_env(arguments),
            "save_env" => self.save_env(arguments),
            "file_env" => self.file_env(arguments),
            "search" => self.search(arguments),
            "search.fs_uuid" => self.short_search(By::Uuid, &arguments),
            "search.fs_label" => self.short_search(By::Label, &arguments),
            "search.file" => self.short_search(By::File, &arguments),
            "probe" => self.probe(arguments),
            "loopback" => self.loopback(&arguments),
            "linux" | "linux16" | "linuxefi" => {
                self.pass_doubt_on();
                if let Some((path, rest)) = positional(&arguments).split_first() {
                    let at = self.resolve(path);
                    self.outcome.linux(path, at, rest);
                }
            }
            "initrd" | "initrd16" | "initrdefi" => {
                self.pass_doubt_on();
                let files: Vec<_> = positional(&arguments).iter().map(|path| self.resolve(path)).collect();
                self.outcome.initrd(files.into_iter());
            }
            "multiboot" | "multiboot2" | "xen_hypervisor" => {
                self.outcome.obstacle("it starts the Xen hypervisor or another multiboot program, not Linux");
            }
            "chainloader" => self.outcome.obstacle("it starts another boot loader"),
            "blscfg" | "bls_import" => self.loader_entries(),
            // GRUB starts what it has loaded, and does not return from that.
            "boot" if self.outcome.has_kernel() => return Flow::Halt,
            "boot" => self.success = false,
            "exit" => return Flow::Halt,
            "gptprio.next" => {
                if !self.flatcar_next(arguments.clone()) {
                    doubt::command(self, name, &arguments);
                }
            }
            _ if is_command(name) => {}
            _ if name.contains('=') => self.assignment(name),
            _ => doubt::command(self, name, &arguments),
        }
        if self.success_unknown.is_none() {
            self.success_unknown.clone_from(&self.touched);
        }
        Flow::Next
    }

    fn assignment(&mut self, argument: &str) {
        if let Some((name, value)) = argument.split_once('=') {
            self.assign(name, value);
        }
    }

    /// An entry that is started with words that depend on an unknown command is not known.
    fn pass_doubt_on(&mut self) {
        if let Some(unknown) = &self.touched {
            self.outcome.doubt(unknown);
        }
    }

    /// The file at a path; an error that says where it is instead.
    fn resolve(&self, path: &str) -> Result<DiskPath, String> {
        device::resolve(path, self.environment.get("root")).map_err(|device| match self.images.get(&device) {
            Some(image) => format!(
                "in the disk image {image}, which GRUB mounts as {device}; images inside of a file \
                 system are not supported"
            ),
            None if device.is_empty() => "on a device that was not found on this disk".into(),
            None => format!("on {device}, which is not on this disk"),
        })
    }

    /// Mounts a disk image: `loopback name file`.
    fn loopback(&mut self, arguments: &[String]) {
        const MAX_IMAGES: usize = 64;
        if let [name, file] = positional(arguments)
            && self.images.len() < MAX_IMAGES
            && name.len() + file.len() <= MAX_TITLE
        {
            self.images.insert(name.clone(), file.clone());
        }
    }

    /// Matches a text, and sets variables to its parts: `regexp --set NUMBER:VARIABLE EXPRESSION TEXT`.
    fn regexp(&mut self, arguments: Vec<String>) {
        // The command is in the module that expands patterns.
        self.has_patterns = true;
        let options = options::parse(arguments, &REGEXP);
        let [expression, text] = options.plain.as_slice() else { return self.success = false };
        let steps = u32::try_from(expression.len() + text.len()).unwrap_or(u32::MAX);
        let groups = self.spend(steps.saturating_add(FILE_STEPS)).then(|| regexp::find(expression, text)).flatten();
        self.success = groups.is_some();
        let Some(groups) = groups else { return };
        for wanted in options.values("set") {
            let (number, variable) = match wanted.split_once(':') {
                Some((number, variable)) => (number.parse::<usize>().ok(), variable),
                None => (Some(1), wanted),
            };
            let Some(number) = number else { return self.success = false };
            let part = groups.get(number).cloned().flatten().and_then(|range| text.get(range));
            match part {
                Some(part) => self.assign(variable, part),
                None => self.environment.unset(variable),
            }
        }
    }

    /// Fedora's counters in the environment block.
    fn count(&mut self, up: bool, arguments: &[String]) {
        for name in arguments {
            let value = number::signed(self.environment.get(name));
            let next = if up { value.saturating_add(1) } else { value.saturating_sub(1).max(0) };
            self.assign(name, next.to_string());
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
        if let Some(unknown) = self.touched.clone() {
            self.doubt_menu(&unknown);
        }
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
        self.names = Names::NumberLast;
        let device = device::name(self.volumes, directory.partition);
        let place = |path: &str| match path.strip_prefix('$') {
            // A variable expands to a whole path, or to nothing.
            Some(_) => path.to_owned(),
            None => format!("({device}){}", loader_entries::resolve(self.volumes, &directory, path).path),
        };
        let saves = if self.environment.get("save_default") == "true" { "savedefault\n" } else { "" };
        for entry in entries.into_iter().filter(|entry| !entry.linux.is_empty()) {
            let words = entry.initrds.iter().flat_map(|line| line.split_whitespace());
            let initrds: Vec<_> = words.take(MAX_INITRDS).map(place).collect();
            // GRUB reads the first line of options, unlike systemd-boot.
            let options = entry.options.first().map_or("$default_kernelopts", String::as_str);
            let initrd = if initrds.is_empty() { String::new() } else { format!("initrd {}", initrds.join(" ")) };
            let script = format!("{saves}linux {} {options}\n{initrd}", place(&entry.linux));
            if self.items.len() < MAX_ITEMS
                && let Some(body) = self.parse(&script)
            {
                let (id, title) = (entry.id, entry.title);
                let arguments = vec![title.clone()];
                self.items.push(Item::Entry(Block { id, title, body, arguments }));
            }
        }
    }
}

/// The arguments after the options, which these commands ignore here.
fn positional(arguments: &[String]) -> &[String] {
    let options = arguments.iter().take_while(|argument| argument.starts_with("--")).count();
    arguments.get(options..).unwrap_or_default()
}
