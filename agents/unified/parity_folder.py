"""What parity recomputes with a folder in BAGEL's layout: sessions end to end, as EXPECTED.npz holds them.

EXPECTED.json beside it has settings, texts, the list of context blocks and tolerances. The conversations are played
once in float32 and give every array by its name; `INPUTS` are arrays that are given to them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from editenv.agents.flow import sample_ode, shifted_times
from editenv.agents.unified.autoencoder import patchify
from editenv.agents.unified.bagel import load_bagel
from editenv.agents.unified.bagel_chat import BagelChat
from editenv.agents.unified.bagel_prompts import parse_answer
from editenv.agents.unified.context import Block, Context, ImageBlock, TextBlock, VitBlock
from editenv.agents.unified.flux_autoencoder import normalised
from editenv.agents.unified.guidance import Guidance, GuidanceContexts, predict_velocity, published_guided_velocity
from editenv.agents.unified.layers import latent_position_ids
from editenv.agents.unified.transforms import Resize, Transforms, as_rgb

INPUTS = r"turn\d+\.noise|rgb\.\w+_in"
"""Arrays that are given, not recomputed."""
_KINDS = {TextBlock: "text", ImageBlock: "vae_image", VitBlock: "vit_image"}


class RecordedChat(BagelChat):
    """A conversation that notes every block as the reference does, under `KEY.blockNN`."""

    def __init__(self, expected: Expected, key: str) -> None:
        super().__init__(expected.policy)
        self.expected, self.key, self.blocks = expected, key, 0

    def branch(self, key: str) -> RecordedChat:
        """A conversation that goes on from here without growing this one."""
        other = RecordedChat(self.expected, key)
        other.contexts, other.size = {name: context.copy() for name, context in self.contexts.items()}, self.size
        return other

    def _append(self, name: str, block: Block) -> None:
        before = self.contexts[name].length, int(self.contexts[name].position)
        super()._append(name, block)
        if isinstance(block, TextBlock):
            ids, places, grid = block.ids[0], None, None
        else:
            count = self.contexts[name].length - before[0]
            ids, places, grid = self._markers(count), torch.tensor([0, count - 1]), self._places(block)
        self._note(name, _KINDS[type(block)], before, ids, places, grid, self.contexts[name])

    def note_noisy(self, grid: tuple[int, int]) -> None:
        """The noisy image's block in all three contexts, none of which keeps it."""
        places = latent_position_ids(grid, self.model.config.max_latent_size)
        ends = torch.tensor([0, len(places) + 1])
        for name, context in self.contexts.items():
            before, full = (context.length, int(context.position)), name == "full"
            shown = (self._markers(0), ends, places) if full else (None, None, None)
            ropes = torch.full((len(places) + 2,), before[1])
            self._note(name, "noisy_image", before, *shown, None, ropes)

    def _note(
        self,
        name: str,
        kind: str,
        before: tuple[int, int],
        ids: Tensor | None,
        places: Tensor | None,
        grid: Tensor | None,
        after: Context | None,
        ropes: Tensor | None = None,
    ) -> None:
        key, found = f"{self.key}.block{self.blocks:02d}", self.expected.found
        length = len(ropes) if ropes is not None else after.length - before[0] if after else 0
        if ropes is None:
            ropes = before[1] + (torch.arange(length) if kind == "text" else torch.zeros(length, dtype=torch.long))
        parts = {"token_ids": ids, "token_ids_at": places, "rope_ids": ropes, "grid_ids": grid}
        found |= {f"{key}.{part}": value for part, value in parts.items() if value is not None}
        self.expected.blocks.append(
            {
                "key": key, "context": name, "kind": kind, "kv_len_before": before[0], "rope_before": before[1],
                "kv_len_after": after and after.length, "rope_after": after and int(after.position),
                "n_tokens": length,
            }
        )  # fmt: skip
        self.blocks += 1

    def _markers(self, _: int) -> Tensor:
        return torch.tensor([self.model.config.start_of_image_id, self.model.config.end_of_image_id])

    def _places(self, block: Block) -> Tensor:
        if isinstance(block, ImageBlock):
            return latent_position_ids(self.grid(self.size), self.model.config.max_latent_size)
        vision = self.model.vit_model
        width, height = self.policy.transforms.vit.size(*self.size)
        grid = height // vision.patch_size, width // vision.patch_size
        return latent_position_ids(grid, vision.vision_model.embeddings.side)


