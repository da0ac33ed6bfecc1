"""The base class of all optimizers."""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any, TypeAlias

import rustgrad as rg
from rustgrad import _core
from rustgrad.utils.hooks import RemovableHandle

__all__ = ["Optimizer", "register_optimizer_step_post_hook", "register_optimizer_step_pre_hook"]

StateDict: TypeAlias = dict[str, Any]
ParamsT: TypeAlias = Iterable[Any]

_global_optimizer_pre_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
_global_optimizer_post_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()


class _RequiredParameter:
    """Marks a default that each parameter group must give itself."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _RequiredParameter()


def _typename(obj: Any) -> str:
    """What torch.typename answers: 'torch.FloatTensor' for tensors, else the qualified class name."""
    if isinstance(obj, rg.Tensor):
        return str(obj.type())
    cls = obj if isinstance(obj, type) else type(obj)
    module = cls.__module__
    return cls.__qualname__ if module in (None, "builtins") else f"{module}.{cls.__qualname__}"


def _get_scalar_dtype(is_fused: bool | None = None) -> Any:
    """The dtype of `step` entries: float32, or float64 where that is the default dtype."""
    if is_fused:
        return rg.float32
    return rg.float64 if rg.get_default_dtype() == rg.float64 else rg.float32


def _scalar(value: float) -> Any:
    """A 0-d state entry such as `step`."""
    return rg.tensor(value, dtype=_get_scalar_dtype())


def _zeros(p: Any) -> Any:
    return rg.zeros_like(p, memory_format=rg.preserve_format)


def _number(value: Any) -> Any:
    """A hyperparameter as a Python number; tensors are read."""
    return value.item() if isinstance(value, rg.Tensor) else value


def _check_lr(lr: Any) -> None:
    if isinstance(lr, rg.Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not lr >= 0.0:
        raise ValueError(f"Invalid learning rate: {lr}")


def _check_nonnegative(name: str, value: Any) -> None:
    if not value >= 0.0:
        raise ValueError(f"Invalid {name} value: {value}")


def _check_eps_betas(eps: float, betas: Any) -> None:
    if not eps >= 0.0:
        raise ValueError(f"Invalid epsilon value: {eps}")
    for i in (0, 1):
        if not 0.0 <= betas[i] < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {betas[i]}")


def _check_fused(fused: bool | None, foreach: bool | None, differentiable: bool) -> None:
    if fused:
        if differentiable:
            raise RuntimeError("`fused` does not support `differentiable`")
        if foreach:
            raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def _use_grad_for_differentiable(func: Callable[..., Any]) -> Callable[..., Any]:
    """Run a `step` with gradients on only where the optimizer was built with differentiable=True."""

    @functools.wraps(func)
    def with_mode(*args: Any, **kwargs: Any) -> Any:
        previous = _core._set_grad_enabled(bool(args[0].defaults["differentiable"]))
        try:
            return func(*args, **kwargs)
        finally:
            _core._set_grad_enabled(previous)

    return with_mode


def register_optimizer_step_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` before every optimizer's step."""
    handle = RemovableHandle(_global_optimizer_pre_hooks)
    _global_optimizer_pre_hooks[handle.id] = hook
    return handle


