"""Texts for users in Python name what Python has."""

import inspect
import re

import pytest
import xvirt
from xvirt import aio

#: What only Rust has.
RUST = re.compile(r"\w::\w|\bdropp(ing|ed)\s+(it|this|its|the VM)\b|unwinds|enum variant|log subscriber|Rust library describes", re.IGNORECASE)


def documented():
    for module in (xvirt, aio):
        for name in dir(module):
            item = getattr(module, name)
            if name.startswith("_"):
                continue
            yield name, item
            if inspect.isclass(item):
                yield from ((f"{name}.{each}", getattr(item, each)) for each in dir(item) if not each.startswith("_"))


def test_documentation_has_no_words_of_rust():
    found = {name: text for name, item in documented() if RUST.search(text := inspect.getdoc(item) or "")}
    assert not found


def test_errors_name_what_python_has(tmp_path):
    with xvirt.Repository.open(tmp_path / "vms") as repository, pytest.raises(xvirt.NotFoundError) as caught:
        repository.vm("nix")
    assert caught.value.remedy == "list the VMs with Repository.vms" and caught.value.remedy in str(caught.value)
    with pytest.raises(xvirt.InvalidConfigError) as caught:
        xvirt.VmConfig(name="a").check()
    assert "BootKernel" in str(caught.value) and "::" not in str(caught.value)
