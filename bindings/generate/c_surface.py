"""How the public API appears in C where its types alone do not say it.

Everything else follows from the Rust types: a new method, field, variant or kind of error needs no line here.
"""

# How records begin, before what the caller sets, if that is not their default.
BEGINNINGS = {
    "Disk": 'Self::raw("")',
    "Nic": "Self::new_tap()",
    # Each compression has a level of its own by default.
    "Export": "FromC::from_c(c.compression, at)?.map_or_else(Self::default, Self::with)",
    "PortForward": "Self::tcp(0, 0)",
    "SeedNic": "{ let mut new = Self::dhcp(core::net::MacAddress::random()); new.dhcp = false; new }",
}

# Fields that are true unless they are set: C's zero must be able to say "default".
ON_BY_DEFAULT = {"VmConfig.seccomp", "Balloon.enabled"}

# Numbers whose zero means something else than their default, so a flag says whether they are set.
ZERO_IS_A_VALUE = {"Migration.max_throttle"}

# The names of functions, where C's calls have other arguments than Rust's.
RENAMED = {
    "Console.write_all_timeout": "write_all",
    "EventReceiver.next_timeout": "next",
}

# The names of results that are not what the function is called.
RESULTS = {
    "Vm.plug_disk": "position", "Vm.plug_nic": "position", "disk.overlay": "kind", "Console.try_write": "count",
    "ConsoleReader.wait_for": "text", "ConsoleReader.event_fd": "descriptor", "Vm.vsock_connect": "socket",
    "VsockListener.accept": "socket", "VsockListener.try_accept": "socket", "FrozenFileSystems.thaw": "count", "GuestAgent.read_file": "bytes",
    "GuestAgent.read_file_to": "count", "GuestAgent.write_file_from": "count", "Repository.merge_removed": "count",
    "VmConfig.file_descriptors": "count", "Repository.collect": "templates",
    "GuestAgent.run": "output", "ConsoleWriter.try_write": "count",
}

# The names of members that mean something else in C.
MEMBERS = {"CommandOutput.stdout": "standard_output", "CommandOutput.stderr": "standard_error"}

# Calls that never wait, besides those that `INSTANT` names.
INSTANT_HERE = {"Console.writer", "ConsoleReader.event_fd", "ConsoleWriter.try_write", "VsockListener.try_accept"}

# What the descriptors of handles tell, unless that a call would not wait.
DESCRIPTORS_TELL = {
    "ConsoleWriter": "once there is room for the rest of what xvirt_console_writer_try_write() was given, or once that fails",
    "Tap": "while there are frames",
    "VsockListener": "while xvirt_vsock_listener_try_accept() would accept a connection",
    "EventReceiver": "while xvirt_event_receiver_try_next() would give an event",
}

# What other functions do as well, with the reasons.
LEFT_OUT = {
    "Console.write_all": "xvirt_console_write_all takes a timeout",
    "Verb.all": "the constants of XvirtVerb",
    "Verb.legal_states": "xvirt_vm_allowed_operations() says it for the state of a VM",
    "Vm.resume": "xvirt_vm_resume_with with XVIRT_ELAPSED_TIME_COUNTED",
    "AgentInfo.is_enabled": "a field of the commands",
    "BootEntry.is_bootable": "whether not_bootable is NULL",
    "CommandOutput.stdout_lossy": "the bytes are there",
    "CommandOutput.stderr_lossy": "the bytes are there",
    "CommandStatus.is_success": "exited is 0",
    "Done.fraction": "a division",
    "Downtime.total": "a sum",
    "KvmStatus.capabilities": "fields",
    "Latencies.since": "a difference of counts",
    "ImageDescriptor.descriptor": "the caller's own",
    "ImageDescriptor.format": "the caller's own",
    "Tap.read": "read(2) on xvirt_tap_fd",
    "Tap.write": "write(2) on xvirt_tap_fd",
    "Tap.read_vectored": "readv(2) on xvirt_tap_fd",
    "Tap.write_vectored": "writev(2) on xvirt_tap_fd",
    "disk.soak_digest": "tests of the library itself",
    "demo.soak_digest": "tests of the library itself",
}

