"""The checks of a model over several of its fields, for a file that has errors in some of them.

pydantic runs such checks only once every field is valid, so that a user would learn of them after the first repair.
Here the invalid fields count as given, with any value. A check that stumbles over such a value has no result.
"""

from __future__ import annotations

import json
import re
import threading
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError, create_model

from kheish.store.edits.yaml12 import Keys

#: objects of a file whose checks run once more
_OBJECTS = 20
#: CPython 3.11 fails where several threads parse the annotations of new models at once
_MAKING = threading.Lock()


def causes(model: type[BaseModel], data: Mapping[str, Any], wrong: Sequence[Keys]) -> list[tuple[Keys, Exception]]:
    """Return the errors of checks that did not run, with the place of their object. `wrong` are the places of the known
    errors; that of a missing key includes the key."""
    found: list[tuple[Keys, Exception]] = []
    for number, (keys, one, value, inner) in enumerate(_objects(model, data, (), wrong)):
        if number == _OBJECTS:
            break
        found += [(keys, cause) for cause in _checked(one, value, {place[0] for place in inner})]
    return found


def _objects(
    model: type[BaseModel], data: Any, at: Keys, wrong: Sequence[Keys]
) -> Iterator[tuple[Keys, type[BaseModel], Mapping[str, Any], Sequence[Keys]]]:
    """Yield each object that has errors in its fields, and whose own check has not run."""
    if not isinstance(data, Mapping) or not wrong or () in wrong:
        return
    yield at, model, data, wrong
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    for key in dict.fromkeys(place[0] for place in wrong):
        field = fields.get(str(key))
        inner = next(iter(_models(field.annotation)), None) if field is not None else None
        if inner is None:
            continue
        below = [place[1:] for place in wrong if place[0] == key]
        value = data.get(str(key))
        if isinstance(value, list):
            for number in dict.fromkeys(place[0] for place in below if place):
                rest = [place[1:] for place in below if place and place[0] == number]
                if isinstance(number, int) and number < len(value):
                    yield from _objects(inner, value[number], (*at, key, number), rest)
        else:
            yield from _objects(inner, value, (*at, key), below)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models in a field's type: of a list its items', of a union each member."""
    if parts := typing.get_args(annotation):
        for part in parts:
            yield from _models(part)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation


def _checked(model: type[BaseModel], data: Mapping[str, Any], wrong: set[str | int]) -> list[Exception]:
    """Return the errors of the model's own checks, with any value for its invalid fields."""
    names = {field.alias or name: name for name, field in model.model_fields.items()}
    loose: Any = {names[key]: (Any, None) for key in names.keys() & wrong}
    with _MAKING:
        lenient = create_model(model.__name__, __base__=model, **loose)
    known = {names.get(key, key): value for key, value in data.items() if key in names or key not in wrong}
    given = {str(known.get(name)) for name in loose}
    for _ in range(2):
        try:
            lenient.model_validate_json(json.dumps(known), strict=True)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
            refused = {detail["loc"][0] for detail in details if detail["loc"]}
            if not refused & known.keys():
                found = [cause for one in details if isinstance(cause := one.get("ctx", {}).get("error"), Exception)]
                # an error that quotes an invalid value follows from it
                return [cause for cause in found if not mentions(str(cause), given)]
            known = {name: value for name, value in known.items() if name not in refused}  # by the field's own check
        except (TypeError, AttributeError, LookupError, ArithmeticError):  # a check that met an invalid value
            break
        else:
            break
    return []


def mentions(text: str, words: Iterable[str]) -> bool:
    """Return whether one of some words stands in a text by itself."""
    return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) for word in words)
