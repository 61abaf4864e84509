//! `appliance pack`: makes an archive from disk images.

use std::path::Path;

use xvirt_core::config::{Disk, Nic, VmConfig};
use xvirt_core::xva;

use crate::arguments::{Pack, follows_nic};
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::progress::Bar;

pub fn pack(arguments: &Pack, interrupt: &Interrupt) -> Result<()> {
    if follows_nic(&arguments.output) {
        let name = arguments.output.display();
        return Err(Failure::misused(format!(
            "write --nic={name} if {name} is a bridge, or name the archive before --nic if it is that"
        )));
    }
    let config = config(arguments)?;
    let output = Output::create(&arguments.output, arguments.writing.force, &config)?;
    let bar = Bar::new(None, interrupt);
    let exported =
        xva::export(&config, output.file(), &arguments.writing.export(), &bar).map_err(|error| output.failed(error))?;
    drop(bar);
    output.finish(&exported)
}

fn config(arguments: &Pack) -> Result<VmConfig> {
    let mut config = VmConfig::new(&arguments.name)
        .description(&arguments.description)
        .memory(arguments.memory)
        .vcpus(arguments.vcpus);
    for path in &arguments.disks {
        config = config.disk(disk(path)?);
    }
    for bridge in &arguments.nics {
        let nic = Nic::new_tap();
        config = config.nic(if bridge.is_empty() { nic } else { nic.bridge(bridge) });
    }
    config.check()?;
    Ok(config)
}

/// A .raw file is not probed: its guest may have written the header of another format to it.
fn disk(path: &Path) -> Result<Disk> {
    if path.extension().is_some_and(|extension| extension == "raw") {
        return Ok(Disk::raw(path));
    }
    Ok(Disk::open(path)?)
}
