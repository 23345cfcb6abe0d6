"""Weights from the Hugging Face Hub, by addresses such as ``hf://owner/name``; the Hub's own library keeps them.

Only safetensors are taken from there, which can hold no code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from panoptic_blend.download.weights_cache import is_offline
from panoptic_blend.extras import require_extra
from panoptic_blend.failures import first_line, in_short
from panoptic_blend.structures import PanopticBlendError

FILE = "model.safetensors"
"""The file that an address without a file means, if the repository has one of this name."""

# A `Path` writes one slash where the address has two.
_ADDRESS = re.compile(r"hf:/{1,2}(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/@]+))?(?:/(?P<file>[^@]+))?")


def is_on_hub(source: str | Path) -> bool:
    """Whether a source of weights is an address on the Hub."""
    return str(source).startswith("hf:/")


def fetch_from_hub(address: str) -> Path:
    """The safetensors file at ``hf://owner/name``, with ``@revision`` and ``/file`` if given; fetched once.

    A revision is a branch, a tag or a commit. Without a file, it is `FILE` or the repository's only safetensors.

    Raises:
        PanopticBlendError: there is no such file, it is no safetensors, or it cannot be fetched.
    """
    match = _ADDRESS.fullmatch(address)
    if not match:
        raise PanopticBlendError(f"{address}: not an address; write hf://owner/name or hf://owner/name@revision/file")
    repo, file = match["repo"], match["file"]
    revision = match["revision"] and unquote(match["revision"])
    if file and not file.endswith(".safetensors"):
        raise PanopticBlendError(f"{address}: only safetensors are taken from the Hub; name a file of that kind")
    with hub_errors(f"hf://{repo}"):
        path = _download(repo, file or FILE, revision)
        if path is None and not file:
            path = _download(repo, _only_file(repo, revision), revision)
        if path is None:
            raise PanopticBlendError(f"{address}: the repository has no such file; check its name")
    with path.open("rb") as opened:
        if opened.read(9)[8:] != b"{":
            raise PanopticBlendError(f"{address}: {path.name} is no safetensors, whatever its name says; do not use it")
    return path


def _download(repo: str, file: str, revision: str | None) -> Path | None:
    """The path of a file of a repository in the cache of the Hub's library; None if the repository has no such file."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RemoteEntryNotFoundError

    try:
        return Path(HfApi().hf_hub_download(repo, file, revision=revision, local_files_only=is_offline()))
    except RemoteEntryNotFoundError:
        return None


def _only_file(repo: str, revision: str | None) -> str:
    from huggingface_hub import HfApi

    found = [name for name in HfApi().list_repo_files(repo, revision=revision) if name.endswith(".safetensors")]
    if len(found) != 1:
        listed = f"has {len(found)} safetensors: {', '.join(found[:5])}" if found else "has no safetensors"
        raise PanopticBlendError(f"hf://{repo}: {listed}; name a file, as in hf://{repo}/{FILE}")
    return found[0]


@contextmanager
def hub_errors(where: str) -> Iterator[None]:
    """Raise PanopticBlendError in place of the errors of the Hub's library; ``where`` begins the message.

    Raises:
        MissingExtraError: that library is not installed.
    """
    require_extra("hub")
    from huggingface_hub import errors

    try:
        yield
    except PanopticBlendError:
        raise
    except errors.GatedRepoError:
        raise PanopticBlendError(f"{where}: its owner gives access on request; ask on its page, then log in") from None
    except errors.RepositoryNotFoundError:
        raise PanopticBlendError(
            f"{where}: not on the Hub, or private; check the name, or log in with `hf auth login` or HF_TOKEN"
        ) from None
    except errors.RevisionNotFoundError:
        raise PanopticBlendError(f"{where}: has no such revision; check it on the Hub") from None
    except errors.LocalEntryNotFoundError:
        raise PanopticBlendError(
            f"{where}: not in the cache, and the Hub cannot be reached; try again with a network, without --offline"
        ) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        remedy = _LOGIN if status in (401, 403) else "try again later"
        raise PanopticBlendError(f"{where}: the Hub answers {status} ({first_line(error)}); {remedy}") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise PanopticBlendError(f"{where}: {in_short(error)}; check the name, or try again later") from None


_LOGIN = "log in with `hf auth login` or HF_TOKEN, as a user who may do this"
