"""Reading a face recogniser from the user's file: safetensors by name, ONNX by the order and shapes of its layers."""

from collections import defaultdict, deque
from itertools import groupby, pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from faceref.errors import CheckpointError
from faceref.models.identity import FaceRecogniser, IResNet, MobileFaceNet


def load_face_recogniser(path: Path) -> FaceRecogniser:
    """A frozen MobileFaceNet or IResNet from its weights: safetensors by name, or an ONNX export read for its weights.

    Architecture and sizes are deduced from the file; batch norms are folded into the convolutions before them, which
    changes nothing but the speed. Raises CheckpointError if the file is damaged or of another network.
    """
    if path.suffix == ".onnx":
        layers = _read_onnx(path)
        convolutions = [weight.shape for kind, (weight, *_) in layers if kind == "conv"]
        slopes = [slope.numel() for kind, (slope, *_) in layers if kind == "prelu"]
        linear = [weight.shape for kind, (weight, *_) in layers if kind == "linear"]
        model = _fold_batch_norms(_build(path, slopes, (512, 1, 7, 6) in convolutions, linear[-1][0] if linear else 0))
        _fill(model, layers, path)
    else:
        try:
            state = load_file(path)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"cannot be read as safetensors ({error})", subject=path, hint="give a recogniser's weights"
            ) from error
        stages = ("prelu.", "layer1.", "layer2.", "layer3.", "layer4.")
        slopes = [
            state[n].numel() for stage in stages for n in state if n.startswith(stage) and n.endswith("prelu.weight")
        ]
        embedding_size = state["features.weight"].numel() if "features.weight" in state else 0
        model = _build(path, slopes, "linear7.conv.weight" in state, embedding_size)
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            raise CheckpointError(f"does not fit {type(model).__name__}: {error}", subject=path) from error
        model = _fold_batch_norms(model)
    return model.requires_grad_(False)


def _build(path: Path, slopes: list[int], is_mobile: bool, embedding_size: int) -> FaceRecogniser:
    """The network, in eval mode, without weights; slopes are the sizes of its PReLUs from the input to the output."""
    if is_mobile:
        return MobileFaceNet().eval()
    runs = [(width, len(list(run))) for width, run in groupby(slopes)]
    if len(runs) != 4 or not embedding_size:
        raise CheckpointError(
            "is neither a MobileFaceNet nor an IResNet", subject=path, hint="give the weights of one of them"
        )
    widths, counts = zip(*runs, strict=True)
    # one PReLU per block, and one more after the first convolution
    return IResNet((counts[0] - 1, *counts[1:]), widths, embedding_size).eval()


def _fold_batch_norms(model: FaceRecogniser) -> FaceRecogniser:
    """Fold every batch norm that is registered right after a convolution into it (both networks register in order)."""
    for module in list(model.modules()):
        for (conv_name, conv), (norm_name, norm) in pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return model


def _read_onnx(path: Path) -> list[tuple[str, tuple[Tensor, ...]]]:
    """The layers with weights of an ONNX graph in the order of use, batch norms right after a convolution folded.

    Exporters fold and rename as they please, so that names say nothing and the graph everything.
    ("conv", weight, bias), ("norm", scale, shift), ("prelu", slope), ("linear", weight, bias).
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise CheckpointError(
            "needs the package onnx to be read", subject=path, hint="pip install 'faceref[arcface]'"
        ) from error
    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:  # protobuf's own exception types differ between its versions
        raise CheckpointError(
            f"cannot be read as ONNX ({error})", subject=path, hint="give a recogniser's weights"
        ) from error

    constants = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    layers: list[tuple[str, tuple[Tensor, ...]]] = []
    made_by: dict[str, int] = {}  # name of a convolution's output -> its place in layers
    for node in graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant" and "value" in attributes:
            constants[node.output[0]] = torch.from_numpy(numpy_helper.to_array(attributes["value"]).copy())
        elif node.op_type == "Identity" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
        weights = [
            constants[name].float() for name in node.input if name in constants and constants[name].is_floating_point()
        ]
        if not weights:
            continue
        if node.op_type == "Conv":
            weight, bias = weights[0], weights[1] if len(weights) > 1 else torch.zeros(len(weights[0]))
            made_by[node.output[0]] = len(layers)
            layers.append(("conv", (weight, bias)))
        elif node.op_type == "BatchNormalization":
            gamma, beta, mean, variance = weights
            scale = gamma / (variance + attributes.get("epsilon", 1e-5)).sqrt()
            shift = beta - mean * scale
            if node.input[0] in made_by:
                place = made_by[node.input[0]]
                weight, bias = layers[place][1]
                layers[place] = ("conv", (weight * scale.view(-1, 1, 1, 1), bias * scale + shift))
            else:
                layers.append(("norm", (scale, shift)))
        elif node.op_type == "PRelu":
            layers.append(("prelu", (weights[0].flatten(),)))
        elif node.op_type == "Gemm":
            weight = weights[0] if attributes.get("transB") else weights[0].T
            layers.append(("linear", (weight, weights[1] if len(weights) > 1 else torch.zeros(len(weight)))))
        elif node.op_type not in ("Identity", "Dropout"):
            raise CheckpointError(f"has the operation {node.op_type}, which no supported recogniser has", subject=path)
    return layers


def _fill(model: FaceRecogniser, layers: list[tuple[str, tuple[Tensor, ...]]], path: Path) -> None:
    """Give each module of a model with folded batch norms the first unused layer of its kind and shape.

    Among layers of one shape the order of use is the order of registration; a shortcut's 1x1 convolution, which may
    come before or after the block's others, differs from them in shape.
    """
    unused = defaultdict(deque)
    for kind, tensors in layers:
        unused[kind, tensors[0].shape].append(tensors)
    kinds = {nn.Conv2d: "conv", nn.BatchNorm2d: "norm", nn.BatchNorm1d: "norm", nn.PReLU: "prelu", nn.Linear: "linear"}
    for name, module in model.named_modules():
        if type(module) not in kinds:
            continue
        queue = unused[kinds[type(module)], module.weight.shape]
        if not queue:
            raise CheckpointError(f"has no weights for {name} of {type(model).__name__}", subject=path)
        module.weight.data, *rest = queue.popleft()
        if rest:
            module.bias.data = rest[0]
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eps = 0.0  # mean 0 and variance 1 as initialised: scale and shift are all
    left = sum(map(len, unused.values()))
    if left:
        raise CheckpointError(f"has {left} layers that {type(model).__name__} does not have", subject=path)
