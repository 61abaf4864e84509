//! Runs the program `appliance` as users do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod drafts;
mod repositories;
mod verbs;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_testing::files::pattern;

const MIB: usize = 1 << 20;

fn appliance(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_appliance"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs it in a folder; returns its exit status and its output on both streams.
fn run(folder: &TempDir, arguments: &[&str]) -> (i32, String, String) {
    text(appliance(arguments).current_dir(folder.path()).output().unwrap())
}

fn text(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// Runs a command that must succeed, and returns its output.
fn good(folder: &TempDir, arguments: &[&str]) -> String {
    let (status, stdout, stderr) = run(folder, arguments);
    assert_eq!(status, 0, "{arguments:?}: {stderr}");
    stdout
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A folder with `a.raw`, a disk of 4 MiB whose third MiB is empty.
fn folder_with_disk() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = pattern(1, 4 * MIB);
    disk[2 * MIB..3 * MIB].fill(0);
    fs::write(folder.path().join("a.raw"), disk).unwrap();
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn same(one: &Path, other: &Path) -> bool {
    fs::read(one).unwrap() == fs::read(other).unwrap()
}

/// Waits until a condition holds, and fails if it takes too long.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} took too long");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A process that is killed if the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it in a folder, with pipes for all three streams.
fn start(folder: &TempDir, arguments: &[&str]) -> Running {
    let mut command = appliance(arguments);
    command.current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running(command.spawn().unwrap())
}

/// Runs a script in a folder.
fn shell(folder: &TempDir, script: &str) {
    let status = Command::new("sh").args(["-ec", script]).current_dir(folder.path()).status();
    assert!(status.unwrap().success(), "{script}");
}

fn interrupt(child: &Child) {
    signal(child, "INT");
}

fn signal(child: &Child, name: &str) {
    let killed = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap();
    assert!(killed.success());
}

#[test]
fn what_is_packed_is_inspected_verified_and_extracted() {
    let folder = folder_with_disk();
    let status = Command::new("truncate").args(["-s", "3M"]).arg(folder.path().join("b.raw")).status().unwrap();
    assert!(status.success());
    for compress in ["none", "gzip", "zstd"] {
        let packed = good(
            &folder,
            &[
                "pack",
                "--name",
                "web",
                "--description",
                "a web server",
                "--memory",
                "1GiB",
                "--vcpus",
                "2",
                "--disk",
                "a.raw",
                "--disk",
                "b.raw",
                "--nic=xenbr7",
                "--nic",
                "--compress",
                compress,
                "--force",
                "web.xva",
            ],
        );
        assert!(packed.contains("web.xva: "), "{packed}");

        let inspected = json(&good(&folder, &["inspect", "--json", "web.xva"]));
        let vm = &inspected["appliance"];
        assert_eq!((vm["name"].as_str(), vm["description"].as_str()), (Some("web"), Some("a web server")));
        assert_eq!((vm["vcpus"].as_u64(), vm["memory"].as_u64()), (Some(2), Some(1 << 30)));
        assert_eq!(vm["disks"][0]["size"], 4 * MIB);
        assert_eq!(vm["disks"][1]["size"], 3 * MIB);
        assert_eq!(vm["nics"][0]["bridge"], "xenbr7");
        assert_eq!(vm["nics"].as_array().unwrap().len(), 2);
        assert_eq!((&inspected["compression"], &inspected["checksum"]), (&compress.into(), &"xxhash".into()));

        let verified = json(&good(&folder, &["verify", "--json", "web.xva"]));
        assert_eq!((&verified["good"], &verified["disks"][0]["whole"]), (&true.into(), &true.into()));

        let out = folder.path().join(compress);
        let images = good(&folder, &["extract", "web.xva", compress]);
        assert_eq!(images, format!("{compress}/disk-0.raw\n{compress}/disk-1.raw\n"));
        assert!(same(&folder.path().join("a.raw"), &out.join("disk-0.raw")), "{compress}");
        assert!(same(&folder.path().join("b.raw"), &out.join("disk-1.raw")), "{compress}");
    }
}

#[test]
fn people_get_a_table() {
    let folder = folder_with_disk();
    good(&folder, &["pack", "--name", "we\u{9b}b", "--disk", "a.raw", "--checksum", "sha1", "web.xva"]);
    let table = good(&folder, &["inspect", "web.xva"]);
    for line in
        ["name         we b", "vCPUs        1", "memory       512 MiB", "compression  zstd", "checksums    sha1"]
    {
        assert!(table.lines().any(|other| other == line), "{line} is not in\n{table}");
    }
    assert!(table.contains("disk         0  4.00 MiB"), "{table}");
    assert!(!table.contains('\u{9b}'), "a name could steer the terminal");
    let (_, _, notes) = run(&folder, &["verify", "no\u{1b}such\nfile"]);
    assert!(notes.starts_with("appliance: no such file: ") && notes.lines().count() == 1, "{notes}");
    assert!(
        good(&folder, &["verify", "web.xva"]).ends_with(
            "verdict      good: whole, and can be imported here\nXenServer    can import it, as can XCP-ng\n"
        )
    );
}

#[test]
fn it_works_through_pipes_and_prints_nothing_else() {
    let folder = folder_with_disk();
    let pack = ["pack", "--name", "web", "--disk", "a.raw", "--nic", "-"];
    let mut packing = appliance(&pack).current_dir(folder.path()).stdout(Stdio::piped()).spawn().unwrap();
    let archive = packing.stdout.take().unwrap();
    let output = appliance(&["extract", "-", "out"]).current_dir(folder.path()).stdin(archive).output().unwrap();
    assert!(packing.wait().unwrap().success());
    assert_eq!(text(output), (0, "out/disk-0.raw\n".into(), String::new()));
    assert!(same(&folder.path().join("a.raw"), &folder.path().join("out/disk-0.raw")));

    good(&folder, &["pack", "--name", "web", "--disk", "a.raw", "web.xva"]);
    let archive = File::open(folder.path().join("web.xva")).unwrap();
    let output = appliance(&["inspect", "-", "--json"]).stdin(archive).output().unwrap();
    assert_eq!(json(&text(output).1)["appliance"]["name"], "web");
}

#[test]
fn inspecting_reads_only_the_beginning() {
    let folder = folder_with_disk();
    good(&folder, &["pack", "--name", "web", "--disk", "a.raw", "--compress", "none", "web.xva"]);
    let whole = fs::read(folder.path().join("web.xva")).unwrap();
    fs::write(folder.path().join("begun.xva"), &whole[..2 * MIB]).unwrap();
    assert_eq!(json(&good(&folder, &["inspect", "--json", "begun.xva"]))["checksum"], "xxhash");
    assert_eq!(run(&folder, &["verify", "begun.xva"]).0, 1);
}

#[test]
fn memory_for_a_large_window_has_to_be_allowed() {
    let folder = folder_with_disk();
    good(&folder, &["pack", "--name", "web", "--disk", "a.raw", "--compress", "none", "plain.xva"]);
    // A zstd frame with a window of 256 MiB and uncompressed blocks.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, (28 - 10) << 3];
    for block in fs::read(folder.path().join("plain.xva")).unwrap().chunks(128 << 10) {
        frame.extend(&((block.len() as u32) << 3).to_le_bytes()[..3]);
        frame.extend(block);
    }
    frame.extend([1, 0, 0]);
    fs::write(folder.path().join("web.xva"), frame).unwrap();
    for arguments in [&["inspect", "web.xva"][..], &["verify", "web.xva"], &["extract", "web.xva", "out"]] {
        let (status, _, error) = run(&folder, arguments);
        assert!(status == 1 && error.contains("a window of 256 MiB, but only 128 MiB are allowed"), "{error}");
        good(&folder, &[arguments, &["--max-window", "256MiB"]].concat());
    }
}

#[test]
fn damage_is_named_and_gives_status_1() {
    let folder = folder_with_disk();
    good(&folder, &["pack", "--name", "web", "--disk", "a.raw", "--compress", "none", "web.xva"]);
    let mut bytes = fs::read(folder.path().join("web.xva")).unwrap();
    // In the second of the three chunks with data.
    bytes[3 * MIB / 2] ^= 1;
    fs::write(folder.path().join("web.xva"), bytes).unwrap();

    let (status, table, error) = run(&folder, &["verify", "web.xva"]);
    assert_eq!(status, 1);
    assert!(error.starts_with("appliance: web.xva: ") && error.contains("/00000001"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(table.contains("verdict      DAMAGED\nXenServer    CANNOT import it"), "{table}");
    let (status, report, _) = run(&folder, &["verify", "--json", "web.xva"]);
    assert_eq!((status, &json(&report)["good"]), (1, &false.into()));

    let (status, stdout, error) = run(&folder, &["extract", "web.xva", "out"]);
    assert_eq!((status, stdout.as_str()), (1, ""));
    assert!(error.contains("/00000001"), "{error}");
    assert_eq!(names(folder.path()), ["a.raw", "web.xva"], "what is damaged was not taken");
}

#[test]
fn a_failure_leaves_no_file_and_replaces_none() {
    let folder = folder_with_disk();
    let pack = |output, more: &[&str]| {
        let arguments = [&["pack", "--name", "web", "--disk", "a.raw", output], more].concat();
        run(&folder, &arguments)
    };
    let (status, _, error) = pack("web.xva", &["--disk", "none.raw"]);
    assert_eq!(status, 1);
    assert!(error.starts_with("appliance: ") && error.contains("none.raw"), "{error}");
    assert_eq!(pack("web.xva", &["--level", "99"]).0, 1);
    assert_eq!(names(folder.path()), ["a.raw"]);

    fs::write(folder.path().join("web.xva"), "precious").unwrap();
    let (status, _, error) = pack("web.xva", &[]);
    assert_eq!(status, 1);
    assert!(error.contains("--force"), "{error}");
    assert_eq!(pack("web.xva", &["--force", "--level", "99"]).0, 1);
    assert_eq!(fs::read(folder.path().join("web.xva")).unwrap(), b"precious");
    assert_eq!(names(folder.path()), ["a.raw", "web.xva"]);
    assert_eq!(pack("web.xva", &["--force"]).0, 0);
    assert_eq!(run(&folder, &["verify", "web.xva"]).0, 0);

    let (status, _, error) = pack("/dev/null", &["--force"]);
    assert_eq!(status, 1, "a device would be replaced by a file");
    assert!(error.starts_with("appliance: /dev/null: "), "{error}");
}

#[test]
fn mistakes_on_the_command_line_give_status_2_and_one_line() {
    let folder = folder_with_disk();
    for arguments in [
        &["pack", "web.xva"][..],
        &["pack", "--name", "web", "--disk", "a.raw", "--memory", "lots", "web.xva"],
        &["import", "web.xva", "--repository", "repo", "--network", "LAN"],
        &["unpack"],
        &[],
    ] {
        let (status, stdout, error) = run(&folder, arguments);
        assert_eq!((status, stdout.as_str(), error.lines().count()), (2, "", 1), "{arguments:?}: {error}");
        assert!(error.starts_with("appliance: "), "{error}");
    }
    let help = good(&folder, &["--help"]);
    assert!(help.contains("inspect") && help.contains("exit status"), "{help}");
}

#[test]
fn an_interrupted_pack_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("big.raw"), pattern(2, 64 * MIB)).unwrap();
    // So slow that it cannot end before it is interrupted.
    let pack = ["pack", "--name", "web", "--disk", "big.raw", "--level", "19", "web.xva"];
    let packing = appliance(&pack).current_dir(folder.path()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the beginning", || {
        let drafts = folder.path().read_dir().unwrap().map(|entry| entry.unwrap());
        drafts.filter(|file| file.file_name() != "big.raw").any(|file| file.metadata().unwrap().len() > 0)
    });
    interrupt(&packing);
    let (status, _, error) = text(packing.wait_with_output().unwrap());
    assert_eq!((status, error.as_str()), (130, "appliance: interrupted\n"));
    assert_eq!(names(folder.path()), ["big.raw"]);
}

#[test]
fn a_closed_terminal_ends_a_pack_without_a_trace_unless_that_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("big.raw"), pattern(2, 64 * MIB)).unwrap();
    let program = env!("CARGO_BIN_EXE_appliance");
    // The first is so slow that it cannot end before the signal.
    for (how, level, names_then) in
        [("--default-signal=HUP", "19", vec!["big.raw"]), ("--ignore-signal=HUP", "3", vec!["big.raw", "web.xva"])]
    {
        let mut packing = Command::new("env");
        packing.args([how, program, "pack", "--name", "web", "--disk", "big.raw", "--level", level, "web.xva"]);
        let packing = packing.current_dir(folder.path()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until("the beginning", || {
            let drafts = folder.path().read_dir().unwrap().map(|entry| entry.unwrap());
            drafts.filter(|file| file.file_name() != "big.raw").any(|file| file.metadata().unwrap().len() > 0)
        });
        signal(&packing, "HUP");
        let (status, _, error) = text(packing.wait_with_output().unwrap());
        assert_eq!(status, if names_then.len() == 1 { 130 } else { 0 }, "{how}: {error}");
        assert_eq!(names(folder.path()), names_then, "{how}");
    }
}

/// A plain archive of `a.raw` and `b.raw`, of 4 MiB each, whose second MiB of `a.raw` is damaged.
fn damaged_archive() -> TempDir {
    let folder = folder_with_disk();
    fs::write(folder.path().join("b.raw"), pattern(7, 4 * MIB)).unwrap();
    good(&folder, &["pack", "--name", "web", "--disk", "a.raw", "--disk", "b.raw", "--compress", "none", "web.xva"]);
    let mut bytes = fs::read(folder.path().join("web.xva")).unwrap();
    bytes[3 * MIB / 2] ^= 1;
    fs::write(folder.path().join("web.xva"), bytes).unwrap();
    folder
}

#[test]
fn what_is_whole_of_a_damaged_archive_can_be_saved() {
    let folder = damaged_archive();
    let (original, file) = (fs::read(folder.path().join("a.raw")).unwrap(), |name: &str| folder.path().join(name));
    assert_eq!(good(&folder, &["extract", "web.xva", "one", "--disk", "1"]), "one/disk-1.raw\n");
    assert_eq!(names(&file("one")), ["disk-1.raw", "ova.xml"]);
    assert!(same(&file("b.raw"), &file("one/disk-1.raw")));
    let (status, stdout, error) = run(&folder, &["extract", "web.xva", "none", "--disk", "0"]);
    assert!(status == 1 && stdout.is_empty() && error.contains("/00000001"), "{error}");
    let (status, _, error) = run(&folder, &["extract", "web.xva", "none", "--disk", "2"]);
    assert!(status == 1 && error.contains("the archive has 2 disks, and none with the number 2"), "{error}");

    let (status, stdout, error) = run(&folder, &["extract", "web.xva", "all", "--keep-going"]);
    assert_eq!((status, stdout.as_str()), (1, "all/disk-0.raw\nall/disk-1.raw\n"));
    assert!(error.contains("disk 0: bytes 1048576 to 2097152 are not whole: "), "{error}");
    assert!(error.ends_with("web.xva: 1 range is not whole\n"), "{error}");
    let mut expected = original.clone();
    expected[MIB..2 * MIB].fill(0);
    assert!(fs::read(file("all/disk-0.raw")).unwrap() == expected);
    assert!(same(&file("b.raw"), &file("all/disk-1.raw")));

    // Cut inside the second disk, the first one is whole but for the same damage.
    let bytes = fs::read(file("web.xva")).unwrap();
    fs::write(file("web.xva"), &bytes[..6 * MIB]).unwrap();
    let (status, _, error) = run(&folder, &["extract", "web.xva", "cut", "--keep-going"]);
    assert!(status == 1 && error.contains("disk 1: bytes 2097152 to 4194304 are not whole: "), "{error}");
    assert!(fs::read(file("cut/disk-0.raw")).unwrap() == expected);
    let second = fs::read(file("cut/disk-1.raw")).unwrap();
    assert!(second[..2 * MIB] == fs::read(file("b.raw")).unwrap()[..2 * MIB]);
    let (status, _, error) = run(&folder, &["extract", "web.xva", "none", "--disk", "1"]);
    assert!(status == 1 && error.contains("the archive ends inside it"), "{error}");
    assert!(!file("none").exists());
}

#[test]
fn a_disk_before_the_damage_can_be_extracted_alone() {
    let folder = folder_with_disk();
    fs::write(folder.path().join("b.raw"), pattern(7, 4 * MIB)).unwrap();
    good(&folder, &["pack", "--name", "web", "--disk", "a.raw", "--disk", "b.raw", "--compress", "none", "web.xva"]);
    let bytes = fs::read(folder.path().join("web.xva")).unwrap();
    fs::write(folder.path().join("web.xva"), &bytes[..6 * MIB]).unwrap();
    let (status, _, notes) = run(&folder, &["extract", "web.xva", "out", "--disk", "0"]);
    assert!(status == 0 && notes.contains("the archive ends inside it"), "{notes}");
    assert!(same(&folder.path().join("a.raw"), &folder.path().join("out/disk-0.raw")));
}

#[test]
fn existing_images_are_kept_and_found_at_once() {
    let folder = folder_with_disk();
    good(&folder, &["pack", "--name", "web", "--disk", "a.raw", "--compress", "none", "web.xva"]);
    let bytes = fs::read(folder.path().join("web.xva")).unwrap();
    fs::write(folder.path().join("web.xva"), &bytes[..2 * MIB]).unwrap();
    for name in ["disk-0.raw", "ova.xml"] {
        fs::create_dir_all(folder.path().join("out")).unwrap();
        fs::write(folder.path().join("out").join(name), "precious").unwrap();
        let (status, _, error) = run(&folder, &["extract", "web.xva", "out"]);
        assert!(status == 1 && error.contains(&format!("out/{name} already exists")), "{error}");
        assert_eq!(names(&folder.path().join("out")), [name]);
        fs::remove_dir_all(folder.path().join("out")).unwrap();
    }
}

#[test]
fn an_interrupt_ends_the_wait_for_more_of_an_archive() {
    let folder = folder_with_disk();
    good(&folder, &["pack", "--name", "web", "--disk", "a.raw", "--compress", "none", "web.xva"]);
    let bytes = fs::read(folder.path().join("web.xva")).unwrap();
    let extract = ["extract", "-", "out"];
    let mut extracting = start(&folder, &extract);
    let mut pipe = extracting.0.stdin.take().unwrap();
    pipe.write_all(&bytes[..2 * MIB]).unwrap();
    wait_until("the beginning", || folder.path().join("out").exists());
    assert!(!folder.path().join("out/disk-0.raw").exists(), "what is not complete has its final name");
    interrupt(&extracting.0);
    // The pipe stays open: only the signal can end it.
    let mut error = String::new();
    extracting.0.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!((extracting.0.wait().unwrap().code(), error.as_str()), (Some(130), "appliance: interrupted\n"));
    drop(pipe);
    assert_eq!(names(folder.path()), ["a.raw", "web.xva"]);
}

/// Makes `demo.xva`, a VM that boots this kernel from its disk. Returns false, and prints the reason, if this machine
/// cannot run it.
fn bootable_appliance(test: &str, folder: &TempDir, kernel: &[u8]) -> bool {
    let skipped = |reason: &str| {
        println!("SKIPPED {test}: {reason}");
        false
    };
    if let Err(error) = File::options().read(true).write(true).open("/dev/kvm") {
        return skipped(&format!("/dev/kvm: {error}"));
    }
    let line = CommandLine::new([Mode::Echo]);
    fs::write(folder.path().join("guest"), kernel).unwrap();
    fs::write(folder.path().join("extlinux.conf"), format!("LABEL demo\nKERNEL /guest\nAPPEND {line}\n")).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new(program);
        let output = command.args(arguments).env("PATH", path).current_dir(folder.path()).output().ok()?;
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        Some(())
    };
    let made = run("mkfs.vfat", &["-C", "boot.raw", "8192"])
        .and_then(|()| run("mcopy", &["-i", "boot.raw", "guest", "extlinux.conf", "::"]));
    if made.is_none() {
        return skipped("needs dosfstools and mtools");
    }
    good(folder, &["pack", "--name", "demo", "--memory", "64MiB", "--disk", "boot.raw", "demo.xva"]);
    true
}

