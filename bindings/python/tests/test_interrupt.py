"""Ctrl-C in calls that wait."""

import signal
import threading

import pytest
import xvirt

from conftest import PATIENCE
from waits import WAITS, waiting_vm


@pytest.fixture(scope="module")
def vm(host):
    with waiting_vm(host) as found:
        yield found


@pytest.mark.parametrize("name", WAITS)
def test_ctrl_c_interrupts(vm, name):
    waiting = threading.get_ident()
    # The signal may come before the call waits, which must not lose it either.
    timer = threading.Timer(0.05, signal.pthread_kill, (waiting, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        WAITS[name](vm)
    timer.join()
    assert vm.power_state is xvirt.PowerState.RUNNING and not vm.current_operations
    reader = vm.console.reader_at_end()
    vm.console.write_all(b"ping\n")
    assert "pong" in reader.wait_for("pong", timeout=PATIENCE)
