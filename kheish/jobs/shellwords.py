"""The contents of a command line: every simple command in it with its words, every redirection, and its unreadable
parts.

A permission rule decides by this, so it errs on the safe side only: any text that bash might treat differently than it
looks is reported in `unreadable`, never skipped. Node types that are not listed here are unreadable. So are the places
where tree-sitter's bash is known to differ from bash (a line continuation inside a word, backticks in a heredoc or in
`${x:-…}`, words after a redirection's target), and places where bash evaluates text as code (eval, arithmetic,
subscripts).
"""

from __future__ import annotations

import functools
import re
import time
from typing import TYPE_CHECKING

from kheish.jobs.commandline import (
    CommandLine as CommandLine,
    Redirect as Redirect,
    SimpleCommand as SimpleCommand,
    Word as Word,
)
from kheish.jobs.syntax import (
    SUBSCRIPT,
    Unreadable,
    ansi,
    between,
    check,
    gaps_are_blank,
    has_braces,
    has_live,
    inert,
    refuse_evaluation,
    refuse_line_breaks,
    short,
    sound,
    text_of,
    words_are_apart,
)
from kheish.jobs.wrappers import runs_others as runs_others

if TYPE_CHECKING:
    from tree_sitter import Language, Node, Tree

_MAX_COMMANDS = 2000
_MAX_REDIRECTIONS = 200
_MAX_SECONDS = 0.25  # for the parser alone
_SHORT = 4096  # bytes that it always reads within that time
_STATEMENTS = {
    "program", "list", "pipeline", "subshell", "compound_statement", "if_statement", "elif_clause", "else_clause",
    "while_statement", "do_group", "case_statement", "case_item", "function_definition", "negated_command",
    "redirected_statement", "for_statement",
}  # fmt: skip
_WORDS = {
    "word", "number", "raw_string", "string", "ansi_c_string", "concatenation", "simple_expansion", "expansion",
    "command_substitution", "process_substitution", "arithmetic_expansion", "brace_expression", "variable_name",
    "special_variable_name",
}  # fmt: skip
_EXPRESSIONS = {
    "unary_expression", "binary_expression", "negation_expression", "parenthesized_expression", "test_operator",
}  # fmt: skip
_ARITHMETIC_TEST = re.compile(r"(?<![\w-])-(eq|ne|lt|le|gt|ge|v|R)(?![\w-])")
_PLAIN_ARITHMETIC = re.compile(r"\$\(\([0-9\s+*/%()-]*\)\)\Z")
_PLAIN_EXPANSION = re.compile(
    r"\$\{(#?\w+\}|[#?@*!$-]\}|[A-Za-z_]\w*(:?[-+?]|##?|%%?|//?|\^\^?|,,?|:[0-9]+(:[0-9]+)?\}))"
)
_DELIMITER = re.compile(r"""(["']?)(\w+)\1\Z""")


@functools.lru_cache(maxsize=64)
def parse(command: str) -> CommandLine:
    """Parse a bash command line in bounded time. The first call imports the parser (20 ms)."""
    reader = _Reader(command.encode(errors="surrogatepass"))
    try:
        check(command)
        reader.statement(_tree(reader.source).root_node, 0)
    except Unreadable as problem:
        return CommandLine(tuple(reader.simple), tuple(reader.redirections), str(problem))
    return CommandLine(tuple(reader.simple), tuple(reader.redirections), None)


