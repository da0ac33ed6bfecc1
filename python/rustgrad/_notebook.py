"""Jupyter notebooks without Jupyter: the code cells in order, with what a cell's last line would display."""

from __future__ import annotations

import ast
import json
import linecache
import re
import sys
from typing import Any

_RUN_BODY = ("time", "timeit", "capture", "prun")  # cell magics around Python code
_LINE_MAGIC = re.compile(r"^(?P<indent>\s*)(?P<target>[\w.,\s\[\]'\"]+=\s*)?(?P<mark>[%!]{1,2})(?P<rest>.*)$")


def code_cells(path: str) -> list[str]:
    """The sources of a notebook's code cells (nbformat 3 and 4)."""
    with open(path, encoding="utf-8") as file:
        try:
            book = json.load(file)
        except ValueError as error:
            raise ValueError(f"{path} is not a notebook: {error}") from None
    if not isinstance(book, dict):
        raise ValueError(f"{path} is not a notebook: expected a JSON object")
    cells = book.get("cells")
    if cells is None:
        cells = [cell for sheet in book.get("worksheets", []) for cell in sheet.get("cells", [])]
    sources = []
    for cell in cells:
        if cell.get("cell_type") == "code":
            source = cell.get("source", cell.get("input", ""))
            sources.append(source if isinstance(source, str) else "".join(source))
    return sources


def _plain(line: str) -> str:
    """A line without its magic or shell command; the indentation and the line count stay."""
    match = _LINE_MAGIC.match(line)
    if match is None:
        stripped = line.strip()
        if stripped.startswith("?") or (stripped.endswith("?") and "#" not in stripped):
            return line[: len(line) - len(line.lstrip())] + "pass"
        return line
    indent, target, rest = match["indent"], match["target"] or "", match["rest"].strip()
    if match["mark"] == "%" and rest.split(" ", 1)[0] == "time" and " " in rest:
        return indent + target + rest.split(" ", 1)[1]
    return indent + (target + "None" if target else "pass")


def to_python(source: str) -> str:
    """A cell's source as plain Python: ``%magic`` and ``!command`` lines do nothing."""
    first = source.lstrip()
    if first.startswith("%%"):
        head, _, body = first.partition("\n")
        words = head[2:].split()
        skipped_lines = source[: len(source) - len(first)].count("\n") + 1
        return "\n" * skipped_lines + to_python(body) if words and words[0] in _RUN_BODY else ""
    try:
        ast.parse(source)
        return source
    except SyntaxError:
        return "\n".join(_plain(line) for line in source.split("\n"))


def _silenced(source: str) -> bool:
    """A cell that ends in a semicolon displays nothing."""
    lines = [line for line in source.rstrip().split("\n") if line.strip() and not line.lstrip().startswith("#")]
    return bool(lines) and re.sub(r"#[^'\"]*$", "", lines[-1]).rstrip().endswith(";")


def display(*values: Any, **_: Any) -> None:
    """What Jupyter's ``display`` does on a plain screen."""
    for value in values:
        print(repr(value))


class _Shell:
    """The little of IPython's shell that programs ask for; its magics do nothing."""

    def run_line_magic(self, *_: Any, **__: Any) -> None:
        return None

    magic = system = run_cell_magic = run_line_magic


def run_cells(cells: list[str], name: str, namespace: dict[str, Any]) -> None:
    """Run the cells in one namespace; an exception ends the run, its traceback names the cell."""
    shell = _Shell()
    namespace.update(display=display, get_ipython=lambda: shell, In=[""], Out={})
    for number, cell in enumerate(cells, 1):
        source = to_python(cell)
        file = f"{name}, cell {number}"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        body = ast.parse(source, file)
        shown = body.body.pop() if body.body and isinstance(body.body[-1], ast.Expr) else None
        exec(compile(body, file, "exec", dont_inherit=True), namespace)
        if isinstance(shown, ast.Expr):
            value = eval(compile(ast.Expression(shown.value), file, "eval", dont_inherit=True), namespace)
            if value is not None:
                namespace["Out"][number] = namespace["_"] = value
                if not _silenced(source):
                    display(value)
        sys.stdout.flush()
