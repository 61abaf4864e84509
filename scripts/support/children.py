"""Child processes that never outlive the script that started them."""

import contextlib
import ctypes
import os
import signal
import subprocess
import threading

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def running(command, environment, log, descriptors=()):
    """Run a command in the background, with output to the file `log`; leaving the block kills it and waits for it.

    It has its own session, so that Ctrl-C reaches only the script, which then shuts down in order. The kernel also
    kills it if the script dies without doing so.
    """
    script = os.getpid()

    def follow_to_death():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != script:
            os.kill(os.getpid(), signal.SIGKILL)

    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                               start_new_session=True, pass_fds=descriptors, preexec_fn=follow_to_death)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def write_all(descriptor, data):
    """Write everything, or stop writing once the reader is gone, which must not stop the command inside."""
    with contextlib.suppress(BrokenPipeError):
        while data:
            data = data[os.write(descriptor, data):]


class StandardInput(threading.Thread):
    """Copies this process's standard input to a socket; its end of file is passed on."""

    def __init__(self, end):
        super().__init__(daemon=True)
        self.end = end

    def run(self):
        with contextlib.suppress(OSError):
            while data := os.read(0, 65536):
                self.end.sendall(data)
        with contextlib.suppress(OSError):
            # Only one direction: if both are closed, QEMU drops the data that it has not passed on yet.
            self.end.shutdown(1)
