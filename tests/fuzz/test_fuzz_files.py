"""Records, pictures and folders with damage of every kind: each is read, or refused by a ValueError.

Seeded and short; `EDITENV_FUZZ_SECONDS=3600 pytest tests/fuzz` goes on with further seeds for as long.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from editenv.build import make_env
from editenv.records import read_records, read_sessions_file
from editenv.worlds.records.check import check_sessions_file, table
from editenv.worlds.records.edival import COLUMNS, read_edival
from editenv.worlds.records.export import export_sessions
from editenv.worlds.records.pictures import load_picture, picture_size
from editenv.worlds.records.world import open_sessions
from editenv.worlds.studio.world import StudioWorld
from tests.fuzz.rounds import rounds
from tests.worlds.records.handmade import draw_pictures, records, write_lines

CASES = 150
LONGEST = 5.0
"""Seconds of processor time that one case may take."""

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 3, 10**9, 10**30, 0.5, 1e308, "", " ", "x", "\0", "\ud800", "../x",
    "/etc/passwd",
    "é" * 40, "[" * 50, "'" * 300, [], [[]], {}, [None], ["x"] * 5, {"cell": 99},
    {"task": "undo", "instead": []}, {"family": "protect", "target": {"cell": 1}},
)  # fmt: skip


def seeds() -> Iterator[random.Random]:
    """Random numbers of each case: CASES of them, and more while there is time."""
    return map(random.Random, rounds(CASES))


def holds(what: bytes, case: Callable[..., object], *given: Any) -> None:
    """Fails where a call raises anything but a ValueError, or takes too long."""
    began = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case(*given)
    except ValueError as error:
        str(error).encode()  # can be printed
    except Exception as error:
        pytest.fail(f"{type(error).__name__}: {error}\n{what!r:.2000}")
    assert time.process_time() - began < LONGEST, what


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) of a JSON value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [(value, key) for key, _ in entries]
    return found + [place for holder, key in found for place in places(holder[key])]


def changed(data: Any, rng: random.Random) -> Any:
    """JSON with one to three values replaced, removed, doubled or swapped."""
    for _ in range(rng.randint(1, 3)):
        found = places(data)
        if not found:
            return data
        holder, key = rng.choice(found)
        how = rng.random()
        if how < 0.6:
            holder[key] = deepcopy(rng.choice(ODD))
        elif how < 0.75:
            del holder[key]
        elif how < 0.9:
            other, name = rng.choice(found)
            holder[key] = json.loads(json.dumps(other[name])) if name in _keys(other) else None
        elif isinstance(holder, list):
            holder.append(deepcopy(holder[key]))
        else:
            holder[f"{key}x"] = deepcopy(holder[key])
    return data


def _keys(holder: Any) -> Any:
    return holder if isinstance(holder, dict) else range(len(holder))


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Bytes with a few of them changed, cut out, doubled or added."""
    for _ in range(rng.randint(1, 6)):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice((0, 1, 1, 2, 8, 200)))
        new = rng.choice(
            (b"", bytes([rng.randrange(256)]), b"\xff", b"\0\0\0\0", data[start:end] * 2, rng.randbytes(9))
        )
        data = data[:start] + new + data[end:]
    return data


def check_and_print(path: Path) -> None:
    """As `editenv records check` does."""
    table(asdict(check_sessions_file(path))).encode()


