"""DistributedDataParallel: one process per replica, gradients averaged over the processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import rustgrad as rg

from ..modules.module import Module

__all__ = ["DistributedDataParallel"]


class DistributedDataParallel(Module):
    """Holds a module as `module`; starts from rank 0's values and averages each gradient as it is accumulated.

    The process group must be initialized. With several processes every parameter must get a gradient in every
    backward: find_unused_parameters raises NotImplementedError.
    """

    def __init__(self, module: Any, device_ids: Any = None, output_device: Any = None, dim: int = 0,
                 broadcast_buffers: bool = True, init_sync: bool = True, process_group: Any = None,
                 bucket_cap_mb: Any = None, find_unused_parameters: bool = False, check_reduction: bool = False,
                 gradient_as_bucket_view: bool = False, static_graph: bool = False, **kwargs: Any) -> None:
        super().__init__()
        dist = rg.distributed
        if process_group is None and not dist.is_initialized():
            raise ValueError("Default process group has not been initialized, please make sure to call "
                             "init_process_group.")
        if not any(p.requires_grad for p in module.parameters()):
            raise RuntimeError("DistributedDataParallel is not needed when a module doesn't have any parameters that "
                               "require a gradient.")
        self.process_group = process_group
        self.device_ids = device_ids
        self.dim = dim
        self.module = module
        self.broadcast_buffers = broadcast_buffers
        self.find_unused_parameters = find_unused_parameters
        self.static_graph = static_graph
        self.require_backward_grad_sync = True
        self._world_size = int(dist.get_world_size(process_group))
        if self._world_size == 1:
            return
        if find_unused_parameters:
            raise NotImplementedError("DistributedDataParallel: find_unused_parameters=True is not implemented for a "
                                      f"group of {self._world_size} processes")
        with rg.no_grad():
            for tensor in [*module.parameters(), *module.buffers()] if init_sync else []:
                dist.broadcast(tensor.detach(), 0, group=process_group)
        for p in module.parameters():
            if p.requires_grad:
                p.register_post_accumulate_grad_hook(self._average)

    def _average(self, param: Any) -> None:
        if self.require_backward_grad_sync:
            with rg.no_grad():
                rg.distributed.all_reduce(param.grad, group=self.process_group)
                param.grad.div_(self._world_size)

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Inside, gradients stay each process's own."""
        before, self.require_backward_grad_sync = self.require_backward_grad_sync, False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        if self._world_size > 1 and self.broadcast_buffers and self.require_backward_grad_sync and self.training:
            with rg.no_grad():
                for buf in self.module.buffers():
                    rg.distributed.broadcast(buf, 0, group=self.process_group)
        return self.module(*inputs, **kwargs)
