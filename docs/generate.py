"""Pages that are made from the code: commands with their options, files with their columns, the notebook's page."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from dime.contract import run, schemas, tables
from dime.host.cli import arguments
from dime.host.cli.main import COMMANDS

HERE = Path(__file__).resolve().parent
NOTEBOOK = HERE / "from_python.ipynb"


def write(folder: Path) -> None:
    """Writes all pages; one that is there and the same is left alone, so that builds are quick."""
    pages = {
        "commands.md": "\n".join(commands()),
        "files.md": "\n".join(files()),
        "from_python.md": "\n".join(notebook(NOTEBOOK)),
    }
    folder.mkdir(exist_ok=True)
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text + "\n":
            path.write_text(text + "\n", encoding="utf-8")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def commands() -> Iterator[str]:
    """The reference of commands: what each does, its examples, every option with its default."""
    yield "# Commands and options"
    yield ""
    yield "Options are written `--name=value`; with make they are `NAME=value`. Numbers may have their unit where one"
    yield "is named."
    for path, command in _leaves(COMMANDS, ()):
        text = inspect.getdoc(command) or ""
        told, _, examples = text.partition("\nExamples:\n")
        yield from ["", f"## dime {' '.join(path)}", "", *(_cell(line) for line in told.strip().splitlines())]
        if examples:
            yield from ["", "```", *(line.strip() for line in examples.strip().splitlines()), "```"]
        options = arguments.options(command)
        if options:
            yield from ["", "| option | default | what it does |", "|---|---|---|"]
        for name, option in options.items():
            default = "needed" if option.needed else "" if option.default in (None, "") else f"`{option.default}`"
            unit = f" (in {option.unit} where no unit is given)" if option.unit else ""
            yield f"| `--{name.replace('_', '-')}` | {default} | {_cell(option.help)}{unit} |"


def _leaves(group: Mapping[str, object], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    for name, command in group.items():
        if isinstance(command, Mapping):
            yield from _leaves(command, (*path, name))
        else:
            yield (*path, name), command


def files() -> Iterator[str]:
    """The reference of files: every schema with its version, and the columns of the tables that are typed."""
    yield from ["# Files and their columns", ""]
    yield "Every table and document says its schema and version. What an earlier version of DIME wrote is read; what a"
    yield "later one wrote is refused in one line."
    yield from ["", "| schema | version |", "|---|---|"]
    for schema in sorted({one for one in vars(schemas).values() if isinstance(one, schemas.Schema)}):
        yield f"| `{schema.name}` | {schema.version} |"
    for name, table in sorted(vars(tables).items()):
        if isinstance(table, tuple) and table and all(isinstance(one, tables.Column) for one in table):
            yield from ["", f"## {name.lower()}", "", "| column | type | what it holds | rule |", "|---|---|---|---|"]
            for column in table:
                rule = ", ".join(filter(None, [column.rule, "may be missing" if column.optional else ""]))
                yield f"| `{column.name}` | {column.kind.__name__} | {_cell(column.meaning)} | {_cell(rule)} |"
    yield from ["", "## run.json", "", "| field | what it holds |", "|---|---|"]
    for field, meaning in [*run.SPEC_FIELDS.items(), *run.OBSERVED_FIELDS.items()]:
        yield f"| `{field}` | {_cell(meaning)} |"


def notebook(path: Path) -> Iterator[str]:
    """A notebook's cells as a page, without what they print: that is of whoever runs it."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        yield from [source, ""] if cell["cell_type"] == "markdown" else ["```python", source, "```", ""]
