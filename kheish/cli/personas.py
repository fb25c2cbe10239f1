"""`kheish personas`: instruction texts for sessions."""

from kheish.cli.definitions import commands

personas = commands("personas", "persona", "Instruction texts: list, show, edit, put, validate, remove.")
