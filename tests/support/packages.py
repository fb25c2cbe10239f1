"""Installed packages: what an installer leaves in site-packages."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path


def install(site: Path, project: Path, **others: Mapping[str, Mapping[str, str]]) -> None:
    """Install the project of a folder: its packages, and its entry points. `others` are more distributions, by name,
    with their entry points by group."""
    about = tomllib.loads((project / "pyproject.toml").read_text())
    site.mkdir(exist_ok=True)
    for package in about["tool"]["setuptools"]["packages"]:
        shutil.copytree(project / package, site / package)
    own = {about["project"]["name"].replace("-", "_"): about["project"]["entry-points"]}
    for name, groups in {**own, **others}.items():
        info = site / f"{name}-{about['project']['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0.0\n")
        lines = [
            f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups.items()
        ]
        (info / "entry_points.txt").write_text("\n".join(lines))
