"""VMs in programs that block."""

import threading

import pytest
import xvirt

from conftest import PATIENCE, demo


def test_a_guest_runs_and_powers_off(host):
    with xvirt.Vm.build(demo("hello", "poweroff"), host) as vm:
        assert vm.power_state is xvirt.PowerState.HALTED
        vm.start()
        assert "demo: hello" in vm.console.reader().wait_for("demo: hello", timeout=PATIENCE)
        vm.wait_halted(timeout=PATIENCE)
        assert vm.halted.cause == xvirt.HaltCauseGuestShutdown()
    with pytest.raises(xvirt.InvalidStateError, match="was closed"):
        vm.start()


def test_events_tell_what_happened(host):
    with xvirt.Vm.build(demo("hello", "poweroff"), host) as vm:
        events, uuid = vm.events(), vm.uuid
        vm.start()
        vm.wait_halted(timeout=PATIENCE)
    kinds = []
    for record in events:
        kinds.append(type(record.event).__name__)
        assert record.vm == uuid
    assert kinds == ["EventStarted", "EventGuestShutdown", "EventDropped"]


def test_lines_of_the_console_end_when_the_vm_is_closed(host):
    with xvirt.Vm.build(demo("hello", "poweroff"), host) as vm:
        reader = vm.console.reader()
        vm.start()
        vm.wait_halted(timeout=PATIENCE)
    lines = list(reader)
    assert any("demo: hello" in line for line in lines)


def test_a_disk_is_plugged_in_and_seen(host, tmp_path):
    image = tmp_path / "disk"
    xvirt.disk_create(image, xvirt.ImageFormat.RAW, 1 << 20)
    with xvirt.Vm.build(demo("hello", "echo"), host) as vm:
        vm.start()
        vm.console.reader().wait_for("demo: hello", timeout=PATIENCE)
        position = vm.plug_disk(xvirt.Disk.raw(image, read_only=True))
        assert [status.position for status in vm.disks()] == [position]
        with pytest.raises(xvirt.BusyError):
            xvirt.disk_open(image, xvirt.Access.READ_WRITE)


def test_closing_a_vm_ends_the_waits_of_other_threads(host):
    vm = xvirt.Vm.build(demo("hello", "echo"), host)
    vm.start()
    errors = []

    def wait():
        try:
            vm.wait_halted()
        except xvirt.Error as error:
            errors.append(error.kind)

    thread = threading.Thread(target=wait)
    thread.start()
    vm.close()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "the wait goes on"
    assert errors in (["cancelled"], ["invalid_state"], []) and vm.closed


def test_statistics_have_their_types(host):
    with xvirt.Vm.build(demo("hello", "echo"), host) as vm:
        vm.start()
        vm.console.reader().wait_for("demo: hello", timeout=PATIENCE)
        statistics = vm.statistics()
        assert statistics.uptime > 0
        assert isinstance(statistics.vcpus[0], xvirt.VcpuStatistics)
        assert xvirt.Statistics.from_json(statistics.to_json()) == statistics
