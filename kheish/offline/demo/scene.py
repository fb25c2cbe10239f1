"""The demo's scene: a small repository whose dependency is old, and definitions of a state root (`examples/demo/`).

The Playbook is not the demo's own: it is `dependency-upgrade`, which `kheish init` has put into the state root.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from kheish import resources

PLAYBOOK = "dependency-upgrade"
INPUTS = {"package": "fairsplit", "version": "2.0", "tests": "python3 -m unittest -q tests.test_bill"}
#: the groups that the slow test (`tests/test_all.py`) works through, and the file where it notes each
GROUPS = 12
PROGRESS = "progress.log"


def write_repository(workspace: Path) -> None:
    """Write the files of the repository."""
    _copy("repository", workspace)


def write_definitions(root: Path, *, confined: bool) -> None:
    """Write the route, the permissions and, where commands cannot be confined, the setting that runs them anyway."""
    _copy("state", root)
    if not confined:
        _copy("unconfined", root)


def _copy(name: str, target: Path) -> None:
    """Copy a folder of the scene over `target`, without the permissions that an installed package may have."""
    shutil.copytree(resources.folder("examples/demo") / name, target, dirs_exist_ok=True, copy_function=shutil.copyfile)
