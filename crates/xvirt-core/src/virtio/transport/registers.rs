//! The common configuration structure (virtio 1.2, section 4.1.4.3), except its interrupt fields.

use serde::{Deserialize, Serialize};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::QueueState;

use super::function::{DRIVER_OK, FEATURES_OK};
use super::layout::NOTIFY_MULTIPLIER;
use crate::virtio::interrupt::Interrupt;

/// Features of the transport and of the rings.
pub(super) const TRANSPORT_FEATURES: u64 =
    1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_INDIRECT_DESC | 1 << VIRTIO_RING_F_EVENT_IDX;

/// The registers that the driver writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registers {
    /// Which 32 feature bits `device_feature` shows.
    pub(crate) device_feature_select: u32,
    /// Which 32 feature bits `driver_feature` shows.
    pub(crate) driver_feature_select: u32,
    /// The features that the driver accepted.
    pub(crate) driver_features: u64,
    /// The selected queue.
    pub(crate) queue_select: u16,
    /// The queues.
    pub(crate) queues: Vec<QueueRegisters>,
}

/// The addresses of one queue, and the device's position in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueueRegisters {
    /// The number of descriptors.
    pub(crate) size: u16,
    /// Whether the driver enabled it.
    pub(crate) enabled: bool,
    /// The address of the descriptor table.
    pub(crate) descriptors: u64,
    /// The address of the available ring.
    pub(crate) driver: u64,
    /// The address of the used ring.
    pub(crate) device: u64,
    /// The position of the next chain in the available ring.
    pub(crate) next_avail: u16,
    /// The position of the next element in the used ring.
    pub(crate) next_used: u16,
}

/// What the transport must do after a write of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Nothing,
    /// The driver wrote the device status.
    Status(u8),
}

/// Offsets in the structure.
mod at {
    pub(super) const DEVICE_FEATURE_SELECT: u64 = 0x00;
    pub(super) const DRIVER_FEATURE_SELECT: u64 = 0x08;
    pub(super) const DRIVER_FEATURE: u64 = 0x0c;
    pub(super) const CONFIG_VECTOR: u64 = 0x10;
    pub(super) const STATUS: u64 = 0x14;
    pub(super) const QUEUE_SELECT: u64 = 0x16;
    pub(super) const QUEUE_SIZE: u64 = 0x18;
    pub(super) const QUEUE_VECTOR: u64 = 0x1a;
    pub(super) const QUEUE_ENABLE: u64 = 0x1c;
    pub(super) const QUEUE_DESCRIPTORS: u64 = 0x20;
    pub(super) const QUEUE_DRIVER: u64 = 0x28;
    pub(super) const QUEUE_DEVICE: u64 = 0x30;
    pub(super) const END: u64 = 0x38;
}

impl Registers {
    /// The registers after a reset.
    pub(super) fn new(queue_sizes: &[u16]) -> Self {
        let queue = |size: &u16| QueueRegisters { size: *size, ..Default::default() };
        Self { queues: queue_sizes.iter().map(queue).collect(), ..Default::default() }
    }

    /// The whole structure, as the driver reads it now.
    pub(super) fn image(&self, offered: u64, interrupt: &Interrupt) -> [u8; at::END as usize] {
        let mut image = [0; at::END as usize];
        let mut put = |at: usize, value: &[u8]| image[at..at + value.len()].copy_from_slice(value);
        put(0x00, &self.device_feature_select.to_le_bytes());
        put(0x04, &half(offered, self.device_feature_select).to_le_bytes());
        put(0x08, &self.driver_feature_select.to_le_bytes());
        put(0x0c, &half(self.driver_features, self.driver_feature_select).to_le_bytes());
        put(0x10, &interrupt.config_vector().to_le_bytes());
        put(0x12, &(self.queues.len() as u16).to_le_bytes());
        put(0x14, &[interrupt.status(), interrupt.generation()]);
        put(0x16, &self.queue_select.to_le_bytes());
        put(0x1a, &interrupt.queue_vector(self.queue_select).to_le_bytes());
        // A size of zero means that the queue does not exist.
        if let Some(queue) = self.queues.get(usize::from(self.queue_select)) {
            put(0x18, &queue.size.to_le_bytes());
            put(0x1c, &u16::from(queue.enabled).to_le_bytes());
            put(0x1e, &self.queue_select.to_le_bytes());
            put(0x20, &queue.descriptors.to_le_bytes());
            put(0x28, &queue.driver.to_le_bytes());
            put(0x30, &queue.device.to_le_bytes());
        }
        image
    }

