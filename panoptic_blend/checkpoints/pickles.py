"""Read foreign pickles without running code from them: they become arrays, numbers and containers, and nothing else.

A pickle is a program that names functions to call. Here every allowed name resolves to a stand-in defined in this
module, which checks and keeps its arguments; any other name is refused. torch's reader gets the same stand-ins.
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
from panoptic_blend.files import printable, read_bytes, require_file
from panoptic_blend.structures import PanopticBlendError


def read_pickle(path: Path) -> Any:
    """Read a pickle of any protocol, from Python 2 too, or a file of ``torch.save``; arrays come as `Array`.

    Raises:
        PanopticBlendError: the file is broken, or needs a class that is neither an array nor a container.
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
        f"{path}: not a file of tensors (it wants {printable(wanted, 100)}, which is neither array nor container); "
        f"{remedy}"
    )


def first_bytes(path: Path) -> bytes:
    """The first 32 bytes of a file, which show its format."""
    require_file(path)
    try:
        with path.open("rb") as file:
            return file.read(32)
    except OSError as error:
        raise PanopticBlendError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None


def is_torch(start: bytes) -> bool:
    """Whether a file that begins with ``start`` is one of ``torch.save``: a zip archive, or its older layout."""
    return start.startswith(_ZIP) or _TORCH_NUMBER in start


_ZIP = b"PK\x03\x04"
_TORCH_NUMBER = bytes.fromhex("6cfc9c46f9206aa85019")


def loads(content: bytes) -> Any:
    """Unpickle ``content``; a broken pickle may raise any exception."""
    require_modest(content)
    return _Unpickler(BytesIO(content), encoding="latin1").load()


def reason(error: Exception) -> str:
    """The first line of an error message, without torch's preamble."""
    text = str(error).rpartition("WeightsUnpickler error: ")[2].strip()
    return printable((text or type(error).__name__).splitlines()[0], 100)


def _require_modest_torch(path: Path) -> None:
    """Check the pickles in a file of ``torch.save``: one in a zip archive, or five in a row in the older layout."""
    if not first_bytes(path).startswith(_ZIP):  # the test that torch itself makes
        content, place = read_bytes(path), 0
        for _ in range(5):
            place = require_modest(content, place)
        return
    if not zipfile.is_zipfile(path):
        raise EOFError
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if max(entry.compress_size, entry.file_size) > path.stat().st_size:
                raise ValueError(f"{entry.filename} claims more bytes than the file has")
            if entry.compress_type != zipfile.ZIP_STORED:  # torch.save compresses nothing
                raise ValueError(f"{entry.filename} is compressed")
            if entry.filename.endswith("data.pkl"):
                require_modest(archive.read(entry))


def _read_torch(path: Path) -> Any:
    _require_modest_torch(path)
    with warnings.catch_warnings(), torch.serialization.safe_globals([(part, name) for name, part in _PARTS.items()]):
        warnings.simplefilter("ignore")  # about protocols other than 2; what cannot be read raises
        with path.open("rb") as file:  # given a path, torch would look at its suffix
            return torch.load(file, map_location="cpu", weights_only=True)


class _UnwantedError(Exception):
    """A pickle names a class or function without a stand-in."""


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> Any:
        raise ValueError("it refers to an object outside the file")

    def find_class(self, module: str, name: str) -> type[_Part]:
        if (full := f"{module}.{name}") not in _PARTS:
            raise _UnwantedError(full)
        return _PARTS[full]


# --- stand-ins -------------------------------------------------------------------------------------------------------


class _Part:
    """Base of the stand-ins: a pickle cannot create or change one unless the subclass allows it."""

    def __new__(cls, *claims: Any) -> Any:
        raise ValueError(f"a {cls.__name__.lstrip('_')} cannot be made")

    def __setstate__(self, state: Any) -> None:
        raise ValueError(f"a {type(self).__name__.lstrip('_')} has no state")


class Array(_Part):
    """An array of numbers, as a view of the bytes of the file; `tensor` copies it."""

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
            raise ValueError("an array whose items are not numbers")
        if any(size < 0 for size in shape):
            raise ValueError(f"an array of shape {shape}")
        data = data.encode("latin1") if isinstance(data, str) else data  # as Python 2 wrote it
        self.values = np.ndarray(shape, dtype.dtype, data, order=order)  # raises if there are fewer bytes

    def tensor(self) -> Tensor:
        """A contiguous copy in native byte order."""
        return torch.from_numpy(self.values.astype(self.values.dtype.newbyteorder("="), order="C"))


class _Buffer(_Part):
    """An array as protocol 5 stores it."""

    def __new__(cls, data: Any, dtype: Any, shape: Any, order: Any) -> Any:
        array = Array()
        array._set(shape, dtype, order, data)
        return array


class _Scalar(_Part):
    """A scalar of numpy."""

    def __new__(cls, dtype: Any, data: Any) -> Any:
        array = Array()
        array._set((), dtype, "C", data)
        return array.values.item()


class _DType(_Part):
    """The type of the numbers in an array."""

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
    """A dict of another class; attributes such as the ``_metadata`` of a state dict are dropped."""

    def __new__(cls, *claims: Any) -> _Dict:
        return dict.__new__(cls)

    def __init__(self, *claims: Any) -> None:
        super().__init__(*(claim for claim in claims[:1] if isinstance(claim, (dict, list))))

    def __setstate__(self, state: Any) -> None:
        pass


class _DefaultDict(_Part):
    def __new__(cls, *claims: Any) -> Any:  # torch's reader fills plain dicts only
        return {}


class _Latin1(_Part):
    """Bytes as older protocols write them."""

    def __new__(cls, text: Any = "", encoding: Any = "latin1") -> Any:
        if encoding not in ("latin1", "latin-1"):
            raise ValueError(f"text in {encoding}")
        return str.encode(text, "latin1")


class _Type(_Part):
    """A class that is passed as an argument and never instantiated."""


class _History(_Part):
    """The history of a loss, which mmengine keeps beside the weights; nothing of it stays."""

    def __new__(cls, *claims: Any) -> _History:
        self: _History = object.__new__(cls)
        return self

    def __setstate__(self, state: Any) -> None:
        pass


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
    "mmengine.logging.history_buffer.HistoryBuffer": _History,
    "_codecs.encode": _Latin1,
    **{f"{module}.bytes": _Latin1 for module in ("__builtin__", "builtins")},
    **{
        f"{module}.{name}": _Type for module in ("__builtin__", "builtins") for name in ("dict", "float", "int", "list")
    },
}
"""Every name that a pickle may use, with its stand-in."""
