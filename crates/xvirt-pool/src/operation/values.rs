//! What the values of some fields mean: limits, files by name, generation IDs, memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use uuid::Uuid;
use xvirt_core::config::{ByteSize, NicLimit, RateLimit};

use super::{Failure, codes};
use crate::model::{Network, Vif};

/// The scale of Xen's CPU weights, and that of control groups.
const XEN_WEIGHT: u32 = 256;
const GROUP_WEIGHT: u32 = 100;
/// The most weight of a control group (`cpu.weight`).
const MAX_GROUP_WEIGHT: u32 = 10_000;
/// What taps have at first.
const ETHERNET_MTU: u16 = 1500;

/// The limits of a disk or a network interface.
///
/// # Errors
/// The algorithm or one of its parameters is unknown.
pub(crate) fn limit(algorithm: &str, parameters: &BTreeMap<String, String>, rate: &str) -> Result<RateLimit, Failure> {
    let mut limit = RateLimit::none();
    match algorithm {
        "" => return Ok(limit),
        "ratelimit" => {}
        other => return Err(codes::not_supported("qos_algorithm_type", other, "use `ratelimit`, or nothing")),
    }
    for (name, text) in parameters {
        let remedy = "give a whole number above 0";
        let number = text.parse().ok().filter(|number| *number > 0);
        let number: u64 = number.ok_or_else(|| codes::invalid_value("qos_algorithm_params", text, remedy))?;
        limit = match name.as_str() {
            "operations_per_second" => limit.operations_per_second(number),
            "operations_burst" => limit.operations_burst(number),
            "bytes_per_second" => limit.bytes_per_second(ByteSize::new(number)),
            "bytes_burst" => limit.bytes_burst(ByteSize::new(number)),
            // XenServer's unit is KiB a second.
            name if name == rate => limit.bytes_per_second(ByteSize::new(number.saturating_mul(1024))),
            other => return Err(codes::not_supported("qos_algorithm_params", other, "there is no such limit")),
        };
    }
    Ok(limit)
}

/// The limits of a network interface: `kbps` of what the guest sends, `xvirt_receive_kbps` of what it receives, and the others
/// of each.
///
/// # Errors
/// See [`limit`].
pub(crate) fn nic_limit(algorithm: &str, parameters: &BTreeMap<String, String>) -> Result<NicLimit, Failure> {
    const SENT: &str = "kbps";
    const RECEIVED: &str = "xvirt_receive_kbps";
    let of = |rate: &str, other: &str| {
        let mut parameters = parameters.clone();
        parameters.remove(other);
        limit(algorithm, &parameters, rate)
    };
    Ok(NicLimit::none().transmit(of(SENT, RECEIVED)?).receive(of(RECEIVED, SENT)?))
}

/// The weight and the cap of a control group, from VCPUs_params.
pub(crate) fn cpu_limits(parameters: &BTreeMap<String, String>) -> (Option<u32>, Option<u32>) {
    let number = |name: &str| parameters.get(name).and_then(|text| text.parse::<u32>().ok());
    let weight = number("weight").map(|weight| {
        let scaled = u64::from(weight) * u64::from(GROUP_WEIGHT) / u64::from(XEN_WEIGHT);
        u32::try_from(scaled).unwrap_or(MAX_GROUP_WEIGHT).clamp(1, MAX_GROUP_WEIGHT)
    });
    (weight, number("cap").filter(|cap| *cap > 0))
}

/// Requires the name of a file in the host's folder of kernels, and nowhere else.
pub(crate) fn file_name(field: &str, name: &str) -> Result<(), Failure> {
    let plain = Path::new(name).file_name().is_some_and(|file| file == name);
    if plain && !name.starts_with('.') {
        return Ok(());
    }
    Err(codes::invalid_value(field, name, "copy the file into the host's folder of kernels, and give its name alone"))
}

/// A file in the folder of kernels, and nowhere else.
pub(crate) fn in_folder(folder: &Path, field: &str, name: &str) -> Result<PathBuf, Failure> {
    file_name(field, name)?;
    Ok(folder.join(name))
}

