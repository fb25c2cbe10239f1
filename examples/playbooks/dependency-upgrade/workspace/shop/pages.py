"""Addresses of pages."""

from slugs import slug


def address(title):
    return "/p/" + slug(title)
