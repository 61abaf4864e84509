//! qcow2 images whose tables contradict each other, so that guest data or a new table would overwrite a table: they
//! must not be opened for writing. `qemu-img check` must not call one of them good either.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xvirt_core::ErrorKind;
use xvirt_core::disk::{self, Access, ImageFormat};

use crate::need;
use crate::support::*;

const CLUSTER: u64 = 64 << 10;
/// The range that one L2 table covers.
const TABLE: u64 = CLUSTER / 8 * CLUSTER;
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1;

/// An image to be damaged.
struct Image(Vec<u8>);

impl Image {
    fn get(&self, at: u64) -> u64 {
        u64::from_be_bytes(self.0[at as usize..][..8].try_into().unwrap())
    }

    fn set(&mut self, at: u64, value: u64) {
        self.0[at as usize..][..8].copy_from_slice(&value.to_be_bytes());
    }

    fn offset(&self, at: u64) -> u64 {
        self.get(at) & 0x00ff_ffff_ffff_fe00
    }

    fn l1(&self) -> u64 {
        self.get(40)
    }

    /// The offset of the L2 table of this number.
    fn l2(&self, number: u64) -> u64 {
        self.offset(self.l1() + number * 8)
    }

    /// The offset of the first cluster that the L2 table of this number maps.
    fn data(&self, number: u64) -> u64 {
        self.offset(self.l2(number))
    }

    fn refcount_table(&self) -> u64 {
        self.get(48)
    }

    fn refcount_block(&self) -> u64 {
        self.get(self.refcount_table())
    }

    fn snapshots(&self) -> u64 {
        self.get(64)
    }

    fn snapshot_l1(&self) -> u64 {
        self.get(self.snapshots())
    }

    fn snapshot_l2(&self, number: u64) -> u64 {
        self.offset(self.snapshot_l1() + number * 8)
    }

    /// The offset of the header extension for bitmaps.
    fn bitmaps(&self) -> u64 {
        let mut at = u64::from(u32::from_be_bytes(self.0[100..104].try_into().unwrap()));
        while self.get(at) >> 32 != 0x2385_2875 {
            at += 8 + (self.get(at) & 0xffff_ffff).next_multiple_of(8);
        }
        at + 8
    }

    fn set_refcount(&mut self, offset: u64, refcount: u16) {
        let at = self.refcount_block() + offset / CLUSTER * 2;
        self.0[at as usize..][..2].copy_from_slice(&refcount.to_be_bytes());
    }
}

/// An image with two L2 tables, of which a snapshot shares the second, and with a bitmap.
fn make(folder: &Path) -> (PathBuf, Vec<u8>) {
    let path = qemu_create(folder, "image", &["-f", "qcow2"], "1G");
    let disk = open(&path);
    write(&*disk, 0, &pattern(1, 2 * CLUSTER as usize)).unwrap();
    write(&*disk, TABLE, &pattern(2, CLUSTER as usize)).unwrap();
    drop(disk);
    run("qemu-img", &["snapshot", "-c", "one", text(&path)]);
    write(&*open(&path), 0, &pattern(3, CLUSTER as usize)).unwrap();
    run("qemu-img", &["bitmap", "--add", "--enable", text(&path), "bitmap"]);
    check(&path);
    let bytes = fs::read(&path).unwrap();
    drop(open(&path));
    (path, bytes)
}

/// Damage to an image, and the text by which the error must name it.
type Case<'a> = (&'a dyn Fn(&mut Image), &'a str);

#[track_caller]
fn all_are_refused(cases: &[Case<'_>]) {
    let folder = tempfile::tempdir().unwrap();
    let (path, good) = make(folder.path());
    for (harm, why) in cases {
        let mut image = Image(good.clone());
        harm(&mut image);
        fs::write(&path, &image.0).unwrap();
        let errors = [
            disk::open(&path, Some(ImageFormat::Qcow2), Access::ReadWrite).unwrap_err(),
            disk::grow(&path, Some(ImageFormat::Qcow2), 2 << 30).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::CorruptImage, "{why}: {error}");
            assert!(error.to_string().contains(why), "{why}: {error}");
            assert!(error.remedy().unwrap().contains("qemu-img check -r all"), "{error}");
        }
        // Reading is safe: at worst, it returns bytes of the image itself.
        if let Ok(disk) = disk::open(&path, Some(ImageFormat::Qcow2), Access::ReadOnly) {
            let _ = read(&*disk, 0, 2 * CLUSTER as usize);
        }
        assert!(fs::read(&path).unwrap() == image.0, "{why}: the image was changed");
        let judged = Command::new("qemu-img").args(["check", "-q", "-f", "qcow2", text(&path)]).output().unwrap();
        assert!(!judged.status.success(), "{why}: qemu-img finds nothing");
    }
}

