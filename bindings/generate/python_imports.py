"""Leaves out imports that a generated module does not use."""

import re

IMPORT = re.compile(r"^( *)from (\S+) import (?:\(([^)]*)\)|([^(\n]+))\n", re.MULTILINE)
MODULE = re.compile(r"^import (\w+)\n", re.MULTILINE)


def only_used(text):
    """The text of a module without the names that it imports in vain."""
    body = MODULE.sub("", IMPORT.sub("", text))

    code = re.sub(r'""".*?"""', "", body, flags=re.DOTALL)

    def used(name):
        if name == "TYPE_CHECKING":
            return "TYPE_CHECKING" in code
        # Not as a name of a parameter, field or method.
        return re.search(rf"(?<![.\w])(?<!def ){re.escape(name)}\b(?!:|\"|=)", code) is not None

    def kept(found):
        indent, module, many, one = found.groups()
        names = [name.strip() for name in (many or one).split(",") if name.strip()]
        names = [name for name in names if name in ("*", "annotations") or used(name)]
        if not names:
            return ""
        line = f"{indent}from {module} import {', '.join(names)}\n"
        if len(line) <= 118:
            return line
        return f"{indent}from {module} import (\n" + "".join(f"{indent}    {name},\n" for name in names) + f"{indent})\n"

    text = IMPORT.sub(kept, text)
    return MODULE.sub(lambda found: found.group(0) if used(found.group(1)) else "", text)
