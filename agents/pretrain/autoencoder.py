"""Trains the small autoencoder on the pictures that studio cells can show."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from editenv.agents.pretrain.progress import track
from editenv.agents.unified.autoencoder import CellAutoencoder, CellAutoencoderConfig, reconstruction_loss
from editenv.worlds.studio.render import cell_pictures

_EMPTY_COPIES = 9
_LARGEST_NOISE = 0.25


def train_autoencoder(cell: int, seed: int, steps: int, rate: float = 2e-3) -> CellAutoencoder:
    """An autoencoder of cells of `cell` pixels, trained on all of them at once with latent noise.

    AdamW with a one-cycle schedule; the decoder sees latents with noise of standard deviation up to 0.25.
    Empty cells, the commonest of all in scenes, stand several times in the batch.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = CellAutoencoder(CellAutoencoderConfig(stride=cell, width=384)).train()
    pictures = _every_cell(cell)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.05)
    for _ in track(range(steps), "autoencoder"):
        loss = reconstruction_loss(model, pictures, generator, _LARGEST_NOISE)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def _every_cell(cell: int) -> Tensor:
    """uint8 [pictures, cell, cell, 3]: each picture once, the empty ones several times."""
    pictures = torch.from_numpy(np.array(cell_pictures(cell)))
    empty = pictures[:, 0].repeat(_EMPTY_COPIES, 1, 1, 1)
    return torch.cat([pictures.flatten(0, 1), empty])
