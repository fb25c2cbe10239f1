"""The applications of other protocols, by their paths; everything below a path that ends with a slash."""

from __future__ import annotations

from collections.abc import Mapping

from kheish.api.agui import serving as agui
from kheish.api.http.app import Mount
from kheish.api.mcp import serving as mcp
from kheish.api.openai import serving as openai

MOUNTS: Mapping[str, Mount] = {agui.PATH: agui.Endpoint, mcp.PATH: mcp.Endpoint, openai.BASE: openai.Endpoint}
