"""A JointPolicy as a player of sessions; each half may be exact instead, for measuring and for teaching."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from editenv.agents.baselines.oracle import OraclePolicy, studio_turn
from editenv.agents.episodes import Count, rows_of
from editenv.agents.external.intents import INTENTS
from editenv.agents.flow import SamplingPlan, shifted_times
from editenv.agents.policy import JointPolicy, Turn, load_policy, normals, stack_history, uniforms, widen_on_cpu
from editenv.agents.rollout import Teacher
from editenv.agents.settings import GenerationSettings
from editenv.protocols import Observations
from editenv.registry import lookup
from editenv.types import Image
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.intents import intent_form
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.render import render
from editenv.worlds.studio.scene import BACKGROUNDS, UNREADABLE

_WORDS, _NOISE = range(2)  # what a random number is for: the last part of its key


def with_form(settings: Any, form: str) -> Any:
    """Settings whose intents may be as long as a form of intents needs."""
    return replace(settings, max_intent_tokens=max(settings.max_intent_tokens, intent_form(form).tokens))


class OracleWriter:
    """Reads the right intent from the open studio sessions, where agents cannot look.

    `form` is a name in `intents.FORMS`.
    """

    def __init__(self, envs: MICEEditVectorEnv, form: str = "free") -> None:
        self.envs, self.form = envs, intent_form(form)

    def write(self, rows: Sequence[int]) -> list[str]:
        """Intents of the rows' sessions; ValueError where one has no studio meaning."""
        sessions = [self.envs.sessions[row] for row in rows]
        return [self.form.write(studio_turn(session), session.spec.scene.grid) for session in sessions]


class WordsWriter:
    """Takes intents from the open sessions, as `INTENTS` does: the user's last words, or all of them."""

    def __init__(self, envs: MICEEditVectorEnv, intents: str) -> None:
        self.envs, self.intent_of = envs, INTENTS[intents]

    def write(self, rows: Sequence[int]) -> list[str]:
        """Intents of the rows' sessions."""
        return [self.intent_of(self.envs.sessions[row]) for row in rows]


class ExactEditor:
    """Reads image and intent by rules and draws the result; what it cannot carry out stays as it is.

    `envs` are of studio scenes (else ValueError), `form` is that of the intents, a name in `intents.FORMS`.
    """

    def __init__(self, envs: MICEEditVectorEnv, form: str = "free") -> None:
        world = envs.engine.world
        grid = getattr(world, "grid", None)
        if grid is None:
            raise ValueError(f"image is 'exact' but the world is {world.name!r}, expected one of studio scenes")
        self.size, self.grid, self.form = world.image_shape[0], int(grid), intent_form(form)
        self.edited = self.left_alone = 0

    def edit(self, images: Sequence[Image], intents: Sequence[str]) -> list[Image]:
        """Exact images of the scenes that the intents ask for."""
        edited = list(images)
        for row, (scene, intent) in enumerate(zip(parse(images, self.grid), intents, strict=True)):
            readable = scene.background in BACKGROUNDS and UNREADABLE not in scene.cells
            result = self.form.read(intent, scene, self.grid) if readable else None
            self.edited += 1
            self.left_alone += result is None
            if result is not None:
                edited[row] = render(result, self.size)
        return edited


def teacher_of(behaviour: str, envs: MICEEditVectorEnv, form: str) -> Teacher:
    """What rules do in a training's rollouts of studio scenes; sessions that are over keep words and image.

    Behaviours are "policy" (nothing), "oracle_intents", "oracle_images" or "oracle" (both, to be imitated).
    """

    def live() -> list[int]:
        return [row for row, session in enumerate(envs.sessions) if session.ending is None]

    def intents(observations: Observations) -> list[str]:
        found, rows = list(observations["instruction"]), live()
        for row, intent in zip(rows, OracleWriter(envs, form).write(rows), strict=True):
            found[row] = intent
        return found

    def right_images(observations: Observations, _: Sequence[str]) -> Sequence[Image]:
        images, rows = np.array(observations["image"]), live()
        actions = OraclePolicy(envs, form).act(rows_of(observations, rows), rows)[0]
        images[rows] = actions["image"]
        return list(images)

    if behaviour == "oracle":
        return Teacher(intents, right_images, imitated=True)
    if behaviour == "oracle_images":
        exact = ExactEditor(envs, form)
        return Teacher(images=lambda seen, wanted: exact.edit(seen["image"], wanted))
    return Teacher(intents) if behaviour == "oracle_intents" else Teacher()


@dataclass(frozen=True, slots=True)
class EditorMemory:
    """What the player knows of a session beside the observations."""

    row: int  # of the session in its environments, where the oracle looks
    seed: int  # of all that is drawn at random in the session
    turn: int = 0  # number of the turn to come, from 0
    past: tuple[Turn, ...] = ()  # what the policy reads again of earlier turns, oldest first


