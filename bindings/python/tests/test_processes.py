"""Children of a program with VMs, and the log."""

import logging
import multiprocessing
import os
import queue
import subprocess
import sys
import uuid
import warnings
from logging.handlers import QueueHandler

import pytest
import xvirt

from conftest import PATIENCE, demo


@pytest.fixture
def running(host):
    with xvirt.Vm.build(demo("hello", "echo"), host) as vm:
        vm.start()
        vm.console.reader().wait_for("echo: ready", timeout=PATIENCE)
        yield vm


def answers(vm):
    reader = vm.console.reader_at_end()
    vm.console.write_all(b"ping\n")
    return "pong" in reader.wait_for("pong", timeout=PATIENCE)


def fork(child):
    """Calls a function in a child made by fork, and returns what it writes."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python warns of forks in programs with threads, which is what this is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            os.write(writing, child().encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as said:
        text = said.read()
    assert os.waitpid(pid, 0)[1] == 0
    return text


def test_a_child_of_fork_cannot_use_a_vm_and_does_no_harm(running):
    def child():
        try:
            running.pause()
        except xvirt.Error as error:
            return f"{error.kind}: {error}"
        return "paused"

    assert fork(child).startswith("invalid_state")
    assert running.power_state is xvirt.PowerState.RUNNING and answers(running)


def test_a_child_of_fork_that_ends_normally_does_no_harm(running):
    context = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = context.Process(target=lambda: None)
        child.start()
    child.join(PATIENCE)
    assert child.exitcode == 0 and answers(running)


def test_a_child_that_executes_another_program_does_no_harm(running):
    assert subprocess.run([sys.executable, "-c", "pass"], check=False).returncode == 0
    assert answers(running)


def test_the_log_is_that_of_logging(tmp_path):
    repository = tmp_path / "vms"
    arrived = queue.Queue()
    handler = QueueHandler(arrived)
    logger = logging.getLogger("xvirt")
    logger.addHandler(handler)
    try:
        with xvirt.Repository.open(repository) as opened:
            broken = opened.folder / "vms" / str(uuid.uuid4())
            broken.mkdir(parents=True)
            (broken / "vm.json").write_text("{")
            assert opened.vms() == ()
        record = arrived.get(timeout=PATIENCE)
    finally:
        logger.removeHandler(handler)
    assert record.name.startswith("xvirt.") and record.levelno == logging.WARNING
    assert broken.name in record.getMessage()


def test_builds_without_a_global_lock_are_refused_by_name():
    program = "import sys\nsys.abiflags += 't'\nimport xvirt\nxvirt.Vm"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "ImportError: xvirt does not support free-threaded builds" in done.stderr
