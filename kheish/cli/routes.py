"""`kheish routes`: manage routes to models."""

from kheish.cli.definitions import commands

routes = commands("routes", "route", "Manage routes to models: list, show, edit, put, validate, remove.")
