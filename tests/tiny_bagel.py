"""A random miniature in BAGEL's published layout; tokenizer and configurations lie in tests/data/bagel_layout."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from editenv.agents.unified.bagel_folder import bagel_config, empty_model
from editenv.agents.unified.flux_autoencoder import FluxAutoencoder

LAYOUT = Path(__file__).parent / "data" / "bagel_layout"
MARKERS = {"bos_token_id": 387, "eos_token_id": 388, "pad_token_id": 386} | {
    "start_of_image_id": 395,
    "end_of_image_id": 396,
}


def tiny_bagel(folder: Path, side: int = 32) -> Path:
    """Writes a folder whose pictures are resized to `side` pixels, so that tests are fast; returns it."""
    shutil.copytree(LAYOUT, folder, dirs_exist_ok=True)
    (folder / "transforms.json").write_text(json.dumps({"vae": [side, side, 4], "vit": [28, 28, 14]}))
    llm, vit, ae = (json.loads((folder / f"{name}_config.json").read_text()) for name in ("llm", "vit", "ae"))
    generator = torch.Generator().manual_seed(0)
    config = bagel_config(llm, vit, MARKERS, side=16, channels=ae["z_channels"])
    weights = {
        name: torch.randn(value.shape, generator=generator) * (0.02 if value.ndim > 1 else 0.1)
        for name, value in empty_model(config).state_dict().items()
    }
    weights |= {name: 1 + value for name, value in weights.items() if "norm" in name and name.endswith("weight")}
    save_file({name: value.bfloat16() for name, value in weights.items()}, folder / "ema.safetensors")
    torch.manual_seed(0)
    coder = FluxAutoencoder(ae, 2).flux_weights()
    save_file({name: value.contiguous() for name, value in coder.items()}, folder / "ae.safetensors")
    return folder
