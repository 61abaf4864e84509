"""Instances of a template with memory, and forks."""

import xvirt

from conftest import PATIENCE


def test_instances_and_forks_go_on_where_their_vm_was(host, tmp_path):
    repository = xvirt.Repository.open(tmp_path / "repository")
    (tmp_path / "kernel").write_bytes(xvirt.demo.kernel())
    boot = xvirt.BootKernel(kernel=tmp_path / "kernel", command_line=xvirt.demo.command_line("echo"))
    with repository.stage() as stage:
        stored = stage.commit(xvirt.VmConfig(name="first", memory="64MiB", boot=boot))
    with stored.build(host) as vm:
        vm.start()
        vm.console.reader().wait_for("echo: ready", timeout=PATIENCE)
        template = repository.seal_hot(xvirt.Seal(name="booted"), vm)
        forks = repository.fork(vm, 2, "fork")
        copies = [repository.instantiate(template, "copy"), *forks]
        assert template.has_memory
        assert [copy.name for copy in copies] == ["copy", "fork-1", "fork-2"]
        assert len({copy.uuid for copy in [stored, *copies]}) == 4
        for copy in copies:
            with copy.build(host) as other:
                reader = other.console.reader_at_end()
                assert other.resume().loaded == xvirt.MemoryLoaded.MAPPED
                other.console.write_all(b"ping\n")
                reader.wait_for("pong", timeout=PATIENCE)
                assert other.resume_times.resident is None


def test_shared_memory_is_loaded_while_the_guest_runs(host, tmp_path):
    boot = xvirt.BootKernel(kernel=xvirt.demo.kernel(), command_line=xvirt.demo.command_line("echo"))
    config = xvirt.VmConfig(name="shared", memory="64MiB", boot=boot, memory_backing=xvirt.MemoryBacking(shared=True))
    with xvirt.Vm.build(config, host) as vm:
        vm.start()
        vm.console.reader().wait_for("echo: ready", timeout=PATIENCE)
        vm.suspend(tmp_path / "saved")
        reader = vm.console.reader_at_end()
        report = vm.resume_with(xvirt.Resume(memory="lazy"))
        assert report.loaded == xvirt.MemoryLoaded.USERFAULT
        while vm.resume_times.resident is None:
            vm.console.write_all(b"ping\n")
            reader.wait_for("pong", timeout=PATIENCE)


def test_tracking_for_incremental_checkpoints_is_stopped(host, tmp_path):
    repository = xvirt.Repository.open(tmp_path / "repository")
    (tmp_path / "kernel").write_bytes(xvirt.demo.kernel())
    boot = xvirt.BootKernel(kernel=tmp_path / "kernel", command_line=xvirt.demo.command_line("echo"))
    with repository.stage() as stage:
        stored = stage.commit(xvirt.VmConfig(name="first", memory="64MiB", boot=boot))
    with stored.build(host) as vm:
        vm.start()

        def is_full():
            taken = repository.checkpoint(vm, xvirt.NewSnapshot(name="next", incremental=True))
            return taken.checkpoint_report.full_because is not None

        assert [is_full(), is_full()] == [True, False]
        vm.stop_tracking()
        assert is_full()
