"""Pickles of others, read without running them: they become arrays, numbers and containers, and nothing else.

A pickle is a program that names functions to call. Here a name means a stand-in of this file, which only takes
down what it is given and checks it; a name that has none is refused. The same stand-ins serve torch's reader.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from panoptic_blend.checkpoints.opcodes import require_modest
from panoptic_blend.files import read_bytes, require_file
from panoptic_blend.structures import PanopticBlendError


def read_pickle(path: Path) -> Any:
    """What a pickle of any protocol holds, of Python 2 too, or a file of ``torch.save``; arrays as `Array`.

    Raises:
        PanopticBlendError: the file is broken, or wants something that is neither array nor container.
    """
    try:
        return _read_torch(path) if is_torch(first_bytes(path)) else loads(read_bytes(path))
    except PanopticBlendError:
        raise
    except _UnwantedError as error:
        wanted = str(error)
    except EOFError:
        raise PanopticBlendError(f"{path}: it ends too early; fetch it again") from None
    except Exception as error:  # a broken file makes an unpickler raise anything
        if not (match := re.search(r"GLOBAL ([^\s]+)", str(error))):
            raise PanopticBlendError(
                f"{path}: not a file of tensors ({reason(error)}); expected .pth, .pkl or .safetensors"
            ) from None
        wanted = match[1]
    remedy = "have only its state dict exported"
    if wanted.startswith("torch."):
        remedy = "save the state_dict() instead of the module" if ".nn." in wanted else "write it with torch.save"
    raise PanopticBlendError(
        f"{path}: not a file of tensors (it wants {_printable(wanted)}, which is neither array nor container); {remedy}"
    )


def first_bytes(path: Path) -> bytes:
    """How a file starts, which tells what it is."""
    require_file(path)
    try:
        with path.open("rb") as file:
            return file.read(32)
    except OSError as error:
        raise PanopticBlendError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None


def is_torch(start: bytes) -> bool:
    """Whether ``torch.save`` wrote what starts so: a zip archive or, in its older layout, a certain number."""
    return start.startswith(_ZIP) or _TORCH_NUMBER in start


_ZIP = b"PK\x03\x04"
_TORCH_NUMBER = bytes.fromhex("6cfc9c46f9206aa85019")


def loads(content: bytes) -> Any:
    """What the pickle ``content`` holds; raises anything for a broken one."""
    require_modest(content)
    return _Unpickler(BytesIO(content), encoding="latin1").load()


def reason(error: Exception) -> str:
    """The first line of what went wrong, without torch's preamble."""
    text = str(error).rpartition("WeightsUnpickler error: ")[2].strip()
    return _printable((text or type(error).__name__).splitlines()[0])


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:100]


def _require_modest_torch(path: Path) -> None:
    """The pickles in a file of ``torch.save``: one in a zip archive, five in a row in its older layout."""
    if not first_bytes(path).startswith(_ZIP):  # as torch tells them apart, whatever else is in the file
        content, place = read_bytes(path), 0
        for _ in range(5):
            place = require_modest(content, place)
        return
    if not zipfile.is_zipfile(path):
        raise EOFError
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:  # torch.save compresses nothing
                raise ValueError(f"{entry.filename} is compressed")
            if entry.filename.endswith("data.pkl"):
                require_modest(archive.read(entry))


def _read_torch(path: Path) -> Any:
    _require_modest_torch(path)
    with warnings.catch_warnings(), torch.serialization.safe_globals([(part, name) for name, part in _PARTS.items()]):
        warnings.simplefilter("ignore")  # of protocols other than 2; what cannot be read raises
        with path.open("rb") as file:  # of a path torch would look at the suffix
            return torch.load(file, map_location="cpu", weights_only=True)


class _UnwantedError(Exception):
    """A pickle names something that has no stand-in."""


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> Any:
        raise ValueError("it refers to an object outside of it")

    def find_class(self, module: str, name: str) -> type[_Part]:
        if (full := f"{module}.{name}") not in _PARTS:
            raise _UnwantedError(full)
        return _PARTS[full]


# --- stand-ins -------------------------------------------------------------------------------------------------------


