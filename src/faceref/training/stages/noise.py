"""The forward process of a denoiser, and the scheduler that goes back."""

from typing import Literal, Self

from diffusers import DDIMScheduler
from pydantic import Field, model_validator

from faceref.training.config import Config, Share


class NoiseConfig(Config):
    """The forward process, and which of its timesteps are sampled to go back; defaults are ReF-LDM's."""

    steps: int = Field(default=1000, ge=1)
    beta_start: float = Field(default=0.0015, gt=0, lt=1)
    beta_end: float = Field(default=0.0155, gt=0, lt=1)
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "scaled_linear"
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = "epsilon"
    zero_terminal_snr: bool = False
    terminal_share: Share = 0.0  # share of the samples at the last timestep, where one-step sampling starts
    timestep_spacing: Literal["trailing", "leading"] = "trailing"  # from the last on; or down to 1, as LD-BFR's code

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.zero_terminal_snr and self.prediction_type == "epsilon":
            raise ValueError("with zero_terminal_snr the last step holds no signal: predict v_prediction or sample")
        if self.zero_terminal_snr and self.timestep_spacing == "leading":
            raise ValueError("with zero_terminal_snr sampling begins at the last step: set timestep_spacing: trailing")
        if self.zero_terminal_snr and self.steps == 1:
            raise ValueError("with zero_terminal_snr the only step would hold no signal: more steps are needed")
        return self


def build_scheduler(noise: NoiseConfig) -> DDIMScheduler:
    """The forward process, and DDIM to go back: with the "trailing" steps of ReF-LDM's released script.

    Or with the "leading" ones, and one more, of latent-diffusion's own, which LD-BFR's code samples with.
    """
    return DDIMScheduler(
        num_train_timesteps=noise.steps,
        beta_start=noise.beta_start,
        beta_end=noise.beta_end,
        beta_schedule=noise.beta_schedule,
        prediction_type=noise.prediction_type,
        rescale_betas_zero_snr=noise.zero_terminal_snr,
        timestep_spacing=noise.timestep_spacing,
        steps_offset=int(noise.timestep_spacing == "leading"),
        set_alpha_to_one=False,
        clip_sample=False,
    )
