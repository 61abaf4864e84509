//! The time from the request of a start to the first byte of the guest.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use xvirt_benches::programs::{self, Guest, Program};
use xvirt_benches::summary::{Summary, milliseconds};
use xvirt_benches::{Result, demo_vm};
use xvirt_core::demo::Mode;
use xvirt_core::host::Host;

use crate::api::Api;
use crate::service::{self, Service};

/// What a start through the service may cost beyond the one in this process.
const ASKED: Duration = Duration::from_millis(10);

/// Starts the guest in each way in turns, and prints and returns the times.
pub(crate) fn measure(service: &Service, folder: &Path, runs: usize) -> Result<Value> {
    let (host, guest) = (Host::probe()?, Guest::demo(folder)?);
    let mut api = service.api()?;
    let vm = api.call("VM.create", &[service::vm("start", Mode::Echo, demo_vm::MEMORY)])?;
    let jailed = programs::jailed_firecracker(&guest, folder);
    let (mut library, mut through, mut answered, mut peer) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // The first round warms the caches.
    for round in 0..=runs {
        let in_process = in_this_process(&host)?;
        let (answer, first_byte) = through_the_service(&mut api, &vm)?;
        let jail = jailed.as_ref().ok().map(|program| in_the_jailer(program, &guest)).transpose()?;
        if round > 0 {
            library.push(in_process);
            answered.push(answer);
            through.push(first_byte);
            peer.extend(jail);
        }
    }
    api.call("VM.destroy", &[vm])?;
    println!("milliseconds from the request of a start, {runs} runs in turns; a demo guest of {}", demo_vm::MEMORY);
    println!("{:<36}{:>10}{:>10}", "", "median", "min");
    let mut rows = vec![
        row("library, first byte", &library)?,
        row("service, answer", &answered)?,
        row("service, first byte", &through)?,
    ];
    match &jailed {
        Ok(_) => rows.push(row("firecracker, jailer, first byte", &peer)?),
        Err(reason) => println!("firecracker, jailer: not measured: {reason}"),
    }
    let median = |series: &[Duration]| Summary::of(series).map(|summary| summary.median).unwrap_or_default();
    let beyond = median(&through).saturating_sub(median(&library));
    println!("beyond the library: {}, asked: at most {}", milliseconds(beyond), milliseconds(ASKED));
    Ok(json!(rows))
}

fn in_this_process(host: &Host) -> Result<Duration> {
    let vm = demo_vm::config("start").build(host)?;
    let time = demo_vm::start(&vm)?;
    vm.hard_shutdown()?;
    Ok(time)
}

/// The times until the service has answered, and until the console has a byte.
fn through_the_service(api: &mut Api, vm: &Value) -> Result<(Duration, Duration)> {
    let begun = Instant::now();
    api.call("VM.start", &[vm.clone(), json!(false), json!(false)])?;
    let answered = begun.elapsed();
    api.console(vm)?.read_exact(&mut [0])?;
    let first_byte = begun.elapsed();
    api.call("VM.hard_shutdown", std::slice::from_ref(vm))?;
    Ok((answered, first_byte))
}

fn in_the_jailer(program: &Program, guest: &Guest) -> Result<Duration> {
    Ok(program.start(guest)?.1)
}

fn row(what: &str, series: &[Duration]) -> Result<Value> {
    let Summary { median, min, max } = Summary::of(series).ok_or("nothing was measured")?;
    println!("{what:<36}{:>10}{:>10}", milliseconds(median), milliseconds(min));
    let number = |duration: Duration| duration.as_secs_f64() * 1000.0;
    Ok(json!({ "what": what, "median_ms": number(median), "min_ms": number(min), "max_ms": number(max) }))
}
