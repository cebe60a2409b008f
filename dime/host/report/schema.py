"""report.json's JSON schema: ``python -m dime.host.report.schema > dime/host/report/report.schema.json``."""

from __future__ import annotations

import inspect
import json
import re
import types
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from dime.contract import schemas
from dime.host.report import model

FILE = "report.schema.json"
SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
Schema = dict[str, Any]  # Any: a JSON schema, as json writes it


def make() -> Schema:
    """The JSON schema (draft 2020-12) of report.json, from the types in ``dime.host.report.model``."""
    known: dict[str, Schema] = {}
    _of(model.Document, known)
    document = known.pop("Document")
    document["properties"]["schema"]["const"], document["properties"]["version"]["const"] = schemas.REPORT
    said = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": schemas.REPORT.name}
    return {**said, **document, "$defs": dict(sorted(known.items()))}


def text() -> str:
    """The file."""
    return json.dumps(make(), indent=1) + "\n"


def _of(kind: Any, known: dict[str, Schema]) -> Schema:  # Any: a type, of whatever form annotations have
    """A type's schema; those of objects go by their names into ``known``."""
    if is_typeddict(kind):
        if kind.__name__ not in known:
            known[kind.__name__] = _object(kind, known)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    if get_origin(kind) is list:
        return {"type": "array", "items": _of(get_args(kind)[0], known)}
    if get_origin(kind) in (Union, types.UnionType):
        return {"anyOf": [_of(one, known) for one in get_args(kind)]}
    return {"type": SIMPLE[kind]}


def _object(kind: Any, known: dict[str, Schema]) -> Schema:  # Any: a type, of whatever form annotations have
    fields = get_type_hints(kind)
    told = _told(kind)
    return {
        "description": (inspect.getdoc(kind) or "").partition("\n")[0],
        "type": "object",
        "properties": {
            name: {**_of(one, known), **({"description": told[name]} if name in told else {})}
            for name, one in fields.items()
        },
        "required": list(fields),
        "additionalProperties": False,
    }


def _told(kind: Any) -> dict[str, str]:  # Any: a type, of whatever form annotations have
    """What a class's docstring says of each attribute."""
    _, _, lines = (inspect.getdoc(kind) or "").partition("\nAttributes:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", lines, re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in found}


if __name__ == "__main__":
    print(text(), end="")
