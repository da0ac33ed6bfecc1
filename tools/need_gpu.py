#!/usr/bin/env python3
"""Says what to install where the tests of the GPU would find no adapter, before any test runs."""

import os
import sys

if os.environ.get("RUSTGRAD_TEST_GPU") != "0":
    if sys.platform == "linux":
        os.environ.setdefault("RUSTGRAD_ADAPTER", "llvmpipe")
    import rustgrad

    if not rustgrad.gpu.is_available():
        sys.exit(
            "The tests of the GPU need a Vulkan, Metal or DX12 adapter. On Linux, Mesa's software adapter will do:\n"
            "    apt-get install mesa-vulkan-drivers      (dnf install mesa-vulkan-drivers)\n"
            "or name a card, RUSTGRAD_ADAPTER=nvidia make test, or leave these tests out, RUSTGRAD_TEST_GPU=0 make test"
        )
