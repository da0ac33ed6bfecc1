"""`python -m rustgrad.run`: programs written for PyTorch find rustgrad under its name."""

import json
import os
import subprocess
import sys

import pytest

from rustgrad.torch_version import TorchVersion


def run(*args, cwd, **environment):
    env = {k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-m", "rustgrad.run", *args],
        cwd=cwd,
        env={**env, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


def script(folder, text, *args, name="program.py"):
    (folder / name).write_text(text)
    return run(name, *args, cwd=folder)


def notebook(folder, *cells, name="book.ipynb"):
    code = [{"cell_type": "code", "source": cell} for cell in cells]
    book = {"nbformat": 4, "cells": [{"cell_type": "markdown", "source": ["# title"]}, *code]}
    (folder / name).write_text(json.dumps(book))
    return run(name, "argument", cwd=folder)


def test_torch_is_rustgrad(tmp_path):
    text = """
import sys
import torch, torch.nn as nn
import torch.nn.functional as F
import torch.utils.data
from torch.optim.optimizer import Optimizer
import rustgrad, rustgrad.nn.functional
assert torch is rustgrad and nn is rustgrad.nn and F is rustgrad.nn.functional
assert sys.modules["torch.nn.functional"] is sys.modules["rustgrad.nn.functional"]
assert F.__spec__.name == "rustgrad.nn.functional"
from rustgrad.optim.optimizer import Optimizer as Same
assert Optimizer is Same
print("same")
"""
    assert script(tmp_path, text) == (0, "same\n", "")


def test_script_environment(tmp_path):
    text = "import sys, os\nprint(__name__, sys.argv, sys.path[0] == os.getcwd(), __file__)"
    assert script(tmp_path, text, "--epochs", "3")[1] == "__main__ ['program.py', '--epochs', '3'] True program.py\n"


def test_neighbouring_modules_are_found(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "helper.py").write_text("import torch\nvalue = torch.__name__")
    (inner / "program.py").write_text("import helper\nprint(helper.value)")
    assert run("inner/program.py", cwd=tmp_path) == (0, "rustgrad\n", "")


def test_version(tmp_path):
    text = """
import importlib.metadata, torch
version = importlib.metadata.version("torch")
print(version == torch.__version__, version.startswith("2."), type(torch.__version__).__name__)
print(torch.__version__ >= (2, 0), torch.__version__ < "3")
"""
    assert script(tmp_path, text) == (0, "True True TorchVersion\nTrue True\n", "")


def test_missing_submodule(tmp_path):
    code, _, err = script(tmp_path, "import torch\nimport torch.no_such_thing")
    assert code == 1
    assert err.splitlines()[-1] == "ModuleNotFoundError: No module named 'torch.no_such_thing'"


def test_traceback_shows_only_the_program(tmp_path):
    code, _, err = script(tmp_path, "def f():\n    raise ValueError('boo')\nf()\n")
    assert code == 1
    assert err.startswith("Traceback (most recent call last):\n")
    assert "raise ValueError('boo')" in err
    assert "rustgrad" not in err
    assert err.splitlines()[-1] == "ValueError: boo"


def test_syntax_error(tmp_path):
    code, _, err = script(tmp_path, "x = = 2\n")
    assert code == 1
    assert "SyntaxError: invalid syntax" in err
    assert "Traceback" not in err


def test_exit_status(tmp_path):
    assert script(tmp_path, "import sys\nsys.exit(7)")[0] == 7
    assert script(tmp_path, "raise SystemExit('stop')") == (1, "", "stop\n")


def test_child_processes_see_the_same(tmp_path):
    text = """
import multiprocessing, subprocess, sys

def work(queue):
    import torch
    queue.put(torch.__name__)

if __name__ == "__main__":
    out = subprocess.run([sys.executable, "-c", "import torch.nn; print(torch.__name__)"], capture_output=True, text=True)
    print(out.stdout.strip(), out.stderr)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    worker = context.Process(target=work, args=(queue,))
    worker.start()
    print(queue.get(timeout=60))
    worker.join()
"""
    code, out, err = script(tmp_path, text)
    assert (code, out.split(), err) == (0, ["rustgrad", "rustgrad"], "")


def test_classes_of_a_program_can_be_pickled(tmp_path):
    text = "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A)"
    assert script(tmp_path, text)[1] == "True\n"


def test_module(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "train.py").write_text("import sys, torch\nfrom . import train\nprint(__name__, sys.argv[1:])")
    code, out, err = run("-m", "package.train", "x", cwd=tmp_path)
    assert (code, out.splitlines()[-1]) == (0, "__main__ ['x']"), err


def test_notebook(tmp_path):
    code, out, err = notebook(
        tmp_path,
        ["%matplotlib inline\n", "!pip install something\n", "import torch\n", "x = 3\n", "x"],
        "%%time\ny = [x,\n     1]\ny",
        "y;",
        "y  # a comment",
        "files = !ls\nfor i in range(2):\n    %timeit i\nprint('%d percent %s' % (50, files))",
        "%%bash\nexit 1",
        "None",
        "import os, sys\nsys.argv, os.environ['MPLBACKEND'], __name__, torch.__name__",
        "display(x); get_ipython().run_line_magic('matplotlib', 'inline')",
    )
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "3",
        "[3, 1]",
        "[3, 1]",
        "50 percent None",
        "(['book.ipynb', 'argument'], 'Agg', '__main__', 'rustgrad')",
        "3",
    ]


def test_notebook_error_names_the_cell(tmp_path):
    code, out, err = notebook(tmp_path, "print('first')", "def g():\n    return 1 / 0\ng()", "print('never')")
    assert (code, out) == (1, "first\n")
    assert 'File "book.ipynb, cell 2", line 2, in g\n    return 1 / 0' in err
    assert err.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert "rustgrad" not in err


def test_not_a_notebook(tmp_path):
    (tmp_path / "x.ipynb").write_text("[1, 2]")
    code, _, err = run("x.ipynb", cwd=tmp_path)
    assert code == 1
    assert "x.ipynb is not a notebook" in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["missing.py"], "can't open file 'missing.py'"),
        (["--gpu-as", "tpu", "x.py"], "--gpu-as takes the name cuda"),
        (["--what", "x.py"], "unknown option --what"),
        (["-m"], "-m needs a module name"),
        ([], "usage: python -m rustgrad.run"),
    ],
)
def test_command_line_errors(tmp_path, args, message):
    code, out, err = run(*args, cwd=tmp_path)
    assert (code, out) == (2, "")
    assert message in err


def test_help_and_version(tmp_path):
    assert run("--help", cwd=tmp_path)[1].startswith("usage: python -m rustgrad.run")
    assert run("--version", cwd=tmp_path)[1].startswith("2.")


def test_install_refuses_where_another_torch_is_loaded(tmp_path):
    text = (
        "import sys, types\nsys.modules['torch'] = types.ModuleType('torch')\nimport rustgrad.run\nrustgrad.run.install()"
    )
    done = subprocess.run([sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "PyTorch itself is already imported in this process" in done.stderr


def test_torch_version_order():
    version = TorchVersion("2.13.0+rustgrad")
    assert version == "2.13.0+rustgrad"
    assert version != "2.13.0"
    assert version > "2.13.0" > TorchVersion("2.13.0rc1") > "2.13.0a2" > TorchVersion("2.13.0.dev3") > "2.9"
    assert version >= (2, 13)
    assert version < (2, 14)
    assert TorchVersion("2.13") == "2.13.0"
    assert version < (10,)
    assert version != "not a version"
    assert hash(version) == hash("2.13.0+rustgrad")
    assert isinstance(version, str)
    assert version.split(".")[:2] == ["2", "13"]
