//! The same in Rust as `bindings/python/benches/measure.py` does in Python.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use xvirt_benches::{Result, demo_vm};
use xvirt_core::console::Console;
use xvirt_core::host::Host;

/// The bytes of a line without its end.
pub(crate) const LENGTH: usize = 190;
/// How often the output that was kept is read.
pub(crate) const REREADS: usize = 2000;
const CALLS: u32 = 1_000_000;
const ATTEMPTS: usize = 7;
const PIECE: usize = 65536;
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Figures {
    pub(crate) console: Throughput,
    /// Nanoseconds to read the power state.
    pub(crate) call: f64,
}

/// Bytes per second.
#[derive(Clone, Copy)]
pub(crate) struct Throughput {
    /// Of a guest that sends lines back.
    pub(crate) live: f64,
    /// Of output that the console has kept.
    pub(crate) kept: f64,
}

impl Throughput {
    pub(crate) fn best(self, other: Self) -> Self {
        Self { live: self.live.max(other.live), kept: self.kept.max(other.kept) }
    }
}

pub(crate) fn call(host: &Host) -> Result<f64> {
    let vm = demo_vm::config("cost").build(host)?;
    let mut best = f64::INFINITY;
    for _ in 0..ATTEMPTS {
        best = best.min(demo_vm::power_state_time(&vm, CALLS));
    }
    Ok(best)
}

pub(crate) fn console(host: &Host, lines: usize) -> Result<Throughput> {
    let vm = demo_vm::config("console").build(host)?;
    vm.start()?;
    demo_vm::wait_up(&vm)?;
    let console = vm.virtio_console();
    let live = live(console, lines)?;
    let mut kept = 0.0_f64;
    for _ in 0..ATTEMPTS {
        kept = kept.max(reread(console));
    }
    Ok(Throughput { live, kept })
}

fn live(console: &Console, lines: usize) -> Result<f64> {
    let line = [vec![b'x'; LENGTH], vec![b'\n']].concat();
    let expected = lines * (line.len() + "echo: ".len());
    let mut reader = console.reader_at_end();
    let mut buffer = vec![0; PIECE];
    let (input, writer) = (line.repeat(lines), console.clone());
    let begun = Instant::now();
    let writer = thread::spawn(move || writer.write_all_timeout(&input, PATIENCE));
    let mut total = 0;
    while total < expected {
        total += reader.read_timeout(&mut buffer, PATIENCE)?;
    }
    let rate = rate(total, begun);
    writer.join().map_err(|_| "the thread that writes panicked")??;
    Ok(rate)
}

fn reread(console: &Console) -> f64 {
    let mut buffer = vec![0; PIECE];
    let (begun, mut total) = (Instant::now(), 0);
    for _ in 0..REREADS {
        let mut reader = console.reader();
        while let Some(count @ 1..) = reader.try_read(&mut buffer) {
            total += black_box(&buffer[..count]).len();
        }
    }
    rate(total, begun)
}

#[allow(clippy::cast_precision_loss, reason = "a rate")]
fn rate(bytes: usize, begun: Instant) -> f64 {
    bytes as f64 / begun.elapsed().as_secs_f64()
}
