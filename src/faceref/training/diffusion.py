"""Stages 2 and 3: the latent diffusion model, first with the LQ latent only (ldm), then with references (refldm)."""

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from PIL import Image
from torch import Tensor, nn
from torchmetrics.functional.image import peak_signal_noise_ratio

from faceref.checkpoints.store import ModelInfo, save_model
from faceref.data.dataset import make_batch
from faceref.data.degradation import DegradationRanges
from faceref.models.autoencoder import Autoencoder, decode, encode
from faceref.models.identity import FaceRecogniser
from faceref.models.unet import ReferenceUNet
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.training.config import DiffusionConfig, NoiseConfig
from faceref.training.losses import identity_scale, masked_mean
from faceref.training.pictures import contact_sheet
from faceref.training.stage import Batch, Losses, Stage


def build_scheduler(noise: NoiseConfig) -> DDIMScheduler:
    """ReF-LDM's forward process, and DDIM with the released script's "trailing" steps to go back."""
    return DDIMScheduler(
        num_train_timesteps=noise.steps,
        beta_start=noise.beta_start,
        beta_end=noise.beta_end,
        beta_schedule=noise.beta_schedule,
        prediction_type=noise.prediction_type,
        rescale_betas_zero_snr=noise.zero_terminal_snr,
        timestep_spacing="trailing",
        set_alpha_to_one=False,
        clip_sample=False,
    )


