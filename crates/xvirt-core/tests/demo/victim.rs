//! A process that is killed: this test program again, in which one test works and says what it does.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use xvirt_testing::process::another;

const FOLDER: &str = "XVIRT_TEST_VICTIM";
const SEED: &str = "XVIRT_TEST_VICTIM_SEED";
/// Names the word after which the process waits to be killed.
const STOP: &str = "XVIRT_TEST_VICTIM_STOP";
/// Begins a line with a word.
const MARK: &str = "@ ";

/// When a process is killed.
pub enum Moment {
    /// This long after it has said `times` words that begin with `word`.
    After { word: &'static str, times: u64, delay: Duration },
    /// While it waits after a word that begins with this.
    At(&'static str),
}

/// In the process that is killed: the folder to work in, and a seed.
pub fn order() -> Option<(PathBuf, u64)> {
    let folder = std::env::var_os(FOLDER)?;
    Some((folder.into(), std::env::var(SEED).unwrap().parse().unwrap()))
}

/// Says what is about to be done, or is done. Waits to be killed if that is where it should stop.
pub fn say(word: &str) {
    println!("{MARK}{word}");
    if std::env::var(STOP).is_ok_and(|stop| word.starts_with(&stop)) {
        let _ = io::stdin().read_line(&mut String::new());
    }
}

/// The command for a process that runs `test`, with pipes to talk with it.
pub fn command(test: &str, folder: &Path, seed: u64) -> Command {
    let mut command = another(test);
    command.env(FOLDER, folder).env(SEED, seed.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Starts the process that runs `test`, kills it, and returns its last word.
pub fn killed(test: &str, folder: &Path, seed: u64, moment: &Moment) -> String {
    let mut command = command(test, folder, seed);
    let (word, times, delay) = match moment {
        Moment::After { word, times, delay } => (*word, *times, *delay),
        Moment::At(word) => {
            command.env(STOP, word);
            (*word, 1, Duration::ZERO)
        }
    };
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let (mut last, mut said) = (String::new(), 0);
    while said < times {
        last = next(&mut lines).unwrap_or_else(|| panic!("the process ended by itself after '{last}'"));
        said += u64::from(last.starts_with(word));
    }
    thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
    while let Some(word) = next(&mut lines) {
        last = word;
    }
    last
}

/// The next word; `None` at the end.
pub fn next(lines: &mut BufReader<ChildStdout>) -> Option<String> {
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        // The test program begins the line of the first word.
        if let Some((_, word)) = line.strip_suffix('\n').and_then(|line| line.split_once(MARK)) {
            return Some(word.to_owned());
        }
    }
}
