"""What a batch is conditioned on: blocks of text and images, and the context that has read them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


@dataclass(frozen=True)
class TextBlock:
    """A block of text, the same length in every row; rows differ by padding.

    Attributes:
        ids: token ids, [B, L] int64.
        mask: True at real tokens, [B, L]; None when there is no padding. Padding may be on either side.
    """

    ids: Tensor
    mask: Tensor | None = None

    def to(self, device: torch.device | str) -> TextBlock:
        """The block on a device."""
        return TextBlock(self.ids.to(device), None if self.mask is None else self.mask.to(device))


@dataclass(frozen=True)
class ImageBlock:
    """A clean image, as latent tokens in row-major order.

    Attributes:
        latents: [B, N, C].
        grid: rows and columns with rows * columns = N; None for a square.
        present: False in rows that have no image here, [B]; None for all. Their tokens are never attended to
            and do not advance rope.
    """

    latents: Tensor
    grid: tuple[int, int] | None = None
    present: Tensor | None = None


@dataclass(frozen=True)
class VitBlock:
    """An image as vision tokens, already embedded in the model's width: [B, N, H]."""

    tokens: Tensor


Block = TextBlock | ImageBlock | VitBlock


@dataclass
class Context:
    """Key-value cache of what B sessions have read so far; `append_*` of the model grows it in place.

    The tensors themselves are never written to, so a `copy` shares them and costs nothing.

    Attributes:
        cache: keys (after norm and rope) and values of each layer, [B, key-value heads, S, head width].
        valid: False at padding, [B, S].
        position: rope id of the next token of each row, [B] int64.
        is_text: True at text tokens and image markers, [S]; the layout is the same in all rows.
        padded: False as long as `valid` is all True, known without looking at the data.
        buffers: by layer, keys and values with space for a block behind them; a copy starts without.
    """

    cache: DynamicCache
    valid: Tensor
    position: Tensor
    is_text: Tensor
    padded: bool = False
    buffers: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False, compare=False)

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

    def keys_values(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values of one layer, [B, key-value heads, S, head width] each."""
        stored = _layers(self.cache)[layer]
        assert stored.keys is not None and stored.values is not None
        return stored.keys, stored.values

    # Growing

    def extender(self, layer: int) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """A function that puts one layer's keys and values before those of a block, which are not stored.

        Without gradient what it returns is overwritten by the next call for this layer: all denoising steps
        of an image follow the same context, which is copied once for them.
        """
        if not self.length:
            return lambda key, value: (key, value)
        if not torch.is_grad_enabled():
            return lambda key, value: self._in_buffer(layer, key, value)
        keys, values = self.keys_values(layer)
        return lambda key, value: (torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2))

    def _in_buffer(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The context followed by a block, in tensors that already hold the context."""
        buffer, start = self.buffers.get(layer), self.length
        if buffer is not None and buffer[0].shape[2] == start + key.shape[2] and buffer[0].dtype == key.dtype:
            buffer[0][:, :, start:], buffer[1][:, :, start:] = key, value
            return buffer
        keys, values = self.keys_values(layer)
        buffer = torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)
        self.buffers[layer] = buffer
        return buffer

    def record(self, valid: Tensor | None, count: int, advance: Tensor | int, is_text: Tensor) -> None:
        """Note `count` tokens that were appended to the cache.

        Args:
            valid: False at padding, [B, count]; None for all valid.
            count: number of tokens.
            advance: how far rope moved on, [B] or the same in all rows.
            is_text: as the attribute, [count].
        """
        if valid is None:
            valid = self.valid.new_ones(self.batch_size, count)
        else:
            self.padded = True
        self.buffers = {}
        self.valid = torch.cat([self.valid, valid], dim=1)
        self.position = self.position + advance
        self.is_text = torch.cat([self.is_text, is_text])

    def append_from(self, other: Context, start: int, advance: Tensor) -> None:
        """Append what another context of as many rows has read from token `start` on; see `record`."""
        for mine, theirs in zip(_layers(self.cache), _layers(other.cache), strict=True):
            assert theirs.keys is not None and theirs.values is not None
            mine.update(theirs.keys[:, :, start:], theirs.values[:, :, start:])
        valid = other.valid[:, start:]
        self.record(valid if other.padded else None, valid.shape[1], advance, other.is_text[start:])

    # Copies with other rows

    def copy(self) -> Context:
        """A context that can be grown without growing this one."""
        return self._map(lambda tensor: tensor)

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
        for index, layer in enumerate(_layers(found.cache)):
            keys, values = self.keys_values(index)
            layer.keys = keys.transpose(1, 2)[rows, tokens].transpose(1, 2)
            layer.values = values.transpose(1, 2)[rows, tokens].transpose(1, 2)
        found.valid, found.position, found.is_text = valid[:, tokens], position, self.is_text[tokens]
        found.padded = not bool(found.valid.all())
        return found

    def _map(self, change: Callable[[Tensor], Tensor]) -> Context:
        cache = copy.copy(self.cache)
        cache.layers = [copy.copy(layer) for layer in cache.layers]
        for layer in _layers(cache):
            if layer.keys is not None and layer.values is not None:
                layer.keys, layer.values = change(layer.keys), change(layer.values)
        return Context(cache, change(self.valid), change(self.position), self.is_text, self.padded)


def _layers(cache: DynamicCache) -> list[DynamicLayer]:
    return cast(list[DynamicLayer], cache.layers)
