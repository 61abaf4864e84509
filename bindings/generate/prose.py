"""The documentation of Rust items as that of another language."""

import re
import textwrap

FENCE = re.compile(r"```.*?```\n?", re.DOTALL)
# [`text`](target) and [`text`], with or without code marks, and [text](target).
LINK = re.compile(r"\[(`?[^\]`]+`?)\](?:\([^)]*\)|\[[^\]]*\])?")
HEADING = re.compile(r"^# (.+)$", re.MULTILINE)
REFERENCE = re.compile(r"^\[[^\]]+\]: .*$\n?", re.MULTILINE)


def plain(docs):
    """The text without examples in Rust, links and marks of headings."""
    text = FENCE.sub("", docs)
    text = REFERENCE.sub("", text)
    text = LINK.sub(lambda found: found.group(1), text)
    text = HEADING.sub(lambda found: f"{found.group(1)}:", text)
    text = re.sub(r"`Self::(\w+)`", r"`\1`", text)
    text = text.replace("::", ".")
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def first_line(docs):
    """The first paragraph in one line."""
    return " ".join(plain(docs).split("\n\n")[0].split())


# What has another name or form in Python.
IN_PYTHON = {"VmConfig.build": "Vm.build", "Disk.backend": "DiskSourceBackend", "true": "True", "false": "False"}


def python(docs, errors, width=116):
    """A docstring's text: names of errors become those of exceptions, and variants with data those of classes."""
    text = plain(docs)
    text = re.sub(r"`((?:Event|CrashReason|HaltCause|Boot)\.[A-Z]\w*)`", lambda found: found[0].replace(".", ""), text)
    for rust, name in IN_PYTHON.items():
        text = text.replace(f"`{rust}`", f"`{name}`")
    for kind in errors:
        text = re.sub(rf"`(?:ErrorKind\.)?{kind}`", f"`{kind}Error`", text)
    text = text.replace("\nErrors:\n", "\nRaises:\n").replace("\\", "\\\\")
    text = re.sub(r"^Errors:\n", "Raises:\n", text)
    paragraphs = []
    for paragraph in text.split("\n\n"):
        if paragraph.lstrip().startswith(("- ", "|", "Raises:", "* ")):
            paragraphs.append(paragraph)
        else:
            paragraphs.append(textwrap.fill(" ".join(paragraph.split()), width, break_on_hyphens=False))
    return "\n\n".join(paragraphs)


def docstring(text, indent):
    """A docstring, indented."""
    text = text.replace('"""', "'''")
    if "\n" not in text and len(text) + len(indent) < 114:
        return f'{indent}"""{text}"""\n'
    body = textwrap.indent(text, indent, lambda line: line.strip() != "")
    return f'{indent}"""{body.lstrip()}\n{indent}"""\n'
