"""The context of a batch: key-value cache, which of its tokens count, and where rope goes on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import DynamicCache


@dataclass
class Context:
    """Everything a batch of B sessions has read so far; `append_*` of the model grows it in place.

    The tensors themselves are never written to, so a `copy` shares them and costs nothing.

    Attributes:
        cache: keys (after norm and rope) and values of each layer, [B, key-value heads, S, head width].
        valid: False at padding, [B, S].
        position: rope id of the next token of each row, [B] int64.
        is_text: True at text tokens and image markers, [S]; the layout is the same in all rows.
        padded: False as long as `valid` is all True, known without looking at the data.
        room: by layer, keys and values with room for a block behind them; a copy starts without.
    """

    cache: DynamicCache
    valid: Tensor
    position: Tensor
    is_text: Tensor
    padded: bool = False
    room: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def empty(cls, batch_size: int, device: torch.device | str = "cpu") -> Context:
        """A context of `batch_size` rows that has read nothing."""
        return cls(
            cache=DynamicCache(),
            valid=torch.ones(batch_size, 0, dtype=torch.bool, device=device),
            position=torch.zeros(batch_size, dtype=torch.long, device=device),
            is_text=torch.zeros(0, dtype=torch.bool, device=device),
        )

    @property
    def batch_size(self) -> int:
        """Number of rows B."""
        return self.valid.shape[0]

    @property
    def length(self) -> int:
        """Number of tokens S in the cache, padding included."""
        return self.valid.shape[1]

    def follower(self, layer: int) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """What puts one layer's keys and values, as they are now, before others, which are not stored.

        Without gradient what it returns is overwritten by the next call for this layer: all steps of a
        picture follow the same context, which is copied once for them.
        """
        if not self.length:
            return lambda key, value: (key, value)
        if not torch.is_grad_enabled():
            return lambda key, value: self._in_room(layer, key, value)
        keys, values = self._stored(layer)
        return lambda key, value: (torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2))

    def _stored(self, layer: int) -> tuple[Tensor, Tensor]:
        stored = self.cache.layers[layer]
        assert stored.keys is not None and stored.values is not None
        return stored.keys, stored.values

    def _in_room(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The context followed by a block, in tensors that already hold the context."""
        room, start = self.room.get(layer), self.length
        if room is not None and room[0].shape[2] == start + key.shape[2] and room[0].dtype == key.dtype:
            room[0][:, :, start:], room[1][:, :, start:] = key, value
            return room
        keys, values = self._stored(layer)
        room = torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)
        self.room[layer] = room
        return room

    def copy(self) -> Context:
        """A context that can be grown without growing this one."""
        return self._map(lambda tensor: tensor)

    def detach(self) -> Context:
        """The same context without its gradient."""
        return self._map(torch.Tensor.detach)

    def select(self, rows: Tensor) -> Context:
        """The rows with these indices, [B'] int64; a row may be taken several times."""
        return self._map(lambda tensor: tensor.index_select(0, rows))

    def repeat(self, times: int) -> Context:
        """Every row `times` times in a row, so that row b becomes rows b * times to (b + 1) * times - 1."""
        if times == 1:
            return self.copy()
        return self._map(lambda tensor: tensor.repeat_interleave(times, dim=0))

    def regroup(self, rows: Tensor, there: Tensor, position: Tensor) -> Context:
        """A context whose tokens are those of other rows, without those that no row has.

        Args:
            rows: int64 [B, S], row b's token s is that of row rows[b, s].
            there: bool [B, S], False where row b has no token s.
            position: rope id of the next token of each row, [B].
        """
        valid = self.valid.gather(0, rows) & there
        tokens = valid.any(0).nonzero()[:, 0]
        rows = rows[:, tokens]
        found = self.copy()
        for layer in found.cache.layers:
            assert layer.keys is not None and layer.values is not None
            layer.keys = layer.keys.transpose(1, 2)[rows, tokens].transpose(1, 2)
            layer.values = layer.values.transpose(1, 2)[rows, tokens].transpose(1, 2)
        found.valid, found.position, found.is_text = valid[:, tokens], position, self.is_text[tokens]
        found.padded = not bool(found.valid.all())
        return found

    def take(self, other: Context, start: int, advance: Tensor) -> None:
        """Grows by what another context of as many rows has read from token `start` on; see `grow`."""
        for mine, theirs in zip(self.cache.layers, other.cache.layers, strict=True):
            assert theirs.keys is not None and theirs.values is not None
            mine.update(theirs.keys[:, :, start:], theirs.values[:, :, start:])
        valid = other.valid[:, start:]
        self.grow(valid if other.padded else None, valid.shape[1], advance, other.is_text[start:])

    def _map(self, change: Callable[[Tensor], Tensor]) -> Context:
        cache = copy.copy(self.cache)
        cache.layers = [copy.copy(layer) for layer in cache.layers]
        for layer in cache.layers:
            if layer.keys is not None and layer.values is not None:
                layer.keys, layer.values = change(layer.keys), change(layer.values)
        return Context(cache, change(self.valid), change(self.position), self.is_text, self.padded)

    def grow(self, valid: Tensor | None, count: int, advance: Tensor | int, text: Tensor) -> None:
        """Record `count` appended tokens: which are valid (None: all), and how far rope moved on, [B]."""
        if valid is None:
            valid = self.valid.new_ones(self.batch_size, count)
        else:
            self.padded = True
        self.room = {}
        self.valid = torch.cat([self.valid, valid], dim=1)
        self.position = self.position + advance
        self.is_text = torch.cat([self.is_text, text])
