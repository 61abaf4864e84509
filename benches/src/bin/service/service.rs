//! A host service in folders of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use xvirt_benches::{Result, programs};
use xvirt_core::config::ByteSize;
use xvirt_core::demo::{self, CommandLine, Mode};

use crate::api::Api;

/// The name of the kernel in the folder of kernels.
const KERNEL: &str = "demo";
const PATIENCE: Duration = Duration::from_secs(30);

/// A running service; when it is dropped, its VMs are stopped and it ends.
pub(crate) struct Service {
    child: Child,
    socket: PathBuf,
    worker: PathBuf,
}

impl Service {
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let (program, built) = (programs::built("xvirt", "xvirt")?, programs::built("xvirt-worker", "xvirt-worker")?);
        let (root, run, worker) = (folder.join("root"), folder.join("run"), folder.join("xvirt-worker"));
        // Of its own, so that its processes are told from others.
        fs::copy(built, &worker)?;
        fs::create_dir_all(root.join("kernels"))?;
        fs::write(root.join("kernels").join(KERNEL), demo::kernel())?;
        let mut command = Command::new(program);
        command.args(["host", "run", "--log", "error", "--root"]).arg(root).arg("--run").arg(&run);
        command.arg("--worker").arg(&worker).stdin(Stdio::null());
        let mut service = Self { child: command.spawn()?, socket: run.join("xvirt.sock"), worker };
        let begun = Instant::now();
        while Api::connect(&service.socket).is_err() {
            if service.child.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                return Err("the service did not start; see its messages".into());
            }
            sleep(Duration::from_millis(10));
        }
        Ok(service)
    }

    pub(crate) fn api(&self) -> Result<Api> {
        Api::connect(&self.socket)
    }

    /// The number of the service's process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// The numbers of the processes that hold its VMs.
    pub(crate) fn workers(&self) -> Result<Vec<u32>> {
        let mut workers = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let entry = entry?;
            let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A process may end meanwhile.
            if fs::read_link(entry.path().join("exe")).is_ok_and(|program| program == self.worker) {
                workers.push(number);
            }
        }
        Ok(workers)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let stopped = self.api().and_then(|mut api| {
            for vm in api.call("VM.get_all", &[])?.as_array().into_iter().flatten() {
                // Templates and halted VMs cannot be stopped.
                let _ = api.call("VM.hard_shutdown", std::slice::from_ref(vm));
            }
            Ok(())
        });
        if let Err(error) = stopped {
            eprintln!("cannot stop the VMs of the service: {error}");
        }
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The record of a VM with this much memory.
pub(crate) fn vm(name: &str, mode: Mode, memory: ByteSize) -> Value {
    let memory = memory.bytes();
    json!({
        "name_label": name,
        "memory_static_min": memory,
        "memory_static_max": memory,
        "memory_dynamic_min": memory,
        "memory_dynamic_max": memory,
        "VCPUs_max": 1,
        "VCPUs_at_startup": 1,
        "PV_kernel": KERNEL,
        "PV_args": CommandLine::new([mode]).to_string(),
    })
}
