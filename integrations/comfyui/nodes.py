"""The four nodes: load a model, read a person's photographs, restore faces, compare before and after.

Types that only these nodes hand on: FACEREF_RESTORER (a `Restorer`), FACEREF_PERSON (a list of `Person`, so that
several can be joined) and FACEREF_RESULTS (a `Result` for each photograph of the batch). What a user can do wrong
raises a `FacerefError`, whose sentence ComfyUI shows.
"""

import json
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from faceref import Person, RestoreOptions, Restorer, Result
from faceref.errors import UsageError
from faceref.files import stamp_of
from faceref.pictures.search import list_photos
from faceref.restore.folder import NOTHING_TO_RESTORE
from faceref.restore.only_background import made_in_folder
from faceref.restore.options import NAMED_BACKGROUNDS, FaceChoice

from .images import to_images, to_pictures
from .progress import progress

CATEGORY = "faceref"
LARGEST_SEED = 2**53 - 1  # the largest whole number that the page, JavaScript, holds exactly
OWN = -1.0  # in place of a number: what the model, or the face, says
OWN_BY_DEFAULT = ("strength", "guidance", "steps", "crisp", "scale")
AS_IT_IS = "none"  # no background is drawn


class LoadModel:
    """A model by name or folder, loaded once for all photographs."""

    CATEGORY = CATEGORY
    FUNCTION = "load"
    RETURN_TYPES = ("FACEREF_RESTORER",)
    RETURN_NAMES = ("restorer",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict]:
        return {
            "required": {
                "model": ("STRING", {"default": "small", "tooltip": "small, refldm-512, or the folder of a model."}),
                "device": (["auto", "cuda", "mps", "cpu"], {"default": "auto"}),
            }
        }

    def load(self, model: str, device: str) -> tuple[Restorer]:
        return (Restorer.from_pretrained(model, None if device == "auto" else device),)


class ReadPerson:
    """Good photographs of one person, as images or as a folder; several of these nodes can be joined by `others`."""

    CATEGORY = CATEGORY
    FUNCTION = "read"
    RETURN_TYPES = ("FACEREF_PERSON",)
    RETURN_NAMES = ("people",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict]:
        return {
            "required": {
                "restorer": ("FACEREF_RESTORER",),
                "folder": ("STRING", {"default": "", "tooltip": "A folder of photographs of one person, or nothing."}),
                "aligned": ("BOOLEAN", {"default": False, "tooltip": _tooltip("aligned")}),
            },
            "optional": {"images": ("IMAGE",), "others": ("FACEREF_PERSON",)},
        }

    @classmethod
    def IS_CHANGED(cls, restorer: None, folder: str, aligned: bool, images: None = None, others: None = None) -> str:
        """The photographs of the folder: ComfyUI reads them again when one is added, removed or changed."""
        photos = list_photos([folder]) if folder else []
        return json.dumps([(str(path), stamp_of(path)) for path in photos])

    def read(
        self,
        restorer: Restorer,
        folder: str,
        aligned: bool,
        images: Tensor | None = None,
        others: list[Person] | None = None,
    ) -> tuple[list[Person]]:
        pictures = [] if images is None else to_pictures(images)
        sources = [*([folder] if folder else []), *pictures]
        return ([*(others or []), restorer.person(sources, RestoreOptions(aligned=aligned))],)


