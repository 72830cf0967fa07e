"""What a batch is conditioned on: blocks of text and images, and the context that has read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class TextBlock:
    """A block of text, the same length in every row; rows differ by padding."""

    ids: Tensor  # token ids, [B, L] int64
    # True at real tokens, [B, L]; None when there is no padding. Padding may be on either side.
    mask: Tensor | None = None

    @classmethod
    def masked(cls, ids: Tensor, mask: Tensor) -> TextBlock:
        """A block of a mask that may be True everywhere."""
        return cls(ids, None if mask.all() else mask)

    @property
    def full_mask(self) -> Tensor:
        """The mask, True everywhere where there is no padding."""
        return torch.ones_like(self.ids, dtype=torch.bool) if self.mask is None else self.mask


@dataclass(frozen=True)
class ImageBlock:
    """A clean image, as latent tokens in row-major order."""

    latents: Tensor  # [B, N, C]
    grid: tuple[int, int] | None = None  # rows and columns with rows * columns = N; None for a square
    # False in rows that have no image here, [B]; None for all. Their tokens are never attended to and do not advance
    # rope.
    present: Tensor | None = None


@dataclass(frozen=True)
class VitBlock:
    """An image as vision tokens, already embedded in the model's width."""

    tokens: Tensor  # [B, N, H]
    present: Tensor | None = None  # as in ImageBlock


Block = TextBlock | ImageBlock | VitBlock


