//! Fuzzes the configuration space and registers of a virtio device with arbitrary guests.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use xvirt_core::fuzzing::virtio::{Function, Kind};

/// The step limit; more steps test nothing new.
const MAX_STEPS: usize = 64;

fuzz_target!(|input: Input| {
    let mut function = Function::new(input.kind.kind());
    for step in input.steps.iter().take(MAX_STEPS) {
        step.run(&mut function);
        function.check();
    }
});

#[derive(Arbitrary, Debug)]
struct Input {
    kind: Device,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Device {
    Block,
    Net,
    Console,
    Rng,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Read {
        place: Place,
        size: Size,
    },
    Write {
        place: Place,
        size: Size,
        value: u64,
    },
    /// The device status writes of a driver that starts a device.
    Status {
        status: u8,
    },
    /// Sets up a queue whose rings are in a page.
    Queue {
        index: u8,
        page: u8,
    },
    /// Accesses the device's memory through the window in configuration space.
    Window {
        bar: u8,
        offset: u32,
        length: u8,
        write: Option<u32>,
    },
    Vector {
        index: u8,
        address: u32,
        data: u32,
        control: u8,
    },
    Bar {
        address: u64,
    },
    ConfigChanged,
    Pause,
    Reset,
    Move,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Place {
    /// A register of the device's memory.
    Bar(u16),
    /// A register of the device's configuration space.
    Own(u8),
    /// Any offset in configuration space.
    Ecam(u32),
    Port(u8),
    Address(u64),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Size {
    One,
    Two,
    Four,
    Eight,
}

impl Device {
    fn kind(&self) -> Kind {
        match self {
            Self::Block => Kind::Block,
            Self::Net => Kind::Net,
            Self::Console => Kind::Console,
            Self::Rng => Kind::Rng,
        }
    }
}

impl Size {
    fn bytes(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }
}

impl Place {
    fn read(self, function: &Function, data: &mut [u8]) {
        match self {
            Self::Bar(offset) => function.read(function.bar().wrapping_add(offset.into()), data),
            Self::Own(register) => function.config_read(function.registers() + u64::from(register), data),
            Self::Ecam(offset) => function.config_read(u64::from(offset) % (1 << 20), data),
            Self::Port(port) => function.port_read(u64::from(port % 8), data),
            Self::Address(address) => function.read(address, data),
        }
    }

    fn write(self, function: &Function, data: &[u8]) {
        match self {
            Self::Bar(offset) => function.write(function.bar().wrapping_add(offset.into()), data),
            Self::Own(register) => function.config_write(function.registers() + u64::from(register), data),
            Self::Ecam(offset) => function.config_write(u64::from(offset) % (1 << 20), data),
            Self::Port(port) => function.port_write(u64::from(port % 8), data),
            Self::Address(address) => function.write(address, data),
        }
    }
}

impl Step {
    fn run(&self, function: &mut Function) {
        match *self {
            Self::Read { place, size } => place.read(function, &mut [0; 8][..size.bytes()]),
            Self::Write { place, size, value } => place.write(function, &value.to_le_bytes()[..size.bytes()]),
            Self::Status { status } => Place::Bar(0x14).write(function, &[status]),
            Self::Queue { index, page } => {
                // Selects all offered features.
                for select in 0..2_u32 {
                    Place::Bar(0).write(function, &select.to_le_bytes());
                    let mut features = [0; 4];
                    Place::Bar(4).read(function, &mut features);
                    Place::Bar(8).write(function, &select.to_le_bytes());
                    Place::Bar(12).write(function, &features);
                }
                Place::Bar(0x14).write(function, &[11]);
                Place::Bar(0x16).write(function, &u16::from(index).to_le_bytes());
                Place::Bar(0x18).write(function, &16_u16.to_le_bytes());
                for (register, offset) in [(0x20, 0), (0x28, 0x400), (0x30, 0x800)] {
                    let address = u64::from(page) * 0x1000 + offset;
                    Place::Bar(register).write(function, &address.to_le_bytes());
                }
                Place::Bar(0x1c).write(function, &1_u16.to_le_bytes());
            }
            Self::Window { bar, offset, length, write } => {
                let mut capability = [0; 1];
                Place::Own(0x34).read(function, &mut capability);
                // The access capability is the fifth.
                for _ in 0..4 {
                    Place::Own(capability[0].wrapping_add(1)).read(function, &mut capability);
                }
                let at = capability[0];
                Place::Own(at.wrapping_add(4)).write(function, &[bar % 2]);
                Place::Own(at.wrapping_add(8)).write(function, &offset.to_le_bytes());
                Place::Own(at.wrapping_add(12)).write(function, &u32::from(length).to_le_bytes());
                let length = usize::from(length % 5).max(1);
                let data = Place::Own(at.wrapping_add(16));
                match write {
                    Some(value) => data.write(function, &value.to_le_bytes()[..length]),
                    None => data.read(function, &mut [0; 4][..length]),
                }
            }
            Self::Vector { index, address, data, control } => {
                let entry = 0x4000 + 16 * u16::from(index % 8);
                Place::Bar(entry).write(function, &u64::from(address).to_le_bytes());
                Place::Bar(entry + 8).write(function, &data.to_le_bytes());
                Place::Bar(entry + 12).write(function, &u32::from(control & 1).to_le_bytes());
            }
            Self::Bar { address } => {
                Place::Own(0x10).write(function, &(address as u32).to_le_bytes());
                Place::Own(0x14).write(function, &((address >> 32) as u32).to_le_bytes());
            }
            Self::ConfigChanged => function.config_changed(),
            Self::Pause => function.pause(),
            Self::Reset => function.reset(),
            Self::Move => function.move_on(),
        }
    }
}
