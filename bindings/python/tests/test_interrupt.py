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
    # The signal may come before the call waits, which must not lose it either.
    timer = threading.Timer(0.05, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
    returned = False
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        WAITS[name](vm)
        returned = True
        # Otherwise the signal would interrupt what runs the tests.
        timer.join()
    assert not returned
    timer.join()
    assert vm.power_state is xvirt.PowerState.RUNNING and not vm.current_operations
    reader = vm.console.reader_at_end()
    vm.console.write_all(b"ping\n")
    reader.wait_for("pong", timeout=PATIENCE)
    # The next one must not find the rest.
    reader.wait_for("\n", timeout=PATIENCE)
