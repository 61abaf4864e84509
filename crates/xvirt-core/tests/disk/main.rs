//! Disk images against real files, with `qemu-img` as the judge.

mod support;

mod images;
