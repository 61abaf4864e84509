"""The disks of scripts/compare-grub: reads their description, builds them, and reads back what GRUB wrote."""

import dataclasses
import shutil
import struct
import uuid
import zlib

import loader_entries
import packages

SECTOR = 512
FIRST = 2048
LINUX = "0fc63daf-8483-4772-8e79-3d69d8477de4"
# The signature of an MBR, from which GRUB makes the UUIDs of its partitions.
SIGNATURE = 0x4D454E55
PATH_IN_KERNEL = 0x410
# A function cannot have a dot in its name.
GPTPRIO = "gptprio_next"


@dataclasses.dataclass
class Partition:
    """A partition with its files by path; links are (target,)."""

    kind: str
    fields: dict
    files: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Case:
    """A disk of a menu."""

    table: str = "gpt"
    partitions: list = dataclasses.field(default_factory=list)
    gptprio: str = ""


@dataclasses.dataclass(frozen=True)
class Boot:
    """A file that GRUB boots: a kernel or an initial RAM disk."""

    role: str


def read(path):
    """Read the description of a disk."""
    case, lines = Case(), None
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("=== "):
            if lines is not None:
                lines.append(line)
            continue
        kind, _, rest = line[4:].partition(" ")
        lines = None
        if kind == "disk":
            case.table = rest
        elif kind == "gptprio":
            case.gptprio = rest
        elif kind == "partition":
            name, *fields = rest.split()
            case.partitions.append(Partition(name, dict(field.split("=", 1) for field in fields)))
        elif kind in ("kernel", "initrd"):
            case.partitions[-1].files[rest] = Boot(kind)
        elif kind == "link":
            at, target = rest.split()
            case.partitions[-1].files[at] = (target,)
        elif kind == "file":
            lines = case.partitions[-1].files[rest] = []
        else:
            raise packages.Problem(f"{path} has an unknown section: {line}")
    return case


def device(case, number):
    """GRUB's name of a partition."""
    return {"gpt": f"hd0,gpt{number}", "mbr": f"hd0,msdos{number}", "whole": "hd0"}[case.table]


def start(case):
    """The partition and the path of the grub.cfg that GRUB reads first."""
    found = [(number, path) for number, partition in enumerate(case.partitions, 1) for path in partition.files
             if path.endswith("/grub.cfg")]
    found.sort(key=lambda place: (not place[1].startswith("/EFI/"), place[0]))
    if not found:
        raise packages.Problem("the disk has no grub.cfg")
    return found[0]


def place(case, number, path):
    """The name of a file in an answer: partition, and path."""
    return f"{number if case.table != 'whole' else 0}:{path}"


def stand_ins(case):
    """Functions in place of commands that Debian's GRUB does not have."""
    script = ""
    if case.gptprio:
        number = int(case.gptprio)
        fields = case.partitions[number - 1].fields
        script += (f"function {GPTPRIO} {{\n"
                   f"  set $2={device(case, number)}\n  set $4={fields['id']}\n}}\n")
    return script + loader_entries.function(case)


