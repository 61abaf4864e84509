"""Writes the disks of an archive as disk-0.raw, disk-1.raw ... into a folder, with dissect.archive.

usage: dissect-disks.py ARCHIVE FOLDER
"""

import pathlib
import shutil
import sys

from dissect.archive.xva import XVA

archive, folder = sys.argv[1], pathlib.Path(sys.argv[2])
with open(archive, "rb") as file:
    appliance = XVA(file)
    for number, reference in enumerate(appliance.disks()):
        with open(folder / f"disk-{number}.raw", "wb") as out:
            shutil.copyfileobj(appliance.open(reference), out, 1 << 20)
