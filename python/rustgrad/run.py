"""Run programs written for PyTorch on rustgrad, unchanged.

    python -m rustgrad.run train.py --epochs 3
    python -m rustgrad.run notebook.ipynb
    python -m rustgrad.run -m package.module args

``import torch`` and every ``torch.x.y`` give the rustgrad modules themselves, so that a class has one identity
under both names. A process that imports torch indirectly can call :func:`install` first.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import runpy
import sys
import traceback
import types
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rustgrad import torch_version

__all__ = ["install", "main"]

_USAGE = """usage: python -m rustgrad.run [options] FILE.py [args ...]
       python -m rustgrad.run [options] FILE.ipynb [args ...]
       python -m rustgrad.run [options] -m MODULE [args ...]

Run a program written for PyTorch on rustgrad: `import torch` finds rustgrad.

options:
  --gpu-as NAME  offer the GPU under this device name (cuda)
  --version      print the version and exit
  -h, --help     print this help and exit
"""


def _own_name(name: str) -> str:
    return "rustgrad" + name[len("torch") :]


class _AliasLoader(importlib.abc.Loader):
    """Gives the module that exists under its own name, and leaves its spec as it was."""

    def __init__(self, module: types.ModuleType) -> None:
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return self.module

    def exec_module(self, module: types.ModuleType) -> None:
        module.__spec__ = self.spec
        _alias_loaded()

    def get_code(self, fullname: str) -> types.CodeType | None:  # for `-m torch.x.y`
        loader = self.spec.loader if self.spec else None
        if self.spec is None or not isinstance(loader, importlib.abc.InspectLoader):
            return None
        return loader.get_code(self.spec.name)


class _Distribution(importlib.metadata.Distribution):
    """What importlib.metadata answers about "torch"."""

    def read_text(self, filename: str) -> str | None:
        if filename in ("METADATA", "PKG-INFO"):
            return f"Metadata-Version: 2.1\nName: torch\nVersion: {torch_version.__version__!s}\n"
        return "torch\n" if filename == "top_level.txt" else None

    def locate_file(self, path: Any) -> Any:
        return importlib.util.find_spec("rustgrad").origin  # type: ignore[union-attr]


class _TorchFinder(importlib.metadata.DistributionFinder):
    """Resolves torch and torch.* to rustgrad and rustgrad.*."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "torch" and not fullname.startswith("torch."):
            return None
        own = _own_name(fullname)
        try:
            module = importlib.import_module(own)
        except ModuleNotFoundError as error:
            if error.name is not None and (own == error.name or own.startswith(error.name + ".")):
                return None
            raise
        is_package = hasattr(module, "__path__")
        return importlib.machinery.ModuleSpec(
            fullname, _AliasLoader(module), origin=getattr(module, "__file__", None), is_package=is_package
        )

    def find_distributions(
        self, context: importlib.metadata.DistributionFinder.Context | None = None
    ) -> Iterable[importlib.metadata.Distribution]:
        if context is None or context.name is None or context.name.lower() == "torch":
            yield _Distribution()


_finder = _TorchFinder()


def _alias_loaded() -> None:
    """Enter every rustgrad module that is loaded under its torch name too."""
    for name, module in list(sys.modules.items()):
        if (name == "rustgrad" or name.startswith("rustgrad.")) and module is not None:
            sys.modules.setdefault("torch" + name[len("rustgrad") :], module)


def install() -> None:
    """Make ``import torch`` in this process give rustgrad. Calling it again does nothing."""
    import rustgrad

    present = sys.modules.get("torch")
    if present is not None and present is not rustgrad:
        raise ImportError("PyTorch itself is already imported in this process: call rustgrad.run.install() before it")
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
        importlib.invalidate_caches()
    _alias_loaded()


# Running programs ------------------------------------------------------------------------------------------------


def _prepare(folder: str, argv: list[str], notebook: bool) -> None:
    install()
    sys.argv = argv
    # Python has put its own start folder first; the program expects its folder there.
    if sys.path and not sys.flags.safe_path:
        sys.path[0] = folder
    else:
        sys.path.insert(0, folder)
    # Processes that the program starts (spawned workers, launchers) find rustgrad as torch as well.
    alias = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_alias")
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if alias not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([alias, *filter(None, paths)])
    if alias not in sys.path:
        sys.path.insert(1, alias)  # a spawned worker takes over sys.path
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform in ("darwin", "win32")
    if "MPLBACKEND" not in os.environ and (notebook or not screen):
        os.environ["MPLBACKEND"] = "Agg"
        warnings.filterwarnings("ignore", message=".*non-interactive, and thus cannot be shown")


