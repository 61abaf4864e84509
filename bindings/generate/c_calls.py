"""The functions of the C header, and a program that calls each with nothing but NULL and zeroes."""

import re

DECLARATION = re.compile(r"^(?!typedef|static|#)([A-Za-z][\w \*]*?[ \*])(xvirt_\w+)\(([^;{]*)\);", re.MULTILINE)
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
# A descriptor: 0 is one that is open.
DESCRIPTOR = re.compile(r"^int \w+$")


def functions(header):
    """The functions: (type of the result, name, parameters)."""
    for found in DECLARATION.finditer(COMMENT.sub("", header)):
        yield found[1].strip(), found[2], split(" ".join(found[3].split()))


def split(text):
    """The parameters, whose types may be those of functions."""
    depth, parts = 0, [""]
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip() not in ("", "void")]


def argument(parameter):
    """A C expression that sets nothing."""
    if "*" in parameter:
        return "NULL"
    return "-1" if DESCRIPTOR.match(parameter) else "0"


def program(header):
    """The program."""
    lines = []
    for result, name, parameters in functions(header):
        arguments = [argument(parameter) for parameter in parameters]
        if result == "XvirtStatus" and parameters[-1].endswith("**error"):
            given = ", ".join(arguments[:-1])
            separator = ", " if given else ""
            lines.append(f"    REFUSED({name}({given}{separator}&error));")
            lines.append(f"    CHECK({name}({given}{separator}NULL) != XVIRT_STATUS_OK);")
        elif result == "void":
            lines.append(f"    {name}({', '.join(arguments)});")
        else:
            lines.append(f"    (void){name}({', '.join(arguments)});")
    body = "\n".join(lines)
    return f"""/* Calls each function with NULL and zeroes: a status each time, and an error that says what is missing. */

#include "support/check.h"

#define REFUSED(call) \\
    do {{ \\
        XvirtError *error = NULL; \\
        XvirtStatus status = (call); \\
        if (status != XVIRT_STATUS_INVALID_CONFIG || xvirt_error_status(error) != status || \\
            xvirt_error_message(error)[0] == 0) {{ \\
            fprintf(stderr, "%s: status %u, %s\\n", #call, (unsigned)status, xvirt_error_text(error)); \\
            exit(1); \\
        }} \\
        xvirt_error_free(error); \\
    }} while (0)

int main(void) {{
{body}
    return 0;
}}
"""
