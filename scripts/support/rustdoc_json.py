"""The public items of a crate, as rustdoc writes them in JSON.

Stable Rust writes the JSON only when it acts as a nightly version.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def documentation(crate):
    """The output of rustdoc for the public items of a crate."""
    target = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
    with tempfile.TemporaryDirectory() as folder:
        # Only rustdoc should act as a nightly version: what is built must stay the same as for others.
        rustdoc = Path(folder, "rustdoc")
        rustdoc.write_text('#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc "$@"\n', encoding="utf-8")
        rustdoc.chmod(0o755)
        subprocess.run(
            ["cargo", "rustdoc", "--quiet", "--locked", "--package", crate, "--lib", "--all-features", "--",
             "-Z", "unstable-options", "--output-format", "json"],
            check=True, cwd=ROOT, env=os.environ | {"RUSTDOC": str(rustdoc)},
        )
    return json.loads((target / "doc" / f"{crate.replace('-', '_')}.json").read_text(encoding="utf-8"))
