"""The documentation of Rust items as comments of the C header: names of Rust become those of C."""

import re
import textwrap

from c_surface import WORDS
from model import snake
from prose import FENCE, HEADING, LINK, REFERENCE

# [text](target)
TARGET = re.compile(r"\[([^\]]+)\]\(([^)]*)\)")
# [`name`], a function beside the one that is described.
BESIDE = re.compile(r"\[`([a-z]\w*)`\](?![(\[:])")
# Sentences that only concern Rust: the comment of each handle says how threads may share it.
ONLY_RUST = re.compile(r"^(A clone |Clones of |May be used from several threads\.|All functions may be called from any thread|`Display` |"
                       r"`Read` |Serialized, |`end_ns` is the upper end |Threads that are to share |A call that waits with the lock |"
                       r"Two calls of |If a log subscriber panics |It waits at most 10 s\.)")
SENTENCE = re.compile(r"(?<=\.)\s+(?=[A-Z`])")
# What a program does with a value: frames and input are dropped, too, in another sense.
DROPPED = re.compile(r"\b(VMs?|attachment|backend|it|to|when|or)( is| was| were)? dropped\b")
DROPPING = re.compile(r"\b([Dd])ropping\b")
# Before the heading of a section.
MARK = "\0"
WIDTH = 110


class Prose:
    """Writes comments."""

    def __init__(self, api):
        self.kinds = [variant.name for variant in api.enums["ErrorKind"].variants]
        self.types = set(api.records) | set(api.enums) | set(api.handles)
        self.functions = [f"xvirt_{snake(name)}_" for name in self.types] + [f"xvirt_{module}_" for module, _ in api.functions]
        self.modules = {}
        for module, function in api.functions:
            self.modules.setdefault(function.name, []).append(module)
        self.variants = {name: {variant.name for variant in enum.variants} for name, enum in api.enums.items()}
        self.tagged = {name for name, enum in api.enums.items() if not enum.is_plain}

    def text(self, docs, owner=None):
        """The text of a comment. `owner` is the type or the module to which the item belongs."""
        text = FENCE.sub("", docs)
        if owner is not None:
            text = text.replace("Self::", f"{owner}::")
            text = BESIDE.sub(lambda found: f"xvirt_{self._module(found[1]) or prefix(owner)}_{found[1]}()", text)
        text = TARGET.sub(self._linked, text)
        text = LINK.sub(lambda found: found.group(1), REFERENCE.sub("", text))
        for kind in self.kinds:
            text = re.sub(rf"`(?:ErrorKind::)?{kind}`", f"XVIRT_STATUS_{snake(kind).upper()}", text)
        text = re.sub(r"`(\w+)::([a-z]\w*)(?:\(\))?`", lambda found: f"xvirt_{prefix(found[1])}_{found[2]}()", text)
        text = re.sub(r"`([A-Z]\w+)::([A-Z]\w*)`", lambda found: self._constant(found[1], found[2]), text)
        text = re.sub(r"`([A-Z]\w+)`", lambda found: self._word(found[1], owner), text)
        text = DROPPING.sub(lambda found: "Freeing" if found[1] == "D" else "freeing", DROPPED.sub(r"\1\2 freed", text))
        text = re.sub(r"\bmethod(s?)\b", r"function\1", text)
        text = HEADING.sub(lambda found: f"{MARK}{found.group(1)}:", text).replace("*/", "* /")
        paragraphs = re.sub(r"\n{3,}", "\n\n", text).strip().split("\n\n")
        return "\n\n".join(filter(None, map(wrapped, paragraphs)))

    def _linked(self, found):
        """A link to a function as its name; words that are a link are followed by it."""
        text, path = found[1], found[2].split("::")
        if not path[-1][:1].islower():
            return text
        place = snake(path[-2]) if path[-2:-1] and path[-2][0].isupper() else self._module(path[-1])
        name = f"xvirt_{place}_{path[-1]}()"
        return text if place is None else name if text.startswith("`") else f"{text} ({name})"

    def _module(self, function):
        """The only module that has a function of this name."""
        return self.modules[function][0] if len(self.modules.get(function, ())) == 1 else None

    def _constant(self, enum, variant):
        return f"XVIRT_{snake(enum)}_{'KIND_' if enum in self.tagged else ''}{snake(variant)}".upper()

    def _word(self, word, owner):
        """What a name of Rust is in C: a variant of the enum that is described, a type, or a word of `c_surface`."""
        if word in self.variants.get(owner, ()):
            return self._constant(owner, word)
        return f"Xvirt{word}" if word in self.types else WORDS.get(word, f"`{word}`")


def prefix(owner):
    """What the names of the functions of a type or a module begin with."""
    return snake(owner) if owner[0].isupper() else owner


def wrapped(paragraph):
    """A paragraph in lines of one width, unless it is a table. The heading of its section and entries of lists have lines of
    their own."""
    heading, _, rest = paragraph.partition("\n")
    if heading.startswith(MARK):
        return f"{heading.removeprefix(MARK)}\n{wrapped(rest)}".rstrip()
    if paragraph.lstrip().startswith("|"):
        return paragraph
    return "\n".join(filter(None, (filled(part) for part in re.split(r"\n(?=- )", paragraph))))


def filled(part):
    text = " ".join(sentence for sentence in SENTENCE.split(" ".join(part.split())) if not ONLY_RUST.match(sentence))
    return textwrap.fill(text, WIDTH, subsequent_indent="  " if part.startswith("- ") else "", break_on_hyphens=False,
                         break_long_words=False)
