"""`/openapi.json`: OpenAPI 3.1, generated from the models and the table of operations; and `/docs`, its page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
from falcon.asgi import Request, Response
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from kheish import errors, resources
from kheish.api.http import media
from kheish.api.http.answer import Free, Problem, model_of
from kheish.api.http.errors import MEDIA
from kheish.api.http.operation import COMMON, GUARDED, WRITES, Operation, bind, get
from kheish.api.http.paging import Param

Json = dict[str, Any]
DOCS = "/docs"
#: references to schemas, by model and mode
References = Mapping[tuple[Any, JsonSchemaMode], Json]
_REF = "#/components/schemas/{model}"
_SECURITY = {
    "token": {"type": "http", "scheme": "bearer"},
    "login": {
        "type": "apiKey",
        "in": "cookie",
        "name": "kheish-4000",
        "description": "A browser's login (`kheish login`); the name ends with the port. Changes need "
        "the header `X-Kheish-CSRF` as well, with the `csrf` of `GET /v1/auth/login`, and comes from a page of the "
        "same origin.",
    },
}
#: a Definition's file in its own format: its YAML or Markdown, which `schemas/` describes better than a type
_TEXT = {"description": "The file's own text."}
_HEADERS = {
    "X-Kheish-Event": "The newest event of the change; a stream from there misses nothing.",
    "Location": "The URL of the created object.",
    "Set-Cookie": "The login.",
    "ETag": "The git blob id of the file.",
}


class Description:
    """The resource of `/openapi.json`.

    `operations` is called late, because the list is not complete when a resource is bound.
    """

    def __init__(self, services: object, operations: Callable[[], Sequence[Operation]]) -> None:
        self._operations = operations

    async def openapi(self, req: Request, resp: Response) -> None:
        """Answer with the description."""
        media.send(resp, _rendered(self._operations))


class Docs:
    """A page that shows the description. It loads nothing from other hosts, and is no operation."""

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer with the page."""
        resp.content_type = "text/html; charset=utf-8"
        resp.set_header(
            "Content-Security-Policy",
            "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
            "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        )
        resp.data = _page(Path(__file__).with_name("docs.html"))


def operations(all_of_them: Callable[[], Sequence[Operation]]) -> tuple[Operation, ...]:
    """Return the operation that returns the description of all operations, itself included."""
    make = partial(Description, operations=all_of_them)
    return bind(
        make,
        get("/openapi.json", Description.openapi, "This description.", Free, early=True, tie="none"),
    )


@cache
def _page(path: Path) -> bytes:
    return path.read_bytes()


@cache
def _rendered(operations: Callable[[], Sequence[Operation]]) -> bytes:
    return orjson.dumps(document(operations()))


def document(operations: Sequence[Operation]) -> Json:
    """Return the description of operations as plain data."""
    references, schemas = _schemas(operations)
    paths: Json = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kheish",
            "version": resources.version(),
            "description": "Runs AI agents as durable services. Errors are RFC 9457 problems with a stable `code`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}, {"login": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in operations)],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": _SECURITY,
            "responses": {str(status): _problem(status) for status in _statuses(operations)},
        },
    }


def _schemas(operations: Sequence[Operation]) -> tuple[References, Json]:
    """Return the references by model, and their schemas."""
    models: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(model_of(Problem), "serialization"): None}
    for operation in operations:
        if operation.body is not None:
            models[operation.body, "validation"] = None
        if (answer := operation.answer_model) is not None:
            models[answer, "serialization"] = None
    schemas, definitions = models_json_schema(
        list(models), ref_template=_REF, schema_generator=GenerateJsonSchema, title="Kheish"
    )
    return schemas, definitions.get("$defs", {})


def _statuses(operations: Sequence[Operation]) -> list[int]:
    return sorted({*COMMON, *WRITES, 412, 404, 409, *(status for one in operations for status in one.problems)})


def _problem(status: int) -> Json:
    codes = sorted({kind.code for kind in _errors(errors.KheishError) if kind.status == status})
    suffix = f" Codes: {', '.join(f'`{code}`' for code in codes)}." if codes else ""
    schema = {"$ref": _REF.format(model="Problem")}
    return {"description": f"{HTTPStatus(status).phrase}.{suffix}", "content": {MEDIA: {"schema": schema}}}


