//! The programs themselves are in this folder, one file each.
