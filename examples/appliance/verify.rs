//! `appliance verify`: checks whether an archive is intact, and whether XenServer can import it.

use xvirt_core::xva::{self, Report};

use crate::arguments::Look;
use crate::failure::{Failure, Result};
use crate::input::{Input, Name};
use crate::inspect::describe;
use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::table::{Size, Table, print_json};
use crate::words::Words;

pub fn verify(arguments: &Look, interrupt: &Interrupt) -> Result<()> {
    let input = Input::open(&arguments.file, interrupt)?;
    let bar = Bar::new(input.size(), interrupt);
    let report = xva::verify(input, &arguments.reading.options(), &bar)
        .map_err(|error| Failure::new(Name(&arguments.file), error))?;
    drop(bar);
    if arguments.json {
        print_json(&report)?;
    } else {
        table(&report).print()?;
    }
    if report.good { Ok(()) } else { Err(Failure::new(Name(&arguments.file), first_problem(&report))) }
}

fn table(report: &Report) -> Table {
    let mut table = Table::default();
    if let Some(appliance) = &report.appliance {
        describe(appliance, &mut table);
    }
    table.line("compression", report.compression);
    let checksums: Vec<_> = report.checksums.iter().map(ToString::to_string).collect();
    table.line("checksums", if checksums.is_empty() { "none".into() } else { checksums.join(", ") });
    table.line("read", format!("{}, {} without compression", Size(report.size), Size(report.decompressed)));
    for disk in &report.disks {
        let state = match disk.whole {
            true => "whole".into(),
            false if disk.reached < disk.size => format!("INCOMPLETE, ends at {}", Size(disk.reached)),
            false => "NOT WHOLE: see the damage".into(),
        };
        table.line("contents", format!("{}  {}  {state}", disk.id, Size(disk.size)));
    }
    for problem in &report.problems {
        table.line(if problem.serious { "damage" } else { "oddity" }, Words(&problem.what));
    }
    // Otherwise the damage is among them.
    if report.good {
        report.obstacles.iter().for_each(|obstacle| table.line("obstacle", Words(obstacle)));
    }
    table.line("verdict", if report.good { "good: whole, and can be imported here" } else { "DAMAGED" });
    let can = report.obstacles.is_empty();
    table.line("XenServer", if can { "can import it, as can XCP-ng" } else { "CANNOT import it, nor can XCP-ng" });
    table
}

fn first_problem(report: &Report) -> String {
    let mut serious = report.problems.iter().filter(|problem| problem.serious);
    let first = serious.next().map_or("it is damaged", |problem| problem.what.as_str());
    match serious.count() {
        0 => first.to_owned(),
        more => format!("{first} (and {more} more)"),
    }
}
