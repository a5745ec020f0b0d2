"""What a pipeline does with references: batches of different people, caches that are its own, the null cache once."""

import copy

import pytest
import torch
from golden_model import restore

from faceref.errors import UsageError
from faceref.pipelines.refldm import ReFLDMPipeline


def test_null_cache_is_computed_once_for_the_weights_that_a_pipeline_was_made_with(mini, monkeypatch):
    shared, expected = mini
    zero_passes = []
    encode = shared.unet.encode_references

    def counting(latents, multiplicity=None):
        zero_passes.append(not latents.any())
        return encode(latents, multiplicity)

    monkeypatch.setattr(shared.unet, "encode_references", counting)
    lq, references = expected["lq_image"], [expected["reference_images"]]

    def new() -> ReFLDMPipeline:
        return ReFLDMPipeline(unet=shared.unet, vae=shared.vae, scheduler=shared.scheduler)

    pipeline = new()
    before = restore(pipeline, lq, references)
    assert torch.equal(restore(pipeline, lq, references), before)
    assert sum(zero_passes) == 1
    kept = shared.unet.conv_in.bias.detach().clone()
    try:
        shared.unet.conv_in.bias.data.add_(0.1)  # as training moves weights: it makes a new pipeline to validate
        restore(new(), lq, references)
        assert sum(zero_passes) == 2
    finally:
        shared.unet.conv_in.bias.data.copy_(kept)
    assert torch.equal(restore(new(), lq, references), before)


def test_references_encoded_by_another_model_or_at_another_resolution_are_refused(mini):
    pipeline, expected = mini
    other = ReFLDMPipeline(copy.deepcopy(pipeline.unet), pipeline.vae, pipeline.scheduler)
    lq, references = expected["lq_image"], expected["reference_images"]
    assert torch.equal(  # the same weights are the same network, wherever they were loaded
        restore(other, lq, pipeline.encode_references(references)), restore(pipeline, lq, [references])
    )
    changed = ReFLDMPipeline(copy.deepcopy(pipeline.unet), pipeline.vae, pipeline.scheduler)
    with torch.no_grad():
        changed.unet.conv_in.weight[0] += 1
    larger = pipeline.encode_references(torch.nn.functional.interpolate(references, scale_factor=2))
    for cache in (changed.encode_references(references), larger):
        for given in (cache, [cache]):
            with pytest.raises(UsageError, match="encoded by another model or at another resolution") as error:
                restore(pipeline, lq, given)
            assert error.value.code == "foreign_references"
            assert f"{pipeline.fingerprint} at 32 px" in str(error.value)
            assert "encode the photographs again" in str(error.value)


def test_result_does_not_depend_on_batch_neighbours(mini):
    pipeline, expected = mini
    lq = torch.cat([expected["lq_image"], expected["lq_image"].flip(3), -expected["lq_image"]])
    references = [expected["reference_images"], expected["reference_images"][:1], None]
    together = restore(pipeline, lq, references, seeds=(1, 2, 3))
    for image, (reference, seed) in enumerate(zip(references, (1, 2, 3), strict=True)):
        alone = restore(pipeline, lq[image : image + 1], [reference], seeds=(seed,))
        torch.testing.assert_close(together[image : image + 1], alone, rtol=1e-4, atol=1e-4)
