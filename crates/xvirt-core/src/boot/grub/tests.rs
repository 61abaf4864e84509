use super::super::testing::*;
use super::*;
use crate::boot::entry::BootEntry;

const UUID: &str = "3f5ad593-4546-4a94-a374-bcfb68aa11f7";

/// The menu of a script in `/boot/grub/grub.cfg` of the second partition.
fn menu(config: &str, more: &[Entry<'_>]) -> Option<Found> {
    let first = ext4("11111111-1111-4111-8111-111111111111", "first", &[text("/only-here", "x")])?;
    let second = ext4(UUID, "second", &[&[text("/boot/grub/grub.cfg", config)], more].concat())?;
    let disk = gpt(&[&first, &second]);
    let volumes = Volumes::open(&disk).unwrap();
    Some(Interpreter::new(&volumes).boot_menu(&DiskPath::new(2, "/boot/grub/grub.cfg")))
}

/// The command line of the only entry, whose arguments show what the script did.
fn line(config: &str, more: &[Entry<'_>]) -> Option<String> {
    let found = menu(config, more)?;
    assert_eq!(found.entries.len(), 1, "{config}: {:?}", found.entries);
    Some(found.entries[0].command_line.strip_prefix("BOOT_IMAGE=").unwrap_or("nothing").to_owned())
}

#[test]
fn scripts_do_what_they_do_in_grub() {
    let cases = [
        ("linux a b=c", "a b=c"),
        ("set x='one two'; linux $x \"$x\" z$x", "one two \"one two\" zone two"),
        ("x=1; linux /k x=$x ${x}2 $xy-", "/k x=1 12 -"),
        ("set e=; linux /k $e \"\" $e$e end", "/k  end"),
        ("linux /k 'a\"b' a\\\\b \"c'd\"", "/k a\\\"b a\\\\b c\\'d"),
        ("if [ a = b ]; then linux /1; elif [ -n x ]; then linux /2; else linux /3; fi", "/2"),
        ("if false; then linux /1; else\n linux /2\nfi", "/2"),
        ("if ! false; then linux /1; fi", "/1"),
        ("if test -f /boot/grub/grub.cfg -a ! -e /nothing; then linux /1; fi", "/1"),
        ("if [ -d /boot -a -s (hd0,gpt1)/only-here ]\nthen linux /1\nfi", "/1"),
        ("function f { linux /k \"$1\" $# $2; return; linux /never; }\nf 'a b' c", "/k \"a b\" 2 c"),
        ("function f { linux /k \"$@\"; }\nf 'a b' c", "/k \"a b\" c"),
        ("function f { shift; linux /k $1; }\nf a b", "/k b"),
        ("function f { return 1; }\nif f; then linux /1; else linux /2; fi", "/2"),
        ("setparams a b; linux /k $2", "/k b"),
        ("for i in 1 2 3; do if [ $i = 2 ]; then break; fi; set all=\"$all$i\"; done; linux /k $all", "/k 1"),
        ("for i in 1 2 3; do if [ $i = 2 ]; then continue; fi; set all=\"$all$i\"; done; linux /k $all", "/k 13"),
        (
            "set n=x\nwhile [ $n != xxx ]; do set n=x$n; done\nuntil [ $n = xxxxx ]; do set n=x$n; done\nlinux /k $n",
            "/k xxxxx",
        ),
        ("search --no-floppy --fs-uuid --set=root 11111111-1111-4111-8111-111111111111; linux /k $root", "/k hd0,gpt1"),
        ("search -l first --set=r; linux /k $r $root", "/k hd0,gpt1 hd0,gpt2"),
        ("search --file /only-here -s; linux /k $root", "/k hd0,gpt1"),
        ("search.fs_label first where hd0,gpt9; linux /k $where", "/k hd0,gpt1"),
        ("search.file /only-here where; linux /k $where", "/k hd0,gpt1"),
        ("if search --fs-uuid --set=root gone; then linux /1; else linux /k $root; fi", "/k hd0,gpt2"),
        (
            "probe --set=u --fs-uuid (hd0,gpt1); probe -s l -l hd0,gpt2; linux /k $u $l",
            "/k 11111111-1111-4111-8111-111111111111 second",
        ),
        ("linux /k $prefix $cmdpath $config_file", "/k (hd0,gpt2)/boot/grub (hd0,gpt2)/boot/grub"),
        ("source $prefix/more.cfg; linux /k $more [$config_directory]", "/k yes []"),
        ("if source /nothing; then linux /1; else linux /2; fi", "/2"),
        ("load_env; linux /k $saved $other", "/k a\\\\b yes"),
        ("load_env --file (hd0,gpt2)/boot/grub/grubenv saved; linux /k $saved $other", "/k a\\\\b"),
        ("eval \"set x=1; linux /k \\$x\"", "/k 1"),
        ("unknown command; set x=$?; if nonsense; then linux /k $x; fi", "/k 0"),
        ("false; linux /k $?", "/k 1"),
        ("insmod gzio; linuxefi /k; exit; linux /never", "/k"),
        ("if boot; then linux /1; else linux /2; fi; boot; linux /never", "/2"),
        ("linux /k # comment\n", "/k"),
        (
            "file_env -f /boot/grub/line.txt x; if ! file_env -f /gone y; then linux /k $x [$y]; fi",
            "/k console=tty0 quiet []",
        ),
        ("set n=3; increment n; set m=0; decrement m; linux /k $n $m", "/k 4 0"),
        ("linux /k a\\\n b", "/k a b"),
    ];
    let more = [
        text("/boot/grub/more.cfg", "set more=yes\n"),
        text("/boot/grub/line.txt", "console=tty0 quiet\n"),
        text("/boot/grub/grubenv", "# GRUB Environment Block\nsaved=a\\\\b\nother=yes\n#####"),
    ];
    for (body, expected) in cases {
        let Some(found) = line(&format!("menuentry 'x' {{\n{body}\n}}\n"), &more) else { return };
        assert_eq!(found, expected, "in an entry: {body}");
    }
}

#[test]
fn menu_entries_take_all_their_options() {
    let config = "
menuentry_id_option=--id
menuentry \"Title with > sign\" --class a --class 'b c' --users x --unrestricted --hotkey=t $menuentry_id_option 'the id' extra {
  linux /k \"$1\" \"$2\" $chosen
}
submenu Outer --id outer {
  set shared=yes
  menuentry first { linux /1 }
  submenu Inner { menuentry second { linux /2 $shared } }
}
menuentry none
menuentry third { initrd /i /j; linux (lvm/vg-root)/k; initrd /l }
menuentry last { linux (hd0,gpt1)/k; initrd (hd0,gpt1)/i; set x=$shared; linux (hd0,gpt1)/k x=$x }
";
    let Some(found) = menu(config, &[]) else { return };
    let summary: Vec<_> = found
        .entries
        .iter()
        .map(|entry| {
            let kernel = entry.kernel.as_ref().map(|kernel| (kernel.partition, kernel.path.as_str()));
            (entry.id.as_str(), entry.submenu.join("/"), kernel, entry.command_line.as_str(), entry.initrds.len())
        })
        .collect();
    assert_eq!(
        summary,
        [
            ("the id", String::new(), Some((2, "/k")), "BOOT_IMAGE=/k \"Title with > sign\" extra the id", 0),
            ("first", "Outer".into(), Some((2, "/1")), "BOOT_IMAGE=/1", 0),
            ("second", "Outer/Inner".into(), Some((2, "/2")), "BOOT_IMAGE=/2", 0),
            ("third", String::new(), None, "BOOT_IMAGE=(lvm/vg-root)/k", 1),
            ("last", String::new(), Some((1, "/k")), "BOOT_IMAGE=(hd0,gpt1)/k x=", 1),
        ]
    );
    assert_eq!(
        found.entries[3].not_bootable.as_deref(),
        Some("its kernel is on lvm/vg-root, which is not on this disk")
    );
}

#[test]
fn the_default_is_found_by_number_id_and_title() {
    let entries = "
menuentry zero --id a { linux /0 }
menuentry 'one > two' { linux /1 }
submenu sub --id s { menuentry inner --id i { linux /2 }; menuentry 7 { linux /3 } }
menuentry xen { multiboot /xen }
menuentry four { linux /4 }
";
    let cases = [
        ("", Some("/0")),
        ("set default=1", Some("/1")),
        ("set default=a", Some("/0")),
        ("set default='one >> two'", Some("/1")),
        ("set default=2", Some("/2")),
        ("set default='2>1'", Some("/3")),
        ("set default='s>i'", Some("/2")),
        ("set default='sub>inner'", Some("/2")),
        ("set default='s>gone'", Some("/2")),
        ("set default='2>9'", Some("/2")),
        ("set default=0x1", Some("/1")),
        ("set default=1abc", Some("/1")),
        ("set default=99", Some("/0")),
        ("set default=saved", Some("/0")),
        ("set default=saved; set saved_entry=four", Some("/0")),
        ("set default=3", None),
        ("set default=3; set fallback='3 4'", Some("/4")),
        ("set default=3; set fallback='four 4'", None),
        ("set default=3; set fallback=\"2>1\"", Some("/2")),
    ];
    for (settings, expected) in cases {
        let kernels = ["/0", "/1", "/2", "/3", "/4"].map(|path| text(path, "kernel"));
        let Some(found) = menu(&format!("{settings}\n{entries}"), &kernels) else { return };
        let default = found.default.and_then(|index| Some(found.entries[index].kernel.as_ref()?.path.as_str()));
        assert_eq!(default, expected, "{settings}");
        assert!(found.is_bootable());
    }
}

/// What is unknown about a menu: the command on which its default depends, and why its entries cannot be booted.
fn unknown(config: &str) -> Option<(Option<String>, Vec<bool>)> {
    let entries = "menuentry a { linux /0 }\nmenuentry b { linux /1 $line }\n";
    let found = menu(&config.replace("ENTRIES", entries), &[])?;
    Some((found.unknown_default, found.entries.iter().map(BootEntry::is_bootable).collect()))
}

/// A build of GRUB may have more commands. What they decide is not known, and nothing else is in doubt.
#[test]
fn what_an_unknown_command_decides_is_not_known() {
    let cases = [
        ("ENTRIES", None, [true, true]),
        ("pick.slot -d slot\nENTRIES", None, [true, true]),
        ("pick.slot -d slot\nset default=$slot\nENTRIES", Some("pick.slot"), [true, true]),
        ("pick.slot -d default\nENTRIES", Some("pick.slot"), [true, true]),
        ("pick.slot default\nset default=1\nENTRIES", None, [true, true]),
        ("if is_second; then set default=1; fi\nENTRIES", Some("is_second"), [true, true]),
        ("if ! is_first; then true; else default=1; fi\nENTRIES", Some("is_first"), [true, true]),
        ("pick.slot -d slot\nif [ \"$slot\" = B ]; then set default=1; fi\nENTRIES", Some("pick.slot"), [true, true]),
        ("pick.slot slot\nset copy=x$slot\nset default=\"$copy\"\nENTRIES", Some("pick.slot"), [true, true]),
        ("function f { pick.slot slot; default=$slot; }\nf\nENTRIES", Some("pick.slot"), [true, true]),
        ("if has_more; then source /more; fi\nENTRIES", Some("has_more"), [true, true]),
        ("if has_more; then set timeout=1; fi\nENTRIES", None, [true, true]),
        ("pick.slot -d line\nENTRIES", None, [true, false]),
        ("pick.slot -d line\nset default=1\nENTRIES", Some("pick.slot"), [true, false]),
        ("if hwmatch /list 3; then if [ $match = 0 ]; then set default=1; fi; fi\nENTRIES", None, [true, true]),
        ("increment default\nENTRIES", None, [true, true]),
        ("sleep --interruptible 0; loadfont default; play default\nENTRIES", None, [true, true]),
    ];
    for (config, command, bootable) in cases {
        let Some(found) = unknown(config) else { return };
        assert_eq!(found, (command.map(str::to_owned), bootable.to_vec()), "{config}");
    }
}

#[test]
fn files_in_disk_images_are_named() {
    let config = "menuentry x { loopback loop /live.iso; linux (loop)/casper/vmlinuz; initrd (loop)/casper/initrd }";
    let Some(found) = menu(config, &[]) else { return };
    let why = "its kernel is in the disk image /live.iso, which GRUB mounts as loop; images inside of a file system are not supported";
    assert_eq!(found.entries[0].not_bootable.as_deref(), Some(why));
}

/// A menu writes what GRUB would, by the entry that is started.
#[test]
fn what_each_entry_saves_is_noted() {
    let config = "load_env
if [ \"$next_entry\" ]; then set default=$next_entry; set next_entry=; save_env next_entry; fi
menuentry a --id a { saved_entry=$chosen; save_env saved_entry; linux /a $next_entry }
menuentry b --id b { linux /b; save_env -f /gone/grubenv saved_entry; load_env; linux /b [$next_entry] }
";
    let block = format!("{:#<1024}", "# GRUB Environment Block\nnext_entry=b\n");
    let Some(found) = menu(config, &[text("/boot/grub/grubenv", &block)]) else { return };
    let written = |index: usize| {
        let [(at, bytes)] = found.writes[index].as_slice() else { panic!("{:?}", found.writes) };
        assert_eq!((at, bytes.len()), (&DiskPath::new(2, "/boot/grub/grubenv"), 1024));
        std::str::from_utf8(bytes).unwrap().trim_end_matches('#').lines().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((written(0), written(1)), ("next_entry= saved_entry=a".into(), "next_entry=".into()));
    assert_eq!(found.default, Some(1));
    assert_eq!(found.entries[1].command_line, "BOOT_IMAGE=/b []");
}

/// Few commands can take much time and memory with long paths, blocks and values. They leave no steps for what follows.
#[test]
fn commands_cost_as_much_as_they_handle() {
    let names: Vec<_> = (0..80).map(|number| format!("/d/{number}")).collect();
    let block = format!("# GRUB Environment Block\na=b\n{}", "#".repeat(65_000));
    let mut files: Vec<_> = names.iter().map(|name| text(name, "")).collect();
    files.push(text("/boot/grub/grubenv", &block));
    let path = |dots: usize| format!("insmod regexp; echo {}/d/*", "/.".repeat(dots));
    let loads = |count: usize| format!("load_env; save_env a\n{}", "load_env\n".repeat(count));
    let values: String = (0..1000).map(|number| format!("v{number}={}\n", "x".repeat(100))).collect();
    let copies = |count: usize| format!("{values}{}", "configfile /d/1\n".repeat(count));
    let cases = [
        (path(10), false),
        (path(100_000), true),
        (loads(10), false),
        (loads(300), true),
        (copies(10), false),
        (copies(2500), true),
    ];
    for (script, is_bounded) in cases {
        let Some(found) = menu(&format!("{script}\nmenuentry end {{ linux /k }}\n"), &files) else { return };
        assert_eq!(found.entries.is_empty(), is_bounded, "{script:.80}");
    }
}

/// Endless and memory-consuming scripts are stopped.
#[test]
fn scripts_are_bounded() {
    let entry = "menuentry end { linux /k }\n";
    let bombs = [
        "while true; do true; done",
        "until false; do set a=x$a$a; done",
        "function f { f; f; }\nf",
        "source $prefix/grub.cfg",
        "set a=xxxxxxxxxxxxxxxx; for i in 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9; do set a=$a$a; set b=\"$b $a\"; done",
        "while true; do menuentry $a$a { linux /k }; submenu x { menuentry y { while true; do true; done } }; done",
        "function f { submenu x { f; menuentry y { true } } }\nf",
        "function f { eval \"f $1$1\"; }\nf aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "while true; do if [ -e /boot/grub ]; then search --file /x; load_env; blscfg; fi; done",
    ];
    for bomb in bombs {
        let started = std::time::Instant::now();
        let Some(found) = menu(&format!("{entry}{bomb}\n"), &[text("/boot/grub/grubenv", "a=b\n")]) else { return };
        assert_eq!(found.entries.first().map(|entry| entry.title.as_str()), Some("end"), "{bomb}");
        assert!(found.entries.len() <= 512);
        let size = |entry: &BootEntry| entry.title.len() + entry.id.len() + entry.command_line.len();
        assert!(found.entries.iter().map(size).sum::<usize>() < 32 << 20);
        assert!(started.elapsed().as_secs() < 20, "{bomb}");
    }
    let deep =
        "if true; then ".repeat(20_000) + &"{ ".repeat(20_000) + &"( ".repeat(5000) + "\n" + &"! ".repeat(20_000);
    assert!(menu(&format!("{entry}{deep}"), &[]).is_none_or(|found| found.entries.len() == 1));
}
