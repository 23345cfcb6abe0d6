"""Read YAML text as tables, lists, text, numbers and booleans, and nothing else."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from panoptic_blend.files import printable
from panoptic_blend.structures import PanopticBlendError

_LARGEST = 2**63

_MERGE, _TEXT, _NUMBER = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:str", "tag:yaml.org,2002:int"


def decode_text(data: bytes, path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 if its first bytes say so.

    Raises:
        PanopticBlendError: it is in another encoding.
    """
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise PanopticBlendError(f"{path}: not UTF-8 text (at byte {error.start}); save it as UTF-8") from None


def parse_yaml(text: str, source: str, *, number_keys: bool = False) -> Any:
    """The value of a YAML text; errors start with ``source``, its origin.

    With ``number_keys``, keys may be whole numbers as well as text.

    Raises:
        PanopticBlendError: it is not valid YAML, has a key twice or one that is not text, or needs a tag of YAML's.
    """
    try:
        return yaml.load(text, _NumberKeysLoader if number_keys else _Loader)
    except yaml.YAMLError as error:
        reason = printable(" ".join(str(error).split()))[:300]
    except RecursionError:
        reason = "it is nested too deeply"
    except Exception:  # a tag such as !!int raises whatever its constructor does not foresee
        reason = "a value that is not of the type in its !! tag"
    raise PanopticBlendError(f"{printable(source, 200)}: not valid YAML ({reason}); write lines like `seed: 1`")


class _Loader(yaml.SafeLoader):
    """A safe loader that does not convert dates, because a folder may be called 2026-01-01."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        key: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    key_tags = frozenset({_TEXT})

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        names = set()
        for key, _ in node.value:
            if key.tag == _MERGE:
                continue
            if key.tag not in self.key_tags:
                raise ConstructorError(None, None, "a key that is not a name; write it in quotes", key.start_mark)
            if key.value in names:
                raise ConstructorError(None, None, f"`{key.value}` a second time; join the two", key.start_mark)
            names.add(key.value)
        return node

    def construct_whole_number(self, node: Any) -> int:
        number = int(super().construct_yaml_int(node))
        if abs(number) >= _LARGEST:
            raise ConstructorError(None, None, "a whole number of more than 18 digits", node.start_mark)
        return number


_Loader.add_constructor(_NUMBER, _Loader.construct_whole_number)


class _NumberKeysLoader(_Loader):
    key_tags = frozenset({_TEXT, _NUMBER})
