"""Known secrets never reach a line, in whatever form they stand in a text."""

from __future__ import annotations

import base64
import json
import subprocess
import timeit
from urllib.parse import quote, quote_plus

import orjson
import pytest
from hypothesis import given, strategies as st

from kheish.auth import redaction

SECRET = 'sk-"live\\0123 é/+=?&secret'
WAYS = {
    "as it is": SECRET,
    "in a JSON text": json.dumps({"key": SECRET}),
    "in a JSON text with UTF-8": orjson.dumps({"key": SECRET}).decode(),
    "in a URL": f"https://x.example/?key={quote(SECRET, safe='')}&b=1",
    "in a path": f"https://x.example/{quote(SECRET)}/b",
    "in a form": f"key={quote_plus(SECRET)}",
    "with a newline before": f"\n{SECRET}\n",
    "with a backslash before": f"\\{SECRET}",
    **{f"in base64 after {n} bytes": base64.b64encode(b"u" * n + SECRET.encode() + b":").decode() for n in range(4)},
    "in URL-safe base64": base64.urlsafe_b64encode(SECRET.encode()).decode(),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_secret_is_replaced_by_its_name(way: str) -> None:
    scrub = redaction.scrubber({"env:KEY": SECRET})
    line = orjson.dumps({"n": 1, "data": {"content": f"before {WAYS[way]} after"}})
    after = scrub(line)
    text = orjson.loads(after)["data"]["content"]
    assert "[redacted:env:KEY]" in text
    assert text.startswith("before ") and text.endswith(" after")
    assert SECRET[5:12] not in text and "secret" not in text


def test_a_line_without_a_secret_is_the_same_object() -> None:
    line = b'{"content":"nothing here"}'
    assert redaction.scrubber({"env:KEY": SECRET})(line) is line
    assert redaction.scrubber({})(line) is line


def test_a_short_value_is_left_since_words_would_vanish() -> None:
    line = b'{"content":"hunter2 is a word"}'
    assert redaction.scrubber({"a": "hunter2"})(line) is line


def test_the_longer_of_two_secrets_is_taken_whole() -> None:
    scrub = redaction.scrubber({"short": "abcdefgh", "long": "abcdefgh-ijkl"})
    assert scrub(b'"abcdefgh-ijkl abcdefgh"') == b'"[redacted:long] [redacted:short]"'


@given(before=st.text(max_size=20), after=st.text(max_size=20), secret=st.text(min_size=8, max_size=20))
def test_a_line_stays_json_whatever_stands_around_the_secret(before: str, after: str, secret: str) -> None:
    try:
        line = orjson.dumps({"content": before + secret + after})
        secret.encode()
    except (TypeError, ValueError):
        return  # no text that a line can hold
    scrubbed = orjson.loads(redaction.scrubber({"k": secret})(line))["content"]
    assert "[redacted:k]" in scrubbed


def test_the_letter_of_an_escape_is_no_secret() -> None:
    line = orjson.dumps("a new line\n0123456789")
    assert redaction.scrubber({"k": "n0123456789"})(line) == line


def test_digits_of_an_escape_are_no_secret_and_what_follows_them_is() -> None:
    scrub = redaction.scrubber({"k": "00000000"})
    assert orjson.loads(scrub(orjson.dumps("\x10" + "00000000"))) == "\x10[redacted:k]"
    held = orjson.dumps("\x10" + "0000000")
    assert scrub(held) is held


def test_a_file_is_no_json() -> None:
    scrub = redaction.scrubber({"k": "hunter2hunter2"})
    assert redaction.scrub_file(b"C:\\hunter2hunter2 \xff", scrub) == b"C:\\[redacted:k] \xff"


def pieces(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_a_stream_scrubs_across_its_pieces_and_holds_back_no_more_than_it_must(size: int) -> None:
    stream = redaction.Stream(redaction.scrubber({"env:KEY": SECRET, "more": SECRET + "-and-more"}))
    text = f"a {SECRET} b {SECRET}-and-more c {WAYS['in base64 after 1 bytes']} d {SECRET[:6]}"
    shown = "".join(stream.feed(piece) for piece in pieces(text, size))
    assert shown.endswith(" d ")  # what may begin a secret is held back
    whole = shown + stream.end()
    assert whole.startswith("a [redacted:env:KEY] b [redacted:more] c ") and whole.endswith(" d " + SECRET[:6])
    assert SECRET not in whole and "and-more" not in whole and stream.end() == ""


@given(st.lists(st.text(alphabet="abcd", max_size=6), max_size=20), st.text(alphabet="abcd", min_size=8, max_size=12))
def test_no_way_to_cut_a_text_lets_a_secret_through(parts: list[str], secret: str) -> None:
    stream = redaction.Stream(redaction.scrubber({"it": secret}))
    whole = "".join([*map(stream.feed, [*parts, secret, *parts]), stream.end()])
    assert secret not in whole and "[redacted:it]" in whole


SHAPES = {
    "pem": "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\nabc=\n-----END EC PRIVATE KEY-----",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "token": "ghp_0123456789abcdefghij0123",
    "bearer": "c29tZXRoaW5nLXNlY3JldA==",
    "url": "ada:hunter2",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_looks_like_a_credential_is_not_shown(shape: str) -> None:
    around = {"bearer": "Authorization: Bearer {}\n", "url": "cloning https://{}@git.example/x"}.get(
        shape, "it is {}, ok"
    )
    assert redaction.shapes(around.format(SHAPES[shape])) == around.format(f"[redacted:{shape}]")
    plain = "See https://docs.example:8080/a@b and the task-12345; bearer of news"
    assert redaction.shapes(plain) == plain
    assert redaction.shown({"detail": [f"no {SHAPES['token']}"], "n": 1}) == {"detail": ["no [redacted:token]"], "n": 1}


# --- secrets of several lines, and encodings that are wrapped ---------------------------------------------------------

_LINES = [base64.b64encode(bytes((n * 37 + at * 11) % 256 for at in range(48))).decode() for n in range(12)]
PEM = "\n".join(["-----BEGIN PRIVATE KEY-----", *_LINES, "-----END PRIVATE KEY-----", ""])
#: what shows a file, as shell commands: each prints the key, more or less
SHOWN = {
    "as it is": "cat", "numbered": "cat -n", "with ends marked": "cat -A", "indented": "sed 's/^/        /'",
    "quoted": "sed 's/^/> /'", "as grep does": "grep -n '' --with-filename", "some lines": "sed -n 5,8p",
    "with CRLF": "sed 's/$/\\r/'", "in base64 of 76": "base64", "in base64 of 64": "base64 -w 64",
    "in base64 of 33": "base64 -w 33", "in base64 on one line": "base64 -w 0", "in base64, numbered": "base64 | cat -n",
    "in base64 at an offset": "(printf x; cat) | base64", "in base64 at another": "(printf xy; cat) | base64",
    "in base64 twice as JSON": "base64 | python3 -c 'import json,sys; print(json.dumps(json.dumps(sys.stdin.read())))'",
    "in hex": "python3 -c 'import sys; print(sys.stdin.buffer.read().hex())'", "folded": "fold -w 30",
    "in hex with spaces": "python3 -c 'import sys; print(sys.stdin.buffer.read().hex(\" \"))'",
    "in hex with colons": "python3 -c 'import sys; print(sys.stdin.buffer.read().hex(\":\").upper())'",
    "dumped": "od -A x -t x1", "dumped by words": "od -t x2",
    "as Python writes it": "python3 -c 'import sys; print(repr(sys.stdin.read()))'",
    "as JSON": "python3 -c 'import json,sys; print(json.dumps([sys.stdin.read()]))'", "on one line": "tr -d '\\n'",
    "joined by spaces": "tr '\\n' ' '",
}  # fmt: skip


def leaks(shown: str) -> list[str]:
    """Return pieces of 20 characters of the key in a text: of its lines, its base64 at three offsets, and its hex."""
    flat = "".join(shown.split())
    whole = [*_LINES, *(base64.b64encode(b"\0" * n + PEM.encode()).decode()[4:] for n in range(3)), PEM.encode().hex()]
    return [form[at : at + 20] for form in whole for at in range(len(form) - 20) if form[at : at + 20] in flat]


@pytest.mark.found("S8")
@pytest.mark.parametrize("way", SHOWN)
def test_a_key_of_several_lines_is_not_shown_however_it_is_printed(way: str) -> None:
    done = subprocess.run(["bash", "-c", SHOWN[way]], input=PEM, capture_output=True, text=True, check=True)
    assert len(done.stdout) > 200
    line = orjson.dumps({"content": done.stdout, "inner": json.dumps({"a": done.stdout})})
    scrub = redaction.scrubber({"pem": PEM, "other": "sk-0123456789abcdef"})

    for after in (orjson.loads(scrub(line)), {"content": scrub.plain(done.stdout.encode()).decode()}):
        for text in after.values():
            assert "[redacted:pem]" in text and not leaks(text), text
    stream = redaction.Stream(scrub)
    live = "".join([*(stream.feed(piece) for piece in pieces(done.stdout, 7)), stream.end()])
    assert "[redacted:pem]" in live and not leaks(live), live


@pytest.mark.found("S8")
@pytest.mark.parametrize("width", [5, 10, 13, 20])
@pytest.mark.parametrize("before", ["", "x", "xy"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n    ", "=\n"])
def test_a_short_secret_in_base64_that_is_wrapped(width: int, before: str, end: str) -> None:
    encoded = base64.b64encode(f"{before}hunter2-Hunter2: and more".encode()).decode()
    wrapped = end.join(pieces(encoded, width))
    scrub = redaction.scrubber({"k": "hunter2-Hunter2"})
    assert "[redacted:k]" in orjson.loads(scrub(orjson.dumps(wrapped)))
    assert b"[redacted:k]" in scrub.plain(wrapped.encode())


def test_what_ends_with_a_line_break_is_secret_without_it_and_what_marks_a_key_is_none() -> None:
    scrub = redaction.scrubber({"k": "hunter2-hunter2\n", "pem": PEM})
    assert scrub(b'"it is hunter2-hunter2."') == b'"it is [redacted:k]."'
    line = orjson.dumps("-----BEGIN PRIVATE KEY-----\n" + "A" * 64 + "\n" + base64.b64encode(bytes(range(90))).decode())
    assert scrub(line) is line


def test_looking_through_a_text_takes_a_time_that_does_not_grow_with_the_secrets() -> None:
    line = orjson.dumps({"content": "def say(word: str) -> None:\n    print(word)\n" * 2000})

    def seconds(count: int) -> float:
        scrub = redaction.scrubber(
            {f"s{n}": base64.b64encode(f"value number {n}".encode() * 3).decode() for n in range(count)}
        )
        return min(timeit.repeat(lambda: scrub(line), number=1, repeat=7))

    assert seconds(200) < 5 * seconds(2)


def test_shapes_in_a_long_text_are_those_of_its_parts() -> None:
    token, pem = "sk-" + "a1" * 20, "-----BEGIN PRIVATE KEY-----" + "x" * 20_000 + "-----END PRIVATE KEY-----"
    for before in (0, 8150, 8191, 8192, 8193, 12_280, 20_000):
        text = "." * before + f" {token} " + "." * 9000 + pem + " https://ann:hunter22@host/ " + "." * 9000
        expected = "." * before + " [redacted:token] " + "." * 9000 + "[redacted:pem] https://[redacted:url]@host/ "
        assert redaction.shapes(text) == expected + "." * 9000, before
    assert redaction.shapes("x " * 9000 + pem[:-5]) == "x " * 9000 + "[redacted:pem]"
