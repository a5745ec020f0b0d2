"""What ComfyUI does with a workflow, as far as nodes can tell: imports them, checks their inputs, calls them in order.

After ComfyUI's execution.py and its page: links are checked by type, values by kind, range and choice; a function is
called by name under torch.inference_mode() with an item of each list that it is handed, and returns one value for each
of RETURN_TYPES. ComfyUI's own nodes that the example needs are here in little.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Prompt = dict[str, dict[str, Any]]  # node id -> class_type and inputs: values, or [node id, output] for a link
KINDS = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool}


class LoadImage:
    FUNCTION, RETURN_TYPES = "load", ("IMAGE", "MASK")
    folder = Path()

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": {"image": (sorted(path.name for path in cls.folder.glob("*.png")),)}}

    def load(self, image: str):
        with Image.open(self.folder / image) as opened:
            pixels = np.array(opened.convert("RGB"), dtype=np.float32) / 255
        return torch.from_numpy(pixels)[None], torch.zeros(1, *pixels.shape[:2])


class ImageBatch:
    FUNCTION, RETURN_TYPES = "batch", ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": {"image1": ("IMAGE",), "image2": ("IMAGE",)}}

    def batch(self, image1: Tensor, image2: Tensor):
        return (torch.cat([image1, image2]),)


class SaveImage:
    FUNCTION, RETURN_TYPES = "save", ()

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": {"images": ("IMAGE",), "filename_prefix": ("STRING", {"default": "ComfyUI"})}}

    def save(self, images: Tensor, filename_prefix: str):
        return {"ui": {"images": images}}


class PreviewImage(SaveImage):
    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": {"images": ("IMAGE",)}}

    def save(self, images: Tensor):
        return {"ui": {"images": images}}


OWN_NODES = {node.__name__: node for node in (LoadImage, ImageBatch, SaveImage, PreviewImage)}


def import_nodes(folder: Path) -> ModuleType:
    """As from custom_nodes: by path, under a name of its own."""
    spec = importlib.util.spec_from_file_location("custom_nodes_faceref", folder / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def inputs_of(node: Any) -> dict[str, tuple]:
    types = node.INPUT_TYPES()
    return types["required"] | types.get("optional", {})


def is_widget(kind: object) -> bool:
    """Whether the page shows a field for it; else it is a place for a link."""
    return isinstance(kind, list) or kind in KINDS


def to_prompt(workflow: dict, nodes: dict[str, Any]) -> Prompt:
    """What the page sends of a saved workflow: values in the order of the fields, links by their numbers."""
    links = {number: [str(source), slot] for number, source, slot, *_ in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        values = list(node["widgets_values"])
        inputs: dict[str, Any] = {}
        for name, (kind, *_) in inputs_of(nodes[node["type"]]).items():
            if is_widget(kind):
                inputs[name] = values.pop(0)
                if name == "seed" or node["type"] == "LoadImage":  # the page has a field of its own behind these
                    values.pop(0)
        assert not values, node["type"]
        inputs |= {port["name"]: links[port["link"]] for port in node["inputs"] if port["link"] is not None}
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt


def problems(prompt: Prompt, nodes: dict[str, Any]) -> list[str]:
    """What ComfyUI would refuse before it runs anything."""
    found = []
    for number, item in prompt.items():
        node, inputs = nodes[item["class_type"]], item["inputs"]
        missing = node.INPUT_TYPES()["required"].keys() - inputs.keys()
        found += [f"{number}: {name} is missing" for name in sorted(missing)]
        for name, value in inputs.items():
            kind, *limits = inputs_of(node)[name]
            if isinstance(value, list):
                source, slot = value
                given = nodes[prompt[source]["class_type"]].RETURN_TYPES[slot]
                found += [f"{number}: {name} is {given}, not {kind}"] if given != kind else []
                continue
            limit = limits[0] if limits else {}
            fits = value in kind if isinstance(kind, list) else isinstance(value, KINDS[kind])
            if not fits or not limit.get("min", value) <= value <= limit.get("max", value):
                found.append(f"{number}: {name} cannot be {value!r}")
    return found


@torch.inference_mode()
def execute(prompt: Prompt, nodes: dict[str, Any]) -> dict[str, Any]:
    """Run every node once, after those it is linked to; of each a list for each output, or what it shows."""
    done: dict[str, Any] = {}

    def outputs(number: str) -> Any:
        if number not in done:
            node = nodes[prompt[number]["class_type"]]
            lists = {
                name: outputs(value[0])[value[1]] if isinstance(value, list) else [value]
                for name, value in prompt[number]["inputs"].items()
            }
            done[number] = _call(node, lists)
        return done[number]

    for number in prompt:
        outputs(number)
    return done


def _call(node: Any, lists: dict[str, list]) -> Any:
    """A call for each item of the longest list; a shorter list goes on with its last item."""
    function = getattr(node(), node.FUNCTION)
    calls = max((len(values) for values in lists.values()), default=1)
    items = [{name: values[min(i, len(values) - 1)] for name, values in lists.items()} for i in range(calls)]
    given = [function(**item) for item in items]
    if isinstance(given[0], dict):
        return [one["ui"]["images"] for one in given]
    is_list = getattr(node, "OUTPUT_IS_LIST", (False,) * len(node.RETURN_TYPES))
    assert all(isinstance(one, tuple) and len(one) == len(node.RETURN_TYPES) for one in given), node.__name__
    return [
        [item for one in given for item in (one[slot] if flat else [one[slot]])] for slot, flat in enumerate(is_list)
    ]
