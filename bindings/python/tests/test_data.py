"""Plain data."""

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
    for boot in (xvirt.BootKernel(kernel=xvirt.demo.kernel()), xvirt.VmConfig(name="a", boot=xvirt.BootKernel(kernel=b"k"))):
        with pytest.raises(TypeError, match="cannot be written"):
            boot.to_json()
        with pytest.raises(TypeError, match="cannot be written"):
            pickle.dumps(boot)


def test_errors_are_those_that_one_would_catch(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        xvirt.Disk.open(tmp_path / "none")
    error = caught.value
    assert isinstance(error, xvirt.NotFoundError) and error.kind == "not_found"
    assert "none" in error.message and error.message in str(error)
    assert isinstance(error.__cause__, OSError) and error.__cause__.errno == 2
