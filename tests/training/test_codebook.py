"""The codebook of an autoencoder as it begins: codes that are near latents."""

import numpy as np
import torch
from tiny_runs import tiny_vqgan

from faceref.data.decoded import DecodedPhotographs
from faceref.models.autoencoder import PixelUnshuffleVQModel, encode
from faceref.training.stages import vqgan
from faceref.training.stages.vqgan import VQGANStage


def test_a_codebook_of_more_codes_than_there_are_latents_begins_with_all_of_these(tmp_path, monkeypatch):
    monkeypatch.setattr(vqgan, "CALIBRATION_PHOTOGRAPHS", 2)
    photographs = np.random.default_rng(0).integers(0, 255, (2, 4, 32, 32), dtype=np.uint8)
    model = PixelUnshuffleVQModel(base_channels=32, codebook_size=1000, quantize=True)
    config = tiny_vqgan(tmp_path, steps=1).model_copy(update={"quantize_from": 1})
    stage = VQGANStage(config, model, DecodedPhotographs([tmp_path] * 2, 32, 0, photographs), None)
    (codebook,) = stage.prepare(step=1)
    with torch.no_grad():
        latents = encode(model, torch.from_numpy(photographs[:, :3]).float() / 127.5 - 1)
    latents = latents.permute(0, 2, 3, 1).flatten(0, 2)  # [tokens, C]
    assert len(latents) < len(codebook) == 1000
    assert torch.cdist(latents, codebook, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1).values.max() < 1e-5
