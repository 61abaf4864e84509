"""The scenario: blocking and with asyncio, the results are the same, and those of the Rust library."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import PATIENCE

FOLDER = Path(__file__).resolve().parents[2] / "scenario"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))


def told(folder, *command):
    folder.mkdir()
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=4 * PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("program", ["scenario.py", "scenario_aio.py"])
def test_in_python(host, tmp_path, program):
    assert told(tmp_path / "run", sys.executable, str(FOLDER / program)) == EXPECTED


def test_in_rust(host, tmp_path):
    program = os.environ.get("XVIRT_SCENARIO")
    if program is None:
        pytest.skip("XVIRT_SCENARIO does not name the program; run scripts/test")
    assert told(tmp_path / "run", program) == EXPECTED
