"""The files that a change concerns. Only they are checked, so that a save costs the same with ten Definitions and with
ten thousand.

A file's check depends on the file, on those beside it (a Playbook's folder; for routes all of the folder, since a route
names its script), and on whether its references resolve. The files outside of the concerned set refer to none that
appears or disappears, so their outcome stands. *Rejected:* checking everything with the parsed files kept in memory:
its loops and copies still grow with the number of Definitions, at each save.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kheish.authoring import naming, skills as skill_files
from kheish.authoring.playbooks import files as playbook_files
from kheish.authoring.sources import Source, kind_of
from kheish.domain.definitions import InForce
from kheish.store.edits.problems import Problem

ROUTES = "routes/"
#: problems that a file may have because of another file, or of the tasks of its project
_RELATIVE = frozenset({
    "bad_name", "dangling_reference", "definition_referenced", "name_taken", "project_has_tasks", "reference_cycle",
})  # fmt: skip
_REFERRING = frozenset({"config", "playbooks", "routes"})


def is_unsettled(path: str, problems: Iterable[Problem]) -> bool:
    """Return whether a file's problems may change by a change of any other file."""
    kind = kind_of(path)
    may_refer = kind is not None and kind.name in _REFERRING
    return any(one.code in _RELATIVE or (may_refer and one.severity == "error") for one in problems)


def of(changed: Iterable[str], sources: Mapping[str, Source], in_force: InForce) -> frozenset[str]:
    """Return the changed files, and those beside them."""
    concerned = set(changed)
    if any(path.startswith(ROUTES) for path in concerned):
        concerned |= {path for path in sources if path.startswith(ROUTES)}
        concerned |= {one.path for one in in_force.by_kind["routes"].values()}
    if folders := {folder for path in concerned if (folder := playbook_files.folder_of(path)) is not None}:
        concerned |= {path for path in sources if playbook_files.folder_of(path) in folders}
        concerned |= {f"{folder}{playbook_files.MANIFEST}" for folder in folders}
    if skills := {folder for path in concerned if (folder := skill_files.folder_of(path)) is not None}:
        concerned |= {path for path in sources if skill_files.folder_of(path) in skills}
    concerned |= {twin for path in concerned if (twin := naming.twin_of(path)) is not None and twin in sources}
    return frozenset(concerned)


def with_users(concerned: frozenset[str], sources: Mapping[str, Source], in_force: InForce) -> frozenset[str]:
    """Return also the files that refer to one of them, those that refer to these, and so on."""
    while True:
        users = {user for path in concerned for user in in_force.bindings(path)}
        if users <= concerned:
            return concerned
        concerned = of(concerned | users, sources, in_force)
