"""Gymnasium's wrappers: those that work give what their spaces promise, the others say what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import vector as vector_wrappers

PICTURES, TOOLS = "editenv:MICEEdit-v0", "editenv:MICEEditTools-v0"
BOTH = (PICTURES, TOOLS)


def play(env: gymnasium.Env[Any, Any], steps: int = 5) -> list[Any]:
    """Observations of some random steps, new sessions where one ends."""
    seen = [env.reset(seed=0)[0]]
    env.action_space.seed(0)
    for _ in range(steps):
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        seen.append(observation)
        if terminated or truncated:
            seen.append(env.reset()[0])
    return seen


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(
    "wrap",
    [
        wrappers.FlattenObservation,
        wrappers.NormalizeReward,
        wrappers.RecordEpisodeStatistics,
        lambda env: wrappers.ClipReward(env, 0.0, 0.5),
        lambda env: wrappers.FilterObservation(env, ["image", "instruction"]),
        lambda env: wrappers.StickyAction(env, 0.2),
        lambda env: wrappers.TimeAwareObservation(wrappers.TimeLimit(env, 2)),
        lambda env: wrappers.TransformReward(env, lambda reward: 2 * reward),
    ],
)
def test_wrappers_that_work(name: str, wrap: Callable[[Any], Any]) -> None:
    env = wrap(gymnasium.make(name, max_length=200))
    assert all(seen in env.observation_space for seen in play(env))


def test_observations_of_fixed_size_can_be_stacked_and_texts_cannot() -> None:
    env = wrappers.FrameStackObservation(gymnasium.make(TOOLS), 2)
    assert all(seen in env.observation_space for seen in play(env))
    with pytest.raises(gymnasium.error.CustomSpaceError, match="Utterance"):
        wrappers.FrameStackObservation(gymnasium.make(PICTURES), 2).reset(seed=0)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (wrappers.GrayscaleObservation, "requires a Box observation space, got .*Dict"),
        (lambda env: wrappers.ResizeObservation(env, (32, 32)), "requires a Box observation space, got .*Dict"),
        (wrappers.NormalizeObservation, "requires the observation space to have a shape"),
        (wrappers.ClipAction, "requires a Box action space, got"),
    ],
)
def test_wrappers_for_boxes_say_so(name: str, wrap: Callable[[Any], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        wrap(gymnasium.make(name))


def test_operations_flatten_into_one_array() -> None:
    """Pictures and ids are numbers; so a whole observation of the tools environment is one vector."""
    env = wrappers.FlattenObservation(gymnasium.make(TOOLS, tokens=10))
    (shape,) = {seen.shape for seen in play(env)}
    assert shape == env.observation_space.shape == (64 * 64 * 3 + 10 + 3 * 10 + 4,)  # turn is one of four


@pytest.mark.parametrize("name", BOTH)
def test_a_time_limit_makes_one_turn_sessions(name: str) -> None:
    env = gymnasium.make(name, max_episode_steps=1)
    for _ in range(3):
        env.reset(seed=0)
        *_, terminated, truncated, info = env.step(env.action_space.sample())
        assert (terminated, truncated, info["end_reason"]) == (False, True, None)


class Clip:
    """Stands for moviepy's clip, which wants frames of one size."""

    made: list[list[Any]]

    def __init__(self, frames: list[Any], fps: int) -> None:
        assert fps == 1
        assert len({frame.shape for frame in frames}) == 1
        self.made.append(frames)

    def write_videofile(self, path: str, logger: object) -> None:
        Path(path).write_bytes(b"film")


@pytest.fixture
def films(monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """What RecordVideo hands to moviepy, which may not be installed here."""
    Clip.made = []
    for name in ("moviepy", "moviepy.video", "moviepy.video.io", "moviepy.video.io.ImageSequenceClip"):
        module = ModuleType(name)
        module.ImageSequenceClip = Clip  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    return Clip.made


@pytest.mark.parametrize("name", BOTH)
def test_videos_have_frames_of_one_size(name: str, films: list[list[Any]], tmp_path: Path) -> None:
    """Fails where the canvas grows with the session; even sides, since most video formats take no others."""
    made = gymnasium.make(name, render_mode="rgb_array")
    env = wrappers.RecordVideo(made, str(tmp_path / "films"), episode_trigger=lambda _: True)
    play(env, steps=6)
    env.close()
    full = [film for film in films if len(film) > 1]
    assert [len(film) for film in full] == [4, 4]  # the source and three turns, two sessions
    assert {frame.shape for film in full for frame in film} == {full[0][0].shape}
    assert {side % 2 for side in full[0][0].shape[:2]} == {0}
    assert not np.array_equal(full[0][0], full[0][-1])
    assert len(list(tmp_path.glob("films/*.mp4"))) == len(films)


@pytest.mark.parametrize("name", BOTH)
def test_frames_can_be_collected(name: str) -> None:
    env = wrappers.RenderCollection(gymnasium.make(name, render_mode="rgb_array"))
    env.reset(seed=0)
    for _ in range(3):
        env.step(env.action_space.sample())
    frames = env.render()
    assert frames is not None
    assert len(frames) == 4
    assert len({frame.shape for frame in frames}) == 1


def several(name: str, mode: AutoresetMode = AutoresetMode.SAME_STEP) -> VectorEnv[Any, Any, Any]:
    if name == TOOLS:
        return gymnasium.make_vec(name, num_envs=3, vectorization_mode="sync")
    return gymnasium.make_vec(
        name, num_envs=3, vectorization_mode="vector_entry_point", autoreset_mode=mode, max_length=200
    )


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(
    "wrap",
    [
        vector_wrappers.RecordEpisodeStatistics,
        vector_wrappers.NormalizeReward,
        lambda env: vector_wrappers.TransformReward(env, lambda rewards: 2 * rewards),
    ],
)
def test_vector_wrappers_that_work(name: str, wrap: Callable[[Any], Any]) -> None:
    env = wrap(several(name))
    seen, _ = env.reset(seed=0)
    for _ in range(4):
        assert seen in env.observation_space
        seen, rewards, *_ = env.step(env.action_space.sample())
        assert rewards.shape == (3,)


def test_infos_as_lists() -> None:
    env = vector_wrappers.DictInfoToList(several(PICTURES))
    _, infos = env.reset(seed=4)
    assert [info["index"] for info in infos] == [0, 1, 2]


def test_vector_wrappers_that_change_observations_want_another_mode() -> None:
    with pytest.raises(ValueError, match=r"Expected autoreset_mode to be .*DISABLED, got .*SAME_STEP"):
        vector_wrappers.FlattenObservation(several(PICTURES))
    env = vector_wrappers.FilterObservation(several(PICTURES, AutoresetMode.DISABLED), ["image", "turn"])
    assert set(env.reset(seed=0)[0]) == {"image", "turn"}


@pytest.mark.parametrize("shared", [True, False])
def test_operations_run_in_processes_with_and_without_shared_memory(shared: bool) -> None:
    env = gymnasium.make_vec(TOOLS, num_envs=2, vectorization_mode="async", vector_kwargs={"shared_memory": shared})
    try:
        seen, _ = env.reset(seed=4)
        assert seen in env.observation_space
        alone, _ = gymnasium.make(TOOLS).reset(seed=5)
        assert np.array_equal(seen["image"][1], alone["image"])
        assert np.array_equal(seen["instruction"][1], alone["instruction"])
    finally:
        env.close()


def test_pictures_in_shared_memory_are_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match="shared_memory=False"):
        gymnasium.make_vec(PICTURES, num_envs=2, vectorization_mode="async")
