//! The commands that read other files of the disk, or write its environment block.

use std::sync::Arc;

use super::super::environment_block::{EnvironmentBlock, MAX_LENGTH};
use super::super::volume::DiskPath;
use super::device;
use super::interpreter::{FILE_STEPS, Flow, Interpreter};
use super::options::{self, Known, Takes};

/// The most environment blocks that a menu writes.
const MAX_WRITTEN: usize = 8;

const ENVIRONMENT: [Known; 2] = [('f', "file", Takes::Value), ('s', "skip-sig", Takes::Nothing)];

impl Interpreter<'_, '_> {
    /// Runs a file with the variables of this script.
    pub(super) fn source(&mut self, arguments: &[String]) -> Flow {
        if let Some(unknown) = self.touched.clone() {
            self.doubt_menu(&unknown);
        }
        match arguments.first() {
            Some(path) => self.include_file(path),
            None => {
                self.success = false;
                Flow::Next
            }
        }
    }

    /// Runs a file for a menu of its own, with the exported variables. If it has entries, that menu is the one that is
    /// shown; otherwise the script goes on.
    pub(super) fn configfile(&mut self, arguments: Vec<String>) -> Flow {
        if !self.spend(self.environment.copy_steps()) {
            return Flow::Halt;
        }
        let inner = self.environment.inner();
        let outer = std::mem::replace(&mut self.environment, inner);
        let items = std::mem::take(&mut self.items);
        let file = arguments.into_iter().next();
        let file = file.unwrap_or_else(|| format!("{}/grub.cfg", self.environment.get("prefix")));
        let flow = self.source(std::slice::from_ref(&file));
        if !self.items.is_empty() {
            return Flow::Halt;
        }
        self.environment = outer;
        self.items = items;
        flow
    }

    fn include_file(&mut self, path: &str) -> Flow {
        let root = self.environment.get("root").to_owned();
        let found = device::resolve(path, &root);
        let Ok(at) = found else {
            self.success = false;
            return Flow::Next;
        };
        let full = if path.starts_with('(') { path.to_owned() } else { format!("({root}){path}") };
        let directory = full.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned();
        let names = ["config_file", "config_directory"];
        let before = names.map(|name| self.environment.find(name).map(str::to_owned));
        for (name, value) in names.into_iter().zip([full, directory]) {
            self.environment.set(name, value);
            self.environment.export(name);
        }
        let flow = self.include(&at);
        if flow == Flow::Halt {
            // Another menu has taken over, with variables of its own.
            return flow;
        }
        for (name, value) in names.into_iter().zip(before) {
            match value {
                Some(value) => self.environment.set(name, value),
                None => self.environment.unset(name),
            }
        }
        flow
    }

    /// The file of `load_env` and `save_env`.
    fn environment_file(&self, file: Option<&str>) -> Option<DiskPath> {
        let standard = || format!("{}/grubenv", self.environment.get("prefix"));
        let path = file.map_or_else(standard, str::to_owned);
        device::resolve(&path, self.environment.get("root")).ok()
    }

    /// An environment block, as this script has written it so far.
    fn block(&self, at: &DiskPath) -> Option<EnvironmentBlock> {
        let written = self.written.iter().find(|(path, _)| path == at).map(|(_, bytes)| bytes.to_vec());
        let bytes = written.or_else(|| self.spend(FILE_STEPS).then(|| self.volumes.bytes(at, MAX_LENGTH))?)?;
        let block = EnvironmentBlock::new(bytes)?;
        self.spend(steps(&block)).then_some(block)
    }

    pub(super) fn load_env(&mut self, arguments: Vec<String>) {
        let options = options::parse(arguments, &ENVIRONMENT);
        let block = self.environment_file(options.value("file")).and_then(|at| self.block(&at));
        self.success = block.is_some();
        for (name, value) in block.iter().flat_map(EnvironmentBlock::variables) {
            if options.plain.is_empty() || options.plain.contains(&name) {
                self.environment.set(&name, value);
            }
        }
    }

    /// The command of Home Assistant OS that sets a variable to the line in a file: `file_env -f FILE VARIABLE`.
    pub(super) fn file_env(&mut self, arguments: Vec<String>) {
        let options = options::parse(arguments, &ENVIRONMENT);
        let at = options.value("file").and_then(|path| device::resolve(path, self.environment.get("root")).ok());
        let text = at.filter(|_| self.spend(FILE_STEPS)).and_then(|at| self.volumes.text(&at, MAX_LENGTH));
        self.success = text.is_some();
        if let (Some(text), Some(variable)) = (text, options.plain.first()) {
            self.assign(variable, text.lines().next().unwrap_or_default());
        }
    }

    /// Notes what GRUB would write into the environment block.
    pub(super) fn save_env(&mut self, arguments: Vec<String>) {
        let options = options::parse(arguments, &ENVIRONMENT);
        self.success = false;
        let Some(at) = self.environment_file(options.value("file")).filter(|_| !options.plain.is_empty()) else {
            return;
        };
        let Some(mut block) = self.block(&at) else { return };
        let cost = steps(&block);
        for name in &options.plain {
            if !self.spend(cost) {
                return;
            }
            match self.environment.find(name) {
                Some(value) if !block.set(name, value) => return,
                Some(_) => {}
                None => block.remove(name),
            }
        }
        let bytes: Arc<[u8]> = block.bytes().into();
        let count = self.written.len();
        match self.written.iter_mut().find(|(path, _)| *path == at) {
            Some((_, before)) => *before = bytes,
            None if count < MAX_WRITTEN => self.written.push((at, bytes)),
            None => return,
        }
        self.success = true;
    }
}

/// The cost of going through an environment block in steps.
fn steps(block: &EnvironmentBlock) -> u32 {
    u32::try_from(1 + block.bytes().len() / 64).unwrap_or(u32::MAX)
}
