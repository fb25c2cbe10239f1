"""The generator of the client's requests, shapes and both twins from the API's operations: `python -m
kheish.generate.client`.

`endpoints.py` merges operations that differ only in a kind, `methods.py` derives a method and its arguments from each,
with `table.py` where the derived name is not the public one. `shapes.py`, `requests.py` and `twins.py` write.
"""

from __future__ import annotations

import sys
from pathlib import Path

import kheish.client
from kheish.api.operations import OPERATIONS
from kheish.generate.client import methods, requests, twins
from kheish.generate.client.shapes import Shapes
from kheish.generate.client.text import module

FOLDER = Path(kheish.client.__file__).parent


def files() -> dict[str, str]:
    """Return the text of each generated module by the name of its file."""
    shapes = Shapes.of(OPERATIONS)
    public = methods.derived(OPERATIONS, shapes)
    bodies = {
        "shapes.py": shapes.body(),
        "requests.py": requests.body(public),
        "sync.py": twins.body(public, twins.BLOCKING),
        "aio.py": twins.body(public, twins.ASYNCHRONOUS),
    }
    return {name: module(body) for name, body in bodies.items()}


def main(folder: Path = FOLDER) -> int:
    """Write the modules, and report which of them changed."""
    for name, text in files().items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            sys.stdout.write(f"{name} is written.\n")
    return 0