class DiffusionStage(Stage):
    """L_diffusion + weight * scale(t) * (1 - cos(R(D(x0_hat)), R(D(x0)))) (ReF-LDM, Eq. 2 and 3).

    x0 is the latent of the HQ photograph, x0_hat its one-step estimate from the network's output at t, D the frozen
    decoder (gradients flow through it), R the frozen recogniser. As in the released code, the identity to reach is that
    of the autoencoder's reconstruction. Outside the photograph (padding) R sees that reconstruction in both.
    """

    def __init__(
        self,
        config: DiffusionConfig,
        unet: ReferenceUNet,
        vae: Autoencoder,
        recogniser: FaceRecogniser | None,
    ):
        super().__init__()
        self.config = config
        self.unet = unet
        self.scheduler = build_scheduler(config.noise)
        self.use_references = config.stage == "refldm"
        self.degradation: DegradationRanges = config.data.degradation
        self.keep_frozen(vae, recogniser)

    def trainable(self, turn: str) -> dict[nn.Module, float]:
        return {self.unet: 1.0}

    def averaged(self) -> nn.Module:
        return self.unet

    @torch.no_grad()
    def make_batch(self, items: Batch, generator: torch.Generator) -> Batch:
        """Photographs to pictures and their latents.

        hq, lq [B, 3, H, W], mask [B, 1, H, W], references [B, N, 3, H, W], has_references [B];
        hq_latent, lq_latent [B, C, h, w], mask_latent [B, 1, h, w];
        reference_latents [B, N, C, h, w] where the stage looks at them.
        """
        vae, _ = self.frozen
        pictures = make_batch(items, self.degradation, generator)
        hq, lq, references = pictures["hq"], pictures["lq"], pictures["references"]
        hq_latent = encode(vae, hq).float()
        batch = {
            "hq": hq,
            "lq": lq,
            "mask": pictures["mask"],
            "references": references,
            "has_references": pictures["has_references"],
            "hq_latent": hq_latent,
            "lq_latent": encode(vae, lq).float(),
            "mask_latent": F.interpolate(pictures["mask"], size=hq_latent.shape[-2:], mode="area"),
        }
        if self.use_references:
            latents = encode(vae, references.flatten(0, 1)).float().unflatten(0, references.shape[:2])
            # a person without other photographs is trained as "no reference": zero latents
            batch["reference_latents"] = latents * pictures["has_references"][:, None, None, None, None]
        return batch

    def forward(self, batch: Batch, generator: torch.Generator, step: int, turn: str) -> Losses:
        x0 = batch["hq_latent"]
        size, device = len(x0), x0.device
        timesteps = torch.randint(self.config.noise.steps, (size,), generator=generator, device=device)
        terminal = torch.rand(size, generator=generator, device=device) < self.config.noise.terminal_share
        timesteps[terminal] = self.config.noise.steps - 1
        noise = torch.randn(x0.shape, generator=generator, device=device)
        x_t = self.scheduler.add_noise(x0, noise, timesteps)  # type: ignore[arg-type]
        draws = torch.rand(2, size, 1, 1, 1, generator=generator, device=device)
        lq = batch["lq_latent"] * (draws[0] >= self.config.lq_dropout)
        cache = None
        if self.use_references:
            kept = draws[1] >= self.config.reference_dropout  # [B, 1, 1, 1]
            cache = self.unet.encode_references(batch["reference_latents"] * kept[:, None])
        output = self.unet(torch.cat([x_t, lq], dim=1), timesteps, cache).sample.float()
        target = self._target(x0, noise, timesteps)
        diffusion = masked_mean((output - target).square(), batch["mask_latent"])
        numbers = {"diffusion": diffusion.detach()}
        if not self._wants_identity():
            return diffusion, numbers
        alpha_bar = self._alpha_bar(timesteps)
        similarity = self._identity_similarity(self._estimate_x0(output, x_t, alpha_bar), x0, batch["mask"])
        scale = identity_scale(alpha_bar, timesteps, self.config.identity.scaling)
        identity = (scale * (1 - similarity)).mean()
        numbers |= {"identity": identity.detach(), "similarity": similarity.detach().mean()}
        return diffusion + self.config.identity.weight * identity, numbers

    def _wants_identity(self) -> bool:
        return self.use_references and self.config.identity.scaling != "none" and self.config.identity.weight > 0

    def _alpha_bar(self, timesteps: Tensor) -> Tensor:
        return self.scheduler.alphas_cumprod.to(timesteps.device)[timesteps]

    def _target(self, x0: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the network is asked for: the noise, v = sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) x0, or x0."""
        match self.config.noise.prediction_type:
            case "epsilon":
                return noise
            case "v_prediction":
                return self.scheduler.get_velocity(x0, noise, timesteps)  # type: ignore[arg-type]
            case "sample":
                return x0

    def _estimate_x0(self, output: Tensor, x_t: Tensor, alpha_bar: Tensor) -> Tensor:
        """x0_hat from the network's output at t, in one step; alpha_bar [B]."""
        signal, sigma = (a[:, None, None, None] for a in (alpha_bar.sqrt(), (1 - alpha_bar).sqrt()))
        match self.config.noise.prediction_type:
            case "epsilon":
                return (x_t - sigma * output) / signal
            case "v_prediction":
                return signal * x_t - sigma * output
            case "sample":
                return output

    def _identity_similarity(self, estimate: Tensor, x0: Tensor, mask: Tensor) -> Tensor:
        """Cosine [B] between the recogniser's embeddings of both latents, decoded; mask [B, 1, H, W], 0 in padding."""
        vae, recogniser = self.frozen
        assert recogniser is not None
        with torch.no_grad():
            truth = decode(vae, x0)
            wanted = recogniser.embed(truth)
        restored = torch.where(mask > 0, decode(vae, estimate), truth)
        return F.cosine_similarity(recogniser.embed(restored), wanted)

    def pipeline(self) -> ReFLDMPipeline:
        """The model as it is used, on the present weights."""
        return ReFLDMPipeline(unet=self.unet, vae=self.frozen[0], scheduler=self.scheduler)

    def validate(self, batch: Batch, generator: torch.Generator) -> tuple[dict[str, float], Image.Image]:
        """Restore held-out faces, without and with references; rows: LQ, without, with, truth, first reference."""
        pipeline = self.pipeline()
        hq, lq, references = batch["hq"], batch["lq"], batch["references"]
        noise = torch.randn(batch["hq_latent"].shape, generator=generator, device=hq.device)
        rows, metrics = [lq], {}
        own = [photos if has else None for photos, has in zip(references, batch["has_references"], strict=True)]
        cases = {"alone": None} | ({"referenced": own} if self.use_references else {})
        for name, given in cases.items():
            settings = self.config.model
            result = pipeline(
                lq,
                given,
                steps=settings.steps,
                guidance=settings.guidance,
                scheduler=settings.scheduler,
                latents=noise,
                output_type="pt",
            )
            restored = torch.as_tensor(result.images)
            rows.append(restored)
            metrics[f"psnr_{name}"] = peak_signal_noise_ratio(restored, hq, data_range=(-1, 1)).item()
            if self.frozen[1] is not None:
                similarity = F.cosine_similarity(self.frozen[1].embed(restored), self.frozen[1].embed(hq))
                metrics[f"identity_{name}"] = similarity.mean().item()
        metrics["psnr_lq"] = peak_signal_noise_ratio(lq, hq, data_range=(-1, 1)).item()
        rows += [hq, *references[:, :1].unbind(1)]
        return metrics, contact_sheet([row[:8] for row in rows])

    def export(self, folder: Path) -> None:
        info = ModelInfo(family="refldm", resolution=self.config.data.resolution, **self.config.model.model_dump())
        save_model(self.pipeline(), info, folder)
