"""How the public API appears in other languages where its types alone do not say it.

Everything else follows from the Rust types: a new method, field, variant or kind of error needs no line here.
"""

# Data that only the library reads.
OPAQUE = {"CpuBaseline", "Latencies"}

# Types that are text to other languages.
TEXT = {"MacAddress"}

# Not for other languages, with the reasons, which the parity table prints.
NOT_COVERED = {
    "GuestSlice": "guest memory, which only native code may touch",
    "Place": "an optimisation of native disks",
    "MetricsPublisher": "publishes through the Rust crate `metrics`; read `Vm.statistics` instead",
    "Descriptor": "an open file or descriptor of the language",
    "ByteSize": "a number of bytes, or text",
    "InterfaceAddress": "an address of the language's own type",
    "CommandLine": "the demo guest's command line, which is text",
}
SKIPPED_RECORDS = {"AgentFailure", "Imported"}

# Results that contain a handle. Their classes are written by hand.
COMPOUND = {"Imported"}
SKIPPED_ENUMS = {"ErrorKind", "Severity", "Subject", "Original", "Source"}

# Arguments that are one of several handles or records.
UNIONS = {
    "Subject": ("StoredVm", "Vm"),
    "Original": ("StoredVm", "Vm", "Snapshot"),
    "Source": ("StoredVm", "Vm", "VmConfig"),
}

# Enum variants that hold no data, and the data that stands in their place meanwhile.
PLACEHOLDERS = {
    "BootFile": {"path": "/"},
    "DiskSource": {"image": {"path": "/", "format": "raw"}},
    "NicBackendConfig": "new_tap",
}

# Records whose data may have resources in it.
WITH_RESOURCES = {"VmConfig", "Disk", "Nic"}

# The variants that plain values of the language mean: by the variant's name, the kind of value.
COERCED = {"BootFile": {"Path": "path", "Bytes": "bytes", "Descriptor": "file"}}

# Fallible, but they never wait: a call returns at once.
INSTANT = {
    "Console.new", "Console.with_capacity", "Console.try_write", "EventReceiver.new",
    "EventReceiver.try_next", "EventReceiver.listen", "Vm.events", "GuestAgent.with_timeout", "Tap.name", "Tap.mac",
    "Tap.mtu", "Sockets.new",
}

# Infallible, but computed by the call, so they are methods and not properties.
METHODS = {
    "Vm.statistics", "Vm.disks", "Vm.nics", "Vm.agent", "Console.reader", "Console.reader_at_end", "GuestAgent.is_present",
    "StoredVm.new_disk_path", "Template.hash", "Template.lineage", "Console.close", "SnapshotView.release",
    "Vm.disk_positions", "Vm.nic_positions", "FrozenFileSystems.count", "Stage.disk_path", "StreamingDisk.is_complete",
}

# Written by hand in each language, because callbacks and files have shapes of their own there.
BY_HAND = {
    "ConsoleReader.try_read", "ConsoleReader.event_fd", "ConsoleReader.read_timeout", "FrameStream.receive", "FrameStream.send", "Tap.read",
    "Tap.write", "Tap.read_vectored", "Tap.write_vectored", "Tap.from_fd", "Repository.update", "GuestAgent.run_streamed",
    "CpuBaseline.of", "FrameStream.new", "Tls.channel", "Vm.migrate", "Vm.check_migration", "Tls.connect_to", "Tls.accept", "Sockets.new", "migrate.receive",
    "migrate.tcp_channel", "Latencies.buckets", "Latencies.since", "ImageDescriptor.new", "ImageDescriptor.descriptor", "disk.open_descriptors",
    "demo.kernel", "demo.soak_digest",
}

# Methods whose names mean something else in other languages.
RENAMED = {"Console.close": "shut_down"}
