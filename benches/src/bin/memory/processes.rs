//! The memory of processes that run one VM each.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use xvirt_benches::Result;
use xvirt_benches::programs::{self, Guest, Program};
use xvirt_benches::resident::Resident;

/// Measures the program `vm` and its peers in turns, so that whatever else runs shares as many pages with each.
pub(crate) fn measure(runs: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let guest = Guest::demo(folder.path())?.idle();
    let mut measured = find(&guest, folder.path());
    println!("\nKiB, processes that run one idle VM of {} each; medians of {runs} runs", guest.memory);
    for _ in 0..runs {
        for row in &mut measured {
            row.take(&guest);
        }
    }
    println!(
        "{:<18} {:>9} {:>9} {:>12} {:>14} {:>15}",
        "", "beyond", "least", "of it files", "guest memory", "to firecracker"
    );
    let base = measured.iter().find(|row| row.name == "firecracker").and_then(Row::median);
    for row in &measured {
        match (&row.failure, row.median()) {
            (Some(reason), _) => println!("{:<18} not measured: {reason}", row.name),
            (None, None) => {}
            (None, Some(median)) => {
                let least = row.taken.iter().map(|resident| resident.rest).min().unwrap_or_default();
                let ratio =
                    base.map(|base| format!("{:.2}", median.rest as f64 / base.rest as f64)).unwrap_or_default();
                let (files, guests) = (median.files, median.guests);
                println!("{:<18} {:>9} {least:>9} {files:>12} {guests:>14} {ratio:>15}", row.name, median.rest);
            }
        }
    }
    Ok(())
}

fn find(guest: &Guest, folder: &Path) -> Vec<Row> {
    let found = [
        ("xvirt", programs::xvirt()),
        ("firecracker", programs::firecracker(guest, folder)),
        ("cloud-hypervisor", programs::cloud_hypervisor()),
    ];
    let row = |(name, program): (_, Result<Program>)| match program {
        Ok(program) => Row { name, program: Some(program), failure: None, taken: Vec::new() },
        Err(error) => Row { name, program: None, failure: Some(error.to_string()), taken: Vec::new() },
    };
    found.into_iter().map(row).collect()
}

struct Row {
    name: &'static str,
    program: Option<Program>,
    /// Why it was not measured.
    failure: Option<String>,
    taken: Vec<Resident>,
}

impl Row {
    fn take(&mut self, guest: &Guest) {
        let Some(program) = &self.program else { return };
        match resident(program, guest) {
            Ok(resident) => self.taken.push(resident),
            Err(error) => self.failure = Some(error.to_string()),
        }
    }

    /// The run with the median use beyond the guest's memory.
    fn median(&self) -> Option<Resident> {
        let mut taken = self.taken.clone();
        taken.sort_unstable_by_key(|resident| resident.rest);
        taken.get(taken.len() / 2).copied()
    }
}

/// Starts the program, and measures it once it has come to rest.
fn resident(program: &Program, guest: &Guest) -> Result<Resident> {
    let (running, _) = program.start(guest)?;
    let look = || Resident::of_process(running.process(), guest.memory);
    let mut last = look()?;
    loop {
        sleep(Duration::from_millis(200));
        let now = look()?;
        // Not that of files, which changes as other programs come and go.
        let own = |resident: &Resident| (resident.guests, resident.rest - resident.files);
        if own(&now) == own(&last) {
            break;
        }
        last = now;
    }
    let whole = guest.memory.bytes() >> 10;
    if last.guest_size != whole {
        return Err(format!("a guest of {whole} KiB seems to have {} KiB of memory", last.guest_size).into());
    }
    Ok(last)
}
