"""Found under PYTHONPATH by the Python processes that a program run by ``rustgrad.run`` starts."""

import rustgrad.run

del __import__("sys").modules["torch"]
rustgrad.run.install()
