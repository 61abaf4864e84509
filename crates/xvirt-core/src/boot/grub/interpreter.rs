//! Runs a GRUB script up to the boot menu, and then each menu entry up to its kernel.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use super::super::entry::{BootEntry, Found};
use super::super::volume::{DiskPath, Volumes};
use super::environment::Environment;
use super::lexer::{Piece, Word};
use super::outcome::Outcome;
use super::parser::{Command, Script, parse};
use super::{MAX_CONFIG, device, lexer};

/// The most steps of all commands, weighted by cost: enough for hundreds of entries, and used up within a second.
const MAX_STEPS: u32 = 200_000;

/// The most tokens of one script; each costs a step and takes some hundred bytes of memory.
const MAX_TOKENS: usize = 64 << 10;

/// The step budget that all scripts of a disk share.
#[derive(Clone, Debug)]
pub(super) struct Steps(Rc<Cell<u32>>);

impl Steps {
    pub(super) fn new() -> Self {
        Self(Rc::new(Cell::new(MAX_STEPS)))
    }

    /// Takes steps from the budget; `false` if there are not enough.
    fn spend(&self, steps: u32) -> bool {
        let left = self.0.get().checked_sub(steps);
        self.0.set(left.unwrap_or(0));
        left.is_some()
    }
}

/// The most nested functions, included files and submenus.
const MAX_DEPTH: u32 = 16;

const MAX_ENTRIES: usize = 512;
const MAX_FUNCTIONS: usize = 512;

/// The most arguments of one command.
const MAX_ARGUMENTS: usize = 1024;
const MAX_ARGUMENT_BYTES: usize = 256 << 10;

/// How a command affects the control flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Next,
    Break,
    Continue,
    Return,
    /// The script has ended or exceeded its budget.
    Halt,
}

/// A menu item whose commands have not run yet.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Entry(Block),
    Submenu(Block),
}

/// The body of a `menuentry` or `submenu`.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) body: Script,
    pub(super) arguments: Vec<String>,
}

/// A running script.
#[derive(Clone)]
pub(super) struct Interpreter<'v, 'd> {
    pub(super) volumes: &'v Volumes<'d>,
    pub(super) environment: Environment,
    functions: HashMap<String, Script>,
    pub(super) arguments: Vec<String>,
    pub(super) items: Vec<Item>,
    pub(super) outcome: Outcome,
    /// Whether the last command succeeded.
    pub(super) success: bool,
    steps: Steps,
    depth: u32,
}

impl<'v, 'd> Interpreter<'v, 'd> {
    pub(super) fn new(volumes: &'v Volumes<'d>, steps: Steps) -> Self {
        let mut environment = Environment::default();
        // Values of GRUB for BIOS: scripts check these, and take the most direct path to a kernel there.
        let constants = [("grub_platform", "pc"), ("grub_cpu", "i386"), ("?", "0")];
        let features = ["menuentry_id", "menuentry_options", "timeout_style", "200_final", "default_font_path"];
        for (name, value) in constants {
            environment.set(name, value);
        }
        for feature in
            features.into_iter().chain(["all_video_module", "platform_search_hint", "chainloader_bpb", "ntldr"])
        {
            environment.set(&format!("feature_{feature}"), "y");
        }
        Self {
            volumes,
            environment,
            functions: HashMap::new(),
            arguments: Vec::new(),
            items: Vec::new(),
            outcome: Outcome::default(),
            success: true,
            steps,
            depth: 0,
        }
    }

    /// Runs a configuration, and then each of its entries to find what it starts.
    pub(super) fn boot_menu(mut self, config: &DiskPath) -> Found {
        let device = device::name(self.volumes, config.partition);
        let directory = config.path.rsplit_once('/').map_or("", |(directory, _)| directory);
        self.environment.set("root", &device);
        self.environment.set("prefix", format!("({device}){directory}"));
        self.environment.set("cmdpath", format!("({device}){directory}"));
        self.include(config);
        let mut entries = Vec::new();
        let menu = self.finish(&[], &mut entries);
        let default = self.default(&menu, &entries);
        Found { entries, default }
    }

    /// Runs another file; fails if it does not exist.
    pub(super) fn include(&mut self, config: &DiskPath) -> Flow {
        if self.depth >= MAX_DEPTH {
            return Flow::Halt;
        }
        let Some(text) = self.volumes.text(config, MAX_CONFIG) else {
            self.success = false;
            return Flow::Next;
        };
        self.run_text(&text)
    }

