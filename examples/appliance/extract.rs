//! `appliance extract`: extracts the disks of an archive as images.

use xvirt_core::xva;

use crate::arguments::Extract;
use crate::failure::{Failure, Result, note};
use crate::input::{Input, Name};
use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::table::print;

pub fn extract(arguments: &Extract, interrupt: &Interrupt) -> Result<()> {
    let mut options = xva::Extract::default().format(arguments.format.into()).read(arguments.reading.options());
    if arguments.accept_unchecked {
        options = options.accept_unchecked();
    }
    if let Some(disk) = arguments.disk {
        options = options.disk(disk);
    }
    if arguments.keep_going {
        options = options.keep_going();
    }
    let input = Input::open(&arguments.file, interrupt)?;
    let bar = Bar::new(input.size(), interrupt);
    let extracted = xva::extract(input, &arguments.folder, &options, &bar)
        .map_err(|error| Failure::new(Name(&arguments.file), error))?;
    drop(bar);
    extracted.remarks.iter().for_each(note);
    let images = extracted.disks.iter().chain(&extracted.memory_image);
    print(&images.map(|path| format!("{}\n", path.display())).collect::<String>())?;
    if extracted.damage.is_empty() {
        return Ok(());
    }
    extracted.damage.iter().for_each(note);
    let what = match extracted.damage.len() {
        1 => "1 range is not whole".to_owned(),
        count => format!("{count} ranges are not whole"),
    };
    Err(Failure::new(Name(&arguments.file), what))
}
