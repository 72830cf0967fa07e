"""Random choices."""

from editenv.worlds.studio.draws import Draws as Rng

__all__ = ["Rng"]