/// A guest with only an endless loop.
fn deaf_kernel() -> Vec<u8> {
    const NOP: u8 = 0x90;
    const LOOP: [u8; 2] = [0xeb, 0xfe];
    const EXECUTABLE: u8 = 1;
    let mut elf = demo::kernel().to_vec();
    let word = |elf: &[u8], at: usize| u64::from_le_bytes(elf[at..at + 8].try_into().unwrap()) as usize;
    let (headers, count) = (word(&elf, 32), usize::from(elf[56]));
    for header in (0..count).map(|index| headers + 56 * index) {
        let (start, length) = (word(&elf, header + 8), word(&elf, header + 32));
        if elf[header] == 1 && elf[header + 4] & EXECUTABLE != 0 {
            elf[start..start + length].fill(NOP);
            elf[start + length - 2..start + length].copy_from_slice(&LOOP);
        }
    }
    elf
}

/// Reads until `text` was read; returns everything that was read.
fn read_until(from: &mut impl Read, text: &str) -> String {
    let mut all = Vec::new();
    while !String::from_utf8_lossy(&all).contains(text) {
        let mut byte = [0];
        assert_eq!(from.read(&mut byte).unwrap(), 1, "{text:?} did not come: {:?}", String::from_utf8_lossy(&all));
        all.push(byte[0]);
    }
    String::from_utf8(all).unwrap()
}