def _errors(kind: type[errors.KheishError]) -> Iterator[type[errors.KheishError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__.startswith(f"{errors.__name__}."):
            yield from _errors(child)


def _operation(operation: Operation, references: References) -> Json:
    described: Json = {
        "operationId": operation.name,
        "summary": operation.about,
        "tags": [operation.tag],
        "parameters": [*_path_parameters(operation), *map(_query_parameter, operation.query), *_headers(operation)],
        "responses": _responses(operation, references),
    }
    if operation.open:
        described["security"] = []
    if operation.body is not None:
        content: Json = {operation.takes: {"schema": references[operation.body, "validation"]}}
        if operation.text:
            content[media.YAML] = {"schema": _TEXT}
        described["requestBody"] = {"required": operation.text or operation.takes == media.FORM, "content": content}
    return described


def _path_parameters(operation: Operation) -> Iterator[Json]:
    for part in operation.path.split("/"):
        if part.startswith("{"):
            yield {"name": part.strip("{}"), "in": "path", "required": True, "schema": {"type": "string"}}


def _query_parameter(param: Param) -> Json:
    kinds: dict[str, Json] = {
        "count": {"type": "integer", "minimum": param.least}
        | ({"maximum": param.most} if param.most is not None else {}),
        "flag": {"type": "boolean"},
        "duration": {"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h|d|w)$"},
        "choice": {"type": "string", "enum": list(param.choices)},
        "text": {"type": "string", "minLength": 1},
    }
    schema = kinds[param.kind]
    if param.many:
        schema = {"type": "array", "items": schema}
    described: Json = {"name": param.name, "in": "query", "description": param.about, "schema": schema}
    if param.required:
        described["required"] = True
    return described | ({"style": "form", "explode": True} if param.many else {})


def _headers(operation: Operation) -> Iterator[Json]:
    names: list[tuple[str, str, Json]] = []
    if operation.key:
        names.append(("Idempotency-Key", "The same key with the same request gives the same answer.", {}))
    if operation.media == "text/event-stream":
        names.append(("Last-Event-ID", "As `after`, with precedence over it.", {"pattern": r"^\d{1,18}$"}))
    if 412 in operation.problems:
        names.append(("If-Match", "The ETag of the content to replace.", {}))
    if operation.method == "PUT":
        names.append(("If-None-Match", "`*` only creates: 412 if it exists.", {"const": "*"}))
    for name, about, bounds in names:
        yield {"name": name, "in": "header", "description": about, "schema": {"type": "string", **bounds}}


def _responses(operation: Operation, references: References) -> Json:
    responses: Json = {}
    for status in operation.good:
        responses[str(status)] = {"description": HTTPStatus(status).phrase, "headers": _answer_headers(operation)}
        if status not in (204, 303):
            responses[str(status)]["content"] = _content(operation, references)
    errors_ = {*COMMON, *operation.problems, *(WRITES if operation.body is not None else ())}
    if operation.open:
        errors_ = {403, 421, 500, 503, *operation.problems}
    if operation.method in GUARDED:
        errors_.add(412)
    for status in sorted(errors_):
        responses[str(status)] = {"$ref": f"#/components/responses/{status}"}
    return responses


def _content(operation: Operation, references: References) -> Json:
    answer = operation.answer_model
    if answer is None:
        kinds = (operation.media, operation.or_media)
        return {kind: {"schema": {"type": "string"}} for kind in kinds if kind is not None}
    schema = references[answer, "serialization"]
    if operation.page:
        schema = {
            "type": "object",
            "required": ["items", "next_cursor"],
            "properties": {
                "items": {"type": "array", "items": schema},
                "next_cursor": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
        }
    content: Json = {operation.media: {"schema": schema}}
    if operation.text and operation.method != "POST":
        content[media.YAML] = {"schema": _TEXT}
    return content


def _answer_headers(operation: Operation) -> Json:
    names = []
    if operation.media == "text/event-stream" or operation.method != "GET":
        names.append("X-Kheish-Event")
    if operation.takes == media.FORM:
        names += ["Location", "Set-Cookie"]
    if 201 in operation.good or 202 in operation.good:
        names.append("Location")
    if operation.text and operation.method != "POST":
        names.append("ETag")
    return {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in names}
