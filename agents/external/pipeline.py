"""Pictures edited by a pipeline of diffusers, loaded from a folder without running anything that lies there."""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PILImage

from editenv.agents.external.editing import ExternalPolicy, check_history
from editenv.registry import nearest
from editenv.session import Session
from editenv.types import Image
from editenv.vector import MICEEditVectorEnv

SEVERAL = (
    "Flux2KleinKVPipeline", "Flux2KleinPipeline", "Flux2Pipeline", "JoyImageEditPlusPipeline",
    "QwenImageEditPlusPipeline",
)  # fmt: skip
"""Pipelines to which a list of pictures is one edit's references; to others it is a batch."""
DTYPES = ("float32", "bfloat16", "float16")
_OURS = ("image", "images", "prompt", "generator", "output_type", "return_dict", "num_images_per_prompt")
"""Arguments that the policy gives."""
_NOT_EDITS = {
    "mask_image", "control_image", "controlnet_conditioning_scale", "adapter_conditioning_scale", "num_frames",
    "frames", "pose_video",
}  # fmt: skip
"""Arguments of pipelines that fill a mask, follow a control picture or make a film."""


class DiffusersPolicy(ExternalPolicy):
    """Has each turn's picture edited by an image editing pipeline of diffusers.

    Each has a call of its own, and noise that follows from session and turn: results do not depend on the sessions
    beside it, nor on their order.

    Args:
        model: a pipeline's folder, with model_index.json; weights are safetensors.
        dtype: a name in DTYPES; None for bfloat16 on a GPU, float32 elsewhere.
        device: None for the GPU where there is one.
        history: "last" shows the picture as it is, "all" the source and all pictures since, in order.
        arguments: of the pipeline's call, such as num_inference_steps and guidance_scale.
        intents, intent_endpoint, intent_pictures: as for every external policy.

    Raises:
        ValueError: a file is missing or damaged, the pipeline cannot edit or would run code of the folder, or an
            argument or setting is not known; names it.
    """

    def __init__(
        self,
        envs: MICEEditVectorEnv,
        model: str,
        dtype: str | None = None,
        device: str | None = None,
        history: str = "last",
        intents: str = "instructions",
        intent_endpoint: Mapping[str, Any] | None = None,
        intent_pictures: bool = True,
        **arguments: Any,
    ) -> None:
        super().__init__(envs, intents, intent_endpoint, intent_pictures)
        folder, self.arguments, self.all_pictures = Path(model), arguments, check_history(history)
        kind = pipeline_class(folder)
        taken = inspect.signature(kind.__call__).parameters
        self.by_list, known = "images" in taken, [name for name in taken if name not in ("self", *_OURS)]
        for name in arguments:
            if name not in known:
                raise ValueError(
                    f"{kind.__name__} takes no argument {name!r}, {nearest(name, known)}expected {', '.join(known)}"
                )
        if self.all_pictures and kind.__name__ not in SEVERAL:
            raise ValueError(f"history is 'all', but {kind.__name__} takes one picture, unlike {', '.join(SEVERAL)}")
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = dtype or ("float32" if device == "cpu" else "bfloat16")
        if dtype not in DTYPES:
            raise ValueError(f"dtype is {dtype!r}, expected one of {', '.join(DTYPES)}")
        check_files(folder)
        try:
            with warnings.catch_warnings():
                # Of torch_dtype, which newer versions call dtype and older ones do not.
                warnings.simplefilter("ignore", FutureWarning)
                pipeline = kind.from_pretrained(
                    folder, torch_dtype=getattr(torch, dtype), use_safetensors=True, local_files_only=True
                )
            self.pipeline = pipeline.to(device)
        except Exception as error:  # whatever its parts' readers raise
            raise ValueError(
                f"{folder} cannot be loaded as {kind.__name__}: {type(error).__name__}: {error}"
            ) from error
        self.pipeline.set_progress_bar_config(disable=True)

    def edit(self, sessions: Sequence[Session], intents: Sequence[str], seeds: Sequence[int]) -> list[Image | str]:
        """The pipeline's pictures, one call each."""
        found: list[Image | str] = []
        for session, intent, seed in zip(sessions, intents, seeds, strict=True):
            pictures = [PILImage.fromarray(picture) for picture in session.pictures]
            # On the CPU, so that every device starts from the same noise.
            generator = torch.Generator("cpu").manual_seed(seed % 2**63)
            shown: Any = pictures if self.all_pictures else pictures[-1:]
            given = {"images": shown} if self.by_list else {"image": shown if self.all_pictures else shown[0]}
            made = self.pipeline(**given, prompt=intent, generator=generator, **self.arguments)
            found.append(np.array(made.images[0].convert("RGB")))
        return found


