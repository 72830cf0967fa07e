"""Models that scorers load, tiny and with random weights."""

from __future__ import annotations

import json

import pytest


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Folders of a DINOv3 and a GroundingDINO model, tiny and with random weights."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    features, detector = tmp_path_factory.mktemp("dinov3"), tmp_path_factory.mktemp("detector")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.DINOv3ViTConfig(**sizes, patch_size=8, image_size=32, num_register_tokens=4)
    transformers.DINOv3ViTModel(config).save_pretrained(features)
    settings = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5, 0.25, 0.1]}
    (features / "preprocessor_config.json").write_text(json.dumps(settings))
    words = (
        ["[PAD]"]
        + [f"[u{n}]" for n in range(99)]
        + ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        + [f"[x{n}]" for n in range(908)]
    )
    words += [".", "red", "cup", "wooden", "table"] + [f"[y{n}]" for n in range(20)]
    (detector / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    transformers.BertTokenizer(str(detector / "vocab.txt")).save_pretrained(detector)
    config = transformers.GroundingDinoConfig(
        backbone_config=transformers.SwinConfig(
            embed_dim=8, depths=[1, 1, 1], num_heads=[1, 1, 1], window_size=2, out_features=["stage2", "stage3"]
        ),
        text_config=transformers.BertConfig(**sizes, vocab_size=len(words)),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=5,
        num_feature_levels=2,
        encoder_n_points=1,
        decoder_n_points=1,
    )
    transformers.GroundingDinoForObjectDetection(config).save_pretrained(detector)
    size = {"shortest_edge": 32, "longest_edge": 64}
    (detector / "preprocessor_config.json").write_text(json.dumps({"size": size}))
    return str(features), str(detector)