    /// Handles a write of the driver. Features are fixed once `status` has `FEATURES_OK`, a queue once it is enabled,
    /// and all queues once the driver is ready, because the device then knows them.
    pub(super) fn write(
        &mut self,
        offset: u64,
        data: &[u8],
        queue_sizes: &[u16],
        status: u8,
        interrupt: &Interrupt,
    ) -> Request {
        let Some(value) = value(data) else { return Request::Nothing };
        let selected = usize::from(self.queue_select);
        match (offset, data.len()) {
            (at::DEVICE_FEATURE_SELECT, 4) => self.device_feature_select = value as u32,
            (at::DRIVER_FEATURE_SELECT, 4) => self.driver_feature_select = value as u32,
            (at::DRIVER_FEATURE, 4) if status & FEATURES_OK == 0 => {
                if let shift @ (0 | 32) = u64::from(self.driver_feature_select) * 32 {
                    self.driver_features = self.driver_features & !(0xffff_ffff << shift) | value << shift;
                }
            }
            (at::CONFIG_VECTOR, 2) => interrupt.set_config_vector(value as u16),
            (at::STATUS, 1) => return Request::Status(value as u8),
            (at::QUEUE_SELECT, 2) => self.queue_select = value as u16,
            (at::QUEUE_VECTOR, 2) => interrupt.set_queue_vector(self.queue_select, value as u16),
            _ => {
                if let (Some(queue), Some(max)) = (self.queues.get_mut(selected), queue_sizes.get(selected))
                    && !queue.enabled
                    && status & DRIVER_OK == 0
                {
                    queue.write(offset, data.len(), value, *max);
                }
            }
        }
        Request::Nothing
    }

    /// Whether the device can work with the features that the driver accepted.
    pub(super) fn acceptable(&self, offered: u64) -> bool {
        self.driver_features & !offered == 0 && self.has(VIRTIO_F_VERSION_1)
    }

    fn has(&self, feature: u32) -> bool {
        self.driver_features >> feature & 1 != 0
    }

    /// The state of queue `index` for the ring implementation, if the driver enabled it.
    pub(super) fn queue_state(&self, index: usize) -> Option<QueueState> {
        let queue = self.queues.get(index).filter(|q| q.enabled)?;
        Some(QueueState {
            max_size: queue.size,
            next_avail: queue.next_avail,
            next_used: queue.next_used,
            event_idx_enabled: self.has(VIRTIO_RING_F_EVENT_IDX),
            size: queue.size,
            ready: true,
            desc_table: queue.descriptors,
            avail_ring: queue.driver,
            used_ring: queue.device,
        })
    }

    /// The indices of the enabled queues.
    pub(super) fn enabled(&self) -> impl Iterator<Item = usize> {
        self.queues.iter().enumerate().filter(|(_, q)| q.enabled).map(|(i, _)| i)
    }
}

impl QueueRegisters {
    fn write(&mut self, offset: u64, length: usize, value: u64, max: u16) {
        match (offset, length) {
            (at::QUEUE_SIZE, 2) => {
                if let Ok(size) = u16::try_from(value)
                    && size.is_power_of_two()
                    && size <= max
                {
                    self.size = size;
                }
            }
            (at::QUEUE_ENABLE, 2) => self.enabled = value == 1,
            (at::QUEUE_DESCRIPTORS..at::END, 4 | 8) => {
                let (register, place) = match offset & !7 {
                    at::QUEUE_DESCRIPTORS => (&mut self.descriptors, offset - at::QUEUE_DESCRIPTORS),
                    at::QUEUE_DRIVER => (&mut self.driver, offset - at::QUEUE_DRIVER),
                    _ => (&mut self.device, offset - at::QUEUE_DEVICE),
                };
                match (place, length) {
                    (0, 8) => *register = value,
                    (0, _) => *register = *register & !0xffff_ffff | value,
                    (4, 4) => *register = *register & 0xffff_ffff | value << 32,
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// The notification address of queue `index`, relative to the notification structure.
pub(super) fn notify_offset(index: usize) -> u64 {
    index as u64 * u64::from(NOTIFY_MULTIPLIER)
}

fn half(features: u64, select: u32) -> u32 {
    match select {
        0 => features as u32,
        1 => (features >> 32) as u32,
        _ => 0,
    }
}

fn value(data: &[u8]) -> Option<u64> {
    let mut bytes = [0; 8];
    bytes.get_mut(..data.len())?.copy_from_slice(data);
    Some(u64::from_le_bytes(bytes))
}
