"""Shows reports of a folder, also as PDF."""

import subprocess
from pathlib import Path

REPORTS = Path("reports").resolve()


def show(name):
    return (REPORTS / name).read_text()


def as_pdf(name):
    return subprocess.run(f"pandoc reports/{name} -o -", shell=True, capture_output=True, check=True).stdout
