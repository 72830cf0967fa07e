"""A model of your own in one file: cd examples; editenv train model=own_model:ToyPolicy (docs/models.md).

It writes from a table of word pairs and paints every 8 x 8 block of pixels with one linear layer.
"""

import numpy as np
import torch
from torch import nn

from editenv.agents.policy import GeneratedIntents, JointPolicy, PolicyOutput

WORDS = ("<pad>", "<end>", "add", "remove", "paint", "move", "it", "red", "blue", "star", "circle")
END = 1


class ToyPolicy(JointPolicy):
    """Its turns have one tensor, `source`; contexts are the turn's tensors, as JointPolicy has it."""

    def __init__(self):
        super().__init__()
        self.next_word = nn.Embedding(len(WORDS), len(WORDS))
        self.paint = nn.Linear(7, 3)

    # What a turn is made of

    def observe(self, observations):
        return {"source": self.encode_images(observations["image"])}

    def encode_intents(self, intents):
        return {}  # this painter does not read

    def encode_images(self, images):
        pixels = torch.from_numpy(np.stack(list(images))).to(self.device).float() / 127.5 - 1
        return pixels.unfold(1, 8, 8).unfold(2, 8, 8).mean((-1, -2)).flatten(1, 2)  # [B, N, 3]

    def decode_images(self, latents):
        side = int(latents.shape[1] ** 0.5)
        pixels = ((latents.unflatten(1, (side, side)) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return list(pixels.repeat_interleave(8, 1).repeat_interleave(8, 2).cpu().numpy())

    # How it generates: all randomness is given

    def generate_intents(self, context, settings, uniforms):
        ids = torch.full((len(context["source"]), settings.max_intent_tokens), 0)
        before, going = torch.full((len(ids),), END), torch.ones(len(ids), dtype=torch.bool)
        for step in range(ids.shape[1]):
            chances = torch.softmax(self.next_word(before) / (settings.temperature or 1e-3), -1).cumsum(-1)
            draw = torch.full((len(ids), 1), 0.5) if uniforms is None else uniforms[:, step, None]
            word = torch.searchsorted(chances, draw.float() * chances[:, -1:])[:, 0].clamp(1, len(WORDS) - 1)
            ids[going, step], before, going = word[going], word, going & (word != END)
        mask = ids > 0
        ended = [(row == END).any() and row[0] != END for row in ids]
        words = [
            " ".join(WORDS[i] for i in row if i > END) if ok else None for row, ok in zip(ids, ended, strict=True)
        ]
        return GeneratedIntents(ids, mask, self.text_log_prob(ids, mask, settings), words)

    def velocity(self, context):
        return lambda x, t: self.flow(x, t, context["source"])

    # What training asks: the same numbers, with gradient

    def forward(self, turn, settings, *, text=True, x=None, t=None, context_gradient=False, guided=True):
        log_prob = self.text_log_prob(turn["intent_ids"], turn["intent_mask"], settings) if text else None
        velocity = None if x is None else self.flow(x, t, turn["source"][:, None].expand_as(x))
        return PolicyOutput(log_prob, velocity, velocity)

    def text_log_prob(self, ids, mask, settings):
        before = torch.cat([torch.full_like(ids[:, :1], END), ids[:, :-1]], 1)
        every = torch.log_softmax(self.next_word(before) / (settings.temperature or 1.0), -1)
        return every.gather(-1, ids[..., None])[..., 0].masked_fill(~mask, 0.0)

    def flow(self, x, t, source):
        time = t[..., None, None].expand_as(x[..., :1])
        return x - source + self.paint(torch.cat([x, source, time], -1))

    def parameter_space(self, name):
        return "text" if "next_word" in name else "flow"