/// The bytes of a packet on a network interface. A worker cannot ask its tap.
pub(crate) fn mtu(vif: &Vif, network: &Network) -> u16 {
    let given = [vif.mtu, network.mtu].into_iter().find(|mtu| *mtu > 0);
    given.and_then(|mtu| u16::try_from(mtu).ok()).unwrap_or(ETHERNET_MTU)
}

/// A generation ID from XenAPI's two signed numbers.
pub(crate) fn generation(text: &str) -> Option<Uuid> {
    let (high, low) = text.split_once(':')?;
    let half = |text: &str| text.parse::<i64>().ok().map(i64::cast_unsigned);
    Some(Uuid::from_u64_pair(half(high)?, half(low)?)).filter(|uuid| !uuid.is_nil())
}

/// XenAPI's notation of a generation ID.
pub(crate) fn generation_text(uuid: Uuid) -> String {
    let (high, low) = uuid.as_u64_pair();
    format!("{}:{}", high.cast_signed(), low.cast_signed())
}

/// The bytes of host memory that a VM takes in all.
pub(crate) fn host_memory(memory: i64) -> i64 {
    memory.saturating_add(overhead(memory))
}

/// The bytes of host memory that a VM takes beside its own: its worker, and the tables of its pages.
pub(crate) fn overhead(memory: i64) -> i64 {
    const WORKER: i64 = 4 << 20;
    // Eight bytes for each page of 4 KiB.
    WORKER + memory / 512
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_in_its_folder_and_nowhere_else() {
        assert_eq!(in_folder(Path::new("/kernels"), "PV_kernel", "demo").unwrap(), Path::new("/kernels/demo"));
        for bad in ["../demo", "/etc/passwd", "a/b", "..", ".hidden", ""] {
            let folder = in_folder(Path::new("/kernels"), "PV_kernel", bad);
            assert_eq!(folder.unwrap_err().code, "INVALID_VALUE", "{bad:?}");
        }
    }

    #[test]
    fn limits_are_read_and_unknown_ones_refused() {
        let parameters = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let parsed = limit("ratelimit", &parameters("kbps", "8"), "kbps").unwrap();
        assert_eq!(parsed, RateLimit::none().bytes_per_second(ByteSize::new(8192)));
        assert_eq!(limit("", &parameters("kbps", "x"), "").unwrap(), RateLimit::none());
        let both = [parameters("kbps", "8"), parameters("xvirt_receive_kbps", "16")].into_iter().flatten().collect();
        let rate = |bytes| RateLimit::none().bytes_per_second(ByteSize::new(bytes));
        let expected = NicLimit::none().transmit(rate(8192)).receive(rate(16_384));
        assert_eq!(nic_limit("ratelimit", &both).unwrap(), expected);
        assert_eq!(limit("ratelimit", &parameters("kbps", "8"), "").unwrap_err().code, "VALUE_NOT_SUPPORTED");
        assert_eq!(limit("ratelimit", &parameters("bytes_burst", "0"), "").unwrap_err().code, "INVALID_VALUE");
        assert_eq!(limit("ionice", &BTreeMap::new(), "").unwrap_err().code, "VALUE_NOT_SUPPORTED");
    }

    #[test]
    fn a_network_interface_always_has_an_mtu() {
        let of =
            |vif, network| mtu(&Vif { mtu: vif, ..Vif::default() }, &Network { mtu: network, ..Network::default() });
        assert_eq!([of(9000, 1400), of(0, 1400), of(0, 0), of(-1, 0), of(70_000, 0)], [9000, 1400, 1500, 1500, 1500]);
    }

    #[test]
    fn weights_are_scaled_and_generation_ids_are_kept() {
        let parameters = BTreeMap::from([("weight".to_owned(), "512".to_owned()), ("cap".to_owned(), "0".to_owned())]);
        assert_eq!(cpu_limits(&parameters), (Some(200), None));
        let uuid = Uuid::new_v4();
        assert_eq!(generation(&generation_text(uuid)), Some(uuid));
        assert_eq!(generation("0:0"), None);
    }
}
