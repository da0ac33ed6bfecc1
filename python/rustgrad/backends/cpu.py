"""What the CPU can do."""


def get_cpu_capability() -> str:
    """The instruction set in use, in PyTorch's words: 'AVX512', 'AVX2' or 'DEFAULT'."""
    from rustgrad import _core

    query = getattr(_core, "_cpu_capability", None)
    return str(query()) if query is not None else "DEFAULT"
