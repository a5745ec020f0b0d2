"""The names of the samplers, for those who check them before torch is there."""

from typing import Literal

SchedulerName = Literal["ddim", "dpmsolver++", "unipc"]