def build(case, work, kernel, modules):
    """Build the disk in the folder `work` and return its path."""
    images = []
    for number, partition in enumerate(case.partitions, 1):
        root = work / f"root-{number}"
        fill(case, root, number, kernel, modules)
        images.append(file_system(partition, root, work / f"partition-{number}"))
    disk = work / "disk"
    if case.table == "whole":
        shutil.copyfile(images[0], disk)
        return disk
    sizes = [image.stat().st_size // SECTOR for image in images]
    starts = [FIRST + sum(sizes[:index]) for index in range(len(sizes))]
    total = FIRST + sum(sizes) + 64
    with open(disk, "wb") as file:
        file.truncate(total * SECTOR)
        for first, image in zip(starts, images):
            file.seek(first * SECTOR)
            file.write(image.read_bytes())
        tables = gpt(case, starts, sizes, total) if case.table == "gpt" else {0: mbr(starts, sizes, 0x83)}
        for sector, data in tables.items():
            file.seek(sector * SECTOR)
            file.write(data)
    return disk


def fill(case, root, number, kernel, modules):
    for path, contents in case.partitions[number - 1].files.items():
        at = root / path.lstrip("/")
        at.parent.mkdir(parents=True, exist_ok=True)
        name = place(case, number, path).encode()
        if isinstance(contents, tuple):
            at.symlink_to(contents[0])
        elif contents == Boot("kernel"):
            image = bytearray(kernel.ljust(8192, b"\0"))
            image[PATH_IN_KERNEL:PATH_IN_KERNEL + len(name)] = name
            at.write_bytes(image)
        elif contents == Boot("initrd"):
            at.write_bytes(b"<" + name + b">")
        elif path.endswith("/grubenv"):
            at.write_bytes(block(contents))
        else:
            text = "".join(f"{line}\n" for line in contents).replace("gptprio.next", GPTPRIO)
            before = stand_ins(case) if (number, path) == start(case) else ""
            at.write_text(before + text, encoding="utf-8")
        if path.endswith("/grub.cfg"):
            folder = at.parent / "i386-pc"
            folder.mkdir(exist_ok=True)
            for module in [*modules.glob("*.mod"), *modules.glob("*.lst")]:
                shutil.copyfile(module, folder / module.name)


def block(lines):
    """An environment block of 1024 bytes."""
    return "".join(f"{line}\n" for line in ["# GRUB Environment Block", *lines]).encode().ljust(1024, b"#")


def file_system(partition, root, image):
    root.mkdir(exist_ok=True)
    fields = partition.fields
    label, identifier = fields.get("label", ""), fields.get("uuid")
    mib = {"ext4": 16, "fat": 16}[partition.kind]
    with open(image, "wb") as file:
        file.truncate(mib << 20)
    if partition.kind == "ext4":
        packages.run(["mke2fs", "-q", "-F", "-t", "ext4", "-L", label, *(["-U", identifier] if identifier else []),
                      "-d", str(root), str(image)], "making an ext4 file system")
    elif partition.kind == "fat":
        packages.run(["mkfs.vfat", *(["-n", label] if label else []),
                      *(["-i", identifier.replace("-", "")] if identifier else []), str(image)],
                     "making a FAT file system")
        for entry in root.iterdir():
            packages.run(["mcopy", "-Q", "-s", "-i", str(image), str(entry), "::"], "filling a FAT file system")
    else:
        raise packages.Problem(f"the file system {partition.kind} is not known here")
    return image


def mbr(starts, sizes, kind):
    sector = bytearray(SECTOR)
    struct.pack_into("<I", sector, 440, SIGNATURE)
    for index, (first, size) in enumerate(zip(starts, sizes)):
        struct.pack_into("<B3sB3sII", sector, 446 + 16 * index, 0, b"\0\2\0", kind, b"\xff\xff\xff", first, size)
    sector[510:512] = b"\x55\xaa"
    return bytes(sector)


def gpt(case, starts, sizes, total):
    """The sectors of a GPT: protective MBR, both headers and both tables."""
    table = bytearray(128 * 128)
    for index, (first, size) in enumerate(zip(starts, sizes)):
        fields = case.partitions[index].fields
        unique = fields.get("id", f"00000000-0000-4000-8000-{index + 1:012x}")
        struct.pack_into("<16s16sQQQ", table, 128 * index, uuid.UUID(fields.get("type", LINUX)).bytes_le,
                         uuid.UUID(unique).bytes_le, first, first + size - 1, int(fields.get("attributes", "0"), 0))
    sectors = {0: mbr([1], [total - 1], 0xEE)}
    for own, other, at in ((1, total - 1, 2), (total - 1, 1, total - 33)):
        header = bytearray(struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, own, other, 34, total - 34,
                                       bytes(16), at, 128, 128, zlib.crc32(table)))
        struct.pack_into("<I", header, 16, zlib.crc32(header))
        sectors[own], sectors[at] = bytes(header), bytes(table)
    return sectors


def changed_environments(case, disk, work):
    """The environment blocks that GRUB wrote, as lines of the answer."""
    answer = []
    for number, partition in enumerate(case.partitions, 1):
        for path, lines in partition.files.items():
            if not path.endswith("/grubenv"):
                continue
            now = read_back(case, partition, disk, number, path, work)
            if now != block(lines):
                shown = [line for line in now.decode().rstrip("#").splitlines() if not line.startswith("#")]
                answer += [f"written {place(case, number, path)}", *(f"  {line}" for line in shown)]
    return answer


def read_back(case, partition, disk, number, path, work):
    sizes = [(work / f"partition-{index + 1}").stat().st_size for index in range(len(case.partitions))]
    offset = FIRST * SECTOR + sum(sizes[:number - 1]) if case.table != "whole" else 0
    image, copy = work / "partition", work / "copy"
    with open(disk, "rb") as file:
        file.seek(offset)
        image.write_bytes(file.read(sizes[number - 1]))
    if partition.kind == "fat":
        packages.run(["mcopy", "-n", "-i", str(image), f"::{path}", str(copy)], "reading a file from FAT")
    else:
        packages.run(["debugfs", "-R", f"dump {path} {copy}", str(image)], "reading a file from ext4")
    return copy.read_bytes()
