"""Packages of npm that tests use as outside programs, where they are installed: KHEISH_TEST_NPM names their folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def package_root(name: str) -> Path:
    """The folder of an installed package; without it, or without node, the test is skipped."""
    folder = os.environ.get("KHEISH_TEST_NPM")
    if not folder or shutil.which("node") is None:
        pytest.skip(f"{name} needs node, and KHEISH_TEST_NPM: the folder with node_modules in which npm installed it")
    root = Path(folder).absolute() / "node_modules" / name
    if not (root / "package.json").is_file():
        pytest.skip(f"{name} is not in {root.parent}; run there: npm install {name}")
    return root