def _main_module(path: str) -> types.ModuleType:
    """A fresh __main__ for the program, so that its classes can be pickled."""
    module = types.ModuleType("__main__")
    module.__dict__.update(__file__=path, __builtins__=__builtins__, __spec__=None, __cached__=None)
    sys.modules["__main__"] = module
    return module


def run_script(path: str, args: Sequence[str] = ()) -> None:
    """Run a Python file as ``python path args`` would, with rustgrad as torch."""
    with open(path, "rb") as file:
        source = file.read()
    _prepare(os.path.dirname(os.path.realpath(path)), [path, *args], notebook=False)
    module = _main_module(path)
    exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)


def run_module(name: str, args: Sequence[str] = ()) -> None:
    """Run a module as ``python -m name args`` would, with rustgrad as torch."""
    _prepare(os.getcwd(), [name, *args], notebook=False)
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def run_notebook(path: str, args: Sequence[str] = ()) -> None:
    """Run the code cells of a notebook in order, from the notebook's folder as Jupyter does."""
    from rustgrad import _notebook

    cells = _notebook.code_cells(path)
    full = os.path.realpath(path)
    _prepare(os.path.dirname(full), [path, *args], notebook=True)
    os.chdir(os.path.dirname(full))
    _notebook.run_cells(cells, os.path.basename(path), _main_module(full).__dict__)


_OUR_FILES = (__file__, os.path.join(os.path.dirname(__file__), "_notebook.py"), runpy.__file__, "<frozen runpy>")


def _report(error: BaseException) -> None:
    """Print the traceback from the program's first line on, without the lines of this runner."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in _OUR_FILES:
        trace = trace.tb_next
    if sys.excepthook is sys.__excepthook__:
        traceback.print_exception(type(error), error, trace)  # unlike the built-in hook it knows notebook cells
    else:
        sys.excepthook(type(error), error.with_traceback(trace), trace)


def _fail(message: str) -> int:
    print(f"rustgrad.run: {message}", file=sys.stderr)
    return 2


def _take_options(argv: list[str]) -> Iterator[tuple[str, str | None]]:
    """The runner's own options, taken off the front of argv."""
    while argv and argv[0].startswith("-") and argv[0] != "-m":
        option, _, value = argv.pop(0).partition("=")
        if option == "--gpu-as":
            yield option, value or (argv.pop(0) if argv else None)
        else:
            yield option, value or None


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    args = list(sys.argv[1:] if argv is None else argv)
    for option, value in _take_options(args):
        if option in ("-h", "--help"):
            print(_USAGE, end="")
            return 0
        if option == "--version":
            print(torch_version.__version__)
            return 0
        if option == "--gpu-as":
            if value != "cuda":
                return _fail("--gpu-as takes the name cuda")
            from rustgrad import cuda, gpu

            if not gpu.is_available():
                return _fail("--gpu-as cuda: no GPU was found; run without it to use the CPU")
            cuda.offer_gpu()
            continue
        return _fail(f"unknown option {option}\n{_USAGE.rstrip()}")
    if not args:
        print(_USAGE, end="", file=sys.stderr)
        return 2
    try:
        if args[0] == "-m":
            if len(args) < 2:
                return _fail("-m needs a module name")
            run_module(args[1], args[2:])
        elif not os.path.isfile(args[0]):
            return _fail(f"can't open file {args[0]!r}: no such file")
        elif args[0].endswith(".ipynb"):
            run_notebook(args[0], args[1:])
        else:
            run_script(args[0], args[1:])
    except SystemExit:
        raise
    except KeyboardInterrupt as error:
        _report(error)
        return 130
    except BaseException as error:
        _report(error)
        return 1
    return 0


if __name__ == "__main__":
    from rustgrad.run import main as _main  # the module under its own name, not a second copy of it

    sys.exit(_main())
