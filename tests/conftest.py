"""Tests of the GPU run on Mesa's software adapter unless RUSTGRAD_ADAPTER names another."""

import os
import sys

if sys.platform == "linux":
    os.environ.setdefault("RUSTGRAD_ADAPTER", "llvmpipe")
# The window system's loader layer complains where there is none.
os.environ.setdefault("XDG_RUNTIME_DIR", "/tmp")