def pipeline_class(folder: Path) -> Any:
    """The class by which a folder's pipeline edits: its own, or the one that AutoPipelineForImage2Image would take.

    Raises:
        ValueError: there is no model_index.json, its class or a part's is not diffusers' or transformers' own, or the
            pipeline makes no picture of a picture and a prompt.
    """
    import diffusers
    from diffusers.pipelines.auto_pipeline import AUTO_IMAGE2IMAGE_PIPELINES_MAPPING, _get_task_class
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    path = folder / "model_index.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        name = index["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no pipeline's index, expected the folder of a pipeline of diffusers: {error!r}"
        ) from error
    kind = getattr(diffusers, name, None) if isinstance(name, str) else None
    if not (isinstance(kind, type) and issubclass(kind, DiffusionPipeline)):
        raise ValueError(f"{path}: _class_name is {name!r}, expected a pipeline of diffusers {diffusers.__version__}")
    for part, value in index.items():
        if isinstance(value, list) and value != [None, None]:
            if value[0] not in ("diffusers", "transformers") and not hasattr(diffusers.pipelines, str(value[0])):
                raise ValueError(
                    f"{path}: {part} is {value}, expected a class of diffusers or transformers: no code that lies in "
                    "a model's folder is run"
                )
            check_torchvision(path, part, value)
    if not _edits(kind):
        found = _get_task_class(AUTO_IMAGE2IMAGE_PIPELINES_MAPPING, name, throw_error_if_not_exist=False)
        if found is None or not _edits(found):
            raise ValueError(f"{path}: {name} cannot edit: it makes no picture of a picture and a prompt")
        return found
    return kind


def check_torchvision(path: Path, part: str, value: Sequence[Any]) -> None:
    """Raises ValueError where a part is a processor of transformers with one of films, and torchvision is missing."""
    from transformers.utils.import_utils import is_torchvision_available

    if value[0] == "transformers" and str(value[1]).endswith("Processor") and not is_torchvision_available():
        import transformers

        names = inspect.signature(getattr(transformers, str(value[1]), object)).parameters
        if "video_processor" in names:
            raise ValueError(
                f"{path}: {part} is {value[1]}, which needs torchvision, and that is not installed: pip install the "
                f"torchvision that belongs to torch {torch.__version__}"
            )


def _edits(kind: Any) -> bool:
    """Whether a pipeline's call makes a picture from picture and prompt, without anything else."""
    taken = inspect.signature(kind.__call__).parameters.keys()
    return {"prompt", "generator"} <= taken and bool({"image", "images"} & taken) and not _NOT_EDITS & taken


def check_files(folder: Path) -> None:
    """Raises ValueError where a part's folder or a shard is missing, or a file of weights is cut off; names it."""
    from safetensors import SafetensorError, safe_open

    for part, value in json.loads((folder / "model_index.json").read_text(encoding="utf-8")).items():
        if isinstance(value, list) and value[0] is not None and not (folder / part).is_dir():
            raise ValueError(f"{folder / part} is missing, expected the folder of {value[1]}")
    for path in sorted(folder.rglob("*.safetensors.index.json")):
        for name in sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())):
            if not (path.parent / name).is_file():
                raise ValueError(f"{path.parent / name} is missing, which {path.name} names")
    for path in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(path, "numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
