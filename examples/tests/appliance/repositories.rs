//! Imports to repositories and exports from them, and mistakes that are found before.

use super::*;

#[test]
fn what_is_imported_can_be_exported() {
    let folder = folder_with_disk();
    good(&folder, &["pack", "--name", "web", "--disk", "a.raw", "--nic=xenbr0", "web.xva"]);
    let (status, imported, notes) = run(&folder, &["import", "web.xva", "--repository", "repo", "--name", "web-2"]);
    assert_eq!(status, 0, "{notes}");
    assert!(imported.ends_with("  web-2\n"), "{imported}");
    assert!(notes.starts_with("appliance: note: network interface 0 was on"), "{notes}");

    good(&folder, &["export", "--repository", "repo", "web-2", "back.xva", "--compress", "gzip"]);
    good(&folder, &["extract", "back.xva", "out"]);
    assert!(same(&folder.path().join("a.raw"), &folder.path().join("out/disk-0.raw")));
    assert_eq!(json(&good(&folder, &["inspect", "--json", "back.xva"]))["appliance"]["name"], "web-2");

    let (status, _, error) = run(&folder, &["export", "--repository", "repo", "web-3", "more.xva"]);
    assert_eq!(status, 1);
    assert!(error.contains("there is no VM 'web-3'"), "{error}");
    assert_eq!(run(&folder, &["export", "--repository", "nowhere", "web-2", "more.xva"]).0, 1);
    assert_eq!(names(folder.path()), ["a.raw", "back.xva", "out", "repo", "web.xva"]);
}

#[test]
fn networks_are_mapped_by_name_even_by_none_and_misspelt_ones_are_named() {
    let folder = folder_with_disk();
    good(&folder, &["pack", "--name", "web", "--disk", "a.raw", "web.xva", "--nic", "--nic", "--compress", "none"]);
    let import = |archive: &str, network: &str| {
        let (status, _, notes) = run(&folder, &["import", archive, "--repository", "repo", "--network", network]);
        assert_eq!(status, 0, "{notes}");
        notes
    };
    let network = json(&good(&folder, &["inspect", "--json", "web.xva"]))["appliance"]["nics"][0]["network"].clone();
    let name = network.as_str().unwrap();
    assert_ne!(name, "");
    assert!(!import("web.xva", &format!("{name}=br0")).contains("network"));
    let misspelt = format!("none of its interfaces was on the network 'LNA'; its networks: '{name}'\n");
    assert!(import("web.xva", "LNA=br0").contains(&misspelt));
    assert!(import("web.xva", "=br0").contains("none of its interfaces was on the network ''; its networks: "));
    let unnamed = format!(
        "mkdir in; cd in; tar -xf ../web.xva; sed -i 's/{name}//' ova.xml; tar -cf ../unnamed.xva ova.xml $(ls -d */*)"
    );
    shell(&folder, &unnamed);
    assert!(!import("unnamed.xva", "=br0").contains("network"));
}

#[test]
fn an_archive_is_not_named_like_a_bridge_by_mistake() {
    let folder = folder_with_disk();
    let (status, _, error) = run(&folder, &["pack", "--name", "web", "--disk", "a.raw", "--nic", "br0"]);
    assert_eq!((status, error.lines().count()), (2, 1), "{error}");
    assert!(error.contains("write --nic=br0 if br0 is a bridge"), "{error}");
    assert_eq!(names(folder.path()), ["a.raw"]);
}

#[test]
fn a_pack_does_not_replace_its_own_input() {
    let folder = folder_with_disk();
    let before = fs::read(folder.path().join("a.raw")).unwrap();
    std::os::unix::fs::symlink("a.raw", folder.path().join("link.raw")).unwrap();
    for (disk, output) in [("a.raw", "a.raw"), ("link.raw", "./a.raw"), ("a.raw", "link.raw")] {
        let (status, _, error) = run(&folder, &["pack", "--name", "web", "--disk", disk, output, "--force"]);
        assert!(
            status == 1 && error.contains("is a disk of the VM, or backs one; give the archive another name"),
            "{error}"
        );
    }
    assert!(fs::read(folder.path().join("a.raw")).unwrap() == before);
    assert_eq!(names(folder.path()), ["a.raw", "link.raw"]);
}

#[test]
fn what_fails_leaves_no_new_repository() {
    let folder = folder_with_disk();
    fs::create_dir(folder.path().join("empty")).unwrap();
    good(&folder, &["pack", "--name", "web", "--disk", "a.raw", "--compress", "none", "web.xva"]);
    let bytes = fs::read(folder.path().join("web.xva")).unwrap();
    fs::write(folder.path().join("cut.xva"), &bytes[..2 * MIB]).unwrap();
    for repository in ["new", "empty"] {
        assert_eq!(run(&folder, &["import", "cut.xva", "--repository", repository]).0, 1);
        assert_eq!(run(&folder, &["export", "web", "more.xva", "--repository", repository]).0, 1);
    }
    assert_eq!(names(folder.path()), ["a.raw", "cut.xva", "empty", "web.xva"]);
    assert_eq!(names(&folder.path().join("empty")), [""; 0]);

    good(&folder, &["import", "web.xva", "--repository", "new"]);
    assert_eq!(run(&folder, &["import", "cut.xva", "--repository", "new"]).0, 1);
    good(&folder, &["export", "web", "more.xva", "--repository", "new"]);
}

