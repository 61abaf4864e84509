"""Closing a handle in one of its own calls, which cannot end before that returns. Each test is a process, because it would
hang for ever otherwise.
"""

import subprocess
import sys
import textwrap

from conftest import PATIENCE

START = """
import os, signal, sys, threading
import xvirt

folder = sys.argv[1]
host = xvirt.Host.probe()
boot = xvirt.BootKernel(kernel=xvirt.demo.kernel(), command_line=xvirt.demo.command_line("hello", "counter"))
vm = xvirt.Vm.build(xvirt.VmConfig(name="a", memory="64MiB", boot=boot), host)
vm.start()
vm.console.reader().wait_for("demo: hello", timeout=30)
"""


def outcome(folder, program):
    """What a program prints."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", START + textwrap.dedent(program), str(folder)],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_handler_of_a_signal_closes_the_vm_that_is_waited_for(host, tmp_path):
    assert outcome(tmp_path, """
        signal.signal(signal.SIGTERM, lambda *_: (vm.close(), print("closed", vm.closed)))
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        try:
            vm.wait_halted()
        except xvirt.Error as error:
            print(error.kind)
    """) in (["closed", "True", "cancelled"], ["closed", "True", "gone"])


def test_progress_closes_the_vm_of_its_call(host, tmp_path):
    assert outcome(tmp_path, """
        try:
            vm.suspend(folder + "/state", progress=lambda done: vm.close())
        except xvirt.CancelledError:
            print("cancelled", vm.closed)
        # The last call has released it.
        print([thread for thread in os.listdir("/proc/self/task") if "vcpu" in open(f"/proc/self/task/{thread}/comm").read()])
    """) == ["cancelled", "True", "[]"]


def test_progress_closes_a_repository_in_a_check(host, tmp_path):
    assert outcome(tmp_path, """
        repository = xvirt.Repository.open(folder + "/vms")
        with repository.stage() as stage:
            disk = stage.disk_path(0, "raw")
            disk.write_bytes(bytes(1 << 20))
            with stage.commit(xvirt.VmConfig(name="b", disks=[xvirt.Disk.raw(disk)])) as stored:
                repository.seal(xvirt.Seal(name="t"), stored).close()
        try:
            repository.check(progress=lambda done: repository.close())
            print("ended")
        except xvirt.CancelledError:
            print("ended")
        print(repository.closed)
    """) == ["ended", "True"]


def test_a_callback_of_a_migration_closes_the_vm(host, tmp_path):
    assert outcome(tmp_path, """
        import socket
        # Nobody answers there.
        listening = socket.create_server(("127.0.0.1", 0))
        with xvirt.Channel.connect(f"127.0.0.1:{listening.getsockname()[1]}") as channel:
            try:
                vm.migrate(channel, progress=lambda report: vm.close())
            except xvirt.Error:
                print("failed", vm.closed)
        listening.close()
    """) == ["failed", "True"]