#[test]
fn what_is_in_use_has_a_refcount() {
    need!("qemu-img");
    let free = |image: &mut Image, offset: u64| image.set_refcount(offset, 0);
    all_are_refused(&[
        (&|image| free(image, 0), "its header has no refcount, at 0x0"),
        (&|image| free(image, image.l1()), "its L1 table has no refcount"),
        (&|image| free(image, image.l2(0)), "an L2 table has no refcount"),
        (&|image| free(image, image.refcount_table()), "its refcount table has no refcount"),
        (&|image| free(image, image.refcount_block()), "a refcount block has no refcount"),
        (&|image| free(image, image.snapshots()), "its snapshot table has no refcount"),
        (&|image| free(image, image.snapshot_l1()), "the L1 table of a snapshot has no refcount"),
        (&|image| free(image, image.snapshot_l2(0)), "the L2 table of a snapshot has no refcount"),
        (&|image| free(image, image.get(image.bitmaps() + 16)), "its bitmap directory has no refcount"),
        (&|image| free(image, image.get(image.get(image.bitmaps() + 16))), "a bitmap table has no refcount"),
        (&|image| free(image, image.data(0)), "its data has no refcount"),
        (&|image| image.set_refcount(image.l2(1), 1), "an L2 table has a refcount of 1 for 2 uses"),
        // An empty block: everything is free.
        (
            &|image| {
                let block = image.refcount_block() as usize;
                image.0[block..block + CLUSTER as usize].fill(0);
            },
            "its header has no refcount",
        ),
        // No block at all: the same.
        (&|image| image.set(image.refcount_table(), 0), "its header has no refcount"),
    ]);
}

#[test]
fn no_l2_entry_points_to_metadata() {
    need!("qemu-img");
    let point = |image: &mut Image, offset: u64| image.set(image.l2(0) + 80, COPIED | offset);
    let point_in_other_ways = |flags: u64| move |image: &mut Image| image.set(image.l2(0) + 80, flags | image.l1());
    // 16 bits of the entry are the number of sectors.
    let compressed = |image: &mut Image, offset: u64| image.set(image.l2(0) + 80, COMPRESSED | 1 << 54 | offset);
    all_are_refused(&[
        (&|image| point(image, image.l1()), "where its L1 table is"),
        (&|image| point(image, image.l2(0)), "where an L2 table is"),
        (&|image| point(image, image.l2(1)), "where an L2 table is"),
        (&|image| point(image, image.refcount_table()), "where its refcount table is"),
        (&|image| point(image, image.refcount_block()), "where a refcount block is"),
        (&|image| point(image, image.snapshots()), "where its snapshot table is"),
        (&|image| point(image, image.snapshot_l1()), "where the L1 table of a snapshot is"),
        (&|image| point(image, image.snapshot_l2(0)), "where the L2 table of a snapshot is"),
        (&|image| point(image, image.get(image.bitmaps() + 16)), "where its bitmap directory is"),
        (&point_in_other_ways(0), "where its L1 table is"),
        (&point_in_other_ways(ZERO), "where its L1 table is"),
        (&point_in_other_ways(COPIED | ZERO), "where its L1 table is"),
        (&|image| compressed(image, image.l1() + 512), "where its L1 table is"),
        (&|image| compressed(image, image.l1() - 512), "where a refcount block is"),
        (&|image| compressed(image, 512), "where its header is"),
        (&|image| compressed(image, image.data(0)), "where other data is"),
    ]);
}

#[test]
fn no_l2_entry_points_where_no_data_can_be() {
    need!("qemu-img");
    let set = |image: &mut Image, entry: u64| image.set(image.l2(0) + 80, entry);
    let beyond = |image: &Image| (image.0.len() as u64).next_multiple_of(CLUSTER);
    all_are_refused(&[
        (&|image| set(image, COPIED | image.data(0)), "where other data is"),
        (&|image| set(image, image.data(1)), "where other data is"),
        (&|image| set(image, COPIED | (image.data(0) + 512)), "which is not where a cluster begins"),
        (&|image| set(image, COPIED | ZERO | (image.data(0) + 512)), "which is not where a cluster begins"),
        (&|image| set(image, COPIED | beyond(image)), "which is beyond the end of the file"),
        (&|image| set(image, COPIED | 0x00ff_ffff_ffff_0000), "which is beyond the end of the file"),
        (&|image| set(image, COMPRESSED | beyond(image)), "which is beyond the end of the file"),
        (&|image| set(image, COPIED | COMPRESSED | image.data(0)), "an L2 table has an impossible entry"),
        (&|image| set(image, COPIED | image.data(0) | 1 << 60), "an L2 table has an impossible entry"),
    ]);
}

