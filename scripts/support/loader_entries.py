"""Fedora's `blscfg` as a function of GRUB's script: the menu entries that its source makes of /loader/entries."""

import functools
import re

FOLDERS = ("/loader/entries/", "/boot/loader/entries/")


def function(case):
    """The function, or nothing if the disk has no loader entries."""
    for partition in case.partitions:
        for folder in FOLDERS:
            files = {path.removeprefix(folder).removesuffix(".conf"): contents
                     for path, contents in partition.files.items() if path.startswith(folder)}
            if files:
                names = sorted(files, key=functools.cmp_to_key(order), reverse=True)
                return "function blscfg {\n" + "".join(entry(name, files[name]) for name in names) + "}\n"
    return ""


def entry(name, lines):
    fields = {}
    for line in lines:
        key, _, value = line.strip().partition(" ")
        fields.setdefault(key, []).append(value.strip())
    if "linux" not in fields:
        return ""
    linux = fields["linux"][0]
    options = fields.get("options", ["$default_kernelopts"])[0]
    title = fields.get("title", [linux])[0]
    initrds = " ".join(f"($root){path}" for path in fields.get("initrd", []))
    return (f"menuentry '{title}' --id '{name}' {{\n"
            "if [ x$save_default = xtrue ]; then savedefault; fi\n"
            f"load_video\nset gfxpayload=keep\ninsmod gzio\nlinux ($root){linux} {options}\n"
            + (f"initrd {initrds}\n" if initrds else "") + "}\n")


def order(left, right):
    """Compare file names as name, version and release, each as rpm compares versions."""
    for one, other in zip(parts(left), parts(right)):
        result = compare(one, other)
        if result:
            return result
    return 0


def parts(name):
    words = name.rsplit("-", 2)
    return [*words, "", ""][:3]


def compare(left, right):
    ours, others = (re.findall(r"~|\d+|[a-zA-Z]+", text) for text in (left, right))
    for one, other in zip(ours, others):
        result = rank(one) - rank(other)
        if not result and one.isdigit():
            result = int(one) - int(other)
        elif not result:
            result = (one > other) - (one < other)
        if result:
            return result
    longer, sign = (ours[len(others):], 1) if len(ours) > len(others) else (others[len(ours):], -1)
    return (-sign if longer[0] == "~" else sign) if longer else 0


def rank(part):
    return 0 if part == "~" else 2 if part.isdigit() else 1
