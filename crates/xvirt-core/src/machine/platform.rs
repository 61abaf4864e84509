//! The devices that every machine has, and their addresses on the buses.

use std::sync::Arc;

use super::hotplug::Ejector;
use super::power::{PanicLine, PowerLine};
use super::signal::Signals;
use super::state::DeviceStates;
use crate::Result;
use crate::arch::x86_64::layout;
use crate::bus::Bus;
use crate::console::ConsolePort;
use crate::device::hotplug::{self, HotPlug};
use crate::device::panic::Panic;
use crate::device::power::{self, Power};
use crate::device::rtc::Rtc;
use crate::device::serial::Serial;
use crate::device::watchdog::{self, Watchdog};
use crate::kvm;
use crate::pci::PciBus;

#[derive(Debug)]
pub(super) struct Platform {
    pub(super) pci: Arc<PciBus>,
    pub(super) serial: Arc<Serial>,
    pub(super) rtc: Arc<Rtc>,
    pub(super) power: Arc<Power<PowerLine>>,
    pub(super) hotplug: Arc<HotPlug<Ejector>>,
    pub(super) panic: Arc<Panic<PanicLine>>,
    pub(super) watchdog: Arc<Watchdog>,
}

impl Platform {
    /// Builds the devices and puts them on the buses.
    pub(super) fn new(
        vm: &kvm::Vm,
        ports: &Bus,
        memory: &Bus,
        console: Arc<dyn ConsolePort>,
        signals: &Arc<Signals>,
        saved: Option<&DeviceStates>,
    ) -> Result<Self> {
        let pci = Arc::new(PciBus::new(saved.map(DeviceStates::platform::<PciBus>).transpose()?)?);
        ports.insert(layout::PCI_CONFIG_PORTS, 8, pci.ports())?;
        memory.insert(layout::PCI_CONFIG, layout::PCI_CONFIG_SIZE, pci.ecam())?;
        let line = vm.interrupt_line(layout::SERIAL_INTERRUPT);
        let serial = Arc::new(Serial::new(
            console,
            move || line.pulse(),
            saved.map(DeviceStates::platform::<Serial>).transpose()?,
        )?);
        ports.insert(layout::SERIAL_PORTS, 8, Arc::clone(&serial) as _)?;
        let rtc = Arc::new(Rtc::new(saved.map(DeviceStates::platform::<Rtc>).transpose()?));
        ports.insert(layout::RTC_PORTS, 2, Arc::clone(&rtc) as _)?;
        let line = PowerLine { line: vm.interrupt_line(layout::POWER_INTERRUPT), signals: Arc::clone(signals) };
        let power = Arc::new(Power::new(line, saved.map(DeviceStates::platform::<Power<PowerLine>>).transpose()?));
        ports.insert(layout::POWER_PORTS, power::PORTS, Arc::clone(&power) as _)?;
        let ejector = Ejector::new(Arc::clone(&pci), Arc::clone(&power), Arc::clone(signals));
        let hotplug =
            Arc::new(HotPlug::new(ejector, saved.map(DeviceStates::platform::<HotPlug<Ejector>>).transpose()?));
        ports.insert(layout::HOT_PLUG_PORTS, hotplug::PORTS, Arc::clone(&hotplug) as _)?;
        let panic = Arc::new(Panic::new(
            PanicLine(Arc::clone(signals)),
            saved.map(DeviceStates::platform::<Panic<PanicLine>>).transpose()?,
        ));
        ports.insert(layout::PANIC_PORT, 1, Arc::clone(&panic) as _)?;
        let watchdog = Arc::new(Watchdog::new(saved.map(DeviceStates::platform::<Watchdog>).transpose()?)?);
        ports.insert(layout::WATCHDOG_PORTS, watchdog::PORTS, Arc::clone(&watchdog) as _)?;
        Ok(Self { pci, serial, rtc, power, hotplug, panic, watchdog })
    }
}
