//! Runs a GRUB script up to the boot menu, and then each menu entry up to its kernel.

use std::collections::HashMap;
use std::rc::Rc;

use super::super::budget::Work;
use super::super::entry::{BootEntry, Found};
use super::super::volume::{DiskPath, Rewrite, Volumes};
use super::devices::By;
use super::doubt;
use super::environment::{Environment, Unknown};
use super::known::is_command;
use super::outcome::Outcome;
use super::parser::{Command, Script, parse};
use super::selection::{self, Line, Menu, Names, What};
use super::{MAX_CONFIG, device, lexer};

/// The cost of a file system lookup in steps.
pub(super) const FILE_STEPS: u32 = 20;

/// The most tokens of one script; each costs a step and takes some hundred bytes of memory.
const MAX_TOKENS: usize = 64 << 10;

/// The most nested functions, included files and submenus.
const MAX_DEPTH: u32 = 16;

const MAX_ENTRIES: usize = 512;
const MAX_FUNCTIONS: usize = 512;

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
    /// What GRUB writes into environment blocks up to here.
    pub(super) written: Vec<Rewrite>,
    /// Where things were found that the script searched for.
    pub(super) searches: Vec<(By, String, u32)>,
    /// The disk images that the script has mounted, by the name of the device.
    pub(super) images: HashMap<String, String>,
    /// Whether patterns in arguments stand for files.
    pub(super) has_patterns: bool,
    /// How names of entries are understood.
    pub(super) names: Names,
    /// The unknown command on which the words of the current command depend.
    pub(super) touched: Option<Unknown>,
    /// The unknown command on which it depends whether this part of the script runs.
    pub(super) branch_unknown: Option<Unknown>,
    /// The unknown command on which the success of the last command depends.
    pub(super) success_unknown: Option<Unknown>,
    /// The unknown command on which the lines of the menu depend.
    menu_unknown: Option<Unknown>,
    depth: u32,
}

impl<'v, 'd> Interpreter<'v, 'd> {
    pub(super) fn new(volumes: &'v Volumes<'d>) -> Self {
        let mut environment = Environment::default();
        // Values of GRUB for BIOS: scripts check these, and take the most direct path to a kernel there.
        let constants = [("grub_platform", "pc"), ("grub_cpu", "i386"), ("?", "0")];
        let features = ["menuentry_id", "menuentry_options", "timeout_style", "200_final", "default_font_path"];
        for (name, value) in constants {
            environment.set(name, value);
            environment.export(name);
        }
        for feature in
            features.into_iter().chain(["all_video_module", "platform_search_hint", "chainloader_bpb", "ntldr"])
        {
            let name = format!("feature_{feature}");
            environment.set(&name, "y");
            environment.export(&name);
        }
        Self {
            volumes,
            environment,
            functions: HashMap::new(),
            arguments: Vec::new(),
            items: Vec::new(),
            outcome: Outcome::default(),
            success: true,
            written: Vec::new(),
            searches: Vec::new(),
            images: HashMap::new(),
            has_patterns: false,
            names: Names::NumberFirst,
            touched: None,
            branch_unknown: None,
            success_unknown: None,
            menu_unknown: None,
            depth: 0,
        }
    }

