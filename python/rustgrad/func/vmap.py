"""vmap, as a loop over slices whose results are stacked."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import rustgrad as rg
from rustgrad import random as _random
from rustgrad._tree import broadcast, flatten


def _name(func: Any) -> str:
    return getattr(func, "__name__", repr(func))


def _slices(func: Any, in_dims: Any, args: Any) -> tuple[list[Any], list[Any], Any, int]:
    """Leaves of the arguments, the dimension of each (or None), how to rebuild them, and the number of slices."""
    where = f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>)"
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(
            f"{where}: expected `in_dims` to be int or a (potentially nested) tuple "
            f"matching the structure of inputs, got: {type(in_dims)}."
        )
    if len(args) == 0:
        raise ValueError(
            f"vmap({_name(func)})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap "
            "over a function with no inputs. The latter is unsupported."
        )
    leaves, build = flatten(args)
    dims = broadcast(in_dims, args)
    if dims is None:
        raise ValueError(f"{where}: in_dims is not compatible with the structure of `inputs`.")
    sizes = []
    for i, (x, dim) in enumerate(zip(leaves, dims, strict=True)):
        if dim is None:
            continue
        if not isinstance(dim, int):
            raise ValueError(
                f"{where}: Got in_dim={dim} for an input but in_dim must be either an integer dimension or None."
            )
        if not isinstance(x, rg.Tensor):
            raise ValueError(
                f"{where}: Got in_dim={dim} for an input but the input is of type {type(x)}. We cannot vmap over "
                "non-Tensor arguments, please use None as the respective in_dim"
            )
        if not -x.dim() <= dim < x.dim():
            raise ValueError(
                f"{where}: Got in_dim={dim} for some input, but that input is a Tensor of dimensionality {x.dim()} "
                f"so expected in_dim to satisfy -{x.dim()} <= in_dim < {x.dim()}."
            )
        dims[i] = dim % x.dim()
        sizes.append(x.size(dim))
    if not sizes:
        raise ValueError("vmap: Expected at least one Tensor to vmap over")
    if len(set(sizes)) > 1:
        raise ValueError(
            "vmap: Expected all tensors to have the same size in the mapped dimension, "
            f"got sizes {sizes} for the mapped dimension"
        )
    return leaves, dims, build, sizes[0]


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that maps func over a dimension of its arguments and stacks the results.

    `in_dims` and `out_dims` say which dimension, nested like the arguments and results; None for what is not mapped.
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}"
        )

    @functools.wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        leaves, dims, build, count = _slices(func, in_dims, args)
        if count == 0:
            raise ValueError("vmap: a mapped dimension of size 0 is not supported")
        rows: list[list[Any]] = []
        rebuild: Any = None
        result: Any = None
        state = _random._get_all_states() if randomness == "same" else None
        for i in range(count):
            if state is not None:
                _random._set_all_states(state)
            own = build([x if d is None else x.select(d, i) for x, d in zip(leaves, dims, strict=True)])
            result = func(*own, **kwargs)
            row, rebuild = flatten(result)
            for x in row:
                if not isinstance(x, rg.Tensor):
                    raise ValueError(
                        f"vmap({_name(func)}, ...): `{_name(func)}` must only return Tensors, got type {type(x)}. "
                        "Did you mean to set out_dims= to None for output?"
                    )
            rows.append(row)
        outs = broadcast(out_dims, result)
        if outs is None:
            raise ValueError(
                f"vmap({_name(func)}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the "
                "structure of `outputs`."
            )
        columns = zip(*rows, strict=True)
        return rebuild(
            [c[0] if d is None else rg.stack(list(c), d) for c, d in zip(columns, outs, strict=True)]
        )

    return mapped
