//! The command `xvirt`: the host service (`xvirt host run`), and the client that manages VMs through it.
//!
//! `arguments` is the command line. `service` is the host service; `listen`, `port`, `log`, `notify` and `account` are its
//! ways to the system. The rest is the client: `client` speaks XenAPI over the service's socket; `vm` (with `create`,
//! `settings`, `all`, `upgrade` and `console`), `disk` and `nic` (both with `device` and `limit`), `network`, `sr`, `user`
//! (with `password`), `task`, `message` and `host` are the nouns; `name` finds what a name or a UUID means, `objects` reads
//! and creates records, `follow` follows a task to its end; `vms` lists VMs, `output` prints tables and JSON, `plain` makes
//! text harmless, and `failure` is what went wrong, with the exit status.

mod account;
mod all;
mod arguments;
mod client;
mod console;
mod create;
mod device;
mod disk;
mod failure;
mod follow;
mod host;
mod limit;
mod listen;
mod log;
mod message;
mod name;
mod network;
mod nic;
mod notify;
mod objects;
mod output;
mod password;
mod plain;
mod port;
mod service;
mod settings;
mod size;
mod sr;
mod task;
mod upgrade;
mod user;
mod vm;
mod vms;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use arguments::{Arguments, HostVerb, Noun, TaskVerb};
use client::Client;
use failure::{Failure, Result};
use output::Output;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // The reader may have closed the pipe.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(failure::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let output = Output { json: arguments.json };
    let done = match arguments.noun {
        Noun::Host(HostVerb::Run(options)) => service::run(&options, arguments.socket),
        Noun::Completion { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "xvirt", &mut text);
            output::print(&String::from_utf8_lossy(&text))
        }
        Noun::Manual { folder } => clap_mangen::generate_to(Arguments::command(), &folder)
            .map_err(|error| Failure::new(format!("cannot write the manual to {}", folder.display()), error)),
        noun => client(noun, arguments.socket, &output),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(output.json),
    }
}

/// Where the service of the package has its socket.
const SOCKET: &str = "/run/xvirt/xvirt.sock";

fn client(noun: Noun, socket: Option<PathBuf>, output: &Output) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new("cannot start", error))?;
    let done = runtime.block_on(async {
        let client = Client::new(socket.unwrap_or_else(|| SOCKET.into()));
        match noun {
            Noun::Host(HostVerb::Show) => host::show(&client, output).await,
            Noun::Vm(verb) => vm::run(&client, verb, output).await,
            Noun::Disk(verb) => disk::run(&client, verb, output).await,
            Noun::Nic(verb) => nic::run(&client, verb, output).await,
            Noun::Network(verb) => network::run(&client, verb, output).await,
            Noun::Sr(verb) => sr::run(&client, verb, output).await,
            Noun::Message(verb) => message::run(&client, verb, output).await,
            Noun::User(verb) => user::run(&client, verb, output).await,
            Noun::Task(TaskVerb::List) => task::list(&client, output).await,
            Noun::Task(TaskVerb::Show { task }) => task::show(&client, &task, output).await,
            Noun::Task(TaskVerb::Cancel { task }) => task::cancel(&client, &task, output).await,
            Noun::Host(HostVerb::Run(_)) | Noun::Completion { .. } | Noun::Manual { .. } => Ok(()),
        }
    });
    // A thread may still wait for a key.
    runtime.shutdown_background();
    done
}
