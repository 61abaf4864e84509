"""Arguments and fields of wrong types and sizes: what is accepted, and that errors name them."""

import math
import uuid

import pytest
import xvirt


@pytest.fixture
def repository(tmp_path):
    with xvirt.Repository.open(tmp_path / "vms") as found:
        yield found


def test_paths_are_what_python_takes_for_them(tmp_path):
    image = tmp_path / "image"
    xvirt.disk_create(str(image).encode(), "raw", 1 << 20)
    for path in (image, str(image), str(image).encode()):
        assert xvirt.Disk.open(path) == xvirt.Disk.raw(image)
    with pytest.raises(FileNotFoundError, match=r"image /none:"):
        xvirt.Disk.open(b"/none")
    for wrong in (3, None, 1.5):
        with pytest.raises(TypeError, match=f"^path: {wrong} is not a path"):
            xvirt.Disk.open(wrong)
    with pytest.raises(ValueError, match="^path: .*NUL"):
        xvirt.Disk.open("a\0b")
    with pytest.raises(ValueError, match="^BootKernel.kernel: .*NUL"):
        xvirt.BootKernel(kernel="a\0b")
    with pytest.raises(TypeError, match="^input: expected a path"):
        xvirt.xva_verify(3, xvirt.ReadOptions())


def test_sizes_may_be_text_everywhere(tmp_path):
    image = tmp_path / "image"
    xvirt.disk_create(image, "raw", "1MiB")
    assert image.stat().st_size == 1 << 20
    xvirt.disk_grow(image, "1.5MiB", format="raw")
    assert image.stat().st_size == 3 << 19
    assert xvirt.Limits(kernel="8MiB").kernel == 8 << 20
    assert xvirt.ReadOptions(max_window="64MiB").max_window == 64 << 20
    for wrong, reason in ((-1, "negative"), (10**30, "too large"), ("99999999999999GiB", "too large"), ("much", "not a size")):
        with pytest.raises(ValueError, match=f"^size: .*{reason}"):
            xvirt.disk_create(tmp_path / "other", "raw", wrong)
        with pytest.raises(ValueError, match=f"^VmConfig.memory: .*{reason}"):
            xvirt.VmConfig(name="a", memory=wrong)
    with pytest.raises(ValueError, match="^RateLimit.bytes_per_second: .*not a rate"):
        xvirt.RateLimit(bytes_per_second="-3")


def test_sizes_in_text_are_exact():
    assert xvirt.ReadOptions(max_window="9007199254740993").max_window == 2**53 + 1


@pytest.mark.parametrize(("fields", "text"), [
    ({"name": 3}, "VmConfig.name: expected text, not 3"),
    ({"disks": xvirt.Disk}, "VmConfig.disks: expected a list, not <class"),
    ({"disks": [3]}, "VmConfig.disks: expected a Disk, not 3"),
    ({"cpus": 2}, "VmConfig.cpus: expected a CpuConfig, not 2"),
    ({"labels": 3}, "VmConfig.labels: expected a dictionary, not 3"),
])
def test_errors_of_records_name_the_field(fields, text):
    with pytest.raises(TypeError) as caught:
        xvirt.VmConfig(**{"name": "a"} | fields)
    assert str(caught.value).startswith(text)


def test_errors_of_records_say_what_is_possible():
    with pytest.raises(TypeError, match="^CpuConfig.count: expected a whole number, not '2'"):
        xvirt.CpuConfig(count="2")
    with pytest.raises(ValueError, match="^CpuConfig.count: expected 0 to 4294967295, not -1"):
        xvirt.CpuConfig(count=-1)
    with pytest.raises(ValueError, match="^Migration.silence_limit: nan is not"):
        xvirt.Migration(silence_limit=math.nan)
    with pytest.raises(ValueError, match="^Migration.silence_limit: inf .*too long"):
        xvirt.Migration(silence_limit=math.inf)
    assert xvirt.VmConfig(name="a", cpus={"count": 2}).cpus == xvirt.CpuConfig(count=2)


def test_errors_of_calls_name_the_argument(repository, tmp_path):
    config = xvirt.VmConfig(name="a")
    with pytest.raises(TypeError, match="^host: expected a Host, not None"):
        xvirt.Vm.build(config, None)
    with pytest.raises(TypeError, match="^config: expected a VmConfig, not 3"):
        xvirt.Vm.build(3, xvirt.Host.probe())
    with pytest.raises(TypeError, match="^snapshot: expected a Snapshot, not 'c'"):
        repository.revert("c")
    with pytest.raises(ValueError, match="^uuid: 'nix' is not a UUID"):
        repository.remove_vm("nix")
    with pytest.raises(xvirt.NotFoundError):
        repository.remove_vm(uuid.UUID(int=1))
    with pytest.raises(ValueError, match="^format: expected an ImageFormat, which is one of 'raw', 'qcow2', not 'row'"):
        xvirt.disk_create(tmp_path / "a", "row", 512)
    with pytest.raises(ValueError, match="NoneType has no method length"):
        xvirt.BlockBackend.of(None)
