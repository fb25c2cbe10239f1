"""`kheish personas`: manage instruction texts for sessions."""

from kheish.cli.definitions import commands

personas = commands("personas", "persona", "Manage instruction texts: list, show, edit, put, validate, remove.")
