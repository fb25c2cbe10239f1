"""The router finds what Falcon's own finds."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from falcon.routing import DefaultRouter

from kheish.api.http.routing import Router
from kheish.api.operations import OPERATIONS


class Resource:
    """A resource that can be read and changed."""

    async def on_get(self, *_: Any, **__: Any) -> None:
        """Answer nothing."""

    async def on_put(self, *_: Any, **__: Any) -> None:
        """Answer nothing."""


TEMPLATES = sorted({operation.path for operation in OPERATIONS})
OTHERS = ["/", "/console/{version}/{name:path}", "/a/{x}/b", "/a/c/d/{y}", "/a/c", "/a/{x}/{z}/e"]
#: what callers send beside the paths themselves
ODD = ["", "/v1", "/v1/", "//", "/a/c/b", "/a/c/d", "/a/c/d/e", "/a//b", "/a/c/", "/console/3/x/y.js", "/console/3/",
       "/console/3", "/v1/runs/cancel/events", "/v1/unknown/thing", "/ v1/runs"]  # fmt: skip


def routers() -> tuple[Router, Any]:
    """Return both routers, with the same paths."""
    ours, falcons = Router(), DefaultRouter()
    for template in (*TEMPLATES, *OTHERS):
        resource = Resource()
        ours.add_route(template, resource)
        falcons.add_route(template, resource, _asgi=True)
    return ours, falcons


def test_that_each_path_is_found_as_by_falcon() -> None:
    ours, falcons = routers()
    literals = sorted({part for template in TEMPLATES for part in template.split("/") if part and "{" not in part})
    values = itertools.cycle(["x", "a b", "é", "%2F", *literals])
    paths = [re.sub(r"\{[^}]*\}", lambda _: next(values), template) for template in (TEMPLATES + OTHERS) * 20]
    for path in (*paths, *(f"{path}/more" for path in paths), *(path.rpartition("/")[0] for path in paths), *ODD):
        expected, found = falcons.find(path), ours.find(path)
        assert (found is None) == (expected is None), path
        if found is not None:
            assert (found[0], found[2], found[3]) == (expected[0], expected[2], expected[3]), path
            assert set(found[1]) == set(expected[1]) and found[1]["GET"] == expected[1]["GET"], path


def test_that_a_path_is_added_once_and_its_variables_have_one_name() -> None:
    router = Router()
    router.add_route("/a/{x}", Resource())
    with pytest.raises(AssertionError, match="twice"):
        router.add_route("/a/{x}", Resource())
    with pytest.raises(AssertionError, match="another path"):
        router.add_route("/a/{y}/b", Resource())
