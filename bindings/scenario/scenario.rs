//! The scenario in Rust. README.md describes it.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use xvirt_core::config::{Boot, ByteSize, CpuLimit, Disk, RateLimit, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::migrate::{Migration, Reception, receive};
use xvirt_core::repository::{Repository, Snapshot, StoredVm};
use xvirt_core::snapshot::NewSnapshot;
use xvirt_core::template::Seal;
use xvirt_core::vm::Vm;
use xvirt_core::xva::{self, Export, Import, ReadOptions};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(120);
const DISK: u64 = 1 << 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["receive", socket] => receive_vm(Path::new(socket)),
        [folder] => run(Path::new(folder)),
        _ => Err("usage: scenario FOLDER".into()),
    }
}

fn tell(what: Value) {
    println!("{what}");
}

fn run(folder: &Path) -> Result<()> {
    let host = Host::probe()?;
    let repository = Repository::open(folder.join("repository"))?;
    let stored = create(&repository, folder)?;
    let vm = stored.build(&host)?;
    let events = vm.events()?;
    boot(&vm)?;
    hot_plug(&vm, folder)?;
    limits(&vm)?;
    let checkpoint = repository.checkpoint(&vm, NewSnapshot::new("before"), &())?;
    tell(json!(["checkpoint", checkpoint.name(), checkpoint.has_memory()]));
    vm.hard_shutdown()?;
    let names = (0..4).map(|_| Ok(name_of(&serde_json::to_value(events.next_timeout(PATIENCE)?.event)?)));
    let names: Vec<String> = names.collect::<Result<_>>()?;
    drop(vm);
    let stored = revert(&repository, &checkpoint, &host)?;
    let [first, second] = clones(&repository, &stored)?;
    archive(&repository, &first, folder)?;
    migrate(&second, &host, folder)?;
    tell(json!(["events", names]));
    Ok(())
}

/// A VM in the repository.
fn create(repository: &Repository, folder: &Path) -> Result<StoredVm> {
    let kernel = folder.join("kernel");
    fs::write(&kernel, demo::kernel())?;
    let mut stage = repository.stage()?;
    let path = stage.disk_path(0, ImageFormat::Raw);
    disk::create(&path, ImageFormat::Raw, DISK)?;
    let line = CommandLine::new([Mode::Hello, Mode::HotPlug, Mode::Echo]).to_string();
    let config = VmConfig::new("scenario").memory(ByteSize::mib(64)).disk(Disk::raw(path));
    let stored = stage.commit(config.boot(Boot::kernel(kernel).command_line(line)))?;
    let names: Vec<String> = repository.vms()?.iter().map(|vm| vm.name().to_owned()).collect();
    tell(json!(["create", stored.name(), names]));
    Ok(stored)
}

fn boot(vm: &Vm) -> Result<()> {
    vm.start()?;
    vm.console().reader().wait_for("echo: ready", PATIENCE)?;
    tell(json!(["boot", vm.power_state(), answers(vm)?]));
    Ok(())
}

/// What the guest answers to `ping`.
fn answers(vm: &Vm) -> Result<String> {
    let mut reader = vm.console().reader_at_end();
    vm.console().write_all(b"ping\n")?;
    Ok(reader.wait_for("pong", PATIENCE)?.trim().to_owned())
}

fn hot_plug(vm: &Vm, folder: &Path) -> Result<()> {
    let extra = folder.join("extra");
    disk::create(&extra, ImageFormat::Raw, DISK)?;
    let mut reader = vm.console().reader_at_end();
    let position = vm.plug_disk(Disk::raw(extra))?;
    reader.wait_for("plugged", PATIENCE)?;
    let with_it = vm.disk_positions();
    vm.unplug_disk(position, PATIENCE)?;
    tell(json!(["hot plug", position, with_it, vm.disk_positions()]));
    Ok(())
}

