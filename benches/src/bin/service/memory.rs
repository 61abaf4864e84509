//! The memory of the service and of its workers.

use std::fs;
use std::io::Read;

use serde_json::{Value, json};
use xvirt_benches::Result;
use xvirt_benches::resident::Resident;
use xvirt_core::config::ByteSize;
use xvirt_core::demo::{self, Mode};

use crate::service::{self, Service};

/// The memory of each VM: small, so that many fit into any host.
const MEMORY: ByteSize = ByteSize::mib(16);
/// What the service may have in memory with 200 VMs, and a worker beyond the memory of its guest, in KiB.
const ASKED_SERVICE: u64 = 60 << 10;
const ASKED_WORKER: u64 = 2 << 10;

/// Runs so many VMs, and prints and returns the memory.
pub(crate) fn measure(service: &Service, vms: usize) -> Result<Value> {
    let mut api = service.api()?;
    let before = resident(service.process())?;
    for number in 0..vms {
        let vm = api.call("VM.create", &[service::vm(&format!("vm-{number}"), Mode::Echo, MEMORY)])?;
        api.call("VM.start", &[vm.clone(), json!(false), json!(false)])?;
        let (mut console, mut text) = (api.console(&vm)?, String::new());
        while !text.contains(demo::ECHO_READY) {
            let mut bytes = [0; 256];
            let count = console.read(&mut bytes)?;
            if count == 0 {
                return Err(format!("the guest ended early: {text:?}").into());
            }
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    }
    let after = resident(service.process())?;
    let mut workers = Vec::new();
    for worker in service.workers()? {
        let resident = Resident::of_process(worker, MEMORY)?;
        // Otherwise the two kinds of memory were not told apart.
        if resident.guest_size != MEMORY.bytes() >> 10 {
            return Err(format!("a guest seems to have {} KiB of memory", resident.guest_size).into());
        }
        workers.push(resident.rest);
    }
    workers.sort_unstable();
    if workers.len() != vms {
        return Err(format!("{vms} VMs have {} workers", workers.len()).into());
    }
    let (median, most) = (workers.get(vms / 2).copied(), workers.last().copied());
    let (median, most) = (median.unwrap_or_default(), most.unwrap_or_default());
    println!("\nKiB with {vms} running VMs of {}", MEMORY);
    println!("service, resident: {after} (before the first VM {before}), asked: at most {ASKED_SERVICE} with 200");
    println!("worker beyond its guest, proportional: median {median}, most {most}, asked: at most {ASKED_WORKER}");
    Ok(json!({ "vms": vms, "service_kib": after, "service_before_kib": before,
               "worker_median_kib": median, "worker_most_kib": most }))
}

/// The resident memory of a process, in KiB.
fn resident(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in status")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
