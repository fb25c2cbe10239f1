"""The files that ship with the package: console, docs, state template, JSON Schemas, and the demo's scene."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def folder(name: str) -> Path:
    """Return the folder `state-template`, `schemas`, `docs` or `examples/demo`: inside an installed wheel, else beside
    the package in a checkout."""
    packed = _PACKAGE / "_data" / name
    return packed if packed.is_dir() else _PACKAGE.parent / name


def console() -> Path:
    """Return the folder of the console, which is part of the package."""
    return _PACKAGE / "console"


def version() -> str:
    """Return the version of the installed package (of the checkout if it is not installed)."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("kheish")
    except PackageNotFoundError:
        return "0.0.0"
