"""Records written by hand in the published format, and pictures drawn for them."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

MEMORY = {
    "image": "source_image/kitchen.jpg",
    "instruction": [
        "In this session everything added or modified has to be copper; so add a kettle right of the bread.",
        "Remove the steel knife.",
        "Change the count of apples to 3.",
    ],
    "task_type": ["subject_add", "subject_remove", "count_change"],
    "formatted_instruction": [
        "Add [copper kettle] on the [right] of [bread]",
        "Remove [steel knife]",
        "Change the count of [apple] to [3]",
    ],
    "bg_consistency": [True, True, True],
    "unchanged_objects": [["bread", "steel knife", "apple"], ["bread", "apple"], ["bread"]],
    "available_objects": [
        ["bread", "steel knife", "apple", "copper kettle"],
        ["bread", "apple", "copper kettle"],
        ["bread", "apple", "copper kettle"],
    ],
    "all_objects": [["bread", "steel knife", "apple", "copper kettle"]] * 3,
    "turns": 3,
}
UNDERSTANDING = {
    "image": "source_image/街.png",
    "instruction": ["把招牌上的字换成“茶馆”", "Make its frame wooden.", "Change the background to a snowy street. 🌨"],
    "task_type": ["text_change", "material_alter", "background_change"],
    "formatted_instruction": [
        "Replace the text '饭店' on [red sign] with '茶馆'",
        "Change the material of [red sign] to [wood]",
        "Change the background to [snowy street]",
    ],
    "bg_consistency": [True, True, False],
    "unchanged_objects": [["bicycle"], ["bicycle"], []],
    "available_objects": [["red sign", "bicycle"], ["wood red sign", "bicycle"], ["wood red sign", "bicycle"]],
    "all_objects": [["red sign", "bicycle"], *[["red sign", "bicycle", "wood red sign"]] * 2],
    "turns": 3,
}
SINGLE = {
    "image": "source_image/cat.png",
    "instruction": "Change the color of the cat to white.",
    "task_type": "color_alter",
    "formatted_instruction": "Change the color of [black cat] to [white]",
    "bg_consistency": True,
    "unchanged_objects": ["sofa"],
    "available_objects": ["white cat", "sofa"],
    "all_objects": ["black cat", "sofa", "white cat"],
}
SIZES = {MEMORY["image"]: (60, 40), UNDERSTANDING["image"]: (24, 48), SINGLE["image"]: (32, 32)}
"""Width and height of each record's picture."""


def records() -> list[dict[str, Any]]:
    """The three records, free to be changed."""
    return deepcopy([MEMORY, UNDERSTANDING, SINGLE])


def draw_pictures(folder: Path, sizes: dict[str, tuple[int, int]] | None = None) -> None:
    """Draws a picture for every record."""
    for name, size in (sizes or SIZES).items():
        image = Image.new("RGB", size, (90, 140, 200))
        ImageDraw.Draw(image).ellipse((4, 6, size[0] // 2, size[1] // 2), fill=(230, 180, 60))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / name)


def write_lines(folder: Path, lines: list[dict[str, Any]], end: str = "\n") -> Path:
    """Writes records as JSON Lines; `end` is what follows the last one."""
    path = folder / "sessions.jsonl"
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + end, encoding="utf-8")
    return path
