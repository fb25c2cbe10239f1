"""YAML that bombs, lies about types, or hides a secret from who looks for it."""

from __future__ import annotations

import time

import pytest

from kheish.auth import redaction
from kheish.authoring import sources
from kheish.authoring.sources import Source
from kheish.domain.routes import Route
from kheish.store.edits import definitions, yaml12
from kheish.store.edits.yaml12 import MAX_BYTES

SECRET = "-----BEGIN KEY-----\nMIIEvQ0123456789abcdef\nABCDEF9876543210zyxw\n-----END KEY-----"
SCRUB = redaction.scrubber({"deploy": SECRET, "short": "s3cr3t-value-0123"})
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40)
)
BOMBS = {
    "a billion laughs": (LAUGHS, "too_many_aliases"),
    "a text repeated": (f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 1000)}]\n", "too_many_aliases"),
    "an alias to itself": ("a: &x [*x]\n", "too_many_aliases"),
    "quadratic merges": (LAUGHS.replace("[", "{<<: [").replace("]", "]}"), "too_many_aliases"),
    "brackets": ("[" * 100_000, "syntax"),
    "braces": ("{a: " * 50_000, "syntax"),
    "indentation": ("".join(f"{' ' * n}a:\n" for n in range(500)), "syntax"),
    "many values": ("- 1\n" * 300_000, "too_large"),
    "a number of a million digits": (f"a: {'9' * 1_000_000}\n", None),
    "a huge exponent": ("a: 1e999999999\n", None),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_yaml_bomb(bomb: str) -> None:
    text, code = BOMBS[bomb]
    assert len(text) < MAX_BYTES
    began = time.process_time()
    tree, flaws = yaml12.read(text)

    assert time.process_time() - began < 3
    assert (code in {flaw.code for flaw in flaws}) if code else tree is not None


@pytest.mark.parametrize(
    "tag",
    ["!!python/object/apply:os.system ['touch pwned']", "!!python/name:os.system", "!!binary c2VjcmV0", "!!int 3",
     "!include /etc/passwd", "!ENV $HOME", "!<tag:yaml.org,2002:str> x", "!!set {a, b}", "!!timestamp 2026-01-01"],
)  # fmt: skip
def test_yaml_tag(tag: str) -> None:
    parsed = definitions.parse(Route, f"driver: {tag}\n".encode(), "routes/evil.yaml")

    assert "tag_not_allowed" in {problem.code for problem in parsed.problems} and parsed.value is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"note: |\n{''.join(f'  {line}' + chr(10) for line in SECRET.splitlines())}", 3),
        (f"a:\n  b:\n    - |-\n{''.join(f'      {line}' + chr(10) for line in SECRET.splitlines())}", 5),
        ("note: >-\n" + "".join(f"  {line}\n\n" for line in SECRET.splitlines()), 4),
        (f"note: \"{SECRET.replace(chr(10), chr(92) + 'n')}\"\n", 1),
        ('note: "s3cr3t\\x2dvalue-0123"\n', 1),
        ('note: "s3cr3t-\\\n  value-0123"\n', 1),
        ("x: 1\nnote: a\\s3cr3t-value-0123\n", 2),
        ("x: 1\n# s3cr3t-value-0123\n", 2),
        ("x: 1\n# C:\\s3cr3t-value-0123\n", 2),
        ("s3cr3t-value-0123: 1\n", 1),
        ("? |-\n  s3cr3t-value-0123\n: 1\n", 2),
        ("---\ntitle: \"s3cr3t\\x2dvalue-0123\"\n---\nhello\n", 2),
        ("---\ntitle: x\n---\nhello s3cr3t-value-0123\n", 4),
        ("garbage: [\n s3cr3t-value-0123", 2),
    ],
)  # fmt: skip
def test_a_secret_that_a_file_hides(text: str, line: int) -> None:
    found = sources.guarded({"routes/x.yaml": Source("routes/x.yaml", text.encode())}, SCRUB)["routes/x.yaml"]

    assert found.code == "secret_in_file" and found.place is not None and found.place[0] == line


def test_what_hides_nothing_is_taken() -> None:
    text = b"note: |\n  -----BEGIN KEY-----\n  another\n# s3cr3t\n"
    assert sources.guarded({"x": Source("x", text)}, SCRUB)["x"].fault is None
