//! Interrupts of devices: lines of the in-kernel controllers, and messages (MSI) routed through irqfds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE,
    KvmIrqRouting, kvm_irq_routing_entry, kvm_irq_routing_entry__bindgen_ty_1, kvm_irq_routing_irqchip,
    kvm_irq_routing_msi,
};
use kvm_ioctls::VmFd;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::kvm_error;
use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

/// The lines of the IOAPIC; the numbers of message interrupts follow.
const IOAPIC_LINES: u32 = 24;
/// The lines of the two legacy PICs.
const PIC_LINES: u32 = 16;
/// KVM's limit for the routing table.
const MAX_ROUTES: u32 = 4096;

/// All interrupt routes of a VM; KVM only accepts a complete table, and takes milliseconds to replace it.
#[derive(Debug)]
pub(super) struct Routes {
    vm: Arc<VmFd>,
    messages: BTreeMap<u32, Message>,
    /// While a VM is restored: the events to attach once the table is complete.
    deferred: Option<BTreeMap<u32, Arc<EventFd>>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Message {
    address: u64,
    data: u32,
}

impl Routes {
    pub(super) fn new(vm: Arc<VmFd>) -> Self {
        Self { vm, messages: BTreeMap::new(), deferred: None }
    }

    /// Keeps all changes until [`connect`](Self::connect).
    pub(super) fn defer(&mut self) {
        self.deferred = Some(BTreeMap::new());
    }

    /// Makes the changes that were kept.
    pub(super) fn connect(&mut self) -> Result<()> {
        let Some(events) = self.deferred.take() else { return Ok(()) };
        if self.apply().is_err() {
            // A guest can set a message that KVM refuses. It has no effect, and the others have theirs.
            for (gsi, message) in std::mem::take(&mut self.messages) {
                self.messages.insert(gsi, Message::default());
                if let Err(error) = self.set(gsi, message) {
                    tracing::warn!(%error, "a restored interrupt has no effect");
                }
            }
        }
        events.iter().try_for_each(|(gsi, event)| self.attach(*gsi, event))
    }

    fn attach(&self, gsi: u32, event: &EventFd) -> Result<()> {
        self.vm.register_irqfd(event, gsi).map_err(|e| kvm_error("cannot unmask an interrupt", e))
    }

    fn allocate(&mut self) -> Result<u32> {
        let free = (IOAPIC_LINES..MAX_ROUTES).find(|gsi| !self.messages.contains_key(gsi));
        let gsi = free.ok_or_else(|| {
            Error::new(ErrorKind::InvalidConfig, "the VM has no free interrupt route")
                .with_remedy("give the VM fewer devices, or its devices fewer queues")
        })?;
        self.messages.insert(gsi, Message::default());
        Ok(gsi)
    }

    fn set(&mut self, gsi: u32, message: Message) -> Result<()> {
        let before = self.messages.insert(gsi, message);
        if before == Some(message) || self.deferred.is_some() {
            return Ok(());
        }
        let applied = self.apply();
        if applied.is_err() {
            // A rejected message must not block later updates of the table.
            match before {
                Some(before) => self.messages.insert(gsi, before),
                None => self.messages.remove(&gsi),
            };
        }
        applied
    }

    fn apply(&self) -> Result<()> {
        let mut entries: Vec<_> = (0..PIC_LINES).map(pic_route).chain((0..IOAPIC_LINES).map(ioapic_route)).collect();
        entries.extend(self.messages.iter().filter(|(_, m)| m.address != 0).map(|(gsi, m)| message_route(*gsi, *m)));
        let table = KvmIrqRouting::from_entries(&entries).map_err(|_| {
            Error::new(ErrorKind::InvalidConfig, "too many interrupt routes").with_remedy("use fewer devices")
        })?;
        self.vm.set_gsi_routing(&table).map_err(|e| kvm_error("cannot route interrupts", e))
    }
}

fn chip_route(gsi: u32, irqchip: u32, pin: u32) -> kvm_irq_routing_entry {
    kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_IRQCHIP,
        u: kvm_irq_routing_entry__bindgen_ty_1 { irqchip: kvm_irq_routing_irqchip { irqchip, pin } },
        ..Default::default()
    }
}

