//! The verbs that messages name, and messages in the words of the program.

use super::*;

/// A folder with `web.xva`, and a repository `repo` with two VMs of it, `one` and `two`; and their UUIDs.
fn two_vms() -> (TempDir, [String; 2]) {
    let folder = folder_with_disk();
    good(&folder, &["pack", "--name", "web", "--disk", "a.raw", "web.xva"]);
    let import = |name| {
        let line = good(&folder, &["import", "web.xva", "--repository", "repo", "--name", name]);
        line.split_whitespace().next().unwrap().to_owned()
    };
    let uuids = [import("one"), import("two")];
    (folder, uuids)
}

#[test]
fn vms_are_listed_and_removed() {
    let (folder, [one, two]) = two_vms();
    let list = || good(&folder, &["list", "--repository", "repo"]);
    assert_eq!(list(), format!("{one}  one\n{two}  two\n"));
    let listed = json(&good(&folder, &["list", "--repository", "repo", "--json"]));
    assert_eq!((&listed[1]["name"], &listed[1]["uuid"]), (&"two".into(), &two.as_str().into()));
    assert_eq!((&listed[1]["disks"], &listed[1]["suspended"]), (&1.into(), &false.into()));
    good(&folder, &["remove", "one", "--repository", "repo"]);
    assert_eq!(list(), format!("{two}  two\n"));
    good(&folder, &["remove", &two, "--repository", "repo"]);
    assert_eq!(list(), "");
    for verb in [&["list"][..], &["check"], &["remove", "one"]] {
        let (status, _, error) = run(&folder, &[verb, &["--repository", "nowhere"]].concat());
        assert_eq!((status, error.as_str()), (1, "appliance: nowhere: there is no such folder\n"));
    }
    assert!(!folder.path().join("nowhere").exists());
    let (status, _, error) = run(&folder, &["list", "--repository", "."]);
    assert_eq!((status, error.as_str()), (1, "appliance: .: is not a repository; import makes one\n"));
}

#[test]
fn damage_of_a_repository_is_found_and_the_damaged_vm_can_be_removed() {
    let (folder, [one, two]) = two_vms();
    let (check, list) = (["check", "--repository", "repo"], ["list", "--repository", "repo"]);
    let table = good(&folder, &check);
    assert_eq!(table, "VMs          2\ntemplates    0\nsnapshots    0\nverdict      good\n");
    fs::write(folder.path().join("repo/vms").join(&one).join("vm.json"), "{").unwrap();
    let (status, table, error) = run(&folder, &check);
    assert_eq!((status, error.as_str()), (1, "appliance: repo: there is 1 problem\n"));
    assert!(table.contains("\ndamage       ") && table.contains(&one) && table.ends_with("DAMAGED\n"), "{table}");
    let (status, found, _) = run(&folder, &[&check[..], &["--json"]].concat());
    assert_eq!((status, json(&found)["problems"].as_array().unwrap().len()), (1, 1));

    let (status, listed, notes) = run(&folder, &list);
    assert_eq!((status, listed), (0, format!("{two}  two\n")));
    assert!(notes.starts_with("appliance: note: a VM is skipped: ") && notes.contains("appliance check"), "{notes}");
    good(&folder, &["remove", &one, "--repository", "repo"]);
    good(&folder, &check);
}

#[test]
fn messages_name_verbs_and_options_in_place_of_calls() {
    let (folder, [_, two]) = two_vms();
    for (arguments, told) in [
        (&["export", "three", "x.xva"][..], "there is no VM 'three'; list the VMs with appliance list"),
        (&["remove", "three"], "there is no VM 'three'; list the VMs with appliance list"),
        (&["import", "web.xva"], "name a bridge for it with --network"),
        // This program has no verb for it.
        (&["import", "web.xva"], "give the kernel explicitly with Boot::kernel of the library\n"),
    ] {
        good(&folder, &["pack", "--name", "web", "--disk", "a.raw", "web.xva", "--nic", "--force"]);
        let (_, _, text) = run(&folder, &[arguments, &["--repository", "repo"]].concat());
        assert!(text.contains(told) && !text.contains("Repository::"), "{text}");
    }
    // Whoever moves a VM here twice is told how to do it.
    good(&folder, &["export", "two", "two.xva", "--repository", "repo"]);
    let (status, _, error) = run(&folder, &["import", "two.xva", "--repository", "repo", "--preserve"]);
    let told = format!("the UUID {two} already exists; leave out --preserve, or use appliance remove\n");
    assert!(status == 1 && error.ends_with(&told), "{error}");
}

#[test]
fn unchecked_contents_are_accepted_with_the_option_that_is_named() {
    let folder = folder_with_disk();
    good(&folder, &["pack", "--name", "web", "--disk", "a.raw", "--compress", "none", "web.xva"]);
    shell(&folder, "mkdir in; cd in; tar -xf ../web.xva; rm */*.xxhash; tar -cf ../bare.xva ova.xml */*");
    let (status, _, error) = run(&folder, &["extract", "bare.xva", "out"]);
    assert!(status == 1 && error.contains("accept unchecked contents with --accept-unchecked if you trust"), "{error}");
    let (status, _, notes) = run(&folder, &["extract", "bare.xva", "out", "--accept-unchecked"]);
    assert!(status == 0 && notes.ends_with("its checksum is missing (and 2 more of this kind)\n"), "{notes}");
    assert_eq!(notes.lines().count(), 1, "{notes}");
    assert!(same(&folder.path().join("a.raw"), &folder.path().join("out/disk-0.raw")));
    assert!(good(&folder, &["inspect", "bare.xva"]).contains("\nchecksums    none\n"));
}

#[test]
fn an_archive_in_another_order_can_be_packed_again_as_the_message_says() {
    let folder = folder_with_disk();
    good(&folder, &["pack", "--name", "web", "--disk", "a.raw", "--compress", "none", "web.xva"]);
    shell(&folder, "mkdir in; cd in; tar -xf ../web.xva; tar --sort=name -cf ../sorted.xva *");
    let (status, _, error) = run(&folder, &["extract", "sorted.xva", "out"]);
    let (_, what) = error.split_once("in the order of an appliance: ").unwrap();
    let (command, _) = what.split_once("; otherwise").unwrap();
    assert!(status == 1 && error.contains("/00000000 is out of order: it comes before ova.xml; "), "{error}");
    shell(&folder, &format!("cd in; {command}"));
    let verified = good(&folder, &["verify", "new.xva"]);
    assert!(verified.ends_with("XenServer    can import it, as can XCP-ng\n"), "{verified}");
    good(&folder, &["extract", "new.xva", "out"]);
    assert!(same(&folder.path().join("a.raw"), &folder.path().join("out/disk-0.raw")));
}
