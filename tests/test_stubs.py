"""What type checkers are told of the core is what the core says of itself."""

import ast
import importlib.util
import pathlib

import rustgrad

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = pathlib.Path(rustgrad.__file__).parent


def _script():
    spec = importlib.util.spec_from_file_location("stubs", ROOT / "tools" / "stubs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_checked_in_stub_is_the_generated_one():
    script = _script()
    # Not `==` in the assert: the difference of two long texts takes pytest minutes.
    same = script.PATH.read_text() == script.generate()
    assert same, "python/rustgrad/_core.pyi is out of date: run python tools/stubs.py"


def test_stub_is_python_and_knows_every_name():
    script = _script()
    tree = ast.parse(script.PATH.read_text())
    declared = script._members(tree)
    known = {n for n in dir(rustgrad._core) if not n.startswith("__")}
    assert not known - set(declared)
    tensor = script._members(declared["Tensor"])
    assert not {n for n in dir(rustgrad.Tensor) if not n.startswith("__")} - set(tensor)


def test_schema_lines_become_signatures():
    script = _script()
    results = script.Results()
    doc = "f(Tensor self, int dim=-1, *, ScalarType? dtype=None) -> Tensor\nf(Tensor self, int[] size)\n\nDoes it."
    assert script._op("f", doc, results, method=True) == (
        "@overload\ndef f(self, dim: _Int = -1, *, dtype: _OpDtype | None = None) -> Tensor: ...\n"
        "@overload\ndef f(self, size: Sequence[_Int]) -> Tensor: ...\n"
        "@overload\ndef f(self, *size: _Int) -> Tensor: ...\n"
    )
    assert "input: Tensor" in script._op("f", "f(Tensor self)", results)
    assert script._op("f_", "f(Tensor self)", results, method=True) == "def f_(self) -> Self: ...\n"
    assert script._op("g", "g(Tensor... tensors) -> (Tensor values, Tensor indices)", results).count("_values_indices") == 2
    assert "class _values_indices(NamedTuple):\n    values: Tensor\n" in results.text()


def test_lazy_names_are_declared_for_type_checkers():
    text = (PACKAGE / "__init__.py").read_text()

    def exists(module):
        path = PACKAGE.joinpath(*module.split("."))
        return path.is_dir() or path.with_suffix(".py").exists()

    for name in rustgrad._LAZY - {"torch_version"}:
        assert not exists(name) or f" import {name} as {name}\n" in text, name
    for name, (module, attribute) in rustgrad._LAZY_NAMES.items():
        assert not exists(module) or f" import {attribute} as {name}\n" in text, name


def test_package_is_marked_as_typed():
    assert (PACKAGE / "py.typed").exists()