# Data that C has no struct for, with the reasons.
WITHOUT_STRUCT = {
    "AgentFailure": "the cause in an XvirtError",
}

# Data and lists of it that functions written by hand return, and data that they take.
RETURNED_BY_HAND = {"BootEntry", "BootFiles", "CommandStatus", "MigrationSummary"}
LISTED_BY_HAND = {"BootEntry"}
TAKEN_BY_HAND = {"EntryChoice", "Limits", "Migration", "Reception"}

# Handles that are only parts of results, which are freed as a whole.
PARTS = {"Latencies", "SnapshotView"}

# Handles that are written by hand.
HANDLES_BY_HAND = {"BootMenu"}

# What functions written by hand do.
MADE_BY_HAND = {
    "BootMenu.read": "xvirt_boot_menu_entries", "BootMenu.entries": "xvirt_boot_menu_entries",
    "BootMenu.default_entry": "xvirt_boot_menu_entry", "BootMenu.entry": "xvirt_boot_menu_entry",
    "BootMenu.load": "xvirt_boot_menu_load", "BootMenu.load_within": "xvirt_boot_menu_load",
    "ConsoleReader.read_timeout": "xvirt_console_reader_read", "ConsoleReader.try_read": "xvirt_console_reader_try_read",
    "FrameStream.new": "xvirt_frame_stream_new", "FrameStream.receive": "xvirt_frame_stream_receive",
    "FrameStream.send": "xvirt_frame_stream_send", "GuestAgent.run_streamed": "xvirt_guest_agent_run_streamed",
    "ImageDescriptor.new": "XvirtImageDescriptor", "Latencies.buckets": "xvirt_latencies_buckets", "Repository.update": "xvirt_repository_update",
    "Sockets.new": "xvirt_channel_use", "Tls.accept": "xvirt_tls_accept", "Tls.channel": "xvirt_tls_connect_tcp",
    "Tls.connect_to": "xvirt_tls_connect", "Tls.from_files": "xvirt_tls_from_files", "Tls.from_pem": "xvirt_tls_from_pem",
    "Vm.check_migration": "xvirt_vm_check_migration", "Vm.migrate": "xvirt_vm_migrate", "demo.kernel": "xvirt_demo_kernel",
    "migrate.receive": "xvirt_migrate_receive", "migrate.tcp_channel": "xvirt_channel_connect_tcp", "VmConfig.from_json": "xvirt_vm_config_from_json",
    "BlockBackend.capacity": "xvirt_block_backend_capacity", "BlockBackend.block_size": "xvirt_block_backend_block_size",
    "BlockBackend.read_only": "xvirt_block_backend_read_only", "BlockBackend.read": "xvirt_block_backend_read",
    "BlockBackend.write": "xvirt_block_backend_write", "BlockBackend.flush": "xvirt_block_backend_flush",
}

# Functions that Rust describes as being like others, which C does not have.
DESCRIBED_AS = {"Console.write_all_timeout": "Console.write_all", "Vm.resume_with": "Vm.resume"}

# What comments call other things, where C has other names.
WORDS = {
    "None": "NULL", "Some": "something", "MAX_VCPUS": "XVIRT_MAX_VCPUS", "VNET_HEADER_LEN": "XVIRT_VNET_HEADER_LENGTH",
    "CommitDecision": "XvirtCommitDecision", "Unknown": "XVIRT_DECISION_UNKNOWN", "InvalidInput": "XVIRT_STATUS_INVALID_CONFIG",
}

# What comments call functions, where C's have other names.
REFERENCES = {
    "xvirt_vm_resume": "xvirt_vm_resume_with", "xvirt_console_writer_as_fd": "xvirt_console_writer_fd",
    "xvirt_agent_failure_of": "xvirt_error_cause",
}
