"""Language models that edit by calling tools: sessions for any trainer, TRL's GRPO, and playing what it trained."""