class RestoreFaces:
    """Each photograph of a batch with its faces restored; with nobody given, from the photograph alone."""

    CATEGORY = CATEGORY
    FUNCTION = "restore"
    RETURN_TYPES = ("IMAGE", "FACEREF_RESULTS", "STRING")
    RETURN_NAMES = ("images", "results", "account")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict]:
        return {
            "required": {
                "restorer": ("FACEREF_RESTORER",),
                "images": ("IMAGE",),
                "face": _option("STRING", "face", default="auto"),
                "strength": _option("FLOAT", "strength", default=OWN, min=OWN, max=1.0, step=0.05),
                "steps": _option("INT", "steps", default=0, min=0, max=1000),
                "guidance": _option("FLOAT", "guidance", default=OWN, min=OWN, max=20.0, step=0.1),
                "seed": _option("INT", "seed", default=0, min=0, max=LARGEST_SEED),
                "max_refs": _option("INT", "max_refs", default=RestoreOptions().max_refs, min=1, max=20),
                "colour": _option(["keep", "allow"], "colour", default=RestoreOptions().colour),
                "unknown": _option(["skip", "blind"], "unknown", default=RestoreOptions().unknown),
                "always": _option("BOOLEAN", "always", default=False),
                "aligned": _option("BOOLEAN", "aligned", default=False),
            },
            "optional": {
                "people": ("FACEREF_PERSON",),
                "crisp": _option("FLOAT", "crisp", default=OWN, min=OWN, max=1.0, step=0.05),
                "face_only": _option("BOOLEAN", "face_only", default=False),
                "background": _option([AS_IT_IS, *NAMED_BACKGROUNDS], "background", default=AS_IT_IS),
                "scale": _option("INT", "scale", default=0, min=0, max=4, step=2),
            },
        }

    def restore(
        self,
        restorer: Restorer,
        images: Tensor,
        face: str,
        strength: float,
        steps: int,
        guidance: float,
        seed: int,
        max_refs: int,
        colour: str,
        unknown: str,
        always: bool,
        aligned: bool,
        people: list[Person] | None = None,
        crisp: float = OWN,
        face_only: bool = False,
        background: str = AS_IT_IS,
        scale: int = 0,
    ) -> tuple[Tensor, list[Result], str]:
        options = RestoreOptions.of(
            face=_chosen(face),
            strength=None if strength == OWN else strength,
            steps=steps or None,
            guidance=None if guidance == OWN else guidance,
            crisp=None if crisp == OWN else crisp,
            seed=seed,
            max_refs=max_refs,
            colour=colour,
            unknown=unknown,
            always=always,
            aligned=aligned,
            face_only=face_only,
            background=None if background == AS_IT_IS else background,
            scale=scale or None,
        )
        photographs = to_pictures(images)
        tell = progress(len(photographs))
        restored, results, accounts = [], [], []
        for number, photograph in enumerate(photographs):
            make = partial(restorer.restore, on_step=partial(tell, number))
            if len(photographs) > 1:  # as frames are, of which the others are restored
                make = partial(made_in_folder, make)
            try:
                result = make(photograph, people or (), options)
            except NOTHING_TO_RESTORE as error:
                if len(photographs) == 1:
                    raise
                restored.append(photograph)
                accounts.append({"photo": f"image {number + 1}", "left_alone": str(error)})
                continue
            results.append(result)
            restored.append(result.image)
            accounts.append(result.account().model_dump(mode="json"))
        return to_images(restored), results, json.dumps(accounts, indent=1)


def _chosen(face: str) -> FaceChoice | str | None:
    """As it is typed: auto, a number, or left,top,right,bottom of a box; what is no choice the options refuse."""
    if "," in face:
        try:
            left, top, right, bottom = (float(edge) for edge in face.split(","))
        except ValueError:
            raise UsageError(f"There is no box {face!r}", hint="give its left,top,right,bottom in pixels") from None
        return left, top, right, bottom
    return None if face == "auto" else int(face) if face.isdecimal() else face


class Compare:
    """Each face before and after, beside its references; a photograph without a restored face is shown as it is."""

    CATEGORY = CATEGORY
    FUNCTION = "compare"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("sheets",)
    OUTPUT_IS_LIST: ClassVar = (True,)  # sheets of different photographs have different sizes

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict]:
        return {"required": {"results": ("FACEREF_RESULTS",)}}

    def compare(self, results: list[Result]) -> tuple[list[Tensor]]:
        sheets = [result.comparison() if result.faces else result.image.convert("RGB") for result in results]
        return ([to_images([sheet]) for sheet in sheets],)


def _option(kind: str | list[str], name: str, **limits: Any) -> tuple[str | list[str], dict[str, Any]]:
    """An input that is one of RestoreOptions, with its help as tooltip."""
    default = f" {limits['default']:g} stands for the default." if limits["default"] in (OWN, 0) else ""
    return kind, limits | {"tooltip": _tooltip(name) + (default if name in OWN_BY_DEFAULT else "")}


def _tooltip(name: str) -> str:
    return RestoreOptions.model_fields[name].description or ""


NODE_CLASS_MAPPINGS = {
    "FacerefLoadModel": LoadModel,
    "FacerefReadPerson": ReadPerson,
    "FacerefRestoreFaces": RestoreFaces,
    "FacerefCompare": Compare,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "FacerefLoadModel": "Load model (faceref)",
    "FacerefReadPerson": "References -> person (faceref)",
    "FacerefRestoreFaces": "Restore faces (faceref)",
    "FacerefCompare": "Compare (faceref)",
}
