"""Backs up a VM of a repository as a virtual appliance, which XenServer, XCP-ng and xvirt can import.

    python backup.py vms/ web-1 web-1.xva
"""

import argparse
import contextlib
import os
import sys
from pathlib import Path

import xvirt


def bar(name):
    """Shows how far an export is, in one line."""

    def show(done):
        if done.total:
            percent = 100 * done.bytes // done.total
            print(f"\r{name} [{'#' * (percent // 4):25}] {percent:3} %", end="", file=sys.stderr, flush=True)

    return show


def back_up(repository, name, target):
    """Writes the appliance under a draft name first, so that `target` is always whole and verified."""
    draft = target.with_name(f".{target.name}.draft")
    try:
        with repository.vm(name) as vm:
            exported = xvirt.xva_export_stored(vm, draft, xvirt.Export(), progress=bar(name))
        with open(draft, "rb") as archive:
            report = xvirt.xva_verify(archive, xvirt.ReadOptions(), progress=bar("verify"))
        if not report.good:
            sys.exit(f"\nbackup: {draft} is damaged: {report.problems[0].what}")
        os.replace(draft, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
    return exported, report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path, help="the folder of the repository")
    parser.add_argument("vm", help="the name or UUID of the VM")
    parser.add_argument("target", type=Path, help="the appliance to write")
    options = parser.parse_args()
    try:
        with xvirt.Repository.open(options.repository) as repository:
            exported, report = back_up(repository, options.vm, options.target)
    except xvirt.Error as error:
        sys.exit(f"\nbackup: {error}")
    except KeyboardInterrupt:
        sys.exit("\nbackup: interrupted; nothing was written")
    for remark in exported.remarks:
        print(f"\nnote: {remark}", file=sys.stderr)
    print(f"\n{options.target}: {exported.size} bytes, {len(report.disks)} disks, verified")


if __name__ == "__main__":
    main()
