"""Process groups of one: programs written for several processes run in a single one.

A group of size 1 works, every collective leaving its tensor as it is; a larger one raises
NotImplementedError.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from typing import Any

import rustgrad as rg

default_pg_timeout = timedelta(minutes=30)


class ReduceOp(Enum):
    """How tensors are combined; of one tensor all give that tensor."""

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7
    PREMUL_SUM = 8


class Backend(str):
    """The name of a backend."""

    GLOO = "gloo"
    NCCL = "nccl"
    MPI = "mpi"
    UCC = "ucc"
    UNDEFINED = "undefined"


class ProcessGroup:
    """A group whose only member is this process."""

    def __init__(self, backend: str, name: str = "") -> None:
        self.backend = backend
        self.group_name = name

    def rank(self) -> int:
        """0."""
        return 0

    def size(self) -> int:
        """1."""
        return 1


class Work:
    """A collective that is done already."""

    def wait(self, timeout: Any = None) -> bool:
        """True."""
        return True

    def is_completed(self) -> bool:
        """True."""
        return True

    def is_success(self) -> bool:
        """True."""
        return True


class DistError(RuntimeError):
    """An error of a process group."""


_world: ProcessGroup | None = None


class _WorldMeta(type):
    @property
    def WORLD(cls) -> ProcessGroup | None:
        """The group of all processes."""
        return _world


class group(metaclass=_WorldMeta):
    """group.WORLD is the group of all processes."""


class GroupMember(metaclass=_WorldMeta):
    """GroupMember.WORLD is the group of all processes."""

    NON_GROUP_MEMBER = -100


def is_available() -> bool:
    """True."""
    return True


def is_initialized() -> bool:
    """Whether init_process_group has been called."""
    return _world is not None


def is_gloo_available() -> bool:
    """True: 'gloo' is the name of the backend here."""
    return True


def is_nccl_available() -> bool:
    """False."""
    return False


def is_mpi_available() -> bool:
    """False."""
    return False


is_ucc_available = is_xccl_available = is_mpi_available


def is_torchelastic_launched() -> bool:
    """Whether torchrun started this process."""
    return os.getenv("TORCHELASTIC_RUN_ID") is not None


def get_default_backend_for_device(device: Any) -> str:
    """'gloo'."""
    return "gloo"


def _from_environment(name: str, given: int) -> int:
    if given >= 0:
        return given
    value = os.environ.get(name)
    if value is None:
        raise ValueError(
            "Error initializing torch.distributed using env:// rendezvous: "
            f"environment variable {name} expected, but not set"
        )
    return int(value)


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: timedelta | None = None,
    world_size: int = -1,
    rank: int = -1,
    store: Any = None,
    group_name: str = "",
    pg_options: Any = None,
    device_id: Any = None,
) -> None:
    """Start the group of all processes, whose size must be 1."""
    global _world
    if _world is not None:
        raise ValueError("trying to initialize the default process group twice!")
    if init_method is None and store is None or (init_method or "").startswith("env://"):
        rank = _from_environment("RANK", rank)
        world_size = _from_environment("WORLD_SIZE", world_size)
    if world_size > 1:
        raise NotImplementedError(
            f"rustgrad runs in one process: a process group of size {world_size} is not implemented"
        )
    if rank > 0:
        raise ValueError(f"invalid rank {rank} for a process group of size 1")
    _world = ProcessGroup((backend or "gloo").split(":")[-1].lower(), group_name)


def destroy_process_group(group: Any = None) -> None:
    """End the group."""
    global _world
    if _world is None:
        raise AssertionError("Process group cannot be None")
    if group is None or group is _world:
        _world = None


def _check() -> ProcessGroup:
    if _world is None:
        raise ValueError(
            "Default process group has not been initialized, please make sure to call init_process_group."
        )
    return _world


def get_rank(group: Any = None) -> int:
    """0."""
    return _check().rank()


def get_world_size(group: Any = None) -> int:
    """1."""
    return _check().size()


def get_backend(group: Any = None) -> str:
    """The name init_process_group was given."""
    return Backend(_check().backend)


def get_node_local_rank(fallback_rank: int | None = None) -> int:
    """LOCAL_RANK, else the fallback."""
    if "LOCAL_RANK" in os.environ:
        return int(os.environ["LOCAL_RANK"])
    if fallback_rank is not None:
        return int(fallback_rank)
    raise RuntimeError("LOCAL_RANK is not in the environment. Consider passing fallback_rank")


def get_process_group_ranks(group: Any = None) -> list[int]:
    """[0]."""
    _check()
    return [0]


def new_group(ranks: list[int] | None = None, *args: Any, **kwargs: Any) -> ProcessGroup:
    """A group of this process."""
    return ProcessGroup(_check().backend)


def _done(async_op: bool) -> Work | None:
    _check()
    return Work() if async_op else None


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> Work | None:
    """Nothing to wait for."""
    return _done(async_op)


def monitored_barrier(group: Any = None, timeout: Any = None, wait_all_ranks: bool = False) -> None:
    """Nothing to wait for."""
    _check()


def all_reduce(tensor: Any, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False) -> Work | None:
    """The tensor stays as it is."""
    return _done(async_op)


def reduce(
    tensor: Any,
    dst: Any = None,
    op: Any = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
    group_dst: Any = None,
) -> Work | None:
    """The tensor stays as it is."""
    return _done(async_op)


def broadcast(
    tensor: Any, src: Any = None, group: Any = None, async_op: bool = False, group_src: Any = None
) -> Work | None:
    """The tensor stays as it is."""
    return _done(async_op)


def _copy(target: Any, source: Any) -> None:
    with rg.no_grad():
        target.copy_(source.reshape(target.shape))


def all_gather(tensor_list: list[Any], tensor: Any, group: Any = None, async_op: bool = False) -> Work | None:
    """tensor_list[0] becomes the tensor."""
    work = _done(async_op)
    _copy(tensor_list[0], tensor)
    return work


def all_gather_into_tensor(
    output_tensor: Any, input_tensor: Any, group: Any = None, async_op: bool = False
) -> Work | None:
    """The output becomes the input."""
    work = _done(async_op)
    _copy(output_tensor, input_tensor)
    return work


def reduce_scatter_tensor(
    output: Any, input: Any, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    """The output becomes the input."""
    work = _done(async_op)
    _copy(output, input)
    return work


def reduce_scatter(
    output: Any, input_list: list[Any], op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    """The output becomes the only input."""
    work = _done(async_op)
    _copy(output, input_list[0])
    return work


def all_to_all_single(output: Any, input: Any, *args: Any, async_op: bool = False, **kwargs: Any) -> Work | None:
    """The output becomes the input."""
    work = _done(async_op)
    _copy(output, input)
    return work


def gather(
    tensor: Any,
    gather_list: list[Any] | None = None,
    dst: Any = None,
    group: Any = None,
    async_op: bool = False,
    group_dst: Any = None,
) -> Work | None:
    """gather_list[0] becomes the tensor."""
    work = _done(async_op)
    if gather_list:
        _copy(gather_list[0], tensor)
    return work


def scatter(
    tensor: Any,
    scatter_list: list[Any] | None = None,
    src: Any = None,
    group: Any = None,
    async_op: bool = False,
    group_src: Any = None,
) -> Work | None:
    """The tensor becomes scatter_list[0]."""
    work = _done(async_op)
    if scatter_list:
        _copy(tensor, scatter_list[0])
    return work


def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
    """object_list[0] becomes the object."""
    _check()
    object_list[0] = obj


def gather_object(obj: Any, object_gather_list: list[Any] | None = None, dst: Any = None, group: Any = None) -> None:
    """object_gather_list[0] becomes the object."""
    _check()
    if object_gather_list:
        object_gather_list[0] = obj


def broadcast_object_list(object_list: list[Any], *args: Any, **kwargs: Any) -> None:
    """The list stays as it is."""
    _check()


def _alone(name: str) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        _check()
        raise ValueError(f"Invalid {name}: there is no other process")

    function.__doc__ = "Raises ValueError: there is no other process."
    return function


send, recv, isend, irecv = _alone("send"), _alone("recv"), _alone("isend"), _alone("irecv")
