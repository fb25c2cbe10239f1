"""Trust in outputs: the commands that get deliveries."""

from __future__ import annotations

from kheish.api.trusting.frame import Files
from kheish.domain.outputs.definition import FOLDER as FOLDER


class Trusting(Files):
    """The outputs, with their trust."""

    kind = "outputs"
    shown_kind = "output"
