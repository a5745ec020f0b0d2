"""Products computed as convolutions are those that torch computes otherwise, to rounding."""

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from networks import noise

from faceref.models import attention
from faceref.models.attention import attend, linear
from faceref.models.reference import ReferenceAttnProcessor


@pytest.fixture(params=[True, False], ids=["as convolutions", "as they are"])
def convolutions(request, monkeypatch):
    """How many were computed; the processor of the machine that tests does not matter."""
    monkeypatch.setattr(attention, "mkl_is_slow", lambda: request.param)
    calls = []
    conv2d = F.conv2d
    monkeypatch.setattr(attention.F, "conv2d", lambda *given: calls.append(given) or conv2d(*given))
    return request.param, calls


@torch.no_grad()
@pytest.mark.parametrize(("batch", "tokens", "many"), [(1, 256, True), (2, 256, True), (3, 100, False), (1, 16, False)])
def test_a_linear_layer(batch, tokens, many, convolutions):
    layer = torch.nn.Linear(32, 48)
    x = noise(batch, tokens, 32)
    expected = x.double() @ layer.weight.double().T + layer.bias.double()
    torch.testing.assert_close(linear(layer, x).double(), expected, atol=1e-5, rtol=0)
    asked, calls = convolutions
    assert len(calls) == (1 if asked and many else 0)


@torch.no_grad()
@pytest.mark.parametrize("bias", [None, (1, 2, 512, 768), (3, 1, 1, 768)])
def test_attention(bias, convolutions):
    query, key, value = noise(3, 512, 2, 16).transpose(1, 2), noise(3, 2, 768, 16), noise(3, 2, 768, 16)
    bias = None if bias is None else noise(*bias)
    logits = (query.double() @ key.double().mT) / 4 + (0 if bias is None else bias.double())
    expected = logits.softmax(-1) @ value.double()
    torch.testing.assert_close(attend(query, key, value, bias).double(), expected, atol=1e-5, rtol=0)
    asked, calls = convolutions
    assert len(calls) == (3 * 2 * 2 * 2 if asked else 0), "faces, heads, halves of the queries, products"


def test_gradients_flow_as_torch_has_them(convolutions):
    query = noise(1, 2, 256, 16).requires_grad_()
    attend(query, noise(1, 2, 256, 16), noise(1, 2, 256, 16)).sum().backward()
    assert query.grad is not None
    assert not convolutions[1]


@torch.no_grad()
def test_an_autoencoders_layer_is_diffusers_own(convolutions):
    layer = Attention(
        32, heads=1, dim_head=32, norm_num_groups=8, bias=True, residual_connection=True, rescale_output_factor=2.0
    )
    x = noise(2, 32, 16, 16)
    expected = layer(x)
    layer.set_processor(ReferenceAttnProcessor())  # type: ignore[arg-type]
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=0)
