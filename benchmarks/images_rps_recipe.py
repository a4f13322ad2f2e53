"""A recipe file for `ganport train`: the networks and settings of `rps-conditional`, without labels."""

from __future__ import annotations

import dataclasses

from ganport.trainer.recipes import rps_conditional

RECIPE = dataclasses.replace(
    rps_conditional.RECIPE,
    name="rps-unconditional",
    labels=(),
    build_generator=rps_conditional.build_generator,
    build_discriminator=rps_conditional.build_discriminator,
)
