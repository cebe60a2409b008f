"""Schemas of what DIME writes: each table and JSON document says its schema's name and version.

A JSON document has them in its fields ``schema`` and ``version``, a parquet in its metadata. For a CSV, which cannot
say anything of itself, the document beside it does in ``tables``, file name -> ``{schema, version}``. What says nothing
was written by an earlier DIME: version 1. A version goes up when a reader has to know; ARCHITECTURE.md lists them all.
"""

import os
import re
from collections import OrderedDict
from typing import Any, Dict, Mapping, NamedTuple, Optional

from dime.contract.errors import TableError

Schema = NamedTuple("Schema", [("name", str), ("version", int)])

FEATURE_MAPS = Schema("dime.feature_maps", 1)
RUN = Schema("dime.run", 1)
TIMINGS = Schema("dime.timings", 1)
ENCODINGS = Schema("dime.encodings", 1)
OVERHEADS = Schema("dime.overheads", 1)
CLOCK = Schema("dime.clock", 1)
CLOCKS_TO_RESTORE = Schema("dime.clocks_to_restore", 1)
POWER = Schema("dime.power", 1)
POWER_QUALITY = Schema("dime.power_quality", 1)
CALIBRATION = Schema("dime.calibration", 1)
JOINT_PROFILE = Schema("dime.joint_profile", 1)
JOINT_SUMMARY = Schema("dime.joint_summary", 1)
JOINT_QUALITY = Schema("dime.joint_quality", 1)
TRANSFERS = Schema("dime.transfers", 1)
LINK = Schema("dime.link", 1)
PLAN = Schema("dime.plan", 4)
PROBLEM = Schema("dime.problem", 6)
FRONTIER = Schema("dime.frontier", 2)
REPORT = Schema("dime.report", 4)
VERIFICATION = Schema("dime.verification", 2)
VERIFICATION_RUNS = Schema("dime.verification_runs", 2)
SWEEP = Schema("dime.sweep", 1)
SWEEPS = Schema("dime.sweeps", 1)
REQUEST = Schema("dime.request", 1)
ARTIFACT = Schema("dime.artifact", 1)
EVALUATION = Schema("dime.evaluation", 1)

KEYS = ("schema", "version", "tables")  # A name of a document's own is none of these.


def stamped(schema: Schema, content: "Mapping[str, object]", **tables: Schema) -> Dict[str, object]:
    """A JSON document that says what it is, and what the tables beside it are.

    Args:
        schema: The document's schema.
        content: Its other fields.
        **tables: File name -> schema of each CSV that it speaks for.
    """
    said: Dict[str, object] = OrderedDict([("schema", schema.name), ("version", schema.version)])
    if tables:
        said["tables"] = OrderedDict(
            (name, OrderedDict([("schema", one.name), ("version", one.version)]))
            for name, one in sorted(tables.items())
        )
    said.update(content)
    return said


def version(schema: Schema, said: "Mapping[str, object]", path: object) -> int:
    """The version of a document, once it is known that this DIME reads it.

    Args:
        schema: The newest that this DIME reads.
        said: The document, or a parquet's metadata as texts.
        path: Its file, for the message.

    Raises:
        TableError: It is another kind of document, or of a later version.
    """
    if not isinstance(said, dict):
        raise TableError("{} is damaged: not an object".format(path))
    name, found = said.get("schema", schema.name), said.get("version", 1)
    if name != schema.name:
        raise TableError("{} is damaged: it is no {}, its schema says {}".format(path, schema.name, _short(name)))
    if isinstance(found, str) and re.match("[1-9][0-9]{0,8}$", found):  # a parquet's metadata are texts
        found = int(found)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise TableError("{} is damaged: its version is {}".format(path, _short(found)))
    if found > schema.version:
        raise TableError(
            "{} was written by a later version of DIME ({} {}; this one reads up to {}): update it".format(
                path, schema.name, _short(found), schema.version
            )
        )
    return found


def check_tables(known: "Mapping[str, Schema]", said: "Mapping[str, object]", path: str) -> None:
    """Makes sure that this DIME reads the tables that a document speaks for.

    Args:
        known: File name -> the newest schema that this DIME reads.
        said: The document.
        path: Its file; the tables lie beside it.

    Raises:
        TableError: One is of another kind, or of a later version.
    """
    told = said.get("tables", {})
    if not isinstance(told, dict) or not all(isinstance(one, dict) for one in told.values()):
        raise TableError("{} is damaged: its tables are no schemas".format(path))
    for name, schema in known.items():
        version(schema, told.get(name, {}), os.path.join(os.path.dirname(path), name))


def of_metadata(metadata: "Optional[Mapping[bytes, bytes]]") -> "Dict[str, str]":
    """What a parquet's metadata say of its schema."""
    about = metadata or {}
    return {name: about[name.encode()].decode("utf-8", "replace") for name in KEYS if name.encode() in about}


def without(said: "Mapping[str, object]") -> "OrderedDict[str, Any]":  # Any: each reader looks at its own fields
    """A document's own fields: what it says but its schema."""
    return OrderedDict((name, value) for name, value in said.items() if name not in KEYS)


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
