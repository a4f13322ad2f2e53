"""The rule from seeds to latents as a JSON document, for hosts that make latents without ganport.

The rule is that of docs/contract.md. It stands in the description of each file for a target, together with
known answers for the latents of this generator.
"""

from __future__ import annotations

import hashlib
from typing import Any

from ganport.runtime.contract import Distribution
from ganport.runtime.latents import KEY_STEPS, MULTIPLIERS, ROUNDS, normal_table, sample_latents

_KNOWN_SEEDS = (0, 42, 2**53 + 1, 2**63 - 1)
_SHOWN = 4  # number of first latents that a known answer states
_RULES: dict[Distribution, str] = {
    "normal": (
        "k = (h >> 3) & 4095; magnitude = float32(inverse normal distribution(0.5 + (k + 0.5) / 8192)); "
        "negative if bit 15 of h is set"
    ),
    "uniform": "float32: h * 2^-15 + (2^-16 - 1)",
    "uniform01": "float32: h * 2^-16 + 2^-17",
}


def seed_rule(dim: int, distribution: Distribution, label_count: int) -> dict[str, Any]:
    """Return the rule from a seed to its latents, as a dict of JSON types.

    Args:
        dim: Number of latents per image.
        distribution: Distribution of the latents.
        label_count: Number of labels; 0 for none.
    """
    rule: dict[str, Any] = {
        "generator": "Philox4x32-10",
        "rounds": ROUNDS,
        "multipliers": [int(each) for each in MULTIPLIERS.ravel()],
        "key_steps": [int(each) for each in KEY_STEPS.ravel()],
        "key": "[seed & 0xFFFFFFFF, seed >> 32]",
        "counter": "[b, 0, 0, 0] for block b = 0, 1, ...",
        "round": (
            "p = multipliers[0] * c[0], q = multipliers[1] * c[2], both of 64 bits; c = [high(q) ^ c[1] ^ "
            "key[0], low(q), high(p) ^ c[3] ^ key[1], low(p)]; then add key_steps to key, modulo 2^32"
        ),
        "latent": (
            "latent j is made of h, which is 16 bits of block j // 8, word (j % 8) // 2: the high half for "
            "even j, the low half for odd j"
        ),
        "distribution": _RULES[distribution],
        "pixel": "clip(round_half_to_even((x + 1) * 127.5), 0, 255), in float32",
        "known_answers": {
            "philox": {
                "counter": [0, 0, 0, 0],
                "key": [0, 0],
                "words": _words("6627e8d5e169c58dbc57ac4c9b00dbd8"),
            },
            "latents": [_known_answer(seed, dim, distribution) for seed in _KNOWN_SEEDS],
        },
    }
    if distribution == "normal":
        rule["table_sha256"] = hashlib.sha256(normal_table().astype("<f4").tobytes()).hexdigest()
    if label_count:
        rule["label"] = "if no label is requested: the label with the index seed % number of labels"
    return rule


def _words(digits: str) -> list[int]:
    return [int(digits[start : start + 8], 16) for start in range(0, len(digits), 8)]


def _known_answer(seed: int, dim: int, distribution: Distribution) -> dict[str, Any]:
    """Return the first latents of a seed, and the sha256 of all of them as little-endian float32."""
    latents = sample_latents([seed], dim, distribution=distribution)[0]
    return {
        "seed": str(seed),  # JSON readers may round whole numbers above 2**53
        "first": latents[:_SHOWN].tolist(),
        "sha256": hashlib.sha256(latents.astype("<f4").tobytes()).hexdigest(),
    }
