"""The file of a worker, `workers/<id>.yaml`: a machine, or a place in a cluster, that runs the tools of sessions."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from kheish.domain.routes import Slug
from kheish.settings import has_odd_characters

#: commands that a worker runs at the same time, where its file gives no number
JOBS = 4
_LABEL = r"^[a-z0-9][a-z0-9._-]{0,62}$"
Label = Annotated[str, Field(pattern=_LABEL)]
Labels = Annotated[tuple[Label, ...], Field(min_length=1, max_length=20)]
_Amount = Annotated[float, Field(gt=0, le=1_000_000)]
#: `[user@]host`, as the user's ssh configuration knows it; never an option of ssh
_SSH = re.compile(r"(?!-)([A-Za-z0-9_.][A-Za-z0-9_.-]*@)?[A-Za-z0-9_.:\[\]][A-Za-z0-9_.:%\[\]-]*")

_RAY_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*|[0-9A-Fa-f:.]+")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class WorkerFile(_Part):
    """A worker: the tools of the sessions that are placed there run on it."""

    title: Annotated[str, Field(max_length=500)] = ""
    """Its purpose, for readers."""
    carrier: Literal["ray", "ssh"]
    """`ssh`: a single machine, by `ssh HOST kheish worker --stdio`. `ray`: a place in a Ray cluster, which needs
    `kheish[ray]`."""
    address: Annotated[str, Field(min_length=1, max_length=300)]
    """ssh: `user@host`, or a host of the user's own ssh configuration. ray: `ray://head:10001`, `host:port`, or
    `auto`."""
    resources: Annotated[dict[Annotated[str, Field(min_length=1, max_length=100)], _Amount], Field(max_length=50)] = (
        Field(default_factory=dict)
    )
    """ssh: `jobs`, the commands that it runs at the same time (4 without it). ray: what it reserves, such as
    `CPU: 4`."""
    labels: Annotated[tuple[Label, ...], Field(max_length=20)] = ()
    """Words by which sessions may choose it, such as `gpu`."""
    workspace: Literal["git", "path"] = "git"
    """git: the workspace is copied there as a commit, and its result comes back as one. path: both machines share the
    file system."""
    sandbox: Literal["required", "off"] = "required"
    """required: commands run confined there, or not at all. off: they run unconfined, with the rights of the worker's
    user."""
    disabled: bool = False
    """Whether it takes no more sessions; those that are placed there wait."""

    @model_validator(mode="after")
    def _fits(self) -> WorkerFile:
        if self.carrier == "ssh":
            if not _SSH.fullmatch(self.address):
                raise ValueError("address: write user@host, or a host of your ssh configuration; options go there, too")
            if foreign := sorted(self.resources.keys() - {"jobs"}):
                raise ValueError(f"resources: {', '.join(foreign)}: a worker of the carrier ssh has `jobs` alone")
            if (jobs := self.resources.get("jobs", JOBS)) != int(jobs):
                raise ValueError(f"resources: jobs: {jobs:g} is no whole number")
        else:
            _check_ray(self.address)
            if "jobs" in self.resources:
                raise ValueError("resources: jobs: is for the carrier ssh; ray counts CPU, GPU and its own resources")
        return self

    @property
    def jobs(self) -> int | None:
        """The number of commands that it runs at the same time; None if its carrier counts them itself."""
        return int(self.resources.get("jobs", JOBS)) if self.carrier == "ssh" else None


def _check_ray(address: str) -> None:
    if address == "auto":
        return
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    try:
        is_good = parts.scheme == "ray" and parts.port and parts.path in ("", "/")
        is_good = is_good and _RAY_HOST.fullmatch(parts.hostname or "") and not has_odd_characters(address)
    except ValueError:
        is_good = False
    if not is_good or parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("address: write ray://host:port, host:port, or auto; the token is no part of it")


class WorkerChoice(_Part):
    """A choice of a worker: one by its id, or the freest of those that have all the labels."""

    id: Slug | None = None
    """The worker."""
    labels: Labels | None = None
    """The labels that the worker must have."""

    @model_validator(mode="after")
    def _one_of_both(self) -> WorkerChoice:
        if (self.id is None) == (self.labels is None):
            raise ValueError("write either id or labels")
        return self

    def __str__(self) -> str:
        return self.id if self.id is not None else f"the labels {', '.join(self.labels or ())}"


def _read(value: Any) -> Any:
    if isinstance(value, str):
        return {"id": value}
    if isinstance(value, dict) and isinstance(value.get("labels"), list):  # of JSON, which has no tuples
        return {**value, "labels": tuple(value["labels"])}
    return value


#: `big`, `{id: big}` or `{labels: [gpu]}`, as sessions, personas, phases and spawns name a worker
Choice = Annotated[WorkerChoice, BeforeValidator(_read, json_schema_input_type=Slug | WorkerChoice)]
