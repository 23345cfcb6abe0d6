"""Observe in a forward pass which modules of a network read the outputs of others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class Reading:
    """A module that reads the output of another one."""

    source: str
    reader: str
    """Names of the two modules in their network."""
    input_shape: tuple[int, ...]
    """Shape of the input of ``source``."""


def exclusive_readings(
    network: nn.Module, images: Tensor, sources: tuple[type[nn.Module], ...], is_reader: Callable[[nn.Module], bool]
) -> list[Reading]:
    """Pairs of modules of which the second is the only reader of the first one's output.

    The network is run once on ``images``. Both modules appear once in the network and run once, on one tensor.

    Args:
        sources: classes of the modules to report as first.
        is_reader: whether a module may be reported as second.
    """
    places = Counter(module for _, module in network.named_modules(remove_duplicate=False))
    names = {module: name for name, module in network.named_modules() if places[module] == 1}
    observer = _Observer()
    handles = []
    for module in names:
        if isinstance(module, sources):
            handles.append(module.register_forward_hook(observer.source_ran, with_kwargs=True))
        elif is_reader(module):
            handles.append(module.register_forward_pre_hook(observer.reader_starts, with_kwargs=True))
            handles.append(module.register_forward_hook(observer.reader_ends, always_call=True))
    try:
        with observer:
            outputs = network(images)
    finally:
        for handle in handles:
            handle.remove()
    observer.read(outputs)
    return [Reading(names[output.source], names[reader], output.input_shape) for output, reader in observer.pairs()]


@dataclass
class _Output:
    """An output of a source; it is held so that no other tensor takes its identity."""

    tensor: Tensor
    source: nn.Module
    input_shape: tuple[int, ...]
    readers: set[nn.Module | None]
    """The modules that read it; None for the code between them."""


class _Observer(TorchDispatchMode):
    """Notes which operations of torch read the outputs of sources, in the course of which module."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.outputs: dict[int, _Output] = {}
        self.runs: Counter[nn.Module] = Counter()
        self.inputs: dict[nn.Module, int] = {}
        self.running: list[nn.Module] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.read((args, kwargs or {}))
        return func(*args, **(kwargs or {}))

    def read(self, values: object) -> None:
        """Note a reading of every output in nested ``values`` by the module that runs."""
        for tensor in _tensors(values):
            if output := self.outputs.get(id(tensor)):
                output.readers.add(self.running[-1] if self.running else None)

    def source_ran(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self.runs[module] += 1
        if isinstance(result, Tensor) and _is_one_tensor(args, kwargs):
            self.outputs[id(result)] = _Output(result, module, tuple(args[0].shape), set())

    def reader_starts(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.runs[module] += 1
        self.running.append(module)
        if _is_one_tensor(args, kwargs):
            self.inputs[module] = id(args[0])

    def reader_ends(self, module: nn.Module, args: tuple[Any, ...], result: Any) -> None:
        self.running.pop()

    def pairs(self) -> Iterator[tuple[_Output, nn.Module]]:
        """Every output that one module alone read, with that module, which was given nothing else; both ran once."""
        for reader, identity in self.inputs.items():
            output = self.outputs.get(identity)
            if output and output.readers == {reader} and self.runs[reader] == self.runs[output.source] == 1:
                yield output, reader


def _is_one_tensor(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    return len(args) == 1 and not kwargs and isinstance(args[0], Tensor)


def _tensors(values: object) -> Iterator[Tensor]:
    """Every tensor in nested sequences and mappings."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from _tensors(value)
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)