def register_optimizer_step_post_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` after every optimizer's step."""
    handle = RemovableHandle(_global_optimizer_post_hooks)
    _global_optimizer_post_hooks[handle.id] = hook
    return handle


_HOOK_DICTS = (
    "_optimizer_step_pre_hooks",
    "_optimizer_step_post_hooks",
    "_optimizer_state_dict_pre_hooks",
    "_optimizer_state_dict_post_hooks",
    "_optimizer_load_state_dict_pre_hooks",
    "_optimizer_load_state_dict_post_hooks",
)


class Optimizer:
    """Base class: holds the parameter groups (live dicts) and the per-parameter state.

    `params` is an iterable of tensors, of (name, tensor) pairs or of dicts with a "params" entry;
    `defaults` fills in what a group does not say. Raises ValueError for an empty list.
    """

    _step_supports_amp_scaling = False

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        for name in _HOOK_DICTS:
            setattr(self, name, OrderedDict())
        self._patch_step_function()
        if isinstance(params, rg.Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                + _typename(params)
            )
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)
        self._warned_capturable_if_run_uncaptured = True

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in _HOOK_DICTS:
            if name not in self.__dict__:
                setattr(self, name, OrderedDict())
        self._patch_step_function()
        self.defaults.setdefault("differentiable", False)

    def __repr__(self) -> str:
        lines = [self.__class__.__name__ + " ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"\nParameter Group {i}\n")
            lines.extend(f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params")
        return "".join(lines) + ")"

    # --- step hooks ---------------------------------------------------------------------------

    def _optimizer_step_code(self) -> None:
        """Called after each step; a place for profilers to patch."""

    def _cuda_graph_capture_health_check(self) -> None:
        """Nothing to check without CUDA graphs."""

    @staticmethod
    def profile_hook_step(func: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap `step` so that the registered hooks run around it."""

        @functools.wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            self = args[0]
            if _global_optimizer_pre_hooks or self._optimizer_step_pre_hooks:
                hooks = chain(_global_optimizer_pre_hooks.values(), self._optimizer_step_pre_hooks.values())
                for hook in list(hooks):
                    result = hook(self, args, kwargs)
                    if result is None:
                        continue
                    if not (isinstance(result, tuple) and len(result) == 2):
                        raise RuntimeError(
                            f"{func} must return None or a tuple of (new_args, new_kwargs), but got {result}."
                        )
                    args, kwargs = result
            out = func(*args, **kwargs)
            self._optimizer_step_code()
            if self._optimizer_step_post_hooks or _global_optimizer_post_hooks:
                hooks = chain(self._optimizer_step_post_hooks.values(), _global_optimizer_post_hooks.values())
                for hook in list(hooks):
                    hook(self, args, kwargs)
            return out

        wrapper.hooked = True  # type: ignore[attr-defined]
        return wrapper

    def _patch_step_function(self) -> None:
        cls = self.__class__
        self._zero_grad_profile_name = f"Optimizer.zero_grad#{cls.__name__}.zero_grad"
        if not getattr(cls.step, "hooked", None):
            cls.step = self.profile_hook_step(cls.step)  # type: ignore[method-assign]

    def _register(self, name: str, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        hooks = getattr(self, name)
        handle = RemovableHandle(hooks)
        hooks[handle.id] = hook
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        return handle

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before step; it may return new (args, kwargs)."""
        return self._register("_optimizer_step_pre_hooks", hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after step."""
        return self._register("_optimizer_step_post_hooks", hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` before state_dict."""
        return self._register("_optimizer_state_dict_pre_hooks", hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` after state_dict; what it returns replaces the dict."""
        return self._register("_optimizer_state_dict_post_hooks", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` before loading; what it returns is loaded instead."""
        return self._register("_optimizer_load_state_dict_pre_hooks", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` after loading."""
        return self._register("_optimizer_load_state_dict_post_hooks", hook, prepend)

    # --- saving and loading -------------------------------------------------------------------

    def state_dict(self) -> StateDict:
        """{"state": {index: entries}, "param_groups": [options with parameter indices]}."""
        for hook in self._optimizer_state_dict_pre_hooks.values():  # type: ignore[attr-defined]
            hook(self)
        index: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                index.setdefault(id(p), len(index))
            packed = {k: v for k, v in group.items() if k != "params"}
            packed["params"] = [index[id(p)] for p in group["params"]]
            groups.append(packed)
        state = {(index[id(k)] if isinstance(k, rg.Tensor) else k): v for k, v in self.state.items()}
        result: StateDict = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():  # type: ignore[attr-defined]
            replaced = hook(self, result)
            if replaced is not None:
                result = replaced
        return result

    @staticmethod
    def _process_value_according_to_param_policy(
        param: Any, value: Any, param_id: int, param_groups: list[dict[Any, Any]], key: Hashable = None
    ) -> Any:
        """Move one loaded tensor to the parameter's device and dtype; `step` stays as it is."""
        if key == "step":
            for group in param_groups:
                if param_id in group["params"]:
                    if group.get("fused", False) or group.get("capturable", False):
                        return value.to(dtype=rg.float32, device=param.device)
                    break
            return value
        if param.is_floating_point():
            return value.to(dtype=param.dtype, device=param.device)
        return value.to(device=param.device)

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Take over groups and state; raises ValueError where the groups do not fit."""
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():  # type: ignore[attr-defined]
            replaced = hook(self, state_dict)
            if replaced is not None:
                state_dict = replaced
        groups, saved = self.param_groups, deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(g["params"]) != len(s["params"]) for g, s in zip(groups, saved, strict=True)):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        by_index = dict(
            zip(
                chain.from_iterable(g["params"] for g in saved),
                chain.from_iterable(g["params"] for g in groups),
                strict=True,
            )
        )

        def cast(param: Any, value: Any, index: int, key: Hashable = None) -> Any:
            if isinstance(value, rg.Tensor):
                return self._process_value_according_to_param_policy(
                    param, value, index, state_dict["param_groups"], key
                )
            if isinstance(value, dict):
                return {k: cast(param, v, index, k) for k, v in value.items()}
            if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
                return type(value)(cast(param, v, index) for v in value)  # type: ignore[call-arg]
            return value

        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in by_index:
                state[by_index[key]] = cast(by_index[key], value, key)
            else:
                state[key] = value
        for group, new in zip(groups, saved, strict=True):
            if "param_names" in group and "param_names" not in new:
                new["param_names"] = group["param_names"]
            new["params"] = group["params"]
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._optimizer_load_state_dict_post_hooks.values():  # type: ignore[attr-defined]
            hook(self)

    # --- use ----------------------------------------------------------------------------------

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or fill them with zeros where set_to_none is False."""
        if not hasattr(self, "_zero_grad_profile_name"):
            self._patch_step_function()
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    if p.grad.grad_fn is not None:
                        p.grad.detach_()
                    else:
                        p.grad.requires_grad_(False)
                    p.grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters once; returns the closure's loss. Subclasses define it."""
        raise NotImplementedError

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a dict with "params" and own options; raises for unusable or repeated parameters."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, rg.Tensor):
            param_group["params"] = [params]
        elif isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but "
                "the ordering of tensors in sets will change between runs. Please use a list instead."
            )
        else:
            param_group["params"] = list(params)

        named = [p for p in param_group["params"] if isinstance(p, tuple)]
        if named:
            if len(named) != len(param_group["params"]):
                raise ValueError(
                    "all optimizer params should be with/without names. Some param names are missing"
                )
            param_group["params"] = [p[1] for p in named]
            param_group["param_names"] = [p[0] for p in named]

        for p in param_group["params"]:
            if not isinstance(p, rg.Tensor):
                raise TypeError("optimizer can only optimize Tensors, but one of the params is " + _typename(p))
            if not self.defaults.get("differentiable", None) and not (p.is_leaf or p.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")

        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(
                    f"parameter group didn't specify a value of required optimization parameter {name}"
                )
            param_group.setdefault(name, default)

        ids = {id(p) for p in param_group["params"]}
        if len(ids) != len(param_group["params"]):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; "
                "in future, this will cause an error; "
                "see github.com/pytorch/pytorch/issues/40967 for more information",
                stacklevel=3,
            )
        if self.param_groups and ("param_names" in param_group) != ("param_names" in self.param_groups[0]):
            which = "with names" if "param_names" in param_group else "without names"
            raise ValueError(
                "all optimizer param groups should be with/without names. "
                f"cannot add param group {which} to the optimizer"
            )
        if any(id(p) in ids for group in self.param_groups for p in group["params"]):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)


