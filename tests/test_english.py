"""The English of the code: how docstrings begin, and words that neither they nor messages use.

`python -m tests.test_english` counts the offences of each folder; with folders as arguments, it prints each offence.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator

import pytest

from tests.test_shape import GENERATED, MODULES, ROOT

#: folders of kheish/ without offences; `.` has the modules beside the folders
HELD = (
    ".",
    "api",
    "auth",
    "authoring",
    "beneath",
    "cli",
    "client",
    "daemon",
    "domain",
    "generate",
    "jobs",
    "offline",
    "protocols",
    "runtime",
    "state",
    "store",
)

#: imperatives that a function's docstring may begin with; add a verb here when the right one is missing
VERBS = frozenset(
    re.findall(
        r"[a-z-]+",
        """
        alternate diagnose distrust learn manage point re-encrypt share talk
        abandon abort accept acquire act adapt add adjust admit adopt advance advise aggregate allow analyse
        announce answer append apply approve archive arm arrange ask assemble assert assign assume attach audit
        authenticate authorize await back batch begin bind block bound break bring broadcast buffer build cache
        calculate call cancel canonicalize cap capture catch chain change charge check checkpoint choose claim
        clamp classify clean clear clip clone close coalesce collapse collect combine commit compact compare
        compile complete compress compute concatenate conclude configure confine confirm connect construct consume
        continue convert copy correct count cover create cut debounce decide declare decline decode decorate
        decrypt deduplicate defer define delay delegate delete deliver demand deny derive describe deserialize
        detach detect determine dig discard disconnect discover dispatch display distribute divide do drain draw
        drive drop dump duplicate echo edit emit empty enable encode encrypt end enforce enqueue ensure enter
        enumerate escape establish estimate evaluate evict examine exchange exclude execute exit expand expect
        expire explain export expose extend extract fail fan feed fetch fill filter find finish fire fit flatten
        flush fold follow forbid force forget fork format forward freeze fsync gather generate get give grant
        group guard guess hand handle hash hide highlight hold identify ignore import include increment indent
        index infer initialize inject insert inspect install instruct interpret interrupt invalidate invoke issue
        iterate join journal judge keep kick kill label launch lay lease leave lend lift limit link list listen
        load locate lock log look loop lower make map mark match materialize measure mend merge migrate mirror mix
        model monitor mount move name narrow normalize note notify nudge number observe obtain offer omit open
        order outlive override pack pad page parametrize parse partition pass patch pause peek perform persist
        pick pin ping place plan play poll pop populate post prefer prepare prepend present preserve prevent print
        probe process produce project prompt propagate propose protect prove provide prune publish pull push put
        quarantine query queue quote raise rank re-read reach react read reap rearm rebase rebuild recall receive
        recognize recompute reconcile reconnect reconstruct record recover recreate redact redirect reduce refer
        refill refresh refuse register reject rekey relay release reload remember remove rename render renew
        renumber reopen repack repair repeat replace replay reply report request requeue require reread resend
        reserve reset resize resolve respond restart restore restrict result resume retain retire retrieve retry
        return reuse revert review revoke rewind rewrite roll rotate round route run sample save scale scan
        schedule score scrub seal search seed seek select send separate serialize serve set settle shift shorten
        show shut sign signal simplify size skip sleep sort spawn spill split squash stage stamp start stop store
        stream strip submit substitute subtract sum summarize supersede supply suppress surface suspend swallow
        swap sweep switch sync tag taint take tally terminate test throttle throw time touch trace track transfer
        transcribe transform translate traverse trigger trim truncate trust try turn unblock undelete undo unescape
        unfold
        unlink unlock unpack unquote unregister unset untaint untar update upgrade upload use validate verify view
        visit vouch wait wake walk warn watch widen withdraw withhold wrap write yield
        """,
    )
)

_BANNED = {
    "a user, operator, caller, reader or process": r"whoever|whomever|somebody|someone|nobody|people's|one's",
    "a noun for the subject": r"the one who|those who|anyone who|(?<=[.:;] )who|what is so|there is nobody",
    "none, missing or absent": r"where there is none|where there are none",
    "retry or rebuild": r"anew",
    "continues": r"goes on|go on|going on|went on",
    "returns, raises, logs or reports": r"is told|are told|was told|tells|hears|looks whether|look whether|wants to be",
    "has or reads": r"knows",
}
BANNED = {say: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for say, words in _BANNED.items()}

_QUESTIONS = re.compile(r"(What|Who|Whom|Whose|Where|How|Why|Which|When)\b")
_PREDICATE = re.compile(r"_*(is|has)_")
_WORD = re.compile(r"[A-Za-z-]+")
_PROPERTIES = {"property", "cached_property", "setter"}


def offences(text: str) -> Iterator[tuple[int, str]]:
    """The line and the fault of each docstring and message that breaks a rule."""
    tree = ast.parse(text)
    docstrings, of_functions = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            of_functions.add(node.body[0].value)  # type: ignore[attr-defined]  # it has a docstring
            yield from ((node.lineno, f"{node.name}: {fault}") for fault in opening_faults(node))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docstrings.add(node.value)
    for node in docstrings - of_functions:
        if _QUESTIONS.match(str(node.value)):
            yield node.lineno, f"begins with {str(node.value)[:30]!r}, not with a noun"
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and (node in docstrings or is_prose(node)):
            said = " ".join(node.value.split())
            for say, words in BANNED.items():
                yield from ((node.lineno, f"{match[0]!r}: say {say}") for match in words.finditer(said))


#: the subject of commits that hold journals only, which is in the history of every state root
SUBJECT = "journals go on"


def is_prose(node: ast.Constant) -> bool:
    """Whether a literal is a text for people: three words at least (the parts of an f-string are single literals)."""
    return node.value != SUBJECT and len(_WORD.findall(node.value)) > 2 and " " in node.value.strip()


def opening_faults(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    doc = ast.get_docstring(node) or ""
    first = _WORD.match(doc)
    if _PROPERTIES.intersection(decorators(node)):
        if _QUESTIONS.match(doc):
            yield f"begins with {doc[:30]!r}, not with a noun"
    elif first is None or not first[0][0].isupper() or first[0].lower() not in VERBS:
        yield f"begins with {doc[:30]!r}, not with a verb"
    elif is_predicate(node) and not doc.startswith("Return whether") and (first[0] == "Return" or is_named(node)):
        yield "is a predicate, and does not begin with 'Return whether'"


def decorators(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for decorator in node.decorator_list:
        yield ast.unparse(decorator).rpartition(".")[2]


def is_named(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return bool(_PREDICATE.match(node.name))


def is_predicate(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """By its name or its type. One that acts may begin with its act, and say later what True means."""
    return is_named(node) or (isinstance(node.returns, ast.Name) and node.returns.id == "bool")


def found_in(folder: str) -> list[str]:
    found = []
    for path in MODULES:
        relative = path.relative_to(ROOT / "kheish")
        if (relative.parts[0] if len(relative.parts) > 1 else ".") != folder:
            continue
        text = path.read_text()
        if not text.startswith(GENERATED):
            found += [f"{path.relative_to(ROOT)}:{line}: {fault}" for line, fault in offences(text)]
    return found


@pytest.mark.parametrize("folder", HELD)
def test_docstrings_begin_with_a_verb_and_no_text_has_a_banned_word(folder: str) -> None:
    assert not found_in(folder)


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ('def read():\n    """What is in the file."""', "not with a verb"),
        ('def read():\n    """The bytes of the file."""', "not with a verb"),
        ('def read():\n    """`path`, else its parent."""', "not with a verb"),
        ('def read():\n    """Raises NotFound."""', "not with a verb"),
        ('def is_open():\n    """Check that it is open."""', "Return whether"),
        ('def done() -> bool:\n    """Return True once it is final."""', "Return whether"),
        ('class A:\n    @property\n    def b(self):\n        """How many there are."""', "not with a noun"),
        ('def read():\n    """Return the text, for whoever\n    asks."""', "'whoever'"),
        ('class A:\n    """A file that somebody changed."""', "'somebody'"),
        ('raise ValueError(f"the run {id} goes on without it")', "'goes on'"),
        ('x: int\n"""A text; the agent is told it."""', "'is told'"),
        ('class A:\n    """What a caller sets."""', "not with a noun"),
        ('class A:\n    b: int\n    """How many there are."""', "not with a noun"),
    ],
)
def test_an_offence_is_found(code: str, fault: str) -> None:
    (offence,) = offences(code)
    assert fault in offence[1]


@pytest.mark.parametrize(
    "code",
    [
        'def read():\n    """Return the text."""',
        'def is_open() -> bool:\n    """Return whether it is open."""',
        'def step() -> bool:\n    """Take the next step. Returns False if none is due."""',
        'class A:\n    """A file."""\n    @property\n    def b(self):\n        """Whether it is open."""',
        'USERS = ("nobody", "daemon")',
    ],
)
def test_good_english_is_no_offence(code: str) -> None:
    assert not list(offences(code))


def main(folders: list[str]) -> None:
    if folders:
        print("\n".join(line for folder in folders for line in found_in(folder)))
        return
    names = {path.relative_to(ROOT / "kheish").parts[0] for path in MODULES if path.parent != ROOT / "kheish"}
    for folder in [".", *sorted(names)]:
        print(f"{len(found_in(folder)):5} {folder}{' (held)' if folder in HELD else ''}")


if __name__ == "__main__":
    main(sys.argv[1:])
