"""Downloads: weights from a URL into the cache, or from the cache; no code from repositories."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
import urllib.request
from typing import Any, NoReturn
from urllib.parse import urlparse

import rustgrad as rg

__all__ = ["download_url_to_file", "get_dir", "help", "list", "load", "load_state_dict_from_url", "set_dir"]

_dir: str | None = None
_HASH = re.compile(r"-([a-f0-9]*)\.")


def get_dir() -> str:
    """Where downloads are kept: set_dir's choice, else $TORCH_HOME/hub, else ~/.cache/torch/hub."""
    if _dir is not None:
        return _dir
    cache = os.getenv("XDG_CACHE_HOME", "~/.cache")
    home = os.getenv("TORCH_HOME", os.path.join(cache, "torch"))
    return os.path.join(os.path.expanduser(home), "hub")


def set_dir(d: str | os.PathLike[str]) -> None:
    """Choose where downloads are kept."""
    global _dir
    _dir = os.path.expanduser(d)


def download_url_to_file(url: str, dst: str, hash_prefix: str | None = None, progress: bool = True) -> None:
    """Fetch a file; RuntimeError where its SHA-256 does not begin with hash_prefix."""
    digest = hashlib.sha256()
    request = urllib.request.Request(url, headers={"User-Agent": "torch.hub"})
    handle, part = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(dst)))
    try:
        with os.fdopen(handle, "wb") as out, urllib.request.urlopen(request) as response:
            while chunk := response.read(1 << 16):
                out.write(chunk)
                digest.update(chunk)
        if hash_prefix is not None and not digest.hexdigest().startswith(hash_prefix):
            raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "{digest.hexdigest()}")')
        shutil.move(part, dst)
    finally:
        if os.path.exists(part):
            os.remove(part)


def load_state_dict_from_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = False,
) -> dict[str, Any]:
    """Load weights from a URL, by way of the cache. Only tensors and plain containers are read."""
    folder = model_dir if model_dir is not None else os.path.join(get_dir(), "checkpoints")
    os.makedirs(folder, exist_ok=True)
    name = file_name or os.path.basename(urlparse(url).path)
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        sys.stdout.write(f'Downloading: "{url}" to {path}\n')
        match = _HASH.search(name) if check_hash else None
        download_url_to_file(url, path, match.group(1) if match else None, progress=progress)
    return rg.load(path, map_location=map_location, weights_only=True)  # type: ignore[no-any-return]


def _unsupported(name: str) -> NoReturn:
    raise NotImplementedError(
        f"torch.hub.{name} runs code from a repository, which rustgrad does not do; "
        "get the model's code yourself and its weights with torch.hub.load_state_dict_from_url"
    )


def load(repo_or_dir: str, model: str, *args: Any, **kwargs: Any) -> Any:
    """Raises NotImplementedError."""
    _unsupported("load")


def list(github: str, *args: Any, **kwargs: Any) -> Any:
    """Raises NotImplementedError."""
    _unsupported("list")


def help(github: str, model: str, *args: Any, **kwargs: Any) -> Any:
    """Raises NotImplementedError."""
    _unsupported("help")
