"""`kheish workers`: manage the machines that run the tools of sessions."""

from __future__ import annotations

from kheish.cli.definitions import commands

workers = commands("workers", "worker", "Manage workers: machines that run the tools of sessions.")
