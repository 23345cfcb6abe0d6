"""Networks of which some parts are not trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from torch import nn


class PartlyFrozen(nn.Module):
    """A module with frozen parts: they get no gradient, and stay in evaluation mode when the rest is trained."""

    _frozen: Sequence[str] = ()

    def freeze(self, names: Sequence[str]) -> None:
        """Freeze the parts of these names."""
        self._frozen = [*self._frozen, *names]
        for name in names:
            self.get_submodule(name).requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Put all but the frozen parts into training mode."""
        super().train(mode)
        for name in self._frozen:
            self.get_submodule(name).eval()
        return self
