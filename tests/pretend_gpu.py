"""A GPU that is none: tensors say that they lie on "cuda:0", compute on the CPU, and may not meet the CPU's.

What a GPU refuses is refused here too, with the operation's name: an operation on tensors of both devices,
NumPy on a tensor of the GPU, a plain tensor indexed by one of the GPU. As there, single numbers of the CPU
go with everything, and indices of the CPU do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

GPU = torch.device("cuda", 0)
_CPU = torch.device("cpu")
_INDEXING = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
_MOVING = ("aten::_to_copy", "aten::copy_")


class OnGpu(Tensor):
    """A tensor of the pretended GPU; `plain` holds its numbers."""

    plain: Tensor

    @staticmethod
    def __new__(cls, plain: Tensor) -> OnGpu:
        found: OnGpu = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            plain.shape,
            strides=plain.stride(),
            storage_offset=plain.storage_offset(),
            dtype=plain.dtype,
            device=GPU,
            requires_grad=plain.requires_grad,
        )
        found.plain = plain
        return found

    def __repr__(self, **_: Any) -> str:
        return f"OnGpu({self.plain!r})"

    def tolist(self) -> Any:
        """Its numbers, which torch's own refuses to give of a tensor like this."""
        return self.plain.tolist()

    def __getitem__(self, where: Any) -> Any:
        seen, indices = _parted(self, where)
        return torch.ops.aten.index.Tensor(seen, indices) if indices else seen

    def __setitem__(self, where: Any, value: Any) -> None:
        seen, indices = _parted(self, where)
        if not isinstance(value, Tensor):
            value = torch.tensor(value, dtype=self.dtype, device=GPU)
        if indices:
            torch.ops.aten.index_put_(seen, indices, value)
        else:
            # A GPU takes what lies elsewhere too.
            seen.plain.copy_(_plain(value))

    def __invert__(self) -> Tensor:
        return torch.ops.aten.bitwise_not.default(self)

    def nonzero(self) -> Tensor:
        """Places, [count, dimensions]."""
        return torch.ops.aten.nonzero.default(self)

    def contiguous(self) -> Tensor:
        """The same numbers one after the other."""
        return torch.ops.aten.clone.default(self, memory_format=torch.contiguous_format)

    def __bool__(self) -> bool:
        return bool(self.plain)

    def __float__(self) -> float:
        return float(self.plain)

    def __int__(self) -> int:
        return int(self.plain)

    __index__ = __int__

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(operation, args, kwargs or {})


class _Gpu(TorchDispatchMode):
    """Sees operations that are given no tensor too, such as those that make one."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(operation, args, kwargs or {})


def _parted(tensor: Tensor, where: Any) -> tuple[Tensor, list[Tensor | None]]:
    """What numbers, slices and the like leave, and tensors that index it; torch's own asks the driver."""
    items = list(where) if isinstance(where, tuple) else [where]
    items = [torch.tensor(item) if isinstance(item, list | range) else item for item in items]
    rest = tensor.ndim - sum(_width(item) for item in items)
    if not any(item is Ellipsis for item in items):
        items.append(Ellipsis)
    indices: list[Tensor | None] = []
    place = 0
    for item in items:
        if isinstance(item, int):
            tensor = tensor.select(place, item)
        elif item is None:
            tensor = tensor.unsqueeze(place)
            indices, place = [*indices, None], place + 1
        elif isinstance(item, slice):
            tensor = torch.ops.aten.slice.Tensor(tensor, place, item.start, item.stop, item.step or 1)
            indices, place = [*indices, None], place + 1
        elif item is Ellipsis:
            indices, place = [*indices, *[None] * rest], place + rest
        else:
            indices, place = [*indices, item], place + _width(item)
    return tensor, indices if any(index is not None for index in indices) else []


def _width(item: Any) -> int:
    """How many dimensions an index is of."""
    if item is None or item is Ellipsis:
        return 0
    return item.ndim if isinstance(item, Tensor) and item.dtype == torch.bool else 1


def _run(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = operation._schema.name
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    here = any(isinstance(value, OnGpu) for value in tensors)
    asked = kwargs.get("device")
    if asked is not None:
        kwargs = kwargs | {"device": _CPU}
    if name not in _MOVING:
        _check(name, args, tensors)
    found = operation(*tree_map(_plain, args), **tree_map(_plain, kwargs))
    there = torch.device(asked).type == "cuda" if asked is not None else here
    if name == "aten::copy_":
        there = isinstance(args[0], OnGpu)
    return _answered(found, tensors, there)


def _answered(found: Any, given: list[Tensor], there: bool) -> Any:
    """What came out, on its device; what an operation changed in place stays the object that it was."""
    same = {id(_plain(value)): value for value in given}
    values, form = tree_flatten(found)
    out = []
    for value in values:
        if not isinstance(value, Tensor):
            out.append(value)
        elif id(value) in same:
            out.append(same[id(value)])
        else:
            out.append(OnGpu(value) if there else value)
    return tree_unflatten(out, form)


def _check(name: str, args: Any, tensors: list[Tensor]) -> None:
    if name in _INDEXING:
        if not isinstance(args[0], OnGpu) and any(isinstance(index, OnGpu) for index in args[1]):
            raise RuntimeError(f"{name}: a tensor of the CPU is indexed by one of the GPU")
        tensors = [args[0], *(value for value in args[2:] if isinstance(value, Tensor))]
    places = {value.device.type for value in tensors if value.ndim or isinstance(value, OnGpu)}
    if len(places) > 1:
        shown = ", ".join(f"{value.device.type} {list(value.shape)}" for value in tensors)
        raise RuntimeError(f"{name}: tensors lie on several devices ({shown})")


def _plain(value: Any) -> Any:
    return value.plain if isinstance(value, OnGpu) else value


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, enable_gqa: bool) -> Tensor:
    """What torch's own does; that one looks for a kernel by device before anything can be seen of it."""
    if enable_gqa:
        times = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(times, 1), value.repeat_interleave(times, 1)
    weights = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    if mask is not None:
        weights = weights.masked_fill(~mask, float("-inf"))
    return weights.softmax(-1) @ value


def put(module: nn.Module) -> None:
    """Moves a module there, parameters and buffers."""
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is not None:
                part._parameters[name] = nn.Parameter(OnGpu(value.data), value.requires_grad)
        for name, value in part._buffers.items():
            if value is not None:
                part._buffers[name] = OnGpu(value)


@contextmanager
def pretended() -> Iterator[None]:
    """A GPU is there, inside."""
    with ExitStack() as stack:
        for where, value in (
            ("torch.cuda._lazy_init", lambda: None),
            ("torch.cuda.is_available", lambda: True),
            ("torch.cuda.is_bf16_supported", lambda *_: True),
            ("torch.cuda.amp.common.amp_definitely_not_available", lambda: False),
            ("editenv.agents.unified.layers.scaled_dot_product_attention", attention),
        ):
            stack.enter_context(patch(where, value))
        # As torch's FakeTensorMode does where there is no GPU.
        torch._C._ensureCUDADeviceGuardSet()
        torch._C._set_only_lift_cpu_tensors(True)
        stack.callback(torch._C._set_only_lift_cpu_tensors, False)
        stack.enter_context(_Gpu())
        yield