    /// Runs a script one level deeper; `return` leaves only that script.
    fn run_nested(&mut self, script: &Script) -> Flow {
        if self.depth >= MAX_DEPTH {
            return Flow::Halt;
        }
        self.depth += 1;
        let flow = self.run(script);
        self.depth -= 1;
        match flow {
            Flow::Halt => Flow::Halt,
            _ => Flow::Next,
        }
    }

    /// Takes steps from the budget; `false` if there are not enough.
    pub(super) fn spend(&self, steps: u32) -> bool {
        self.steps.spend(steps) && !self.volumes.budget().has_stopped()
    }

    /// Parses a script, if the budget suffices.
    pub(super) fn parse(&self, text: &str) -> Option<Script> {
        let tokens = lexer::tokens(text, MAX_TOKENS);
        let steps = u32::try_from(text.len() / 16 + tokens.len()).unwrap_or(u32::MAX);
        self.spend(steps).then(|| parse(tokens))
    }

    pub(super) fn run(&mut self, script: &Script) -> Flow {
        for command in script.iter() {
            if !self.spend(1) {
                return Flow::Halt;
            }
            let flow = self.run_command(command);
            self.environment.set("?", if self.success { "0" } else { "1" });
            if flow != Flow::Next {
                return flow;
            }
        }
        Flow::Next
    }

    fn run_command(&mut self, command: &Command) -> Flow {
        match command {
            Command::Simple { words, block } => {
                let words = self.expand(words);
                self.call(words, block.as_ref())
            }
            Command::If { branches, otherwise } => {
                for (condition, body) in branches {
                    match self.run(condition) {
                        Flow::Next if self.success => return self.run(body),
                        Flow::Next => {}
                        flow => return flow,
                    }
                }
                self.success = true;
                self.run(otherwise)
            }
            Command::While { condition, until, body } => loop {
                match self.run(condition) {
                    Flow::Next if self.success != *until => {}
                    Flow::Next => return Flow::Next,
                    flow => return flow,
                }
                match self.run(body) {
                    Flow::Next | Flow::Continue if self.spend(1) => {}
                    Flow::Break => return Flow::Next,
                    Flow::Next | Flow::Continue => return Flow::Halt,
                    flow => return flow,
                }
            },
            Command::For { variable, words, body } => {
                let name = self.expand(std::slice::from_ref(variable)).concat();
                for value in self.expand(words) {
                    self.environment.set(&name, value);
                    match self.run(body) {
                        Flow::Next | Flow::Continue if self.spend(1) => {}
                        Flow::Break => break,
                        Flow::Next | Flow::Continue => return Flow::Halt,
                        flow => return flow,
                    }
                }
                Flow::Next
            }
            Command::Function { name, body } => {
                self.success = self.functions.len() < MAX_FUNCTIONS;
                if self.success {
                    self.functions.insert(name.clone(), Rc::clone(body));
                }
                Flow::Next
            }
        }
    }

    /// Runs a command with expanded words.
    pub(super) fn call(&mut self, mut words: Vec<String>, block: Option<&Script>) -> Flow {
        let negated = words.len() > 1 && words.first().is_some_and(|first| first == "!");
        if negated {
            words.remove(0);
        }
        if words.is_empty() {
            self.success = true;
            return Flow::Next;
        }
        let name = words.remove(0);
        let flow = match self.functions.get(&name).map(Rc::clone) {
            Some(body) => {
                let outer = std::mem::replace(&mut self.arguments, words);
                let flow = self.run_nested(&body);
                self.arguments = outer;
                flow
            }
            None => self.built_in(&name, words, block),
        };
        self.success ^= negated;
        flow
    }

    /// Parses and runs text, as `eval` does.
    pub(super) fn run_text(&mut self, text: &str) -> Flow {
        match self.parse(text) {
            Some(script) => self.run_nested(&script),
            None => Flow::Halt,
        }
    }

    /// Expands variables, and splits unquoted ones into words.
    fn expand(&mut self, words: &[Word]) -> Vec<String> {
        let mut expanded = Vec::new();
        let mut bytes = 0;
        for word in words {
            let mut current: Option<String> = None;
            for piece in word.iter() {
                match piece {
                    Piece::Text { text, .. } => current.get_or_insert_default().push_str(text),
                    Piece::Variable { name, quoted: true } if name == "@" => {
                        // Each argument remains a separate word.
                        let mut arguments = self.arguments.iter();
                        current.get_or_insert_default().extend(arguments.next().map(String::as_str));
                        for argument in arguments {
                            expanded.extend(current.replace(argument.clone()));
                        }
                    }
                    Piece::Variable { name, quoted: true } => {
                        current.get_or_insert_default().push_str(&self.variable(name));
                    }
                    Piece::Variable { name, quoted: false } => {
                        let value = self.variable(name);
                        let starts_apart = value.starts_with([' ', '\t', '\n']);
                        let ends_apart = value.ends_with([' ', '\t', '\n']);
                        for (index, part) in value.split_ascii_whitespace().enumerate() {
                            if index > 0 || starts_apart {
                                expanded.extend(current.take());
                            }
                            current.get_or_insert_default().push_str(part);
                        }
                        if ends_apart {
                            expanded.extend(current.take());
                        }
                    }
                }
                bytes += current.as_ref().map_or(0, String::len);
                if bytes > MAX_ARGUMENT_BYTES || expanded.len() > MAX_ARGUMENTS {
                    self.spend(MAX_STEPS);
                    return Vec::new();
                }
            }
            expanded.extend(current);
        }
        self.spend(u32::try_from(bytes / 64).unwrap_or(u32::MAX));
        expanded
    }