class _Reader:
    """A walker that collects from the syntax tree in a single pass."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.simple: list[SimpleCommand] = []
        self.redirections: list[Redirect] = []

    def statement(self, node: Node, depth: int) -> None:
        """Collect from any node in the place of a command, or around a command."""
        sound(node, depth)
        match node.type:
            case "compound_statement" if text_of(node).startswith("(("):
                raise Unreadable("an arithmetic command")
            case kind if kind in _STATEMENTS:
                gaps_are_blank(node)
                for child in node.named_children:
                    self.statement(child, depth + 1)
            case "command" | "declaration_command" | "unset_command":
                self._command(node, depth)
            case "test_command":
                self._test(node, depth)
            case "variable_assignment" | "variable_assignments":
                refuse_line_breaks(node)
                nodes = [node] if node.type == "variable_assignment" else node.named_children
                assignments = tuple(self._assignment(child, depth + 1) for child in nodes)
                self.simple.append(SimpleCommand(" ".join(assignments), (), assignments))
            case "file_redirect" | "heredoc_redirect" | "herestring_redirect":
                self._redirect(node, depth)
            case "comment":
                self._comment(node)
            case kind if kind in _WORDS:  # of a for loop, a case, a function's name
                self._word(node, depth)
            case kind:
                raise Unreadable(f"syntax that is not known here ({kind}): {short(node)}")

    def _command(self, node: Node, depth: int) -> None:
        gaps_are_blank(node)
        refuse_line_breaks(node)
        words_are_apart(node)
        if len(self.simple) == _MAX_COMMANDS:
            raise Unreadable(f"more than {_MAX_COMMANDS} commands")
        place = len(self.simple)
        words: list[Word] = []
        assignments: list[str] = []
        for child in node.children:
            if child.type == "variable_assignment":
                text = self._assignment(child, depth + 1)
                assignments.append(text)
                if node.type == "declaration_command":
                    words.append(Word(text, dynamic=has_live(text)))
            elif child.type.endswith("_redirect"):
                self._redirect(child, depth + 1)
            elif child.type == "command_name":
                words.append(self._word(child.children[0], depth + 1))
            elif child.type == "comment":
                self._comment(child)
            else:
                words.append(self._word(child, depth + 1))
        simple = SimpleCommand(" ".join(word.text for word in words), tuple(words), tuple(assignments))
        refuse_evaluation(simple)
        self.simple.insert(place, simple)

    def _test(self, node: Node, depth: int) -> None:
        text = text_of(node)
        if SUBSCRIPT.search(text) or (_ARITHMETIC_TEST.search(text) and text.startswith("[[")) or " -v" in text:
            raise Unreadable(f"a test that evaluates arithmetic: {short(node)}")
        place, known = len(self.simple), True
        pending = list(node.named_children)
        while pending:
            child = pending.pop()
            sound(child, depth)
            if child.type in _EXPRESSIONS:
                pending += child.named_children
            else:
                known = not self._word(child, depth + 1).dynamic and known
        opening, _, rest = " ".join(text.split()).partition(" ")
        words = (Word(opening), Word(rest, dynamic=not known))
        self.simple.insert(place, SimpleCommand(f"{opening} {rest}", words))

    def _assignment(self, node: Node, depth: int) -> str:
        """Return the assignment as written, after checking its value."""
        sound(node, depth)
        for child in node.named_children:
            if child.type in ("subscript", "array"):
                raise Unreadable(f"an array: {short(node)}")
            self._word(child, depth + 1)
        return text_of(node)

    def _redirect(self, node: Node, depth: int) -> None:
        sound(node, depth)
        gaps_are_blank(node)
        if len(self.redirections) == _MAX_REDIRECTIONS:
            raise Unreadable(f"more than {_MAX_REDIRECTIONS} redirections")
        if node.type == "heredoc_redirect":
            return self._heredoc(node, depth)
        refuse_line_breaks(node)
        operator = next(child.type for child in node.children if child.type != "file_descriptor")
        targets = [child for child in node.named_children if child.type != "file_descriptor"]
        if targets and operator in (">&-", "<&-"):  # for bash the word after it is one of the command's
            raise Unreadable(f"a word after a closed descriptor: {short(node)}")
        if len(targets) > 1:
            raise Unreadable(f"words after the target of a redirection: {short(node)}")
        words = [self._word(target, depth + 1) for target in targets]
        duplicates = operator in (">&", "<&") and targets and targets[0].type == "number"
        if node.type == "herestring_redirect" or not words or duplicates:
            return None
        word = words[0]
        if word.text.startswith(("/dev/tcp", "/dev/udp")):
            raise Unreadable(f"a network connection: {short(node)}")
        known = not word.dynamic and not word.glob
        self.redirections.append(Redirect(word.text if known else None, operator not in ("<", "<&"), not known))
        return None

    def _heredoc(self, node: Node, depth: int) -> None:
        delimiter, literal, ended = "", False, False
        for child in node.named_children:
            match child.type:
                case "heredoc_start":
                    match = _DELIMITER.match(text_of(child))
                    if not match:
                        raise Unreadable(f"a heredoc's delimiter: {short(child)}")
                    literal, delimiter = bool(match[1]), match[2]
                case "heredoc_body":
                    self._heredoc_body(child, delimiter, literal, depth + 1)
                case "heredoc_end":
                    ended = True
                case "file_descriptor":
                    pass
                case kind if kind in _WORDS:
                    raise Unreadable(f"words after a heredoc's delimiter: {short(child)}")
                case _:  # the rest of the line: a pipeline, a list, redirections
                    self.statement(child, depth + 1)
        if not ended:
            raise Unreadable("a heredoc without an end")

    def _heredoc_body(self, node: Node, delimiter: str, literal: bool, depth: int) -> None:
        text = text_of(node)
        if any(line.strip() == delimiter for line in text.split("\n")):
            raise Unreadable("a heredoc that may end earlier than it seems")
        if literal:
            return
        if "\\\n" in text:
            raise Unreadable("a line continuation in a heredoc")
        expansions = [child for child in node.named_children if child.type != "heredoc_content"]
        inert("".join(between(node, expansions)), node)
        for child in expansions:
            self._word(child, depth)

    def _word(self, node: Node, depth: int) -> Word:
        """Return the word's text; commands inside it are collected."""
        sound(node, depth)
        text = text_of(node)
        match node.type:
            case "word" | "number" | "variable_name" | "special_variable_name":
                inert(text, node)
                bare = re.sub(r"\\.", "", text, flags=re.DOTALL)
                if "\n" in bare:
                    raise Unreadable(f"a line break inside a word: {short(node)}")
                unknown = bare.startswith("~") or bool(re.search(r"[=:]~", bare)) or has_braces(bare)
                plain = re.sub(r"\\(.)", lambda found: found[1].replace("\n", ""), text, flags=re.DOTALL)
                return Word(plain, dynamic=unknown, glob=bool(re.search(r"[*?\[]", bare)))
            case "raw_string":
                return Word(text[1:-1])
            case "ansi_c_string":
                return ansi(text)
            case "string" | "concatenation":
                return self._compound(node, depth)
            case "simple_expansion" | "brace_expression":
                return Word(text, dynamic=True)
            case "arithmetic_expansion":
                if not _PLAIN_ARITHMETIC.match(text):
                    raise Unreadable(f"arithmetic with names: {short(node)}")
                return Word(text, dynamic=True)
            case "expansion":
                return self._expansion(node, depth)
            case "command_substitution" | "process_substitution":
                if text.startswith("`") and "\\" in text:
                    raise Unreadable(f"an escape between backticks: {short(node)}")
                gaps_are_blank(node)
                for child in node.named_children:
                    self.statement(child, depth + 1)
                return Word(text, dynamic=True)
            case kind if not node.is_named and kind != "`":  # `$` by itself; `export`, `unset`
                return Word(text)
            case kind:
                raise Unreadable(f"syntax that is not known here ({kind}): {short(node)}")

    def _compound(self, node: Node, depth: int) -> Word:
        """Return the word of a double-quoted string, or of adjacent pieces."""
        if node.type == "concatenation":
            if any(between(node, node.children)):
                raise Unreadable(f"a blank inside a word: {short(node)}")
            pieces = [self._word(child, depth + 1) for child in node.children]
            dynamic = has_braces(text_of(node)) or any(piece.dynamic for piece in pieces)
            return self._joined(node, pieces, dynamic)
        expansions = [child for child in node.named_children if child.type != "string_content"]
        literal = "".join(between(node, expansions))
        inert(literal, node)
        for child in expansions:
            self._word(child, depth + 1)
        if expansions:
            return Word(text_of(node), dynamic=True)
        return Word(re.sub(r'\\([$`"\\\n])', lambda found: found[1].replace("\n", ""), literal[1:-1]))

    def _joined(self, node: Node, pieces: list[Word], dynamic: bool) -> Word:
        text = text_of(node) if dynamic else "".join(piece.text for piece in pieces)
        return Word(text, dynamic, any(piece.glob for piece in pieces))

    def _expansion(self, node: Node, depth: int) -> Word:
        text = text_of(node)
        if not _PLAIN_EXPANSION.match(text):
            raise Unreadable(f"an expansion that may evaluate its text: {short(node)}")
        inner = [child for child in node.named_children if child.type in _WORDS]
        inert("".join(between(node, inner))[2:], node)
        for child in inner:
            self._word(child, depth + 1)
        return Word(text, dynamic=True)

    def _comment(self, node: Node) -> None:
        before = self.source[max(0, node.start_byte - 2) : node.start_byte]
        if "\n" in text_of(node) or before[-1:] not in (b"", *(bytes([char]) for char in b" \t\n;&|()")):
            raise Unreadable("a comment in an unexpected place")
        if before.startswith(b"\\"):
            raise Unreadable("a comment after an escape")


def _tree(source: bytes) -> Tree:
    """Return the syntax tree. A long text is parsed twice, first in slices, since only then the parser can be
    stopped."""
    from tree_sitter import Parser

    if len(source) > _SHORT:
        until = time.monotonic() + _MAX_SECONDS
        try:
            Parser(_language()).parse(
                lambda at, _: source[at : at + _SHORT], progress_callback=lambda *_: time.monotonic() > until
            )
        except ValueError as error:
            raise Unreadable("it takes too long to read") from error
    return Parser(_language()).parse(source)


@functools.cache
def _language() -> Language:
    import tree_sitter_bash
    from tree_sitter import Language

    return Language(tree_sitter_bash.language())
