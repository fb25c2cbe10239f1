"""Shows reports of a folder."""

from pathlib import Path

REPORTS = Path("reports").resolve()


def show(name):
    path = (REPORTS / name).resolve()
    if not path.is_relative_to(REPORTS):
        raise PermissionError(name)
    return path.read_text()
