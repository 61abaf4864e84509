"""The scenario again and again in one process: `python rounds.py FOLDER ROUNDS`. Prints what the process held before and
after, as JSON.
"""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

from resources import held, resident, settled
from test_scenario import EXPECTED, FOLDER

#: Rounds in which the process comes to hold what it keeps, such as modules.
FIRST = 2


def scenario():
    """The program, as a module."""
    spec = importlib.util.spec_from_file_location("scenario", FOLDER / "scenario.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(folder, rounds):
    program, told = scenario(), []
    program.tell = lambda step, *result: told.append(json.loads(json.dumps([step, *result])))

    def run(count):
        for _ in range(count):
            folder.mkdir()
            program.main(folder)
            shutil.rmtree(folder)
            assert told == EXPECTED, told
            told.clear()

    run(FIRST)
    before, memory = held(), resident()
    run(rounds)
    settled(before)
    print(json.dumps({"before": [*before, memory], "after": [*held(), resident()]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]) / "run", int(sys.argv[2]))
