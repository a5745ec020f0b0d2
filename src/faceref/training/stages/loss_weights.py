"""How much each loss counts, of those that several stages have."""

from typing import Annotated

from pydantic import Field

from faceref.training.config import Config

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class LikenessWeights(Config):
    """Weights of the losses that ask for what is most likely."""

    l1: Weight = 1.0
    coarse: Weight = 0.0  # ours; of L1 between the pictures at half their size, where sharpness costs nothing
    identity: Weight = 0.0  # ours


class JudgedWeights(LikenessWeights):
    """And of those by which pictures are judged as a whole."""

    # the released code has 1 for LPIPS; the gradient of a recogniser's features is some hundred times L1's
    perceptual: Weight = 0.02
    adversarial: Weight = 0.8
    adversarial_from: int = Field(default=30_001, ge=0)  # step
    warm_up: int = Field(default=0, ge=0)  # steps that the discriminator learns alone before its loss counts

    def discriminator_learns(self, step: int) -> bool:
        return step >= self.adversarial_from - self.warm_up


class ReconstructionWeights(JudgedWeights):
    """Weights of the VQGAN losses (ReF-LDM's released configuration, but for the perceptual one)."""

    codebook: Weight = 1.0
    adaptive: bool = True  # the adversarial loss is weighed by the gradients, too (VQGAN, Eq. 7); else by its weight
