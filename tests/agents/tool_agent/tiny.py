"""A language model of two small layers with random weights, and a tokenizer that knows the studio's words."""

from __future__ import annotations

import re
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Olmo2Config, Olmo2ForCausalLM, PreTrainedTokenizerFast, set_seed
from trl.chat_template_utils import qwen2_5_chat_template

from editenv.agents.tool_agent.policy import tool_schemas
from editenv.agents.tool_agent.session import ToolSession, oracle_conversation, session_rows


def save_tiny_model(folder: Path, kind: type[ToolSession], width: int = 64) -> Path:
    """Saves it as transformers does; it has no chat template."""
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    player, schemas = kind(), tool_schemas(kind.toolbox)
    blank = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), chat_template=qwen2_5_chat_template)
    texts = []
    for row in session_rows(range(50), seed=1):
        told = blank.apply_chat_template(oracle_conversation(player, row), tools=schemas, tokenize=False)
        texts += re.split("|".join(map(re.escape, marks)), told)
    words = Tokenizer(models.BPE())
    # Phrases are single tokens, so that chats are short; a model's answer begins behind a line's end.
    phrases = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    words.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split("\n", "isolated"), phrases])
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=marks, initial_alphabet=alphabet, show_progress=False)
    words.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token=marks[0], pad_token=marks[0])
    tokenizer.save_pretrained(folder)
    set_seed(0)
    config = Olmo2Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        eos_token_id=2,
        tie_word_embeddings=True,
    )
    Olmo2ForCausalLM(config).save_pretrained(folder)
    return folder
