"""The word-level tokenizer of the small models, a real `PreTrainedTokenizerFast`."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = ("<pad>", "<unk>", "<bos>", "<eos>", "<soi>", "<eoi>")
"""Special tokens; the place of each is its id. `soi` and `eoi` open and close an image."""


def build_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """A lower-casing tokenizer whose tokens are words and single punctuation marks.

    Ids 0 to 5 are `SPECIAL_TOKENS`; then come the pieces of `words` in order, each once (an entry that holds
    spaces or punctuation gives several). Decoding puts spaces between words and none before punctuation, so
    that encoding the decoded text gives the same ids. A special token's name inside a text is text like any
    other: nobody can end a turn by typing `<eos>`.
    """
    splitter = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(behavior="isolated")]
    )
    pieces = dict.fromkeys(piece for word in words for piece, _ in splitter.pre_tokenize_str(word.lower()))
    if not pieces:
        raise ValueError(f"words are {list(words)!r}, expected at least one word")
    vocabulary = {token: index for index, token in enumerate((*SPECIAL_TOKENS, *pieces))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix="##", cleanup=False),
            decoders.Fuse(),
            decoders.Replace(Regex(r" (?=[.,;:!?')\]\-])"), ""),
            decoders.Replace(Regex(r"(?<=['(\[\-]) "), ""),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
        additional_special_tokens=["<soi>", "<eoi>"],
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
    )
