//! Things that must happen in another process: the test program runs itself again with an order in its environment.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use xvirt_core::disk::{self, Access};

use crate::support::*;

const ORDER: &str = "XVIRT_TEST_DISK_CHILD";

/// Starts a child with an order for an image, and returns when it says that it has done its part.
pub fn start(order: &str, image: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child::obeys", "--nocapture"])
        .env(ORDER, format!("{order}:{}", text(image)))
        .stdout(Stdio::piped())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("ready")), "the child failed");
    child
}

/// Kills a child as the kernel does when memory runs out.
pub fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn obeys() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let (order, image) = order.split_once(':').unwrap();
    let access = if order == "read" { Access::ReadOnly } else { Access::ReadWrite };
    let disk = disk::open(image, None, access).unwrap();
    if let Some(step) = order.strip_prefix("write") {
        // Every 40 MiB, so that several tables come to be, and are recycled.
        let step = step.parse::<u64>().unwrap();
        for round in 0..3 {
            for place in 0..50 {
                write(&*disk, place * 40 * MIB + round * step, &pattern(place, 200_704)).unwrap();
            }
            if round == 0 {
                disk.flush().unwrap();
            }
            disk.discard((round + 1) * 80 * MIB, 40 * MIB).unwrap();
        }
    }
    println!("ready");
    loop {
        std::thread::park();
    }
}
