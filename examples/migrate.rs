//! Moves a running VM from one process to another, over TCP, TLS or a unix socket.
//!
//! In one terminal: `cargo run --release --example migrate -- receive 127.0.0.1:7400`, and in another:
//! `cargo run --release --example migrate -- send --to 127.0.0.1:7400`. The demo guest counts in each page of its memory
//! and writes to its disk, and checks both; its disk is in a folder that both processes share.
//!
//! With `--tls-certificate`, `--tls-key` and `--tls-authorities` on both sides, the connections are encrypted and each side
//! checks the other's certificate. `docs/migration.md` shows how to make certificates.
//!
//! With the path of a unix socket as the address, such as `./socket`, `send --local-hand-over` copies no memory: it
//! passes the memory file of the VM, as a program does that is replaced by its next version.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use xvirt_core::config::{Boot, ByteSize, Disk, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::migrate::{
    Channel, MemoryTransfer, Migration, MigrationObserver, MigrationReport, Reception, Tls, receive, tcp_channel,
};
use xvirt_core::vm::Vm;
use xvirt_examples::{Result, Steps};

const ADDRESSES: &str = "write HOST:PORT, or the path of a unix socket with a slash, such as ./socket";

/// The time limit of each step, which allows for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Moves a running VM with the demo guest from one process to another. Needs /dev/kvm.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    side: Side,
}

#[derive(Subcommand)]
enum Side {
    /// Waits for a VM, lets its guest run on, and shuts it down
    Receive {
        /// Where to listen, such as 127.0.0.1:7400 or ./socket
        listen: String,
        #[command(flatten)]
        encryption: Encryption,
    },
    /// Starts a VM and sends it
    Send {
        /// Where the receiver listens, such as 127.0.0.1:7400, host-b:7400 or ./socket; for TLS, its certificate must be for
        /// this host
        #[arg(long, value_name = "HOST:PORT|SOCKET")]
        to: String,
        /// Passes its memory file instead of copying its memory; needs a unix socket
        #[arg(long)]
        local_hand_over: bool,
        /// Keeps its memory in a memory file, as a local hand-over needs it
        #[arg(long)]
        shared_memory: bool,
        /// The size of its memory in MiB, at least 32; its guest uses half of it
        #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(32..))]
        memory: u64,
        /// How many connections send its memory, from 1 to 16
        #[arg(long, value_name = "N", default_value_t = 1)]
        connections: u8,
        /// How long its guest may be stopped, in milliseconds
        #[arg(long, value_name = "MS", default_value_t = 300)]
        downtime: u32,
        /// Where its disk is made; the receiver must reach it by the same path
        #[arg(long, value_name = "FOLDER", default_value = "/tmp")]
        folder: PathBuf,
        #[command(flatten)]
        encryption: Encryption,
    },
}

/// The identity of this side for TLS: all of it or nothing. All files are PEM.
#[derive(Args)]
struct Encryption {
    /// The certificate of this side, with intermediate ones; encrypts the connections
    #[arg(long, value_name = "FILE", requires = "tls_key", requires = "tls_authorities")]
    tls_certificate: Option<PathBuf>,
    /// The private key of this side
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// The certificates of the authorities, one of which must have signed the other side's certificate
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_authorities: Option<PathBuf>,
}

impl Encryption {
    /// The identity, if there is one.
    fn tls(&self) -> Result<Option<Tls>> {
        let (Some(certificate), Some(key), Some(authorities)) =
            (&self.tls_certificate, &self.tls_key, &self.tls_authorities)
        else {
            println!("the connections are not encrypted");
            return Ok(None);
        };
        let tls = Tls::from_files(certificate, key, authorities)?;
        println!("the connections are encrypted by TLS, and each side checks the other's certificate");
        Ok(Some(tls))
    }

    /// Connections to the receiver; over a unix socket they are not encrypted.
    fn connect(&self, to: &str) -> Result<Box<dyn Channel>> {
        if is_path(to) {
            let path = to.to_owned();
            return Ok(Box::new(move |_| UnixStream::connect(&path)));
        }
        if let Some(tls) = self.tls()? {
            return Ok(Box::new(tls.channel(to)?));
        }
        Ok(Box::new(tcp_channel(to).map_err(|error| format!("{error}; {ADDRESSES}"))?))
    }

    /// Connections from the sender.
    fn accept(&self, listen: &str) -> Result<Box<dyn Channel>> {
        if is_path(listen) {
            let listener = UnixListener::bind(listen).map_err(|error| match error.kind() {
                ErrorKind::AddrInUse => {
                    format!("{listen} is there already; remove it if no other process listens on it")
                }
                _ => format!("cannot listen on {listen}: {error}"),
            })?;
            println!("listening on {listen}");
            return Ok(Box::new(listener));
        }
        let listener =
            TcpListener::bind(listen).map_err(|error| format!("cannot listen on {listen}: {error}; {ADDRESSES}"))?;
        println!("listening on {}", listener.local_addr()?);
        Ok(match self.tls()? {
            Some(tls) => Box::new(tls.accept(listener)),
            None => Box::new(listener),
        })
    }
}