#[test]
fn tables_lie_where_no_others_do() {
    need!("qemu-img");
    let l1 = |image: &mut Image, offset: u64| image.set(image.l1() + 8, offset);
    let block = |image: &mut Image, offset: u64| image.set(image.refcount_table() + 8, offset);
    let beyond = |image: &Image| (image.0.len() as u64).next_multiple_of(CLUSTER);
    all_are_refused(&[
        (&|image| l1(image, COPIED | image.l1()), "its L1 table points to"),
        (&|image| l1(image, COPIED | image.l2(0)), "where an L2 table is"),
        (&|image| l1(image, COPIED | image.refcount_table()), "where an L2 table is"),
        (&|image| l1(image, COPIED | image.refcount_block()), "where an L2 table is"),
        (&|image| l1(image, COPIED | image.data(0)), "an L2 table points to"),
        (&|image| l1(image, COPIED | image.l2(1)), "the L1 table of a snapshot points to"),
        (&|image| l1(image, COPIED | (image.l2(1) + 512)), "which is not where a cluster begins"),
        (&|image| l1(image, COPIED | beyond(image)), "which is beyond the end of the file"),
        (&|image| l1(image, image.l2(1) | 1 << 57), "its L1 table has an impossible entry"),
        (&|image| block(image, image.refcount_block()), "where a refcount block is"),
        (&|image| block(image, image.refcount_table()), "where its refcount table is"),
        (&|image| block(image, image.l2(0)), "where an L2 table is"),
        (&|image| block(image, image.data(0)), "where a refcount block is"),
        (&|image| block(image, image.data(0) + 512), "which is not where a cluster begins"),
        (&|image| block(image, image.data(0) + 1), "which is not where a cluster begins"),
        (&|image| block(image, beyond(image)), "which is beyond the end of the file"),
        (&|image| image.set(40, image.refcount_table()), "its header points to"),
        (&|image| image.set(48, image.l1()), "its header points to"),
        (&|image| image.set(64, image.l1()), "its snapshot table names a table"),
        (&|image| image.set(image.bitmaps() + 16, image.l1()), "its header points to"),
    ]);
}

#[test]
fn snapshots_and_bitmaps_are_what_they_can_be() {
    need!("qemu-img");
    let huge = 0x7fff_ffff_ffff_0000;
    let directory = |image: &Image| image.get(image.bitmaps() + 16);
    let snapshot = |image: &mut Image, l1: u64, entries: u64| {
        image.set(image.snapshots(), l1);
        let rest = image.get(image.snapshots() + 8) & 0xffff_ffff;
        image.set(image.snapshots() + 8, entries << 32 | rest);
    };
    all_are_refused(&[
        (&|image| image.set(64, image.snapshots() + 512), "its snapshot table is not where a table can be"),
        (&|image| image.set(64, huge), "its snapshot table does not end"),
        (&|image| image.set(64, u64::MAX / CLUSTER * CLUSTER), "its snapshot table is not where a table can be"),
        (&|image| image.0[60..64].fill(0xff), "its snapshot table is not where a table can be"),
        (&|image| image.0[60..64].copy_from_slice(&65536u32.to_be_bytes()), "its snapshot table"),
        (&|image| snapshot(image, image.snapshot_l1() + 512, 2), "which is not where a cluster begins"),
        (&|image| snapshot(image, huge, 2), "its snapshot table names a table of 16 bytes at 0x7fffffffffff0000"),
        (&|image| snapshot(image, image.snapshot_l1(), 0xffff_ffff), "its snapshot table names a table"),
        (&|image| snapshot(image, image.l1(), 2), "where its L1 table is"),
        (&|image| image.set(image.snapshot_l1(), image.l1()), "where its L1 table is"),
        (&|image| image.set(image.snapshot_l1(), image.snapshot_l2(0) + 512), "which is not where a cluster begins"),
        (&|image| image.set(image.bitmaps() + 16, huge), "its bitmap directory is not where a directory can be"),
        (&|image| image.set(image.bitmaps() + 8, 8), "its bitmap directory does not end"),
        (&|image| image.set(directory(image), image.l1()), "where its L1 table is"),
        (&|image| image.set(directory(image), huge), "its bitmap directory names a table"),
    ]);
}
