"""What the tests share."""

import signal

import pytest
import xvirt

PATIENCE = 30

# A shell starts what it runs in the background with this signal ignored, which is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def host():
    """This host, if it can run VMs."""
    found = xvirt.Host.probe()
    try:
        found.require_kvm()
    except xvirt.Error as error:
        pytest.skip(str(error))
    return found


def demo(*modes, **fields):
    """The configuration of a demo guest with these modes."""
    boot = xvirt.BootKernel(kernel=xvirt.demo.kernel(), command_line=xvirt.demo.command_line(*modes))
    return xvirt.VmConfig(**({"name": "demo", "memory": "64MiB", "boot": boot} | fields))
