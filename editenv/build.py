"""The composition root: names and JSON settings in, environments out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints
from warnings import warn

from gymnasium.vector import AutoresetMode

from editenv.env import MICEEditEnv
from editenv.protocols import World
from editenv.records import Recorder
from editenv.registry import build, unknown
from editenv.rewards import SCORERS
from editenv.rewards.weights import weights_from_json
from editenv.settings import check_kind
from editenv.sims import USERS
from editenv.spaces import MAX_LENGTH
from editenv.vector import MICEEditVectorEnv
from editenv.worlds import WORLDS

V = TypeVar("V", bound=MICEEditVectorEnv)

LARGEST_SIZE = 4096
"""Side of a picture in pixels above which no environment is made."""

if TYPE_CHECKING:
    from editenv.tools_env import MICEEditToolsEnv, MICEEditToolsVectorEnv


def make_env(
    *,
    world: str = "studio",
    suite: str = "mixed",
    split: str = "train",
    user: str = "replay",
    user_settings: Mapping[str, Any] | None = None,
    scorer: str | None = "exact",
    scorer_settings: Mapping[str, Any] | None = None,
    scoring: str = "immediate",
    size: int | None = None,
    fit: str = "letterbox",
    grid: int = 4,
    sessions_file: str | None = None,
    reward_weights: Mapping[str, float] | None = None,
    history: bool = False,
    max_length: int = MAX_LENGTH,
    record_to: str | None = None,
    render_mode: str | None = None,
    **unknown_settings: Any,
) -> MICEEditEnv:
    """What `gym.make("MICEEdit-v0", ...)` calls; every argument is a JSON value.

    Args:
        world: a name in `WORLDS`, or package.module:Class.
        suite: which sessions the world generates; for the studio a suite's name or a YAML file.
        split: "train", "validation" or "test".
        user: a name in `USERS`, package.module:Class, or a persona of the goal user (a name or a YAML file).
        user_settings: of that user, JSON values by name, such as {"persona": "terse"}.
        scorer: a name in `SCORERS`, or package.module:Class; None leaves turns unscored. "exact" scores a
            sessions file where its pictures are studio scenes, elsewhere it warns and leaves turns unscored.
        scorer_settings: keyword arguments of the scorer's class, as docs/scorers.md lists them.
        scoring: "immediate", or "deferred" to let sessions go on while the scorer works; see `MICEEditEnv`.
        size: height and width of pictures, in pixels; None for 64, or for a sessions file's own.
        fit: how a sessions file's photographs fit that size: "letterbox", grey beside them, or "squash", stretched.
        grid: cells a side.
        sessions_file: JSON Lines in the format of Edit-R2's MICE-Bench, pictures below its folder. Its
            sessions, in the order of the file and whatever the split and the seed, take the place of those
            that world, suite and grid generate.
        reward_weights: weight by score name, 0 for those left out; None for 0.3 IF + 0.3 CC + 0.4 GA.
        history: whether observations hold all earlier pictures.
        max_length: characters an instruction or an intent may have; more where a sessions file needs more.
        record_to: folder that gets a record of every finished session; None writes none.
        render_mode: "rgb_array" (the session's filmstrip), "ansi" (its text) or None; `gym.make` also takes
            "human" and "rgb_array_list".
        unknown_settings: refused, with the nearest name.

    Raises:
        ValueError: a name or a setting is not known, or the sessions file cannot be used.
    """
    given = dict(locals())
    for name in unknown_settings:
        if name == "autoreset_mode":
            raise ValueError(
                "autoreset_mode is no setting of a single environment: gym.make_vec(..., vector_kwargs="
                "{'autoreset_mode': 'SameStep'}) sets it for environments made one by one"
            )
        raise ValueError(unknown("setting", name, _settings_of(make_env)))
    for name, hint in get_type_hints(make_env).items():
        if name in given:
            check_kind(name, given[name], hint)
    if size is not None and size > LARGEST_SIZE:
        raise ValueError(f"size is {size}, expected {LARGEST_SIZE} pixels at most")
    weights = weights_from_json(reward_weights)
    place: World
    if sessions_file is None:
        scenes = {"suite": suite, "size": 64 if size is None else size, "grid": grid}
        place = build("world", world, WORLDS, scenes)
        if scorer is None:
            warn(
                "no scorer is configured: scores are None, rewards 0.0; scorer='exact' judges the studio.",
                stacklevel=2,
            )
    else:
        from editenv.worlds.records.world import RecordsWorld, open_sessions

        place = open_sessions(sessions_file, size, fit)
        max_length = max(max_length, place.longest_instruction)
        if scorer == "exact" and isinstance(place, RecordsWorld):
            warn(
                f"{sessions_file} holds no studio scenes: a judge is missing, scores are None. For scores give "
                "scorer='judge' and, for example, scorer_settings={'endpoint': "
                "{'base_url': 'http://127.0.0.1:8000/v1', 'model': 'NAME'}}.",
                stacklevel=2,
            )
            scorer = None
    judge = None if scorer is None else build("scorer", scorer, SCORERS, scorer_settings, place, weights)
    if user not in USERS and ":" not in user:
        from editenv.sims.persona import persona_names

        if user not in persona_names() and not user.endswith((".yaml", ".yml")):
            raise ValueError(unknown("user", user, [*USERS, *persona_names()]))
        user, user_settings = "goal", {"persona": user} | dict(user_settings or {})
    speaker = build("user", user, USERS, user_settings)
    on_end = None
    if record_to is not None:
        from editenv.worlds.records.export import published_keys

        on_end = Recorder(record_to, partial(published_keys, place))
    return MICEEditEnv(
        place,
        speaker,
        judge,
        split=split,
        history=history,
        max_length=max_length,
        on_end=on_end,
        render_mode=render_mode,
        scoring=scoring,
    )


def make_vector_env(
    *,
    num_envs: int,
    autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
    max_episode_steps: int | None = None,
    **settings: Any,
) -> MICEEditVectorEnv:
    """What `gym.make_vec("MICEEdit-v0", num_envs=N, vectorization_mode="vector_entry_point", ...)` calls.

    Args:
        num_envs: N.
        autoreset_mode: "SameStep", "NextStep" or "Disabled", as Gymnasium spells them, or its enumeration.
        max_episode_steps: turns after which a session is truncated; None for the world's most.
        settings: as in `make_env`.

    Raises:
        ValueError: a name or a setting is not known.
    """
    return _vector_env(MICEEditVectorEnv, num_envs, autoreset_mode, max_episode_steps, settings)


def _vector_env(
    kind: Callable[..., V],
    num_envs: int,
    autoreset_mode: str | AutoresetMode,
    max_episode_steps: int | None,
    settings: Mapping[str, Any],
    **more: Any,
) -> V:
    modes = {mode.value: mode for mode in AutoresetMode}
    wanted = autoreset_mode.value if isinstance(autoreset_mode, AutoresetMode) else autoreset_mode
    if not isinstance(wanted, str) or wanted not in modes:
        raise ValueError(unknown("autoreset_mode", wanted, modes))
    single = make_env(**settings)
    engine = single.engine
    return kind(
        num_envs,
        engine.world,
        engine.user,
        engine.scorer,
        split=engine.split,
        history=bool(settings.get("history")),
        max_length=engine.max_length,
        on_end=engine.on_end,
        render_mode=single.render_mode,
        autoreset_mode=modes[wanted],
        scoring=settings.get("scoring", "immediate"),
        max_episode_steps=max_episode_steps,
        **more,
    )


def make_tools_env(*, tokens: int | None = None, **settings: Any) -> MICEEditToolsEnv:
    """What `gym.make("MICEEditTools-v0", ...)` calls.

    Args:
        tokens: words of an instruction that are shown; None for 64.
        settings: as in `make_env`, less `history`: this environment shows the present picture alone.

    Raises:
        ValueError: a name or a setting is not known, or the sessions' pictures are no studio scenes.
    """
    from editenv.tools_env import TOKENS, MICEEditToolsEnv

    _check_tools_settings(settings)
    return MICEEditToolsEnv(make_env(**settings), TOKENS if tokens is None else tokens)


def make_tools_vector_env(
    *,
    num_envs: int,
    autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
    max_episode_steps: int | None = None,
    tokens: int | None = None,
    draw_ahead: bool = False,
    **settings: Any,
) -> MICEEditToolsVectorEnv:
    """What `gym.make_vec("MICEEditTools-v0", num_envs=N, vectorization_mode="vector_entry_point")` calls.

    Arguments as in `make_vector_env` and `make_tools_env`; with `draw_ahead` a process of its own draws the
    sessions that come next, which are the same.
    """
    from editenv.tools_env import TOKENS, MICEEditToolsVectorEnv

    _check_tools_settings(settings)
    more = {"tokens": TOKENS if tokens is None else tokens, "draw_ahead": draw_ahead}
    return _vector_env(MICEEditToolsVectorEnv, num_envs, autoreset_mode, max_episode_steps, settings, **more)


def _check_tools_settings(settings: Mapping[str, Any]) -> None:
    """Refuses what only `MICEEdit-v0` has, and what neither has with the nearest of what the tools have."""
    if "history" in settings:
        raise ValueError("MICEEditTools-v0 has no setting 'history', expected those of MICEEdit-v0 less it")
    known = [*_settings_of(make_env), "tokens", "autoreset_mode"]
    for name in settings.keys() - set(known):
        raise ValueError(unknown("setting", name, [one for one in known if one not in ("history", "autoreset_mode")]))


def _settings_of(make: Callable[..., Any]) -> list[str]:
    return [name for name in signature(make).parameters if name != "unknown_settings"]


# Gymnasium reads an entry point's metadata to make "human" and "rgb_array_list" of "rgb_array".
make_env.metadata = make_tools_env.metadata = MICEEditEnv.metadata  # type: ignore[attr-defined]
