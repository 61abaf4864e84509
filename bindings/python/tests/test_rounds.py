"""The scenario again and again in one process. `XVIRT_TEST_ROUNDS` says how often."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROUNDS = int(os.environ.get("XVIRT_TEST_ROUNDS", "3"))
#: KiB that a process may grow by without a leak.
MAY_GROW = 8192


def test_rounds_leave_nothing_behind(host, tmp_path):
    # Each thread's arena of malloc keeps what was freed in it, which says nothing about leaks.
    variables = os.environ | {"MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, Path(__file__).with_name("rounds.py"), tmp_path, str(ROUNDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60 + 30 * ROUNDS, env=variables)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    told = json.loads(done.stdout)
    *before, memory = told["before"]
    *after, memory_after = told["after"]
    assert after == before
    assert memory_after <= memory + MAY_GROW
