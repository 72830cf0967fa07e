"""Scorers: who judges a turn. Each is named here and imported only when asked for."""

from __future__ import annotations

SCORERS = {
    "exact": "editenv.rewards.exact:ExactScorer",
    "imperfect": "editenv.rewards.noisy:NoisyScorer",
    "judge": "editenv.rewards.judge:JudgeScorer",
    "ocr": "editenv.rewards.ocr:OcrScorer",
    "residual": "editenv.rewards.residual:ResidualScorer",
    "similarity": "editenv.rewards.similarity:SimilarityScorer",
}
"""Scorer by name, as "module:class"; the class is called with (world, weights, **settings)."""