#[test]
fn a_name_that_is_too_long_is_found_at_once() {
    let folder = folder_with_disk();
    good(&folder, &["pack", "--name", "web", "--disk", "a.raw", "--compress", "none", "web.xva"]);
    let bytes = fs::read(folder.path().join("web.xva")).unwrap();
    fs::write(folder.path().join("cut.xva"), &bytes[..2 * MIB]).unwrap();
    let (status, _, error) = run(&folder, &["import", "cut.xva", "--repository", "new", "--name", &"x".repeat(201)]);
    assert!(status == 1 && error.contains("a name of 201 bytes is too long for a VM"), "{error}");
}

#[test]
fn a_disk_larger_than_the_largest_file_is_imported_as_qcow2() {
    let folder = tempfile::tempdir().unwrap();
    let disk = File::create(folder.path().join("big.raw")).unwrap();
    disk.set_len(256 * MIB as u64).unwrap();
    good(&folder, &["pack", "--name", "big", "--disk", "big.raw", "big.xva"]);
    // A limit of 64 MiB for files, in blocks of 512 bytes.
    let limited = "trap '' XFSZ; ulimit -f 131072; exec \"$0\" import big.xva --repository repo";
    let mut command = Command::new("sh");
    command.args(["-c", limited, env!("CARGO_BIN_EXE_appliance")]).current_dir(folder.path());
    let (status, _, notes) = text(command.output().unwrap());
    assert!(status == 0 && notes.contains("disk 0 is a qcow2 image, because the file system"), "{notes}");
    good(&folder, &["export", "big", "back.xva", "--repository", "repo"]);
    good(&folder, &["extract", "back.xva", "out"]);
    assert!(same(&folder.path().join("big.raw"), &folder.path().join("out/disk-0.raw")));
}

#[test]
fn a_vm_that_cannot_start_is_not_left_unsaid() {
    let folder = folder_with_disk();
    if let Err(error) = File::options().read(true).write(true).open("/dev/kvm") {
        println!("SKIPPED a_vm_that_cannot_start_is_not_left_unsaid: /dev/kvm: {error}");
        return;
    }
    good(&folder, &["pack", "--name", "web", "--disk", "a.raw", "plain.xva", "--compress", "gzip"]);
    good(&folder, &["pack", "--name", "web", "--disk", "a.raw", "indexed.xva"]);
    let (status, _, error) = run(&folder, &["import", "indexed.xva", "--repository", "repo", "--start"]);
    assert!(status == 1 && error.trim_end().ends_with("; nothing was imported"), "{error}");
    assert!(!folder.path().join("repo").exists());
    let (status, _, error) = run(&folder, &["import", "plain.xva", "--repository", "repo", "--start"]);
    assert!(status == 1 && error.contains("is imported all the same, and stays in the repository"), "{error}");
    good(&folder, &["export", "web", "back.xva", "--repository", "repo"]);
}

#[test]
fn a_vm_that_runs_while_it_is_imported_may_have_a_disk_larger_than_the_largest_file() {
    let folder = tempfile::tempdir().unwrap();
    let test = "a_vm_that_runs_while_it_is_imported_may_have_a_disk_larger_than_the_largest_file";
    if !bootable_appliance(test, &folder, demo::kernel()) {
        return;
    }
    // A limit of 4 MiB for files, in blocks of 512 bytes. The disk has 8 MiB.
    let limited = "trap '' XFSZ; ulimit -f 8192; exec \"$0\" import demo.xva --repository repo --start";
    let mut command = Command::new("sh");
    command.args(["-c", limited, env!("CARGO_BIN_EXE_appliance")]).current_dir(folder.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut started = Running(command.spawn().unwrap());
    let keys = started.0.stdin.take();
    read_until(&mut started.0.stdout.take().unwrap(), demo::ECHO_READY);
    interrupt(&started.0);
    let mut notes = String::new();
    started.0.stderr.take().unwrap().read_to_string(&mut notes).unwrap();
    assert_eq!(started.0.wait().unwrap().code(), Some(0), "{notes}");
    assert!(notes.contains("disk 0 is a qcow2 image, because the file system"), "{notes}");
    drop(keys);
    good(&folder, &["export", "demo", "back.xva", "--repository", "repo"]);
    good(&folder, &["extract", "back.xva", "out"]);
    assert!(same(&folder.path().join("boot.raw"), &folder.path().join("out/disk-0.raw")));
}
