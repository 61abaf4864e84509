//! Many clients that clone one template at once: `XVIRT_CLONES` clones by 20 clients.

use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::disk;

use crate::devices::{attach, disk, start};
use crate::needs_kvm;
use crate::support::Place;

const CLONES: usize = 12;
const CLIENTS: usize = 20;

#[test]
fn clones_of_one_template_start_beside_each_other() {
    needs_kvm!();
    let clones = std::env::var("XVIRT_CLONES").map_or(CLONES, |text| text.parse().unwrap());
    let place = Place::new();
    let service = place.open();
    // Idle, so that hundreds of them leave the processors to the service.
    let template = service.create("template", &CommandLine::new([Mode::Echo]));
    attach(&service, &template, &disk(&service, "raw"));
    service.ok("VM.set_is_a_template", [template.clone(), json!(true)]);

    let (numbers, made, began) = (Mutex::new(0..clones), Mutex::new(Vec::new()), Instant::now());
    thread::scope(|scope| {
        for _ in 0..CLIENTS.min(clones) {
            scope.spawn(|| {
                loop {
                    let Some(number) = numbers.lock().unwrap().next() else { return };
                    let vm = service.ok("VM.clone", [template.clone(), json!(format!("clone-{number}"))]);
                    service.ok("VM.provision", [vm.clone()]);
                    start(&service, &vm);
                    made.lock().unwrap().push(vm);
                }
            });
        }
    });
    println!("{clones} clones run after {:.1?}", began.elapsed());
    let made = made.into_inner().unwrap();
    assert_eq!(made.len(), clones);
    for vm in &made {
        service.console(vm).expect("echo: ready");
        let vbd = service.field("VM", vm, "VBDs")[0].clone();
        let vdi = service.field("VBD", &vbd, "VDI");
        let location = service.field("VDI", &vdi, "location");
        let image = disk::inspect(location.as_str().unwrap(), None).unwrap();
        assert!(image.backing.len() <= 1, "{location} is over {} others", image.backing.len());
    }
    for vm in &made {
        service.ok("VM.hard_shutdown", [vm.clone()]);
    }
    // A clone that has run is not what the template is.
    let again = service.ok("VM.clone", [made[0].clone(), json!("again")]);
    for vm in made.iter().chain([&again, &template]) {
        service.ok("VM.destroy", [vm.clone()]);
    }
    for vdi in service.ok("VDI.get_all", []).as_array().unwrap() {
        service.ok("VDI.destroy", [vdi.clone()]);
    }
    assert_eq!(std::fs::read_dir(place.state().join("disks")).unwrap().count(), 0, "an image is left");
}

/// A template that is changed is no longer what its clones are made of.
#[test]
fn a_clone_has_what_was_written_after_the_clone_before() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let line = |mode, seed| {
        let last = if mode == Mode::Blk { Mode::PowerOff } else { Mode::Echo };
        CommandLine::new([mode, last]).seed(seed).blocks(16).pattern_by_index()
    };
    let original = service.create("original", &line(Mode::Blk, 7));
    attach(&service, &original, &disk(&service, "raw"));
    let clone_after = |seed: u64| -> Value {
        service.ok("VM.set_PV_args", [original.clone(), json!(line(Mode::Blk, seed).to_string())]);
        start(&service, &original);
        service.wait("VM", &original, "power_state", "Halted");
        service.ok("VM.clone", [original.clone(), json!("clone")])
    };
    for (seed, vm) in [7, 8, 9].map(|seed| (seed, clone_after(seed))) {
        service.ok("VM.set_PV_args", [vm.clone(), json!(line(Mode::BlkVerify, seed).to_string())]);
        start(&service, &vm);
        let text = service.console(&vm).expect("echo: ready");
        assert_eq!(text.matches("verified blocks=16").count(), 1, "{text}");
        service.ok("VM.hard_shutdown", [vm]);
    }
}
