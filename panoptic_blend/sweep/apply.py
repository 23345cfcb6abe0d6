"""Write a fusion setting into a checkpoint."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.checkpoints.io import is_checkpoint, read_checkpoint, require_new_checkpoint, save_checkpoint
from panoptic_blend.config.experiment import Config
from panoptic_blend.download.weights_sources import weights_path
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.sweep.grid import Setting


def require_applicable(checkpoint: Path, output: Path) -> None:
    """Raise an error unless `apply_setting` can copy ``checkpoint`` to ``output``."""
    require_new_checkpoint(output)
    path = weights_path(checkpoint)
    if path.suffix != ".safetensors" or not is_checkpoint(path):
        raise PanopticBlendError(
            f"{checkpoint}: has no config into which --apply can write; import it with `panoptic-blend weights import`"
        )


def apply_setting(checkpoint: Path, swept: Config, setting: Setting, output: Path) -> None:
    """Write a copy of a checkpoint whose config has the fusion settings of ``setting``.

    The other options of model and test are those of ``swept``, the config for which the setting was found. The PQ of
    the checkpoint is not copied: it was that of other settings.
    """
    known = read_checkpoint(weights_path(checkpoint))
    config = known.config.model_copy(update={"model": swept.model, "test": swept.test})
    save_checkpoint(output, known.state, config.changed(setting.overrides().split()), known.categories)