def play(path: Path) -> None:
    """Opens a sessions file and plays its first session to the end."""
    env = make_env(sessions_file=str(path), scorer=None)
    seen, _ = env.reset(seed=0)
    for _ in range(5):
        seen, _, terminated, truncated, _ = env.step({"image": seen["image"], "intent": ""})
        if terminated or truncated:
            return


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Lines of exported studio sessions, whose pictures lie in the folder that `folder` copies."""
    place = tmp_path_factory.mktemp("scenes")
    lines = []
    for suite in ("mixed", "undo", "protect"):
        path = export_sessions(StudioWorld(suite), "test", 1, 3, place, suite)
        lines += path.read_text(encoding="utf-8").splitlines()
    return [str(place), *lines]


def test_sessions_files(tmp_path: Path, scenes: list[str]) -> None:
    folder, *lines = scenes
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    draw_pictures(tmp_path)
    written = [json.dumps(record) for record in records()]
    path = tmp_path / "fuzz.jsonl"
    for rng in seeds():
        kind = rng.choice((lines, written))
        line = json.dumps(changed(json.loads(rng.choice(kind)), rng)).encode()
        content = b"\n".join((rng.choice(kind).encode(), damaged(line, rng) if rng.random() < 0.4 else line))
        path.write_bytes(content)
        holds(content, check_and_print, path)
        holds(content, play, path)


def test_recorded_folders(tmp_path: Path) -> None:
    good = tmp_path / "good"
    env = make_env(suite="undo", user="goal", record_to=str(good))
    for index in range(2):
        env.reset(seed=1, options={"session": index})
        while env.session.ending is None:
            env.step({"image": env.session.pictures[-1].copy(), "intent": "x"})
    lines = (good / "sessions.jsonl").read_text(encoding="utf-8").splitlines()
    for rng in seeds():
        place = tmp_path / "bad"
        shutil.copytree(good, place)
        data = changed(json.loads(lines[1]), rng) if rng.random() < 0.7 else json.loads(lines[1])
        text = "\n".join([lines[0], json.dumps(data)]).encode() + b"\n"
        (place / "sessions.jsonl").write_bytes(damaged(text, rng) if rng.random() < 0.3 else text)
        for picture in sorted((place / "pictures").iterdir()):
            spoil(picture, rng)
        holds(text, lambda folder: list(read_records(folder)), place)
        holds(text, read_sessions_file, place / "sessions.jsonl")
        shutil.rmtree(place)


def spoil(path: Path, rng: random.Random) -> None:
    """Something that can happen to a file: most often nothing."""
    how = rng.random()
    if how < 0.1:
        path.write_bytes(damaged(path.read_bytes(), rng))
    elif how < 0.2:
        path.unlink()
        rng.choice(
            (
                lambda: path.symlink_to("/etc/passwd"),
                lambda: path.symlink_to(path.name),
                lambda: path.mkdir(),
                lambda: os.mkfifo(path),
                lambda: path.write_bytes(b""),
                lambda: None,
            )
        )()


def pictures(rng: random.Random) -> bytes:
    """A picture's file, of any kind."""
    mode = rng.choice(("RGB", "L", "RGBA", "P", "CMYK", "1", "I;16"))
    kind = rng.choice(("PNG", "JPEG", "WEBP", "GIF"))
    size = (rng.randint(1, 40), rng.randint(1, 40))
    pixels = np.random.default_rng(rng.randrange(1 << 30)).integers(0, 256, (*size, 3), np.uint8)
    image = Image.fromarray(pixels).convert("RGB" if mode == "I;16" else mode)
    data = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = rng.choice((1, 5, 6, 8, 9, 0))
    more: dict[str, Any] = {"exif": exif} if rng.random() < 0.5 else {}
    if kind == "JPEG":
        more |= {"progressive": rng.random() < 0.5}
    try:
        image.save(data, kind, **more)
    except (OSError, ValueError):
        Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def look_and_load(folder: Path) -> None:
    """A picture's head and its pixels agree about its size."""
    head = picture_size(folder, "p")
    assert load_picture(folder, "p").shape[:2] == head


def test_pictures(tmp_path: Path) -> None:
    for rng in seeds():
        content = damaged(pictures(rng), rng) if rng.random() < 0.9 else pictures(rng)
        (tmp_path / "p").write_bytes(content)
        holds(content, look_and_load, tmp_path)


def test_edival_tables(tmp_path: Path) -> None:
    cells = (
        "1",
        "2",
        "True",
        "[]",
        "['a']",
        "['a' 'b']",
        "['Add [x]']",
        "['subject_add']",
        "[",
        "x" * 99,
        "",
        "(" * 99,
        "'\0'",
    )
    for rng in seeds():
        with open(tmp_path / "t.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows([rng.choice(cells) for _ in COLUMNS] for _ in range(rng.randint(1, 3)))
        content = (tmp_path / "t.csv").read_bytes()
        if rng.random() < 0.5:
            content = damaged(content, rng)
            (tmp_path / "t.csv").write_bytes(content)
        holds(content, read_edival, tmp_path / "t.csv")


def test_an_unhurt_file_is_read(tmp_path: Path) -> None:
    """Fails where the fuzzers above would refuse everything."""
    draw_pictures(tmp_path)
    path = write_lines(tmp_path, records())
    play(path)
    assert not check_sessions_file(path).errors and open_sessions(path).max_turns == 3