class _Part:
    """Base of the stand-ins; a pickle may neither make nor change one unless its class says how."""

    def __new__(cls, *claims: Any) -> Any:
        raise ValueError(f"a {cls.__name__.lstrip('_')} cannot be made")

    def __setstate__(self, state: Any) -> None:
        raise ValueError(f"a {type(self).__name__.lstrip('_')} has no state")


class Array(_Part):
    """An array of numbers: a view of bytes of the file, of which `tensor` makes a copy."""

    values: np.ndarray[Any, Any]

    def __new__(cls, *claims: Any) -> Array:
        self: Array = object.__new__(cls)
        self.values = np.empty(0)
        return self

    def __setstate__(self, state: Any) -> None:
        shape, dtype, is_fortran, data = state[-4:]
        self._set(shape, dtype, "F" if is_fortran else "C", data)

    def _set(self, shape: Any, dtype: Any, order: Any, data: Any) -> None:
        if not isinstance(dtype, _DType) or not isinstance(data, (bytes, bytearray, str)):
            raise ValueError("an array of other things than numbers")
        if any(size < 0 for size in shape):
            raise ValueError(f"an array of shape {shape}")
        data = data.encode("latin1") if isinstance(data, str) else data  # as Python 2 has it
        self.values = np.ndarray(shape, dtype.dtype, data, order=order)  # raises if there is less than that

    def tensor(self) -> Tensor:
        """The numbers in native byte order, contiguous."""
        return torch.from_numpy(self.values.astype(self.values.dtype.newbyteorder("="), order="C"))


class _Buffer(_Part):
    """An array of protocol 5."""

    def __new__(cls, data: Any, dtype: Any, shape: Any, order: Any) -> Any:
        array = Array()
        array._set(shape, dtype, order, data)
        return array


class _Scalar(_Part):
    """A number of numpy's."""

    def __new__(cls, dtype: Any, data: Any) -> Any:
        array = Array()
        array._set((), dtype, "C", data)
        return array.values.item()


class _DType(_Part):
    """The kind of number in an array."""

    dtype: np.dtype[Any]

    def __new__(cls, code: Any, *flags: Any) -> _DType:
        if not isinstance(code, str) or not re.fullmatch("b1|[iu][1248]|f[248]", code):
            raise ValueError(f"an array of {code}, not of numbers")
        self: _DType = object.__new__(cls)
        self.dtype = np.dtype(code)
        return self

    def __setstate__(self, state: Any) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Dict(dict[Any, Any], _Part):
    """A dict of another class. It forgets the attributes it had, such as the ``_metadata`` of a state dict."""

    def __new__(cls, *claims: Any) -> _Dict:
        return dict.__new__(cls)

    def __init__(self, *claims: Any) -> None:
        super().__init__(*(claim for claim in claims[:1] if isinstance(claim, (dict, list))))

    def __setstate__(self, state: Any) -> None:
        pass


class _DefaultDict(_Part):
    def __new__(cls, *claims: Any) -> Any:  # torch's reader fills no other class
        return {}


class _Latin1(_Part):
    """How older protocols write bytes."""

    def __new__(cls, text: Any = "", encoding: Any = "latin1") -> Any:
        if encoding not in ("latin1", "latin-1"):
            raise ValueError(f"text in {encoding}")
        return str.encode(text, "latin1")


class _Type(_Part):
    """A class that is named as an argument and never made."""


_PARTS: dict[str, type[_Part]] = {
    **{
        f"numpy.{core}.{name}": part
        for core in ("core", "_core")
        for name, part in {
            "multiarray._reconstruct": Array,
            "multiarray.scalar": _Scalar,
            "numeric._frombuffer": _Buffer,
        }.items()
    },
    "numpy.ndarray": _Type,
    "numpy.dtype": _DType,
    "collections.OrderedDict": _Dict,
    "collections.Counter": _Dict,
    "collections.defaultdict": _DefaultDict,
    "_codecs.encode": _Latin1,
    **{f"{module}.bytes": _Latin1 for module in ("__builtin__", "builtins")},
    **{
        f"{module}.{name}": _Type for module in ("__builtin__", "builtins") for name in ("dict", "float", "int", "list")
    },
}
"""All that a pickle may name."""