fn pic_route(gsi: u32) -> kvm_irq_routing_entry {
    if gsi < 8 { chip_route(gsi, KVM_IRQCHIP_PIC_MASTER, gsi) } else { chip_route(gsi, KVM_IRQCHIP_PIC_SLAVE, gsi - 8) }
}

fn ioapic_route(gsi: u32) -> kvm_irq_routing_entry {
    // The timer's line 0 is connected to IOAPIC pin 2, as on PCs and in the MADT.
    chip_route(gsi, KVM_IRQCHIP_IOAPIC, if gsi == 0 { 2 } else { gsi })
}

fn message_route(gsi: u32, message: Message) -> kvm_irq_routing_entry {
    let msi = kvm_irq_routing_msi {
        address_lo: message.address as u32,
        address_hi: (message.address >> 32) as u32,
        data: message.data,
        ..Default::default()
    };
    kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_MSI,
        u: kvm_irq_routing_entry__bindgen_ty_1 { msi },
        ..Default::default()
    }
}

/// A line of the in-kernel interrupt controllers.
#[derive(Clone, Debug)]
pub(crate) struct InterruptLine {
    vm: Arc<VmFd>,
    gsi: u32,
}

impl InterruptLine {
    pub(super) fn new(vm: Arc<VmFd>, gsi: u32) -> Self {
        Self { vm, gsi }
    }

    /// Sets the level of the line.
    pub(crate) fn set(&self, active: bool) {
        // Fails only for lines that do not exist; all lines in use are constants.
        let _ = self.vm.set_irq_line(self.gsi, active);
    }

    /// Pulses the line for an edge-triggered interrupt.
    pub(crate) fn pulse(&self) {
        self.set(true);
        self.set(false);
    }
}

/// A message-signalled interrupt: an irqfd with the message as its route.
#[derive(Debug)]
pub(crate) struct MessageInterrupt {
    vm: Arc<VmFd>,
    routes: Arc<Mutex<Routes>>,
    gsi: u32,
    event: Arc<EventFd>,
    attached: Mutex<bool>,
}

impl MessageInterrupt {
    pub(super) fn new(vm: Arc<VmFd>, routes: Arc<Mutex<Routes>>) -> Result<Self> {
        let event = Arc::new(interrupt_event()?);
        let gsi = lock(&routes).allocate()?;
        Ok(Self { vm, routes, gsi, event, attached: Mutex::new(false) })
    }

    /// The event that sends the message. While masked, it stores writes.
    pub(crate) fn event(&self) -> &EventFd {
        &self.event
    }

    /// Sets the message.
    pub(crate) fn set_message(&self, address: u64, data: u32) -> Result<()> {
        lock(&self.routes).set(self.gsi, Message { address, data })
    }

    /// Detaches the event from the interrupt controller.
    pub(crate) fn mask(&self) -> Result<()> {
        let mut attached = lock(&self.attached);
        if !*attached {
            return Ok(());
        }
        let mut routes = lock(&self.routes);
        match &mut routes.deferred {
            Some(events) => drop(events.remove(&self.gsi)),
            None => {
                self.vm.unregister_irqfd(&self.event, self.gsi).map_err(|e| kvm_error("cannot mask an interrupt", e))?
            }
        }
        *attached = false;
        Ok(())
    }

    /// Attaches the event; stored writes are delivered now.
    pub(crate) fn unmask(&self) -> Result<()> {
        let mut attached = lock(&self.attached);
        if *attached {
            return Ok(());
        }
        let mut routes = lock(&self.routes);
        match &mut routes.deferred {
            Some(events) => drop(events.insert(self.gsi, Arc::clone(&self.event))),
            None => routes.attach(self.gsi, &self.event)?,
        }
        *attached = true;
        Ok(())
    }
}

impl Drop for MessageInterrupt {
    fn drop(&mut self) {
        // Fails only if the VM is gone, and its irqfds with it.
        let _ = self.mask();
        lock(&self.routes).messages.remove(&self.gsi);
    }
}

fn interrupt_event() -> Result<EventFd> {
    EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC).map_err(|e| Error::io("cannot create an interrupt event", e))
}
