"""Model folders, read whole or refused: a weight that is missing is never drawn at random."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel
from transformers.utils import logging

Model = TypeVar("Model", bound=PreTrainedModel)


@contextmanager
def reading(folder: Path, what: str) -> Iterator[None]:
    """Makes a ValueError that names the folder of whatever reading it raises.

    A folder from somebody else may hold anything: transformers' own checks are of many kinds.
    """
    try:
        yield
    except Exception as error:
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{folder} cannot be read as a {what}: {said}") from error


def load_weights(kind: type[Model], folder: Path, dtype: torch.dtype = torch.float32) -> Model:
    """A model of safetensors and JSON, as `save_pretrained` writes it, in evaluation mode; nothing is unpickled.

    Raises:
        ValueError: the folder lacks weights, or has some of other shapes, or a file is cut or no JSON.
    """
    verbosity = logging.get_verbosity()
    # What is missing is an error below, not a table in the middle of the terminal.
    logging.set_verbosity_error()
    try:
        with reading(folder, kind.__name__):
            loaded: Any = kind.from_pretrained(folder, dtype=dtype, use_safetensors=True, output_loading_info=True)
    finally:
        logging.set_verbosity(verbosity)
    model, found = loaded
    missing = sorted(found["missing_keys"])
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ValueError(
            f"{folder} lacks the weights {', '.join(missing[:3])}{more} of a {kind.__name__}, expected all"
        )
    return model.eval()