class EditorPolicy:
    """In each turn an intent is written, then carried out; images come by the flow's ODE.

    Where given, `writer` writes intents and `exact` edits images in the model's place, which may be None then.
    """

    def __init__(
        self,
        policy: JointPolicy | None,
        settings: GenerationSettings,
        writer: OracleWriter | WordsWriter | None = None,
        exact: ExactEditor | None = None,
    ) -> None:
        self.policy, self.settings, self.writer, self.exact = policy, settings, writer, exact
        self._written = self._fallbacks = 0
        if policy is not None:
            policy.configure(settings)

    def start(self, observations: Observations, seeds: Sequence[int]) -> list[EditorMemory]:
        """Fresh memories; sessions are the environments' first rows, in order."""
        return [EditorMemory(row, seed) for row, seed in enumerate(seeds)]

    @torch.no_grad()
    def act(
        self, observations: Observations, memories: list[EditorMemory]
    ) -> tuple[dict[str, Any], list[EditorMemory]]:
        """One turn of all sessions."""
        policy, settings, turn, past = self.policy, self.settings, {}, {}
        if policy is not None:
            turn = policy.observe(observations)
            past = stack_history([memory.past for memory in memories])
        intents = self._intents(observations, memories, turn | past)
        if policy is not None:
            turn |= policy.encode_intents(intents)
        if self.exact is not None:
            images = self.exact.edit(observations["image"], intents)
        else:
            assert policy is not None, "a policy without a model has an exact editor"
            noise = normals([(m.seed, m.turn, _NOISE) for m in memories], tuple(turn["source"].shape[1:]))
            if "latent_mask" in turn:
                noise = noise * turn["latent_mask"][..., None].cpu()
            context = policy.image_context(turn | past, settings, None)
            plan = SamplingPlan(shifted_times(settings.steps + 1, settings.shift))
            images = policy.decode_images(policy.editor.sample_images(context, noise.to(policy.device), plan).final)
        kept = policy.history if policy is not None and settings.context == "interleaved" else ()
        after = []
        for row, memory in enumerate(memories):
            read = ({name: turn[name][row] for name in kept},) if kept else ()
            after.append(replace(memory, turn=memory.turn + 1, past=(*memory.past, *read)))
        return {"image": np.stack(images), "intent": tuple(intents)}, after

    def _intents(self, observations: Observations, memories: Sequence[EditorMemory], turn: Turn) -> list[str]:
        """Intents from `intent_from_turn` on, the user's words before it and where none can be used."""
        said, settings = list(observations["instruction"]), self.settings
        if self.writer is not None:
            return self.writer.write([memory.row for memory in memories])
        assert self.policy is not None, "a policy without a model has an oracle writer"
        context = self.policy.intent_context(turn, settings, None)
        writes = [memory.turn + 1 >= settings.intent_from_turn for memory in memories]
        if not any(writes):
            return said
        draws = None
        if settings.temperature:
            draws = uniforms([(m.seed, m.turn, _WORDS) for m in memories], settings.max_intent_tokens)
        texts = self.policy.writer.generate_intents(context, settings, draws).texts
        self._written += sum(writes)
        self._fallbacks += sum(text is None for text, own in zip(texts, writes, strict=True) if own)
        return [t if own and t is not None else word for t, own, word in zip(texts, writes, said, strict=True)]

    def counts(self) -> dict[str, Count]:
        """`fallback_share` of the intents written, `left_alone_share` of those edited exactly."""
        counts: dict[str, Count] = {}
        if self.writer is None:
            counts["fallback_share"] = (self._fallbacks, self._written)
        if self.exact is not None:
            counts["left_alone_share"] = (self.exact.left_alone, self.exact.edited)
        return counts


def editor_policy(
    envs: MICEEditVectorEnv, model: str, intent: str, image: str, settings: GenerationSettings, form: str
) -> EditorPolicy:
    """The player of a model (see `load_policy`), which is loaded only where it is used.

    `intent` is "model", "oracle", "instructions" or "concatenated", `image` "model" or "exact"; `form`, a name in
    `intents.FORMS`, is how right intents are given and carried out.
    """
    settings = with_form(settings, form)
    policy = None
    if "model" in (intent, image):
        policy = load_policy(model)
        widen_on_cpu(policy, policy.device)
        policy.check_context_length(envs, settings)
    said = {name: partial(WordsWriter, envs, name) for name in ("instructions", "concatenated")}
    writer = lookup("intent", intent, {"model": None, "oracle": partial(OracleWriter, envs, form)} | said)
    exact = lookup("image", image, {"model": None, "exact": ExactEditor})
    return EditorPolicy(policy, settings, writer and writer(), exact and exact(envs, form))
