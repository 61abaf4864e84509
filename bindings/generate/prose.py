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


def python(docs, errors, width=116):
    """A docstring's text: names of errors become those of exceptions."""
    text = plain(docs)
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


TARGET = re.compile(r"\[(`?[^\]`]+`?)\]\(([^)]*)\)")


def c(docs, kinds, types=frozenset(), handles=frozenset(), owner=None):
    """The text of a comment in a C header: names of Rust become those of C. `owner` is the type whose method it is."""
    def linked(found):
        path = found[2].replace("Self", owner or "Self").split("::")
        if len(path) > 1 and path[-2] in handles and path[-1][:1].islower():
            return f"xvirt_{_snake(path[-2])}_{path[-1]}()"
        return found[1]

    text = TARGET.sub(linked, FENCE.sub("", docs))
    text = LINK.sub(lambda found: found.group(1), REFERENCE.sub("", text))
    for kind in kinds:
        text = re.sub(rf"`(?:ErrorKind::)?{kind}`", f"XVIRT_STATUS_{_snake(kind).upper()}", text)
    text = re.sub(r"`([A-Z]\w+)::([a-z]\w*)(?:\(\))?`", lambda found: f"xvirt_{_snake(found.group(1))}_{found.group(2)}()", text)
    text = re.sub(r"`([A-Z]\w+)::([A-Z]\w*)`",
                  lambda found: f"XVIRT_{_snake(found.group(1))}_{_snake(found.group(2))}".upper(), text)
    text = re.sub(r"`([A-Z]\w+)`", lambda found: f"Xvirt{found.group(1)}" if found.group(1) in types else found.group(0), text)
    text = text.replace("`None`", "NULL").replace("`Some`", "something")
    text = re.sub(r"`Self::(\w+)`", r"`\1`", text)
    text = HEADING.sub(lambda found: f"{found.group(1)}:", text).replace("*/", "* /")
    paragraphs = re.sub(r"\n{3,}", "\n\n", text).strip().split("\n\n")
    return "\n\n".join(map(_wrapped, paragraphs))


def _wrapped(paragraph):
    """A paragraph in lines of one width, unless it is a list or a table. The heading of its section stays a line."""
    heading, _, rest = paragraph.partition("\n")
    if heading.endswith(":") and " " not in heading and rest:
        return f"{heading}\n{_wrapped(rest)}"
    if paragraph.lstrip().startswith(("- ", "|", "* ")):
        return paragraph
    return textwrap.fill(" ".join(paragraph.split()), 110, break_on_hyphens=False, break_long_words=False)


def _snake(name):
    return "_".join(re.findall(r"[A-Z][a-z0-9]*", name)).lower()
