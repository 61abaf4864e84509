"""Plain data."""

import copy
import pickle
from datetime import timedelta

import pytest
import xvirt


def test_configurations_have_defaults_and_are_checked():
    config = xvirt.VmConfig(name="web-1", memory="1GiB", cpus=xvirt.CpuConfig(count=2))
    assert (config.memory, config.cpus.count, config.disks) == (1 << 30, 2, ())
    assert config.boot == xvirt.BootDisk()
    assert config.replace(name="web-2").name == "web-2"
    with pytest.raises(AttributeError, match="replace"):
        config.name = "web-2"
    with pytest.raises(xvirt.InvalidConfigError, match="vCPUs|count"):
        config.replace(cpus=xvirt.CpuConfig(count=0)).check()


def test_dictionaries_and_json_are_those_of_the_library():
    text = '{"name": "web-1", "memory": "1GiB", "labels": {"tenant": "blue"}}'
    config = xvirt.VmConfig.from_json(text)
    assert config.labels["tenant"] == "blue"
    assert xvirt.VmConfig.from_json(config.to_json()) == config
    assert hash(xvirt.VmConfig.from_dict(config.to_dict())) == hash(config)
    with pytest.raises(ValueError, match="memroy"):
        xvirt.VmConfig.from_dict({"name": "web-1", "memroy": "1GiB"})


def test_sizes_rates_and_durations():
    limit = xvirt.RateLimit(bytes_per_second="200Mbit/s")
    assert limit.bytes_per_second == 25_000_000
    migration = xvirt.Migration(downtime=timedelta(milliseconds=20), bandwidth="1Gbit/s")
    assert (migration.downtime, migration.bandwidth) == (0.02, 125_000_000)
    for wrong in ("1GiB/s", "many", "-1", "1Mbit"):
        with pytest.raises(ValueError, match="size"):
            xvirt.VmConfig(name="a", memory=wrong)
    with pytest.raises(TypeError):
        xvirt.VmConfig(name="a", memory=True)


def test_enums_with_data_match():
    boot = xvirt.BootKernel(kernel="/boot/vmlinuz", command_line="quiet")
    match boot:
        case xvirt.BootKernel(kernel=xvirt.BootFilePath(value=path), command_line=line):
            assert (str(path), line) == ("/boot/vmlinuz", "quiet")
        case _:
            pytest.fail("it does not match")


def test_records_are_pickled_and_handles_are_not():
    config = xvirt.VmConfig(name="web-1")
    assert pickle.loads(pickle.dumps(config)) == config
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(xvirt.Host.probe())


def test_what_only_this_process_has_is_not_written():
    with open(__file__, "rb") as file:
        for boot in (xvirt.BootKernel(kernel=file), xvirt.VmConfig(name="a", boot=xvirt.BootKernel(kernel=file))):
            with pytest.raises(TypeError, match="cannot be written"):
                boot.to_json()
            with pytest.raises(TypeError, match="cannot be pickled"):
                pickle.dumps(boot)


def test_errors_are_those_that_one_would_catch(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        xvirt.Disk.open(tmp_path / "none")
    error = caught.value
    assert isinstance(error, xvirt.NotFoundError) and error.kind == "not_found"
    assert "none" in error.message and error.message in str(error)
    assert isinstance(error.__cause__, OSError) and error.__cause__.errno == 2


def test_records_with_images_in_memory_are_short_in_texts_and_can_be_copied():
    kernel = bytes(range(256)) * 36
    config = xvirt.VmConfig(name="a", boot=xvirt.BootKernel(kernel=kernel))
    assert "<9216 bytes>" in repr(config) and len(repr(config)) < 3000
    for copied in (pickle.loads(pickle.dumps(config)), copy.copy(config), copy.deepcopy(config)):
        assert copied == config and copied.boot.kernel.value == kernel
    for write in (config.to_json, config.to_dict, config.boot.to_json):
        with pytest.raises(TypeError, match="<9216 bytes>, which cannot be written"):
            write()
    with open(__file__, "rb") as file, pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(config.replace(boot=xvirt.BootKernel(kernel=file)))


def test_handles_say_their_name(host):
    with xvirt.Vm.build(xvirt.VmConfig(name="web", boot=xvirt.BootKernel(kernel=xvirt.demo.kernel())), host) as vm:
        assert repr(vm) == "<xvirt.Vm 'web'>"
    assert repr(vm) == "<xvirt.Vm (closed)>"


def test_the_modes_of_the_demo_guest_are_listed():
    assert xvirt.demo.command_line("hello", xvirt.Mode.POWER_OFF, pages=4) == "mode=hello,poweroff pages=4"
    assert "blkverify" in xvirt.demo.modes()
    with pytest.raises(ValueError, match="no mode 'nonsense'; it has hello, .*panic"):
        xvirt.demo.command_line("nonsense")


def test_exceptions_are_those_of_the_package():
    error = xvirt.NotFoundError("none")
    assert type(error).__module__ == xvirt.Error.__module__ == "xvirt"
    assert type(pickle.loads(pickle.dumps(error))) is xvirt.NotFoundError
