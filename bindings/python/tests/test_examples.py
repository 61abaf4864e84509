"""The examples, run as a user runs them."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import xvirt

from conftest import PATIENCE

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples/python"


def start(name, *arguments):
    command = [sys.executable, EXAMPLES / name, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(name, *arguments):
    with start(name, *arguments) as program:
        out, err = program.communicate(timeout=PATIENCE)
    assert program.returncode == 0, out + err
    return out


def store(folder):
    """A repository with a VM that boots the demo guest, which has an agent."""
    kernel = folder / "kernel"
    kernel.write_bytes(xvirt.demo.kernel())
    repository = xvirt.Repository.open(folder / "vms")
    with repository.stage() as stage:
        disk = stage.disk_path(0, xvirt.ImageFormat.RAW)
        xvirt.disk_create(disk, xvirt.ImageFormat.RAW, 1 << 20)
        boot = xvirt.BootKernel(kernel=kernel, command_line=xvirt.demo.command_line("agent"))
        config = xvirt.VmConfig(name="web", memory="64MiB", disks=[xvirt.Disk.raw(disk)], boot=boot)
        return repository, stage.commit(config)


def test_quickstart(host):
    assert "demo: hello" in run("quickstart.py")


def test_backup(tmp_path):
    repository, _ = store(tmp_path)
    out = run("backup.py", tmp_path / "vms", "web", tmp_path / "web.xva")
    assert "1 disks, verified" in out
    with xvirt.xva_import(tmp_path / "web.xva", repository, xvirt.Import(name="again")).vm as vm:
        assert vm.name == "again"


def test_sandboxes(host, tmp_path):
    repository, stored = store(tmp_path)
    repository.seal(xvirt.Seal(name="base"), stored)
    # The demo guest's agent runs any program, which prints hello and exits with 3.
    out = run("sandboxes.py", tmp_path / "vms", "base", "true", "false", "--size", 2)
    assert out.count("hello") == 2 and out.count("CommandStatusExited 3") == 2
    assert [vm.name for vm in repository.vms()] == ["web"]
    out = run("sandboxes.py", tmp_path / "vms", "base", "true", "--hot")
    assert out.count("hello") == 1
    assert [template.has_memory for template in repository.templates()] == [False, True]


def test_migrate(host):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with start("migrate.py", "receive", address) as receiver:
        assert "waiting" in receiver.stdout.readline()
        assert "its guest stood still for" in run("migrate.py", "send", address)
        out, err = receiver.communicate(timeout=PATIENCE)
    assert receiver.returncode == 0 and "counting runs here" in out, out + err


def test_service(host, tmp_path):
    path = tmp_path / "vms.sock"
    with start("service.py", path) as service:
        assert "listening" in service.stdout.readline()
        ask(path)
        service.send_signal(signal.SIGINT)
        service.wait(timeout=PATIENCE)
    assert service.returncode == 0


def ask(path):
    """Talks to the service."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        answers = client.makefile("rw")
        for command, answer in [
            ("start web", "web is running"),
            ("start web", "error: web exists"),
            ("list", "web=running"),
            ("stop web", "web is gone"),
            ("stop web", "error: there is no web"),
            ("dance", "error: commands are start NAME, stop NAME, list"),
        ]:
            answers.write(f"{command}\n")
            answers.flush()
            assert answers.readline().strip() == answer
        answers.close()


@pytest.mark.parametrize("document", ["README.md", "bindings/python/README.md"])
def test_programs_in_the_documentation(host, document, capsys):
    programs = re.findall(r"^```python\n(.*?)^```", (ROOT / document).read_text(encoding="utf-8"), re.M | re.S)
    assert programs
    for program in programs:
        exec(compile(program, document, "exec"), {})
    assert "demo: hello" in capsys.readouterr().out