#[test]
fn an_imported_vm_is_started_used_and_shut_down() {
    let folder = tempfile::tempdir().unwrap();
    if !bootable_appliance("an_imported_vm_is_started_used_and_shut_down", &folder, demo::kernel()) {
        return;
    }
    let mut started = start(&folder, &["import", "demo.xva", "--repository", "repo", "--start"]);
    let (mut keys, mut screen) = (started.0.stdin.take().unwrap(), started.0.stdout.take().unwrap());
    read_until(&mut screen, demo::ECHO_READY);
    keys.write_all(b"ping\n").unwrap();
    read_until(&mut screen, "pong");
    interrupt(&started.0);
    read_until(&mut screen, demo::POWER_BUTTON);
    // The terminal is still open: the end of the guest ends the program.
    let mut error = String::new();
    started.0.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!(started.0.wait().unwrap().code(), Some(0), "{error}");
    assert!(error.contains("pressed the power button"), "{error}");
    drop(keys);
}

#[test]
fn a_guest_that_does_not_listen_loses_its_power() {
    let folder = tempfile::tempdir().unwrap();
    if !bootable_appliance("a_guest_that_does_not_listen_loses_its_power", &folder, &deaf_kernel()) {
        return;
    }
    let mut started = start(&folder, &["import", "demo.xva", "--repository", "repo", "--start"]);
    let mut notes = started.0.stderr.take().unwrap();
    read_until(&mut notes, "demo is VM");
    interrupt(&started.0);
    read_until(&mut notes, "power off immediately");
    assert!(started.0.try_wait().unwrap().is_none(), "the guest does not know a power button");
    interrupt(&started.0);
    assert_eq!(started.0.wait().unwrap().code(), Some(0));
}
