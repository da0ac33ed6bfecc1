"""Nested tuples, lists and dicts taken apart into leaves and put together again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Spec = Callable[[list[Any]], Any]


def flatten(tree: Any) -> tuple[list[Any], Spec]:
    """The leaves in order, and a function that builds the same nesting around as many others."""
    leaves: list[Any] = []

    def visit(node: Any) -> Callable[[Any], Any]:
        if isinstance(node, dict):
            keys, parts = list(node), [visit(v) for v in node.values()]
            kind = type(node)
            if kind is dict:
                return lambda it: {k: p(it) for k, p in zip(keys, parts, strict=True)}
            return lambda it: kind((k, p(it)) for k, p in zip(keys, parts, strict=True))
        if isinstance(node, (tuple, list)):
            parts, make = [visit(v) for v in node], type(node)
            if hasattr(node, "_fields"):
                return lambda it: make(*[p(it) for p in parts])
            return lambda it: make([p(it) for p in parts])
        leaves.append(node)
        return next

    build = visit(tree)
    return leaves, lambda values: build(iter(values))


def tree_map(fn: Callable[[Any], Any], tree: Any) -> Any:
    """The same nesting with fn of each leaf."""
    leaves, build = flatten(tree)
    return build([fn(x) for x in leaves])


def broadcast(prefix: Any, tree: Any) -> list[Any] | None:
    """One value for each leaf of the tree, from a tree that may stop earlier; None where the two do not fit."""
    if isinstance(tree, dict):
        if not isinstance(prefix, dict):
            return None if isinstance(prefix, (tuple, list)) else [prefix] * len(flatten(tree)[0])
        if list(prefix) != list(tree):
            return None
        pairs = [(prefix[k], tree[k]) for k in tree]
    elif isinstance(tree, (tuple, list)):
        if not isinstance(prefix, (tuple, list)):
            return None if isinstance(prefix, dict) else [prefix] * len(flatten(tree)[0])
        if len(prefix) != len(tree):
            return None
        pairs = list(zip(prefix, tree, strict=True))
    else:
        return None if isinstance(prefix, (tuple, list, dict)) else [prefix]
    result: list[Any] = []
    for p, t in pairs:
        part = broadcast(p, t)
        if part is None:
            return None
        result += part
    return result
