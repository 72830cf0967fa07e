"""The unified model: BAGEL's architecture at every size, with its tokenizer, autoencoder and parity check.

One network holds two sets of weights that share one attention: one for text and understanding, one for
image generation. It builds a `Context` block by block, generates the intent as text and predicts the velocity
of latents.
"""
