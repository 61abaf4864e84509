//! Publishes the statistics of a VM as metrics, through the recorder that the program has installed.

use std::time::Duration;

use metrics::{Label, SharedString, counter, gauge};

use super::handle::Vm;
use super::statistics::{
    DiskStatistics, FrameStatistics, NicStatistics, OperationStatistics, Statistics, VcpuStatistics,
};

/// The percentiles of latencies that are published, and their labels.
const QUANTILES: [(f64, &str); 3] = [(50.0, "0.5"), (99.0, "0.99"), (99.9, "0.999")];

/// Publishes the statistics of one VM through the `metrics` crate, whenever the program calls
/// [`publish`](Self::publish).
///
/// Every metric has the labels `vm` (the name) and `uuid`. Counters grow by the difference since the last call, and
/// continue when the VM is started again.
///
/// | metric | further labels | what |
/// |---|---|---|
/// | `xvirt_uptime_seconds` | | gauge |
/// | `xvirt_vcpu_cpu_seconds` | `vcpu` | gauge: since start |
/// | `xvirt_vcpu_exits_total` | `vcpu`, `reason` | counter |
/// | `xvirt_memory_target_bytes`, `xvirt_memory_actual_bytes` | | gauges, if it has a balloon |
/// | `xvirt_disk_operations_total`, `_bytes_total`, `_errors_total` | `disk`, `operation` | counters |
/// | `xvirt_disk_latency_seconds` | `disk`, `operation`, `quantile` | gauge: since the last call |
/// | `xvirt_disk_cpu_seconds` | `disk` | gauge: since start |
/// | `xvirt_nic_frames_total`, `_bytes_total`, `_dropped_total` | `nic`, `direction` | counters |
/// | `xvirt_nic_cpu_seconds` | `nic` | gauge: since start |
/// | `xvirt_device_cpu_seconds` | `device` | gauge: since start |
///
/// `reason`, `operation` and `direction` are the names of the fields in [`Statistics`].
#[derive(Debug)]
pub struct MetricsPublisher {
    labels: [Label; 2],
    last: Statistics,
}

/// One set of labels for metrics.
struct Subject<'a> {
    labels: Vec<Label>,
    of: &'a MetricsPublisher,
}

impl MetricsPublisher {
    /// A publisher for the statistics of `vm`.
    pub fn new(vm: &Vm) -> Self {
        let labels = [Label::new("vm", vm.name().to_owned()), Label::new("uuid", vm.uuid().to_string())];
        Self { labels, last: Statistics::default() }
    }

    /// Publishes the result of [`Vm::statistics`].
    pub fn publish(&mut self, now: &Statistics) {
        // If its uptime is lower than last time, the VM was started in between.
        if now.uptime < self.last.uptime {
            self.last = Statistics::default();
        }
        gauge!("xvirt_uptime_seconds", self.labels.to_vec()).set(now.uptime.as_secs_f64());
        if let Some(memory) = &now.memory {
            gauge!("xvirt_memory_target_bytes", self.labels.to_vec()).set(memory.target.bytes() as f64);
            gauge!("xvirt_memory_actual_bytes", self.labels.to_vec()).set(memory.actual.bytes() as f64);
        }
        for (number, vcpu) in now.vcpus.iter().enumerate() {
            self.subject("vcpu", number.to_string()).vcpu(vcpu, self.last.vcpus.get(number));
        }
        for (position, disk) in &now.disks {
            self.subject("disk", position.to_string()).disk(disk, self.last.disks.get(position));
        }
        for (position, nic) in &now.nics {
            self.subject("nic", position.to_string()).nic(nic, self.last.nics.get(position));
        }
        for device in &now.devices {
            self.subject("device", device.name.clone()).seconds("xvirt_device_cpu_seconds", device.cpu_time);
        }
        self.last = now.clone();
    }

    fn subject(&self, key: &'static str, value: impl Into<SharedString>) -> Subject<'_> {
        Subject { labels: Vec::new(), of: self }.with(key, value)
    }
}

impl Subject<'_> {
    /// The same labels with one more.
    fn with(&self, key: &'static str, value: impl Into<SharedString>) -> Self {
        let mut labels = if self.labels.is_empty() { self.of.labels.to_vec() } else { self.labels.clone() };
        labels.push(Label::new(key, value));
        Self { labels, of: self.of }
    }

    fn seconds(&self, name: &'static str, time: Duration) {
        gauge!(name, self.labels.clone()).set(time.as_secs_f64());
    }

    /// Publishes a counter that was at `before`, or that started again from zero.
    fn count(&self, name: &'static str, now: u64, before: u64) {
        counter!(name, self.labels.clone()).increment(now.checked_sub(before).unwrap_or(now));
    }

    fn vcpu(&self, now: &VcpuStatistics, before: Option<&VcpuStatistics>) {
        self.seconds("xvirt_vcpu_cpu_seconds", now.cpu_time);
        let before = before.map(|vcpu| vcpu.exits.clone()).unwrap_or_default();
        let exits = &now.exits;
        for (reason, now, before) in [
            ("port_reads", exits.port_reads, before.port_reads),
            ("port_writes", exits.port_writes, before.port_writes),
            ("memory_reads", exits.memory_reads, before.memory_reads),
            ("memory_writes", exits.memory_writes, before.memory_writes),
            ("halts", exits.halts, before.halts),
            ("interrupted", exits.interrupted, before.interrupted),
            ("others", exits.others, before.others),
        ] {
            self.with("reason", reason).count("xvirt_vcpu_exits_total", now, before);
        }
    }

    fn disk(&self, now: &DiskStatistics, before: Option<&DiskStatistics>) {
        self.seconds("xvirt_disk_cpu_seconds", now.cpu_time);
        let before = before.cloned().unwrap_or_default();
        for (operation, now, before) in [
            ("reads", &now.reads, &before.reads),
            ("writes", &now.writes, &before.writes),
            ("flushes", &now.flushes, &before.flushes),
            ("discards", &now.discards, &before.discards),
            ("zeroes", &now.zeroes, &before.zeroes),
        ] {
            self.with("operation", operation).operation(now, before);
        }
    }

    fn operation(&self, now: &OperationStatistics, before: &OperationStatistics) {
        self.count("xvirt_disk_operations_total", now.operations, before.operations);
        self.count("xvirt_disk_bytes_total", now.bytes, before.bytes);
        self.count("xvirt_disk_errors_total", now.errors, before.errors);
        let latency = now.latency.since(&before.latency);
        for (percent, quantile) in QUANTILES {
            if let Some(time) = latency.percentile(percent) {
                self.with("quantile", quantile).seconds("xvirt_disk_latency_seconds", time);
            }
        }
    }

    fn nic(&self, now: &NicStatistics, before: Option<&NicStatistics>) {
        self.seconds("xvirt_nic_cpu_seconds", now.cpu_time);
        let before = before.cloned().unwrap_or_default();
        self.with("direction", "received").frames(&now.received, &before.received);
        self.with("direction", "sent").frames(&now.sent, &before.sent);
    }

    fn frames(&self, now: &FrameStatistics, before: &FrameStatistics) {
        self.count("xvirt_nic_frames_total", now.frames, before.frames);
        self.count("xvirt_nic_bytes_total", now.bytes, before.bytes);
        self.count("xvirt_nic_dropped_total", now.dropped, before.dropped);
    }
}
