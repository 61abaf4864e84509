//! Works with virtual appliances (`.xva`): inspects, verifies, makes, imports and exports them.
//!
//! See `cargo run --release --bin appliance -- --help`. Each subcommand is one call of the library, in its own file;
//! those that look after a `repository` share one. The rest is what any such program needs: `arguments`, `input` and
//! `output` for files and pipes, a `progress` bar on a terminal, `interrupt`, which ends long work on Ctrl-C, the
//! library's warnings in `log`, and its messages in the program's `words`.

mod arguments;
mod draft;
mod export;
mod extract;
mod failure;
mod import;
mod input;
mod inspect;
mod interrupt;
mod log;
mod output;
mod pack;
mod progress;
mod reading;
mod repository;
mod run;
mod store;
mod table;
mod terminal;
mod verify;
mod words;
mod writing;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Appliance, Verb};
use failure::{Failure, Result};
use interrupt::Interrupt;

fn main() -> ExitCode {
    let verb = match Appliance::try_parse() {
        Ok(appliance) => appliance.verb,
        Err(error) if error.use_stderr() => return Failure::usage(&error).report(),
        Err(help) => {
            // The reader may have closed the pipe.
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    match work(verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn work(verb: Verb) -> Result<()> {
    log::show();
    let interrupt = Interrupt::listen()?;
    let done = match verb {
        Verb::Inspect(arguments) => inspect::inspect(&arguments, &interrupt),
        Verb::Verify(arguments) => verify::verify(&arguments, &interrupt),
        Verb::Extract(arguments) => extract::extract(&arguments, &interrupt),
        Verb::Pack(arguments) => pack::pack(&arguments, &interrupt),
        Verb::Import(arguments) => import::import(&arguments, &interrupt),
        Verb::Export(arguments) => export::export(&arguments, &interrupt),
        Verb::List(arguments) => repository::list(&arguments),
        Verb::Remove(arguments) => repository::remove(&arguments),
        Verb::Check(arguments) => repository::check(&arguments, &interrupt),
    };
    // Whatever the failure says, it is a consequence of the interrupt.
    done.map_err(|failure| if interrupt.came() { Failure::interrupted() } else { failure })
}
