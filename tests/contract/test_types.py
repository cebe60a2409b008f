"""What the types of documents say, beside what the code that writes and reads them knows."""

import ast
import os

import dime
from dime.contract import messages, run, surroundings, tables

CONTRACT = os.path.join(os.path.dirname(dime.__file__), "contract")


def typed(module):
    """Name -> names of its fields, for each TypedDict of a module."""
    with open(os.path.join(CONTRACT, module + ".py"), encoding="utf-8") as stream:
        tree = ast.parse(stream.read())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "")]
    return {
        ast.literal_eval(call.args[0]): [ast.literal_eval(key) for key in call.args[1].keys]
        for call in calls
        if call.func.id == "TypedDict"
    }


def test_a_run_has_the_attributes_of_its_fields():
    assert list(run.RunSpec.__annotations__) == list(run.SPEC_FIELDS) + list(run.OBSERVED_FIELDS)


def test_a_row_of_timings_has_the_columns_of_its_table():
    assert typed("tables")["Timing"] == tables.header(tables.TIMINGS)


def test_what_surrounds_a_run_has_its_fields():
    assert typed("surroundings")["Noted"] == list(surroundings.FIELDS)


def test_every_message_has_a_type():
    named = {kind: "Text" if fields == ("text",) else kind.capitalize() for kind, fields in messages.KINDS.items()}
    wanted = {named[kind]: ["kind"] + list(fields) for kind, fields in messages.KINDS.items()}
    assert typed("messages") == wanted
