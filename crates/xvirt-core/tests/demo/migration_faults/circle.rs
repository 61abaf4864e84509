//! A VM moves over three processes, back to the first one.

use std::fs;

use super::processes::Processes;
use crate::{host, workload};

#[test]
fn a_writing_guest_moves_over_three_processes_and_back() {
    let _ = host!();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let small = folder.join("small");
    fs::create_dir(&small).unwrap();
    workload::create(&small, None);
    let mut processes = Processes::start(3, folder, "A, B and C".to_owned());
    processes.order(0, "start private");
    processes.expect(0, "started");
    let mut last = 0;
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        processes.order(to, &format!("receive socket-{to}"));
        processes.expect(to, "ready");
        processes.order(from, &format!("send socket-{to}"));
        processes.expect(from, "ended Migrated");
        processes.expect(to, "ended Running");
        processes.order(to, "work");
        let round: u64 = processes.expect(to, "works").parse().unwrap();
        assert!(round > last, "{round} after {last}");
        last = round;
    }
    let outputs = [1, 2, 0].map(|number| {
        processes.finish(number, &format!("end output-{number}"));
        fs::read(folder.join(format!("output-{number}"))).unwrap()
    });
    assert!(outputs.is_sorted_by(|earlier, later| later.len() > earlier.len() && later.starts_with(earlier)));
}