    fn variable(&self, name: &str) -> String {
        match name {
            "@" | "*" => self.arguments.join(" "),
            "#" => self.arguments.len().to_string(),
            _ => match name.parse::<usize>().ok().and_then(|number| number.checked_sub(1)) {
                Some(index) => self.arguments.get(index).cloned().unwrap_or_default(),
                None => self.environment.get(name).to_owned(),
            },
        }
    }

    /// Runs all menu items and returns the structure of the menu.
    fn finish(&mut self, submenu: &[String], entries: &mut Vec<BootEntry>) -> Vec<Place> {
        let mut places = Vec::new();
        for item in std::mem::take(&mut self.items) {
            if entries.len() >= MAX_ENTRIES {
                break;
            }
            let place = match item {
                Item::Entry(block) => {
                    let mut run = self.enter(submenu, &block);
                    run.run_nested(&block.body);
                    let place = Place::entry(&block.id, &block.title, entries.len());
                    entries.push(run.outcome.into_entry(&block.id, &block.title, submenu));
                    place
                }
                Item::Submenu(block) => {
                    let mut run = self.enter(submenu, &block);
                    run.run_nested(&block.body);
                    let mut path = submenu.to_vec();
                    path.push(block.title.clone());
                    let inside = match path.len() < MAX_DEPTH as usize {
                        true => run.finish(&path, entries),
                        false => Vec::new(),
                    };
                    Place { id: block.id, title: block.title, what: What::Menu(inside) }
                }
            };
            places.push(place);
        }
        places
    }

    /// A copy of the state for running the body of an entry or submenu, because their variables are separate.
    fn enter(&self, submenu: &[String], block: &Block) -> Self {
        let mut inner = self.clone();
        let path = submenu.iter().chain([&block.title]).map(String::as_str).collect::<Vec<_>>();
        inner.environment.set("chosen", path.join(">"));
        inner.arguments = block.arguments.clone();
        inner
    }

    /// The default entry: `default`, else `fallback`.
    fn default(&self, menu: &[Place], entries: &[BootEntry]) -> Option<usize> {
        let default = match self.environment.get("default") {
            "saved" => self.environment.get("saved_entry"),
            "" => "0",
            default => default,
        };
        // GRUB uses the first entry if the default does not exist.
        let chosen = find(menu, default).or_else(|| find(menu, "0"));
        let bootable = |index: &usize| entries.get(*index).is_some_and(BootEntry::is_bootable);
        let fallbacks = self.environment.get("fallback").split_ascii_whitespace();
        chosen.filter(bootable).or_else(|| fallbacks.filter_map(|name| find(menu, name)).find(bootable))
    }
}

/// A line of the menu.
struct Place {
    id: String,
    title: String,
    what: What,
}

enum What {
    /// An index into the list of all entries.
    Entry(usize),
    Menu(Vec<Place>),
}

impl Place {
    fn entry(id: &str, title: &str, index: usize) -> Self {
        Self { id: id.to_owned(), title: title.to_owned(), what: What::Entry(index) }
    }
}

/// Finds an entry by number, id or title, with `>` between those of submenus.
fn find(menu: &[Place], name: &str) -> Option<usize> {
    let by_name = |name: &str| menu.iter().find(|place| place.id == name || place.title == name);
    let (first, rest) = match name.split_once('>') {
        // A `>` in a title is written twice.
        Some(_) if by_name(&name.replace(">>", ">")).is_some() => (name.replace(">>", ">"), "0"),
        Some((first, rest)) => (first.to_owned(), rest),
        None => (name.to_owned(), "0"),
    };
    let place = match first.trim().parse::<usize>() {
        Ok(index) => menu.get(index),
        Err(_) => by_name(&first),
    };
    match &place?.what {
        What::Entry(index) => Some(*index),
        What::Menu(inside) => find(inside, rest),
    }
}
