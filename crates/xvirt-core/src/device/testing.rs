//! Property tests that every device must pass, with random guest accesses.

use std::fmt;
use std::ops::Range;

use xvirt_testing::random::Random;

use super::Device;
use crate::bus::BusDevice;

/// The number of random guests, and of accesses by each.
const GUESTS: u64 = 200;
const ACCESSES: usize = 60;

/// The test of a type of device, identified by its saved state: what was restored and is saved again is the same. Each
/// type of device of a machine must have it.
pub(crate) trait RoundTrip {
    /// Fails the test if the states differ.
    fn round_trip();
}

/// Checks save, restore and reset of a device. `new` makes it; the guests write to `ports` and compare reads of
/// `answers`; `stir` changes its state from the host side; `reset` gives the state that is expected after a reset.
pub(crate) fn go_round<D>(
    ports: u64,
    answers: Range<u64>,
    new: impl Fn(Option<D::State>) -> D,
    stir: impl Fn(&D, &mut Random),
    reset: impl Fn(D::State) -> D::State,
) where
    D: Device<State: Clone + PartialEq + fmt::Debug> + BusDevice,
{
    for seed in 0..GUESTS {
        let random = &mut Random::new(seed);
        let old = new(None);
        old.resume();
        for _ in 0..random.below(ACCESSES) {
            access([&old], ports, &answers, random);
            stir(&old, random);
        }
        old.pause();
        let state = old.save().unwrap();
        assert_eq!(old.save().unwrap(), state, "guest {seed}");
        let text = serde_json::to_string(&state).unwrap();
        let copy = new(Some(serde_json::from_str(&text).unwrap()));
        assert_eq!(copy.save().unwrap(), state, "guest {seed}");
        for _ in 0..ACCESSES {
            let [one, other] = access([&old, &copy], ports, &answers, random);
            assert_eq!(one, other, "guest {seed}");
            assert_eq!(copy.save().unwrap(), old.save().unwrap(), "guest {seed}");
        }
        let expected = reset(copy.save().unwrap());
        copy.reset().unwrap();
        assert_eq!(copy.save().unwrap(), expected, "guest {seed}");
    }
}

/// Does the same random access to equal devices and returns what each one answers.
fn access<D: BusDevice, const N: usize>(
    devices: [&D; N],
    ports: u64,
    answers: &Range<u64>,
    random: &mut Random,
) -> [Vec<u8>; N] {
    let mut data = [0; 8];
    let length = *random.pick(&[1, 1, 2, 4, 8]);
    if random.below(2) == 0 {
        let offset = random.below(ports as usize) as u64;
        // Small values have a meaning more often.
        let most = *random.pick(&[2, 256]);
        data.fill_with(|| random.below(most) as u8);
        return devices.map(|device| {
            device.write(offset, &data[..length]);
            Vec::new()
        });
    }
    let offset = answers.start + random.below((answers.end - answers.start) as usize) as u64;
    devices.map(|device| {
        let mut data = data;
        device.read(offset, &mut data[..length]);
        data[..length].to_vec()
    })
}
