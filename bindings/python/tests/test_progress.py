"""Progress as an iterator."""

import asyncio

import pytest
import xvirt
from xvirt import aio

from conftest import PATIENCE
from waits import SILENCE, to_nobody, waiting_vm

SIZE = 8 << 20


@pytest.fixture
def stored(tmp_path):
    """A VM in a repository, with a disk of some size."""
    repository = xvirt.Repository.open(tmp_path / "vms")
    with repository, repository.stage() as stage:
        disk = stage.disk_path(0, xvirt.ImageFormat.RAW)
        disk.write_bytes(bytes(range(256)) * (SIZE // 256))
        with stage.commit(xvirt.VmConfig(name="a", disks=[xvirt.Disk.raw(disk)])) as vm:
            yield vm


def test_a_call_tells_how_far_it_is(stored, tmp_path):
    path = tmp_path / "a.xva"
    with xvirt.Progress(xvirt.xva_export_stored, stored, path, xvirt.Export()) as progress:
        steps = list(progress)
        assert progress.result().size == path.stat().st_size
        assert list(progress) == []
    assert steps and all(isinstance(step, xvirt.Done) for step in steps)
    assert [step.bytes for step in steps] == sorted(step.bytes for step in steps)


def test_a_call_of_asyncio_tells_how_far_it_is(stored, tmp_path):
    path = tmp_path / "a.xva"

    async def main():
        source = aio.StoredVm._of(stored._native)
        async with aio.Progress(aio.xva_export_stored, source, path, xvirt.Export()) as progress:
            steps = [step async for step in progress]
            assert (await progress.result()).size == path.stat().st_size
        return steps

    steps = asyncio.run(main())
    assert steps and all(isinstance(step, xvirt.Done) for step in steps)


def test_an_exception_of_the_callback_ends_the_call(stored, tmp_path):
    def fail(done):
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        xvirt.xva_export_stored(stored, tmp_path / "a.xva", xvirt.Export(), progress=fail)
    source = aio.StoredVm._of(stored._native)
    call = aio.xva_export_stored(source, tmp_path / "b.xva", xvirt.Export(), progress=fail)
    with pytest.raises(LookupError, match="enough"):
        asyncio.run(asyncio.wait_for(call, PATIENCE))


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), LookupError("the tape is full")])
def test_an_exception_of_a_file_is_that_of_the_call_or_its_cause(stored, failure):
    class Tape:
        def write(self, data):
            raise failure

    expected = KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else xvirt.Error
    with pytest.raises(expected) as caught:
        xvirt.xva_export_stored(stored, Tape(), xvirt.Export())
    error = caught.value
    while error is not failure:
        error = error.__cause__
        assert error is not None


def test_it_is_not_waited_for_before_it_is_started(stored, tmp_path):
    progress = xvirt.Progress(xvirt.xva_export_stored, stored, tmp_path / "a.xva", xvirt.Export())
    with pytest.raises(RuntimeError, match="not been started"):
        progress.result()
    with pytest.raises(RuntimeError, match="not been started"):
        list(progress)


def test_a_failure_is_that_of_the_call(tmp_path):
    with xvirt.Progress(xvirt.xva_verify, tmp_path / "none", xvirt.ReadOptions()) as progress:
        assert list(progress) == []
        with pytest.raises(FileNotFoundError):
            progress.result()


def test_leaving_the_block_cancels_the_call(host):
    with waiting_vm(host) as vm, to_nobody() as channel:
        with xvirt.Progress(vm.migrate, channel, SILENCE) as progress:
            pass
        with pytest.raises(xvirt.CancelledError):
            progress.result()
        assert vm.power_state is xvirt.PowerState.RUNNING

        async def main():
            source, target = aio.Vm._of(vm._native), aio.Channel._of(channel._native)
            async with aio.Progress(source.migrate, target, SILENCE) as progress:
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await progress.result()

        asyncio.run(asyncio.wait_for(main(), PATIENCE))
        assert vm.power_state is xvirt.PowerState.RUNNING
