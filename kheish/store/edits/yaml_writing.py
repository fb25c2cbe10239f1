"""Writing of plain data as readable YAML that our reader (`yaml12`) reads back the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from kheish.store.edits.yaml12 import FLOAT, INT, plain, read


def _text(dumper: Any, data: str) -> Any:
    style = "|" if "\n" in data.rstrip("\n") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(data), style=style)


def _dumper(base: Any) -> Any:
    """Return a dumper that quotes text that YAML 1.1 *or* 1.2 would not read as text, since users' tools read
    either."""
    made: Any = type("_Dumper", (base,), {"ignore_aliases": lambda self, data: True})
    made.add_representer(str, _text)
    made.add_multi_representer(str, _text)
    made.add_multi_representer(Mapping, lambda dumper, data: dumper.represent_dict(data.items()))
    made.add_multi_representer(tuple, lambda dumper, data: dumper.represent_list(data))
    made.add_implicit_resolver("tag:yaml.org,2002:int", INT, list("-+0123456789"))
    made.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))
    return made


_SLOW = _dumper(yaml.SafeDumper)
_FAST = _dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper))


def dump(data: Any) -> bytes:
    """Return plain data as block-style YAML with the keys in the given order; our reader reads back the same data."""
    text = _dump(data, _FAST)
    if "\\U000" in text:  # libyaml escapes emoji, which turns a literal block into a single quoted line
        other = _dump(data, _SLOW)  # PyYAML's own emitter does not escape them, but breaks some rare line ends
        text = other if _same(other, text) else text
    return text.removesuffix("...\n").encode()


def _same(one: str, other: str) -> bool:
    nodes = read(one)[0], read(other)[0]
    return nodes[0] is not None and nodes[1] is not None and plain(nodes[0]) == plain(nodes[1])


def _dump(data: Any, dumper: Any) -> str:
    return str(
        yaml.dump(data, Dumper=dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=1_000_000)
    )