fn main() -> ExitCode {
    let done = match Arguments::parse().side {
        Side::Receive { listen, encryption } => take(&listen, &encryption),
        Side::Send { to, local_hand_over, shared_memory, memory, connections, downtime, folder, encryption } => {
            let transfer = if local_hand_over { MemoryTransfer::LocalHandOver } else { MemoryTransfer::Copy };
            let settings = Migration::default().connections(connections).memory(transfer);
            let settings = settings.downtime(Duration::from_millis(downtime.into()));
            let (memory, shared) = (ByteSize::mib(memory), shared_memory || local_hand_over);
            encryption.connect(&to).and_then(|channel| send(&*channel, &settings, &folder, memory, shared))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("migrate: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether an address is the path of a unix socket.
fn is_path(address: &str) -> bool {
    address.contains('/')
}

fn take(listen: &str, encryption: &Encryption) -> Result<()> {
    let mut steps = Steps::default();
    let host = Host::probe()?;
    host.require_kvm()?;
    let channel = encryption.accept(listen)?;
    let _socket = is_path(listen).then(|| SocketFile(listen));
    let settings = Reception::default().silence_limit(PATIENCE);
    let vm = receive(&*channel, &host, &settings, &(), &Display, &mut |arriving| {
        let how = if arriving.is_local_hand_over() {
            "the same memory, by a local hand-over"
        } else {
            "a copy of its memory"
        };
        println!("VM '{}' wants to come with {how}", arriving.name());
        arriving.config().cloned().ok_or_else(|| vec!["its configuration cannot be sent".to_owned()])
    })?;
    steps.done("the guest runs here");
    let before = next_pass(&vm)?;
    while next_pass(&vm)? < before + 5 {}
    steps.done(&format!(
        "it goes on where it was: it has counted in all of its pages {before} times, and five times since"
    ));
    vm.hard_shutdown()?;
    Ok(())
}

/// Removes the socket that this process has made, however its work ends.
struct SocketFile<'a>(&'a str);

impl Drop for SocketFile<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0);
    }
}

fn send(channel: &dyn Channel, settings: &Migration, folder: &Path, memory: ByteSize, shared: bool) -> Result<()> {
    let mut steps = Steps::default();
    let host = Host::probe()?;
    host.require_kvm()?;
    let folder = tempfile::Builder::new().prefix("xvirt-migrate-").tempdir_in(folder)?;
    let mut config = configuration(folder.path(), memory)?;
    if shared {
        config = config.shared_memory();
    }
    let vm = config.build(&host)?;
    vm.start()?;
    let begun = next_pass(&vm)?;
    steps.done(&format!("started a guest; it has counted in all of its pages {begun} times"));
    let summary = vm.migrate(channel, settings, &(), &Display)?;
    let (report, downtime) = (summary.report, summary.downtime);
    steps.done(&format!("sent {} of its memory in {:?}", ByteSize::new(report.bytes), report.elapsed));
    println!(
        "the guest was stopped for {:?}: devices {:?}, last pages {:?}, disks and state {:?}, sending {:?}, loading {:?}, \
         resuming {:?}",
        downtime.total(),
        downtime.drain,
        downtime.last_round,
        downtime.state,
        downtime.send,
        downtime.load,
        downtime.resume
    );
    println!("the guest's disk stays in {}", folder.keep().display());
    Ok(())
}

/// A VM that can be sent: everything that it uses has a path.
fn configuration(folder: &Path, memory: ByteSize) -> Result<VmConfig> {
    let pages = memory.bytes() / 2 / 4096;
    let line = CommandLine::new([Mode::Counter, Mode::BlkLoad]).pages(pages).every(1).blocks(16);
    let (kernel, data) = (folder.join("kernel"), folder.join("data.raw"));
    std::fs::write(&kernel, demo::kernel())?;
    disk::create(&data, ImageFormat::Raw, 64 << 20)?;
    Ok(VmConfig::new("demo")
        .memory(memory)
        .boot(Boot::kernel(kernel).command_line(line.to_string()))
        .disk(Disk::raw(data)))
}

/// Waits until the guest has counted in all of its pages once more, and returns how often it has.
fn next_pass(vm: &Vm) -> Result<u64> {
    let mut console = vm.console().reader_at_end();
    // The first line may have begun before.
    console.wait_for("\n", PATIENCE)?;
    loop {
        let text = console.wait_for("\n", PATIENCE)?;
        if let Some((_, pass)) = text.lines().find_map(demo::counter_pass) {
            return Ok(pass);
        }
    }
}

/// Prints what a migration does.
struct Display;

impl MigrationObserver for Display {
    fn report(&self, report: &MigrationReport) {
        let MigrationReport { phase, round, zero_pages, throughput, dirty_rate, .. } = report;
        let [sent, throughput, dirty_rate] = [report.bytes, *throughput, *dirty_rate].map(ByteSize::new);
        print!("  {phase:?}: round {round}, {sent} moved, {zero_pages} zero pages");
        // Only the source measures them, once a round has been sent.
        if throughput > ByteSize::new(0) {
            print!(", {throughput}/s, the guest writes {dirty_rate}/s");
        }
        println!();
    }

    fn cancelled(&self) -> bool {
        false
    }

    fn settings(&self) -> Option<Migration> {
        None
    }
}