Item: TypeAlias = tuple[Any, Any, dict[str, Any]]


class _PerParameter(Optimizer):
    """An optimizer that updates each parameter from its own gradient and state."""

    # Options that checkpoints of older versions lack.
    _group_defaults: dict[str, Any] = {"maximize": False, "foreach": None, "differentiable": False, "capturable": False}
    # State entries that older checkpoints keep as numbers.
    _scalar_entries: tuple[str, ...] = ("step",)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self._group_defaults.items():
                group.setdefault(name, value)
        for entries in self.state.values():
            for name in self._scalar_entries:
                if name in entries and not isinstance(entries[name], rg.Tensor):
                    entries[name] = _scalar(float(entries[name]))

    def _init_state(self, group: dict[str, Any], p: Any, grad: Any) -> dict[str, Any]:
        """The state entries of a parameter that is stepped for the first time."""
        return {}

    def _fused_rule(self, group: dict[str, Any]) -> tuple[str, tuple[str, ...], tuple[Any, ...]] | None:
        """The core's rule, the state tensors it takes and its options; None where it has none for this group.

        The options begin with lr, maximize, weight_decay and whether the decay is decoupled.
        """
        return None

    def _fused_step(self, group: dict[str, Any], items: list[Item]) -> bool:
        """Step all items in one call of the core; False where it cannot (complex numbers)."""
        fused = None if self.defaults["differentiable"] else self._fused_rule(group)
        if fused is None:
            return False
        rule, names, options = fused
        params, grads, states = zip(*items, strict=True)
        lists: list[Any] = [[s[name] for s in states] for name in names]
        first, second, third = lists + [()] * (3 - len(lists))
        done: bool = _core._optim_step(rule, params, grads, first, second, third, [s["step"] for s in states], options)
        return done

    def _update(self, group: dict[str, Any], items: list[Item]) -> None:
        """Apply one step to (parameter, gradient, state) triples; gradients are negated already to maximize."""
        raise NotImplementedError

    def _gather(self, group: dict[str, Any]) -> list[Item]:
        """The group's parameters that have a gradient, with their state made ready."""
        all_state, items = self.state, []
        for p in group["params"]:
            grad = p.grad
            if grad is not None:
                state = all_state[p]
                if not state:
                    state.update(self._init_state(group, p, grad))
                items.append((p, grad, state))
        return items

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient. The closure, where given, recomputes the loss."""
        loss = None
        differentiable = self.defaults["differentiable"]
        previous = _core._set_grad_enabled(differentiable)
        try:
            if closure is not None:
                _core._set_grad_enabled(True)
                loss = closure()
                _core._set_grad_enabled(differentiable)
            for group in self.param_groups:
                items = self._gather(group)
                if items and not self._fused_step(group, items):
                    if group["maximize"]:
                        items = [(p, -grad, state) for p, grad, state in items]
                    self._update(group, items)
        finally:
            _core._set_grad_enabled(previous)
        return loss