def right_aligned(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens and mask [B, L] with each row's padding, wherever it stood, on the left."""
    order = mask.long().argsort(dim=1, stable=True)
    return ids.gather(1, order), mask.gather(1, order)


@dataclass
class Context:
    """Key-value cache of what B sessions have read so far; `UnifiedModel.append` grows it in place.

    The tensors themselves are never written to, so a `copy` shares them and costs nothing.
    """

    # Keys (after norm and rope) and values of each layer, [B, key-value heads, S, head width].
    layers: list[tuple[Tensor, Tensor]]
    valid: Tensor  # False at padding, [B, S]
    position: Tensor  # rope id of the next token of each row, [B] int64
    is_text: Tensor  # True at text tokens and image markers, [S]; the layout is the same in all rows
    padded: bool = False  # False as long as `valid` is all True, known without looking at the data
    # By layer, keys and values with space for a block behind them; a copy starts without.
    buffers: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def empty(cls, batch_size: int, device: torch.device | str = "cpu") -> Context:
        """A context of `batch_size` rows that has read nothing."""
        valid = torch.ones(batch_size, 0, dtype=torch.bool, device=device)
        return cls([], valid, valid.new_zeros(batch_size, dtype=torch.long), valid.new_zeros(0))

    @property
    def length(self) -> int:
        """Number of tokens S, padding included."""
        return self.valid.shape[1]

    # Attention masks, True where a token may look; None for everywhere

    def text_mask(self, mask: Tensor | None, length: int) -> Tensor | None:
        """For a block of text: valid tokens of the past, and causally each other; [B or 1, 1, L, S + L].

        `mask` is the block's, [B, L]. A padding token sees itself alone, so that its softmax is defined.
        """
        if mask is None and not self.padded and length == 1:
            return None
        past = self.length
        causal = self.valid.new_ones(length, past + length).tril(past)
        if mask is None and not self.padded:
            return causal[None, None]
        own = self.valid.new_ones(len(self.valid), length) if mask is None else mask
        visible = torch.cat([self.valid, own], dim=1)[:, None] & causal
        visible[:, :, past:] |= torch.eye(length, dtype=torch.bool, device=visible.device)
        return visible[:, None]

    def image_mask(self, length: int) -> Tensor | None:
        """For a block of an image: valid tokens of the past and all of the block; [B, 1, 1, S + L]."""
        if not self.padded:
            return None
        return torch.cat([self.valid, self.valid.new_ones(len(self.valid), length)], dim=1)[:, None, None]

    # Growing

    def extender(self, layer: int) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """A function that puts one layer's keys and values before those of a block, which are not stored.

        Without gradient what it returns is overwritten by the next call for this layer: all denoising steps
        of an image follow the same context, which is copied once for them.
        """
        if not self.length:
            return lambda key, value: (key, value)
        keys, values = self.layers[layer]
        keeps = torch.is_grad_enabled()

        def extend(key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
            buffer, start = self.buffers.get(layer), keys.shape[2]
            if not keeps and buffer and buffer[0].shape[2] == start + key.shape[2] and buffer[0].dtype == key.dtype:
                buffer[0][:, :, start:], buffer[1][:, :, start:] = key, value
                return buffer
            joined = torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)
            if not keeps:
                self.buffers[layer] = joined
            return joined

        return extend

    def store(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keep a block's keys and values of one layer; returns all of the layer's. `record` says what they are."""
        if layer == len(self.layers):
            self.layers.append((key[:, :, :0], value[:, :, :0]))
        keys, values = self.layers[layer]
        self.layers[layer] = torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)
        return self.layers[layer]

    def record(self, valid: Tensor | None, advance: Tensor | int, is_text: Tensor) -> None:
        """Note tokens whose keys and values were stored.

        Args:
            valid: False at padding, [B, count]; None for all valid.
            advance: how far rope moved on, [B] or the same in all rows.
            is_text: as the attribute, [count].
        """
        self.padded |= valid is not None
        self.buffers = {}
        own = self.valid.new_ones(len(self.valid), len(is_text)) if valid is None else valid
        self.valid = torch.cat([self.valid, own], dim=1)
        self.position = self.position + advance
        self.is_text = torch.cat([self.is_text, is_text])

    # Copies with other rows

    def copy(self) -> Context:
        """A context that can be grown without growing this one."""
        return self._map(lambda tensor: tensor)

    def select(self, rows: Tensor) -> Context:
        """The rows with these indices, [B'] int64; a row may be taken several times."""
        return self._map(lambda tensor: tensor.index_select(0, rows))

    def repeat(self, times: int) -> Context:
        """Every row `times` times in a row, so that row b becomes rows b * times to (b + 1) * times - 1."""
        return self.copy() if times == 1 else self._map(lambda tensor: tensor.repeat_interleave(times, dim=0))

    def since(self, start: int, position: Tensor) -> Context:
        """What was read from token `start` on, when rope ids [B] were at `position`: a part for `joined`."""
        layers = [(keys[:, :, start:], values[:, :, start:]) for keys, values in self.layers]
        return Context(layers, self.valid[:, start:], self.position - position, self.is_text[start:], self.padded)

    @classmethod
    def joined(cls, parts: Sequence[Context], rows: Tensor) -> Context:
        """Parts one after the other: row b's part k is that of row rows[b, k], missing for -1.

        Tokens that no row has are left out.
        """
        there = rows >= 0
        taken = [part.select(rows[:, place].clamp(min=0)) for place, part in enumerate(parts)]
        valid = torch.cat([part.valid & there[:, place, None] for place, part in enumerate(taken)], dim=1)
        position = sum(part.position * there[:, place] for place, part in enumerate(taken))
        tokens = valid.any(0).nonzero()[:, 0]
        layers = []
        for pairs in zip(*(part.layers for part in taken), strict=True):
            keys, values = (torch.cat(states, dim=2)[:, :, tokens] for states in zip(*pairs, strict=True))
            layers.append((keys, values))
        is_text, valid = torch.cat([part.is_text for part in taken])[tokens], valid[:, tokens]
        return cls(layers, valid, torch.as_tensor(position), is_text, not bool(valid.all()))

    def _map(self, change: Callable[[Tensor], Tensor]) -> Context:
        layers = [(change(keys), change(values)) for keys, values in self.layers]
        return Context(layers, change(self.valid), change(self.position), self.is_text, self.padded)
