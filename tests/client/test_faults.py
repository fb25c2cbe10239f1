"""Problem documents and the error tree stand for each other."""

import json

import pytest

from kheish import errors
from kheish.client import faults
from kheish.errors import KheishError
from tests.support.daemon_standin import problem


def tree(kind: type[KheishError]) -> list[type[KheishError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in tree(child))]


FAULT = {"path": "/a", "message": "b"}
CLASSES = [one for one in tree(KheishError)[1:] if one.__module__ == "kheish.errors" and "code" in vars(one)]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_code_leads_back_to_its_class(kind: type[KheishError]) -> None:
    status, document = problem(kind.status, kind.code)

    assert type(faults.from_reply(status, json.dumps(document).encode())) is kind


def test_an_unknown_code_falls_back_to_the_status_and_keeps_all_members() -> None:
    status, document = problem(409, "of_a_later_version", decided_by="token:ann", errors=[FAULT])

    error = faults.from_reply(status, json.dumps(document).encode())

    assert type(error) is errors.Conflict
    assert error.extra["decided_by"] == "token:ann"
    assert error.errors == (errors.Fault("/a", "b"),)
    assert faults.as_problem(error) == document


def test_what_is_no_kheish_answer_says_so() -> None:
    error = faults.from_reply(404, b"<html>nginx</html>")

    assert isinstance(error, errors.NotFound)
    assert "Is it a Kheish daemon" in error.detail and "nginx" in error.detail
