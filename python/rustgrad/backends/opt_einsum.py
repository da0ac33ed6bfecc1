"""opt_einsum: not used."""


def is_available() -> bool:
    """False."""
    return False


enabled = False
strategy = None
