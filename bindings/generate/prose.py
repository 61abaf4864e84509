"""The documentation of Rust items as that of another language."""

import re
import textwrap

from model import snake

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

# What only concerns programs in Rust.
ONLY_RUST = [
    ", for example in the program's log subscriber,",
    " If a log subscriber panics on a caller's thread, the panic unwinds through the verb; the VM's power state is still accurate.",
    ", such as a log subscriber",
]
DROPPING = re.compile(r"\b([Dd])ropping(?=\s+(?:it|its|this|them|a|the)\b)")
DROPPED = re.compile(r"\b(VM|handle|reader|listener|stage|it)(\s+)is\s+dropped\b")


def closing(text):
    """What Rust drops is closed in Python."""
    text = DROPPING.sub(lambda found: ("C" if found[1] == "D" else "c") + "losing", text)
    return DROPPED.sub(r"\1\2is closed", text)


def python(docs, errors, width=116):
    """A docstring's text: names of errors become those of exceptions, and variants with data those of classes."""
    text = plain(docs)
    text = text.replace("`CommandLine.pages` pages", "as many pages as `CommandLine.pages` says")
    text = re.sub(r"`CommandLine\.(\w+)`", r"the option `\1`", text)
    text = re.sub(r"`Mode\.([A-Z]\w*)`", lambda found: f"`Mode.{snake(found[1]).upper()}`", text)
    text = re.sub(r"`((?:Event|CrashReason|HaltCause|Boot)\.[A-Z]\w*)`", lambda found: found[0].replace(".", ""), text)
    for rust, name in IN_PYTHON.items():
        text = text.replace(f"`{rust}`", f"`{name}`")
    for kind in errors:
        text = re.sub(rf"`(?:ErrorKind\.)?{kind}`", f"`{kind}Error`", text)
    text = text.replace("\nErrors:\n", "\nRaises:\n").replace("\\", "\\\\")
    text = re.sub(r"^Errors:\n", "Raises:\n", text)
    text = closing(text)
    paragraphs = []
    for paragraph in text.split("\n\n"):
        if paragraph.lstrip().startswith(("- ", "|", "Raises:", "* ")):
            paragraphs.append(paragraph)
        else:
            line = " ".join(paragraph.split())
            for words in ONLY_RUST:
                line = line.replace(words, "")
            paragraphs.append(textwrap.fill(line, width, break_on_hyphens=False))
    return "\n\n".join(paragraphs)


def docstring(text, indent):
    """A docstring, indented."""
    text = text.replace('"""', "'''")
    if "\n" not in text and len(text) + len(indent) < 114:
        return f'{indent}"""{text}"""\n'
    body = textwrap.indent(text, indent, lambda line: line.strip() != "")
    return f'{indent}"""{body.lstrip()}\n{indent}"""\n'
