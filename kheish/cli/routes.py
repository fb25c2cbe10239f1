"""`kheish routes`: the ways to models."""

from kheish.cli.definitions import commands

routes = commands("routes", "route", "The ways to models: list, show, edit, put, validate, remove.")