fn limits(vm: &Vm) -> Result<()> {
    vm.set_disk_limit(0, RateLimit::none().operations_per_second(100).bytes_per_second(ByteSize::mib(1)))?;
    vm.set_cpu_limit(CpuLimit::none().cap(50))?;
    let limit = vm.disk_limit(0)?;
    let bytes = limit.bytes_per_second.map(ByteSize::bytes);
    tell(json!(["limits", limit.operations_per_second, bytes, vm.cpu_limit()?.cap]));
    Ok(())
}

fn revert(repository: &Repository, checkpoint: &Snapshot, host: &Host) -> Result<StoredVm> {
    let vm = repository.revert(checkpoint)?.build(host)?;
    let before = vm.power_state();
    vm.resume(&())?;
    tell(json!(["revert", before, vm.power_state(), answers(&vm)?]));
    vm.clean_shutdown(PATIENCE)?;
    tell(json!(["shut down", vm.power_state()]));
    drop(vm);
    Ok(repository.vm("scenario")?)
}

fn clones(repository: &Repository, stored: &StoredVm) -> Result<[StoredVm; 2]> {
    let template = repository.seal(Seal::new("base"), stored, &())?;
    let made = [repository.instantiate(&template, "first")?, repository.instantiate(&template, "second")?];
    let sizes: Vec<u64> = template.disks().iter().map(|disk| disk.size).collect();
    let names: Vec<&str> = made.iter().map(StoredVm::name).collect();
    tell(json!(["template", template.name(), template.version(), sizes, names]));
    Ok(made)
}

fn archive(repository: &Repository, clone: &StoredVm, folder: &Path) -> Result<()> {
    let path = folder.join("first.xva");
    let exported = xva::export_stored(clone, fs::File::create(&path)?, &Export::default(), &())?;
    let report = xva::verify(fs::File::open(&path)?, &ReadOptions::default(), &())?;
    let imported = xva::import(fs::File::open(&path)?, repository, &Import::default().name("third"), &())?;
    let whole: Vec<bool> = report.disks.iter().map(|disk| disk.whole).collect();
    tell(json!(["archive", exported.size == fs::metadata(&path)?.len(), whole, imported.vm.name()]));
    Ok(())
}

fn migrate(clone: &StoredVm, host: &Host, folder: &Path) -> Result<()> {
    let socket = folder.join("socket");
    let mut other = Command::new(env::current_exe()?).arg("receive").arg(&socket).stdout(Stdio::piped()).spawn()?;
    let mut said = BufReader::new(other.stdout.take().ok_or("the other process has no output")?);
    let mut line = String::new();
    said.read_line(&mut line)?;
    let vm = clone.build(host)?;
    vm.start()?;
    vm.console().reader().wait_for("echo: ready", PATIENCE)?;
    vm.migrate(&move |_: Duration| UnixStream::connect(&socket), &Migration::default(), &(), &())?;
    let cause = vm.halted().map(|halted| halted.cause);
    let here = [json!(vm.power_state()), json!(cause)];
    let mut there = String::new();
    said.read_to_string(&mut there)?;
    other.wait()?;
    let there: Vec<Value> = serde_json::from_str(&there)?;
    tell(json!(["migrate", here[0], here[1], there[0], there[1]]));
    Ok(())
}

/// The second process.
fn receive_vm(socket: &Path) -> Result<()> {
    let listener = UnixListener::bind(socket)?;
    println!("listening");
    std::io::stdout().flush()?;
    let mut accept = |arriving: &xvirt_core::vm::ArrivingVm| {
        arriving.config().cloned().ok_or_else(|| vec!["it has no configuration".to_owned()])
    };
    let vm = receive(&listener, &Host::probe()?, &Reception::default(), &(), &(), &mut accept)?;
    let answer = answers(&vm)?;
    vm.clean_shutdown(PATIENCE)?;
    println!("{}", json!([answer, vm.power_state()]));
    Ok(())
}

/// The name of an event.
fn name_of(event: &Value) -> String {
    let keys = event.as_object().and_then(|fields| fields.keys().next());
    event.as_str().or(keys.map(String::as_str)).unwrap_or_default().to_owned()
}
