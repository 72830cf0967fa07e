"""A language model of two small layers with random weights, and a tokenizer that knows the studio's words."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM, set_seed

from editenv.agents.tool_agent.policy import tool_schemas
from editenv.agents.tool_agent.session import ToolSession, oracle_conversation, session_rows


def save_tiny_model(folder: Path, kind: type[ToolSession], width: int = 64) -> Path:
    """Saves it as transformers does; it has no chat template."""
    player = kind()
    texts = [str(tool_schemas(kind.toolbox)), *(str(oracle_conversation(player, row)) for row in session_rows(range(50)))]
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=700, special_tokens=marks, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token=marks[0], pad_token=marks[0])
    tokenizer.save_pretrained(folder)
    set_seed(0)
    config = Qwen2Config(
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
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder
