//! Moves the running VM to another process of this program.

use std::env;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use xvirt_core::config::ByteSize;
use xvirt_core::migrate::{Migration, MigrationObserver, MigrationReport, Reception, Sockets, receive};
use xvirt_examples::{Guest, Result, Steps, host_of_stock_kernels};

use crate::{Options, network};

/// Starts a counter in the guest, which writes how far it is, and the longest time between two steps in milliseconds.
pub(crate) const COUNT: &str = "cat >/run/count.sh <<'END'
last=${EPOCHREALTIME/./} longest=0 count=0
while :; do
    now=${EPOCHREALTIME/./} gap=$((now - last))
    longest=$((gap > longest ? gap : longest)) last=$now count=$((count + 1))
    echo \"$count steps, the longest took $((longest / 1000)) ms\" >/run/count.new
    mv /run/count.new /run/count
    sleep 0.01
done
END
setsid bash /run/count.sh >/dev/null 2>&1 </dev/null &
until [ -e /run/count ]; do sleep 0.1; done; cat /run/count";

/// Moves the VM to a new process, which shuts it down in the end. Returns how long its guest was stopped.
pub(crate) fn give(guest: &Guest, folder: &Path, data: &Path) -> Result<Duration> {
    let socket = folder.join("migration");
    let listener = UnixListener::bind(&socket)?;
    // The other process gets the options of this one.
    let mut other = Command::new(env::current_exe()?)
        .args(env::args_os().skip(1))
        .arg("--take")
        .args([&socket, &data.to_owned()])
        .spawn()?;
    let settings = Migration::default().silence_limit(guest.timeout());
    let moved = guest.vm().migrate(&listener, &settings, &(), &Display::default());
    let status = other.wait()?;
    match moved {
        Err(error) => Err(error.into()),
        Ok(_) if !status.success() => Err(format!("the other process failed: {status}").into()),
        Ok(summary) => Ok(summary.downtime.total()),
    }
}

/// Takes the VM from the process that listens at `socket`, and shuts it down.
pub(crate) fn take(options: &Options, socket: &Path, data: &Path) -> Result<()> {
    let mut steps = Steps::default();
    let host = host_of_stock_kernels()?;
    let channel = Sockets::new([UnixStream::connect(socket)?])?;
    let (nic, _tap) = network::join()?;
    let config = options.config(data, nic);
    let settings = Reception::default().silence_limit(options.guest.timeout());
    let vm = receive(&channel, &host, &settings, &(), &(), &mut |_| Ok(config.clone()))?;
    let guest = Guest::running(vm, options.guest.timeout());
    steps.done("Debian runs in this process");
    guest.run("cat /run/count; cat /mnt/file; sleep 1; cat /run/count")?;
    steps.done("its counter went on; its longest step contains the time for which it was stopped");
    guest.shut_down()?;
    steps.done("shut Debian down");
    Ok(())
}

/// Prints what the migration does.
#[derive(Default)]
struct Display(Mutex<Option<MigrationReport>>);

impl MigrationObserver for Display {
    fn report(&self, report: &MigrationReport) {
        let Ok(mut last) = self.0.lock() else { return };
        if last.as_ref().is_some_and(|last| (last.phase, last.round) == (report.phase, report.round)) {
            return;
        }
        println!("  {:?}: round {}, {} sent", report.phase, report.round, ByteSize::new(report.bytes));
        *last = Some(*report);
    }

    fn cancelled(&self) -> bool {
        false
    }

    fn settings(&self) -> Option<Migration> {
        None
    }
}
