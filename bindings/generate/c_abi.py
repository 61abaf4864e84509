"""What programs rely on that were compiled earlier: the parameters of the C functions, and the members of the structs.

`abi.json` has them as they are in the header, and is only appended to.
"""

import re

import c_calls
from c_hostile import STRUCT

# Structs without a size that programs make themselves: they never get another member.
FIXED = {"XvirtStringPair", "XvirtStringList"}
# The sizes of what is neither a pointer nor a constant, in bytes, which is also how they are aligned.
SIZES = {"bool": 1, "uint8_t": 1, "uint16_t": 2, "uint32_t": 4, "int": 4, "int32_t": 4, "uint64_t": 8, "int64_t": 8, "size_t": 8,
         "double": 8}
NAME = re.compile(r"\s*\w+$")
ARRAY = re.compile(r"^uint8_t \w+\[(\d+)\]$")


def described(header):
    """The functions and structs of a header."""
    text = c_calls.COMMENT.sub("", header)
    functions = {name: f"{result} ({', '.join(map(without_name, parameters))})" for result, name, parameters in c_calls.functions(header)}
    structs = {name: [" ".join(member.split()) for member in body.split(";") if member.strip()] for name, body in STRUCT.findall(text)}
    return {"functions": functions, "structs": structs}


def without_name(parameter):
    """The type of a parameter, whose name does not matter to programs."""
    return parameter if "(*" in parameter else NAME.sub("", parameter)


def broken(old, new):
    """Why programs that were compiled with `old` would not run with a library with `new`."""
    for name, function in old.get("functions", {}).items():
        if (now := new["functions"].get(name)) != function:
            yield (f"{name} was `{function}` and is `{now or 'gone'}`. A function keeps its parameters: what it is to be told besides "
                   "becomes a field of a record that it takes, or a member of XvirtCall in bindings/c/src/call.rs")
    for name, members in old.get("structs", {}).items():
        now = new["structs"].get(name, [])
        added = now[len(members):]
        if now[:len(members)] != members:
            yield f"{name} has other members than it had, or in another order: new ones come after the old ones, which stay"
        elif added and name in FIXED:
            yield f"{name} has another member, but programs make such structs without saying their size"
        elif added and (gap := padding(members)) and added[0] != f"uint8_t {gap}":
            yield f"{name}: `{added[0]}` is where older programs have bytes of any value. Put `{gap}` before it"


def padding(members):
    """The member that takes the place of what follows the last one of a struct of the caller; None if nothing does.

    Older programs have any bytes there, and their `struct_size` counts them.
    """
    offset = largest = 0
    for member in members:
        size, alignment = layout(member)
        offset = -(-offset // alignment) * alignment + size
        largest = max(largest, alignment)
    gap = -offset % largest
    return f"padding_{len(members)}[{gap}]" if gap and members[0] == "size_t struct_size" else None


def layout(member):
    """The size and the alignment of a member."""
    if found := ARRAY.match(member):
        return int(found[1]), 1
    if "*" in member:
        return 8, 8
    size = SIZES.get(without_name(member), 4)
    return size, size