class Expected:
    """A folder's policy in float32, the stored numbers, and what is found of them.

    Attributes:
        arrays: the JSON's entry on each array, by name.
        stored: the arrays.
        found: what was recomputed, by the arrays' names.
        blocks: what contexts read, as the JSON's `blocks` has it.
    """

    def __init__(self, folder: Path, path: Path) -> None:
        for file in (path, path.with_suffix(".json")):
            if not file.is_file():
                raise FileNotFoundError(f"{file} does not exist, expected NAME.npz with NAME.json beside it")
        self.said: Mapping[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        self.folder, self.arrays, self.settings = folder, self.said["arrays"], self.said["settings"]
        with np.load(path) as stored:
            self.stored = {name: torch.from_numpy(stored[name]) for name in stored.files}
        self.policy: Any = load_bagel(folder).float()
        self.policy.transforms = Transforms(
            Resize(*self.settings["vae_transform"]), Resize(*self.settings["vit_transform"])
        )
        self.found: dict[str, Tensor] = {}
        self.blocks: list[dict[str, Any]] = []
        self.greedy: dict[str, dict[str, Any]] = {}
        self.guidance = Guidance(
            self.settings["text_scale"],
            self.settings["image_scale"],
            self.settings["renorm"],
            self.settings["renorm_min"],
            tuple(self.settings["interval"]),
        )

    @torch.no_grad()
    def recompute(self) -> None:
        """Everything, into `found` and `blocks`."""
        photos = [as_rgb(PIL.Image.open(self.folder / name)) for name in self.settings["photos"]]
        for number, photo in enumerate(photos, start=1):
            self._encoders(f"photo{number}", photo)
        self._session(photos[0])
        self._replies(photos[1])
        self._think_edit(photos)
        self._rules()

    def rows(self, name: str, tokens: Tensor) -> Tensor:
        """Every n-th of tokens [N, C], as the JSON says of an array."""
        said = re.search(r"every (\d+)(?:th|st|nd|rd)", self.arrays.get(name, {}).get("meaning", ""))
        return tokens[:: int(said[1])] if said else tokens

    def sample(self, name: str, image: Tensor) -> Tensor:
        """Some rows and columns of an image [3, H, W]."""
        said = re.search(r"::(\d+), ::(\d+)", self.said["arrays"][name]["meaning"])
        # Not every array says its strides again; all have the same.
        said = said or re.search(r"::(\d+), ::(\d+)", json.dumps(self.arrays))
        assert said is not None, f"{name} does not say which rows and columns it holds"
        return image[:, :: int(said[1]), :: int(said[2])]

    # Group 1, 2, 4: pictures and encoders

    def _encoders(self, name: str, photo: np.ndarray) -> None:
        policy, found, coder = self.policy, self.found, self.policy.autoencoder
        pixels = policy.resized([photo])
        vision = torch.from_numpy(policy.transforms.vit(pixels[0].numpy()))[None]
        for kind, given in (("vae", pixels), ("vit", vision)):
            shown = normalised(given)[0]
            found[f"{name}.{kind}_u8"] = given[0]
            found[f"{name}.{kind}_input_sample"] = self.sample(f"{name}.{kind}_input_sample", shown)
            found[f"{name}.{kind}_input_sum"] = shown.double().sum((1, 2)).float()
        patches = patchify(normalised(vision).movedim(1, -1), policy.model.vit_model.patch_size)[0]
        found[f"{name}.vit_patch_rows"] = self.rows(f"{name}.vit_patch_rows", patches)
        features, _ = policy.model.vit_model(normalised(vision))
        found[f"{name}.vit_feature_rows"] = self.rows(f"{name}.vit_feature_rows", features[0])
        found[f"{name}.vit_tokens"] = policy.model.connector(features)[0]
        found[f"{name}.latent"] = coder.encode_maps(normalised(pixels))
        key = f"{name}.vae_decode_of_latent_sample"
        if key in self.arrays:  # of the stored latents, so that it shows the decoder alone
            found[key] = self.sample(key, coder.decode_maps(self.stored[f"{name}.latent"])[0])

    # Group 3, 5: a session of two turns

    def _session(self, photo: np.ndarray) -> None:
        chat, texts = RecordedChat(self, "session"), self.said["texts"]["turns"]
        chat.read_image(photo)
        self._cache("session.full_after_photo", chat.contexts["full"])
        for turn, text in enumerate(texts, start=1):
            chat.read_text(text)
            for name in ("full", "image_dropped"):
                self._cache(f"session.{name}_after_text{turn}", chat.contexts[name])
            name, grid = f"turn{turn}", chat.grid(chat.size)
            latents = self._steps(chat, name, self.stored[f"{name}.noise"], self.settings["grid_points"])
            self.found[f"{name}.latent"] = latents[0]
            decoded = self.policy.autoencoder.decode_maps(self.policy.autoencoder.maps(latents, grid))[0]
            shown = (decoded * 0.5 + 0.5).clamp(0, 1)
            self.found[f"{name}.decoded_sample"] = self.sample(f"{name}.decoded_sample", decoded)
            self.found[f"{name}.image_sample"] = self.sample(f"{name}.image_sample", shown)
            self.found[f"{name}.image_u8"] = self.policy.autoencoder.decode(latents, grid)[0]
            # The next turn starts from the stored image, as a value that is rounded the other way would go on.
            image = self.stored[f"{name}.image_u8"]
            latent = self.policy.autoencoder.encode_maps(normalised(image[None]))
            seen = self.policy.transforms.vision_pixels(image[None])
            tokens = self.policy.model.connector(self.policy.model.vit_model(seen)[0])[0]
            self.found[f"{name}.context_latent"] = latent
            for key in (f"{name}.context_vit_tokens", f"{name}.context_vit_token_rows"):
                if key in self.arrays:
                    self.found[key] = self.rows(key, tokens)
            chat.read_image(image.numpy())
            self._cache(f"session.full_after_image{turn}", chat.contexts["full"])
            if turn == 1:
                self._rewrites(chat)

    def _steps(self, chat: RecordedChat, name: str, noise: Tensor, points: int) -> Tensor:
        """The ODE from noise [N, C] in a grid of so many points, noting each step; latents [1, N, C]."""
        grid, step = chat.grid(chat.size), 0
        contexts = GuidanceContexts(**chat.contexts)
        chat.note_noisy(grid)

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            nonlocal step
            rule = published_guided_velocity
            found = predict_velocity(self.policy.model, contexts, x, t, grid, None, self.guidance, rule)[0]
            self.found[f"{name}.step{step}.t"] = t[0]
            parts = {"x": x, "v": found}
            if step == 0:
                parts |= {
                    f"v_{which}": self.policy.model.velocity(context, x, t, grid)
                    for which, context in chat.contexts.items()
                }
            for part, value in parts.items():
                key = f"{name}.step{step}.{part}_rows"
                # Only some say that they hold every n-th token; all do.
                self.found[key] = self.rows(f"{name}.step{step}.x_rows", value[0])
            step += 1
            return found

        return sample_ode(velocity, noise[None], shifted_times(points, self.settings["timestep_shift"]))

    def _cache(self, name: str, context: Context) -> None:
        """Some rows of a context's keys and values, and how long it is."""
        rows = torch.from_numpy(
            np.linspace(0, context.length - 1, self.arrays[f"{name}.cache_rows"]["shape"][0]).astype(np.int64)
        )
        self.found |= {
            f"{name}.cache_rows": rows,
            f"{name}.is_text": context.is_text[rows],
            f"{name}.kv_len": torch.tensor(context.length),
            f"{name}.rope": context.position[0],
        }
        for layer, states in enumerate(context.layers):
            for which, value in zip("kv", states, strict=True):
                self.found[f"{name}.layer{layer}.{which}"] = value[0].transpose(0, 1)[rows]

    # Group 6 to 8: rewritten intents, replies, thinking

    def _rewrites(self, session: RecordedChat) -> None:
        answer = [self.policy.model.config.bos_token_id, *self.policy.ids(self.said["texts"]["answer"])]
        self.found["rewrite.answer_ids"] = torch.tensor(answer)
        for kind in self.said["rewrite"]:
            chat = session.branch(f"rewrite_{kind}")
            for block in range(2):  # the prompt for thinking and the question, which the JSON leaves out
                chat._append("full", self._given(chat.key, block))
            self._cache(f"{chat.key}.context", chat.contexts["full"])
            known = torch.tensor([answer])
            states = self.policy.model.append_text(chat.contexts["full"].copy(), known[:, :-1])
            logits = self.policy.model.text_logits(states)[0]
            for name in self.arrays:
                if said := re.fullmatch(rf"{re.escape(chat.key)}\.logprobs_T([\d.]+)", name):
                    every = (logits / float(said[1])).log_softmax(-1)
                    self.found[name] = every.gather(-1, known[0, 1:, None])[:, 0]
            self._greedy(f"{chat.key}.greedy", chat, self.said["texts"]["rewrite_max_tokens"], on=True)

    def _given(self, key: str, block: int) -> TextBlock:
        """A text that only its tokens tell, written and read again by the tokenizer."""
        ids = self.stored[f"{key}.block{block:02d}.token_ids"].tolist()
        text = self.policy.tokenizer.decode(ids[1:-1])
        return TextBlock(torch.tensor([self.policy.text_ids(text)]))

    def _greedy(self, name: str, chat: BagelChat, most: int, on: bool = False) -> str:
        """The likeliest tokens from the start token on, `most` with it; `on` goes on behind the stop token."""
        model, context = self.policy.model, chat.contexts["full"].copy()
        tokens, margins, states, first = [int(model.config.bos_token_id or 0)], [], [], None
        stop = model.config.eos_token_id
        while len(margins) < most and (on or tokens[-1] != stop):
            states.append(model.append_text(context, torch.tensor([tokens[-1:]]))[0, 0])
            logits = model.text_logits(states[-1])
            first = logits if first is None else first
            best = logits.topk(2)
            margins.append(best.values[0] - best.values[1])
            tokens.append(int(best.indices[0]))
        ended = tokens.index(stop) if stop in tokens else most
        kept = tokens[: min(ended, most)]
        text = str(self.policy.tokenizer.decode(kept[1:]))
        self.found |= {
            f"{name}.token_ids": torch.tensor(kept),
            f"{name}.top2_margin": torch.stack(margins),
            f"{name}.argmax": torch.tensor(tokens[1:]),
            f"{name}.last_hidden_rows": torch.stack(states[: self.arrays[f"{name}.last_hidden_rows"]["shape"][0]]),
        }
        if first is not None:
            self.found[f"{name}.first_logits"] = first
        self.greedy[name] = {"text": text, "generated_ids": kept, "stopped_by_eos": ended <= most - 1}
        return text

    def _replies(self, photo: np.ndarray) -> None:
        texts, most = self.said["texts"], self.said["texts"]["replies_max_tokens"]
        chat = RecordedChat(self, "text_reply")
        chat.read_text(texts["text_reply_question"])
        self._greedy(chat.key, chat, most)
        for key in ("vqa_reply", "vqa_think_reply"):
            chat = RecordedChat(self, key)
            if "think" in key:
                chat.read_text(self._given(key, 0).ids[0].tolist())
            chat.read_image(photo, latents=False)
            chat.read_text(texts["vqa_question"])
            self._greedy(key, chat, most)

    def _think_edit(self, photos: Sequence[np.ndarray]) -> None:
        texts, chat = self.said["texts"], RecordedChat(self, "think_edit")
        told = texts["think_edit"]
        chat.read_text(self._given(chat.key, 0).ids[0].tolist())
        chat.read_image(photos[told["photo"] - 1])
        chat.read_text(texts["think_edit_instruction"])
        chat.read_thought(self._greedy(f"{chat.key}.thought", chat, told["max_tokens"]))
        rows, columns = chat.grid(chat.size)
        noise = torch.cat([self.stored["turn1.noise"], self.stored["turn2.noise"]])[: rows * columns]
        latents = self._steps(chat, chat.key, noise, told["grid_points"])
        self.found[f"{chat.key}.latent_rows"] = self.rows(f"{chat.key}.latent_rows", latents[0])
        coder = self.policy.autoencoder
        shown = (coder.decode_maps(coder.maps(latents, (rows, columns)))[0] * 0.5 + 0.5).clamp(0, 1)
        self.found[f"{chat.key}.image_sample"] = self.sample(f"{chat.key}.image_sample", shown)

    # Rules alone

    def _rules(self) -> None:
        vae, vit = self.policy.transforms
        sizes = []
        for width, height in self.stored["resize_table"][:, :2].tolist():
            once = vae.size(width, height)
            twice = vae.size(*once)
            sizes.append([width, height, *once, *twice, *vit.size(*twice), *vit.size(width, height)])
        self.found["resize_table"] = torch.tensor(sizes)
        for name in ("rgba", "gray"):
            given = PIL.Image.fromarray(self.stored[f"rgb.{name}_in"].numpy())
            self.found[f"rgb.{name}_out"] = torch.from_numpy(as_rgb(given).copy())

    def mismatches(self) -> dict[str, int]:
        """What the JSON says beside the arrays: how many of each kind are not found so."""
        said, tokenizer = self.said, self.policy.tokenizer
        config, ids = self.policy.model.config, tokenizer.convert_tokens_to_ids
        special = {
            "bos_token_id": config.bos_token_id, "eos_token_id": config.eos_token_id,
            "start_of_image": config.start_of_image_id, "end_of_image": config.end_of_image_id,
        }  # fmt: skip
        blocks = {block["key"]: block for block in self.blocks}
        wrong_tokens = sum(
            tokenizer(case["text"], add_special_tokens=False, split_special_tokens=False)["input_ids"] != case["ids"]
            or tokenizer.decode(case["ids"]) != case["decoded"]
            for case in said["tokenizer_cases"]
        )
        answers = [(case, parse_answer(case["raw"])) for case in said["parse_cases"]]
        wrong_answers = sum([t or case["current"], why] != case["result"] for case, (t, why) in answers)
        said_now = self.said["texts"]["turns"][-1]
        rewritten = {kind: parse_answer(self.greedy[f"rewrite_{kind}.greedy"]["text"]) for kind in said["rewrite"]}
        return {
            "json.special_ids": sum(special[name] != value for name, value in said["special_ids"].items()),
            "json.len_tokenizer": int(len(tokenizer) != said["len_tokenizer"] or ids("<|im_start|>") is None),
            "json.vocab_size_of_model": int(config.vocab_size != said["vocab_size_of_model"]),
            "json.tokenizer_cases": wrong_tokens,
            "json.parse_cases": wrong_answers,
            "json.blocks": sum(blocks.get(block["key"]) != block for block in said["blocks"])
            + len(blocks.keys() - {block["key"] for block in said["blocks"]}),
            "json.greedy": sum(
                any(
                    self.greedy.get(name, {}).get(part) != entry[part]
                    for part in ("text", "generated_ids", "stopped_by_eos")
                )
                for name, entry in said["greedy"].items()
            ),
            "json.rewrite": sum(
                [text or said_now, why] != said["rewrite"][kind]["result"] for kind, (text, why) in rewritten.items()
            ),
        }
