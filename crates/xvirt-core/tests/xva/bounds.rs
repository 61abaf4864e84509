//! Archives that need a large window: extracting and importing apply the same limit as all other readers.

use xvirt_core::ErrorKind;
use xvirt_core::config::ByteSize;
use xvirt_core::repository::Repository;
use xvirt_core::xva::{self, Extract, Import, ReadOptions};
use xvirt_testing::handmade::{frame, small};

use crate::support::*;

const MIB: u64 = 1 << 20;
/// The maximum memory of reading, in addition to a window, in bytes.
const MAX: u64 = 48 * MIB;

/// Extracts and imports an archive; returns both results.
fn read_all(archive: &[u8], options: ReadOptions) -> [xvirt_core::Result<()>; 2] {
    let folder = tempfile::tempdir_in(scratch()).unwrap();
    let repository = Repository::open(folder.path().join("repository")).unwrap();
    [
        xva::extract(archive, folder.path().join("out"), &Extract::default().read(options), &()).map(drop),
        xva::import(archive, &repository, &Import::default().read(options), &()).map(drop),
    ]
}

#[test]
fn a_window_takes_no_more_memory_than_is_allowed() {
    in_own_process("bounds::a_window_takes_no_more_memory_than_is_allowed", || {
        let archive = frame(31, &small(), 2200, false);
        let (memory, results) = peak_memory(|| read_all(&archive, ReadOptions::default()));
        assert!(memory < MAX, "{memory}");
        for result in results {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
            assert!(error.to_string().contains("a window of 2 GiB, but only 128 MiB are allowed"), "{error}");
            assert!(error.remedy().unwrap().contains("ReadOptions::max_window"), "{error}");
        }
        let more = ReadOptions::default().max_window(ByteSize::mib(256));
        let (memory, results) = peak_memory(|| read_all(&frame(28, &small(), 300, false), more));
        results.into_iter().for_each(|result| result.unwrap());
        assert!(memory < 256 * MIB + MAX, "{memory}");
    });
}
