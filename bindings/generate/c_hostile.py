"""A program that calls each function of the C header at random, with arguments that are valid, missing or nonsense."""

import re

import c_calls

STRUCT = re.compile(r"typedef struct (\w+) \{(.*?)\} \1;", re.DOTALL)
OPAQUE = re.compile(r"^typedef struct (\w+) \1;", re.MULTILINE)
ENUM = re.compile(r"typedef uint32_t (\w+);")
INTEGERS = {"uint8_t", "uint16_t", "uint32_t", "uint64_t", "size_t", "int32_t", "int64_t"}
# They free what others use, or only read an error.
LEFT_OUT = re.compile(r"_free$|^xvirt_error_|^xvirt_version$|^xvirt_cancel_cancel$")
# What the program has, for arguments that are handles.
POOL = {"XvirtHost": "host", "XvirtVm": "vm", "XvirtRepository": "repository", "XvirtConsole": "console",
        "XvirtConsoleReader": "reader", "XvirtEventReceiver": "events", "XvirtGuestAgent": "agent",
        "XvirtBlockBackend": "disk", "XvirtStoredVm": "stored"}


class Hostile:
    def __init__(self, header):
        text = c_calls.COMMENT.sub("", header)
        self.structs = {name: [m.strip() for m in body.split(";") if m.strip()] for name, body in STRUCT.findall(text)}
        self.opaque = set(OPAQUE.findall(text))
        self.enums = set(ENUM.findall(text))
        self.functions = [f for f in c_calls.functions(header) if not LEFT_OUT.search(f[1])]
        self.freed = {name for _, name, _ in c_calls.functions(header) if name.endswith("_free")}

    def program(self):
        makers = "".join(f"static void *make_{name}(int depth);\n" for name in self.structs)
        makers += "".join(self._maker(name, members) for name, members in self.structs.items())
        cases = "".join(self._case(number, *function) for number, function in enumerate(self.functions))
        return f"""#include "support/check.h"
#include "support/hostile.h"

{makers}
static void call(unsigned which) {{
    XvirtError *error = NULL, **where = chance(4) ? NULL : &error;
    XvirtCall wait = {{.struct_size = sizeof wait, .timeout_ns = 1000000}};
    switch (which) {{
{cases}    }}
    xvirt_error_free(error);
    forget();
}}

int main(void) {{
    hostile({len(self.functions)}, call);
    return 0;
}}
"""

    # Structs

    def _maker(self, name, members):
        lines = []
        for position, member in enumerate(members):
            if member == "size_t struct_size":
                lines.append("made->struct_size = size_of(sizeof *made);")
                continue
            if "(*" in member:
                continue
            field = re.search(r"(\w+)$", member)[1]
            kind = member[:-len(field)].strip()
            following = members[position + 1] if position + 1 < len(members) else ""
            counted = re.match(r"size_t (\w*(?:count|length))$", following) and kind.endswith("*")
            lines.append(self._member(field, kind, counted))
        body = "\n    ".join(filter(None, lines))
        return (f"static void *make_{name}(int depth) {{\n    if (depth > 4 || chance(8))\n        return NULL;\n"
                f"    {name} *made = room(sizeof *made + LARGER);\n    (void)depth;\n    {body}\n    return made;\n}}\n")

    def _member(self, field, kind, counted):
        if re.fullmatch(r"size_t", kind) and re.search(r"(^|_)(count|length)$", field):
            return f"made->{field} = counted();"
        if kind in INTEGERS:
            return f"made->{field} = ({kind})number();"
        if kind == "bool":
            return f"*(uint8_t *)&made->{field} = (uint8_t)(chance(20) ? 77 : chance(2));"
        if kind in self.enums:
            return f"made->{field} = ({kind})(chance(10) ? number() : (uint64_t)rand() % 8);"
        if kind == "int":
            return f"made->{field} = descriptor();"
        if kind == "double":
            return f"made->{field} = real();"
        if kind == "const char *":
            return f"made->{field} = text();"
        if kind == "const char *const *":
            return f"made->{field} = texts();"
        if kind in ("const uint8_t *", "const struct XvirtStringPair *"):
            return f"made->{field} = {'bytes' if 'uint8' in kind else 'pairs'}();"
        if found := re.fullmatch(r"const struct (\w+) \*", kind):
            return f"made->{field} = {self._pointer(found[1], 'depth + 1')};"
        if (found := re.fullmatch(r"const struct (\w+) \*const \*", kind)) and found[1] in self.structs:
            return f"made->{field} = (void *)list(make_{found[1]}, depth + 1);"
        # Such as a list of numbers: none, with any count.
        return f"made->{field} = NULL;"

    def _pointer(self, name, depth):
        if name in self.structs:
            return f"make_{name}({depth})"
        return f"chance(8) ? NULL : {POOL[name]}" if name in POOL else "NULL"

    # Calls

    def _case(self, number, result, name, parameters):
        before, args, after = [], [], []
        for position, parameter in enumerate(parameters):
            following = parameters[position + 1] if position + 1 < len(parameters) else ""
            previous = parameters[position - 1] if position else ""
            args.append(self._argument(position, parameter, previous, following, name, before, after))
        if name == "xvirt_free":
            args = ["NULL"]
        body = "".join(f"        {line}\n" for line in [*before, f"(void){name}({', '.join(args)});" if result != "void" else
                                                        f"{name}({', '.join(args)});", *after, "break;"])
        return f"    case {number}: {{\n{body}    }}\n"

    def _argument(self, position, parameter, previous, following, name, before, after):
        if parameter == "struct XvirtError **error":
            return "where"
        if "(*" in parameter:
            return "NULL"
        if parameter == "const struct XvirtCall *call":
            return "&wait"
        field = re.search(r"(\w+)$", parameter)[1]
        kind = parameter[:-len(field)].strip()
        local = f"out_{position}"
        if found := re.fullmatch(r"struct (\w+) \*\*", kind):
            before.append(f"{found[1]} *{local} = NULL;")
            free = "xvirt_" + "_".join(re.findall(r"[A-Z][a-z0-9]*", found[1].removeprefix("Xvirt"))).lower() + "_free"
            if free in self.freed:
                after.append(f"{free}({local});")
            return f"chance(20) ? NULL : &{local}"
        if kind in ("char **", "uint8_t **"):
            before.append(f"{kind[:-1]}{local} = NULL;")
            after.append(f"xvirt_free({local});")
            return f"chance(20) ? NULL : &{local}"
        if kind == "const uint8_t **":
            before.append(f"const uint8_t *{local};")
            return f"&{local}"
        if kind == "uint8_t *":
            return "buffer()"
        if kind.endswith("*") and not kind.startswith("const") and kind[:-1].strip() in INTEGERS | self.enums | {"int", "bool", "double"}:
            scalar = kind[:-1].strip()
            before.append(f"{scalar} {local} = 0;")
            if scalar == "int" and not name.endswith("_fd"):
                before[-1] = f"int {local} = -1;"
                after.append(f"close_one({local});")
            return f"chance(20) ? NULL : &{local}"
        if found := re.fullmatch(r"const struct (\w+) \*const \*", kind):
            return f"(void *)list(make_{found[1]}, 0)" if found[1] in self.structs else "NULL"
        if kind == "size_t" and (re.search(r"_count$", field) or previous.split(" *")[0] in ("const uint8_t", "uint8_t", "const int")):
            return "counted()"
        if found := re.fullmatch(r"(?:const )?struct (\w+) \*", kind):
            return self._pointer(found[1], 0)
        return {"const char *": "text()", "const uint8_t *": "bytes()", "const int *": "NULL", "bool": "chance(2)",
                "int": "descriptor()", "double": "real()", "void *": "NULL"}.get(kind) or f"({kind})number()"
