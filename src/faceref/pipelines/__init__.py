"""Diffusers pipelines: tensors in, tensors out; the denoising loops."""