    /// Runs a configuration, and then each of its entries to find what it starts.
    pub(super) fn boot_menu(mut self, config: &DiskPath) -> Found {
        let device = device::name(self.volumes, config.partition);
        let directory = config.path.rsplit_once('/').map_or("", |(directory, _)| directory);
        for (name, value) in [("root", device.clone()), ("prefix", format!("({device}){directory}"))] {
            self.environment.set(name, value);
            self.environment.export(name);
        }
        self.environment.set("cmdpath", format!("({device}){directory}"));
        // The images that are signed for EFI contain this module.
        self.has_patterns = config.path.starts_with("/EFI/");
        self.source(&[format!("({device}){}", config.path)]);
        let mut collected = Collected::default();
        let menu = self.finish_menu(&[], &mut collected);
        let Collected { entries, writes, unknown } = collected;
        let can_boot = |entry: &BootEntry| {
            let is_there = |at: &DiskPath| self.spend(FILE_STEPS) && self.volumes.file_length(at).is_some();
            entry.is_bootable() && entry.kernel.as_ref().is_some_and(is_there)
        };
        let fallback = self.environment.get("fallback").to_owned();
        let default = match fallback.is_empty() {
            true => menu.chosen(None, self.names),
            false => selection::choose(&menu, self.names, &fallback, &entries, can_boot),
        };
        let unknown = self
            .menu_unknown
            .clone()
            .or_else(|| self.environment.unknown("default"))
            .or_else(|| unknown.get(default?).cloned().flatten());
        Found { entries, default, writes, unknown_default: unknown.map(|name| name.to_string()) }
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
        self.volumes.budget().spend(Work::Steps, steps.into()).is_ok()
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
                let outer = self.branch_unknown.clone();
                let flow = self.conditional(branches, otherwise);
                if self.branch_unknown != outer
                    && let Some(unknown) = std::mem::replace(&mut self.branch_unknown, outer)
                {
                    doubt::other_branches(self, branches, otherwise, &unknown);
                }
                flow
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

    fn conditional(&mut self, branches: &[(Script, Script)], otherwise: &Script) -> Flow {
        for (condition, body) in branches {
            let flow = self.run(condition);
            if let Some(unknown) = self.success_unknown.take() {
                self.branch_unknown = Some(unknown);
            }
            match flow {
                Flow::Next if self.success => return self.run(body),
                Flow::Next => {}
                flow => return flow,
            }
        }
        self.success = true;
        self.run(otherwise)
    }

    /// Notes that the lines of the menu may be others.
    pub(super) fn doubt_menu(&mut self, unknown: &Unknown) {
        self.menu_unknown.get_or_insert_with(|| Rc::clone(unknown));
    }

    /// Sets a variable.
    pub(super) fn assign(&mut self, name: &str, value: impl Into<String>) {
        self.environment.set_doubtful(name, value, self.touched.clone());
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
        self.success_unknown = None;
        let function = self.functions.get(&name).filter(|_| !is_command(&name)).map(Rc::clone);
        let flow = match function {
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

    /// Runs all menu items and returns the structure of the menu.
    fn finish_menu(&mut self, submenu: &[String], collected: &mut Collected) -> Menu {
        let mut lines = Vec::new();
        for item in std::mem::take(&mut self.items) {
            if collected.entries.len() >= MAX_ENTRIES {
                break;
            }
            let (Item::Entry(block) | Item::Submenu(block)) = &item;
            let mut run = self.enter(&item);
            let inherited = run.environment.find("default").map(str::to_owned);
            run.run_nested(&block.body);
            // An entry that runs another configuration has a menu of its own, as a submenu does.
            let is_menu = matches!(item, Item::Submenu(_)) || !run.items.is_empty();
            let what = if is_menu {
                let mut path = submenu.to_vec();
                path.push(block.title.clone());
                let mut inside = match path.len() < MAX_DEPTH as usize {
                    true => run.finish_menu(&path, collected),
                    false => Menu::default(),
                };
                if matches!(item, Item::Submenu(_)) {
                    inside.default = inside.default.filter(|default| inherited.as_ref() != Some(default));
                }
                What::Menu(inside)
            } else {
                let index = collected.entries.len();
                collected.unknown.push(run.outcome.unknown());
                collected.entries.push(run.outcome.into_entry(&block.id, &block.title, submenu));
                collected.writes.push(run.written);
                What::Entry(index)
            };
            lines.push(Line { id: block.id.clone(), title: block.title.clone(), what });
        }
        Menu { lines, default: self.environment.find("default").map(str::to_owned) }
    }

    /// A copy of the state for running the body of an entry or submenu. A submenu has only the exported variables.
    fn enter(&self, item: &Item) -> Self {
        // Without these steps, its body does not run.
        self.spend(self.environment.copy_steps());
        let mut inner = self.clone();
        let (Item::Entry(block) | Item::Submenu(block)) = item;
        if matches!(item, Item::Submenu(_)) {
            inner.environment = self.environment.inner();
        }
        let id = block.id.replace('>', ">>");
        let chosen = match self.environment.get("chosen") {
            "" => id,
            outer => format!("{outer}>{id}"),
        };
        inner.environment.set("chosen", chosen);
        inner.environment.export("chosen");
        inner.arguments = block.arguments.clone();
        inner
    }
}

/// The entries of a menu and its submenus.
#[derive(Default)]
struct Collected {
    entries: Vec<BootEntry>,
    /// What GRUB writes when it starts them.
    writes: Vec<Vec<Rewrite>>,
    /// The unknown commands on which they depend.
    unknown: Vec<Option<Unknown>>,
}
