"""The card of a model: what its faceref.json says of it, as the page that the hub shows."""

from huggingface_hub import ModelCardData

from faceref.checkpoints.info import ModelInfo

_WHAT = {
    "refldm": "restores a degraded, aligned face so that it stays that person, by looking at other photographs of them "
    "(ReF-LDM, Hsiao et al., NeurIPS 2024)",
    "ldbfr": "restores a degraded, aligned face without references (LD-BFR, Du et al., ACM MM 2024)",
}


def model_card(info: ModelInfo, repository: str, blind: ModelInfo | None = None) -> str:
    """README.md of the repository org/name: Markdown with the hub's YAML before it.

    blind: the model that it uses where there are no references.
    """
    data = ModelCardData(
        license="other",
        license_name="see-below",
        library_name="faceref",
        pipeline_tag="image-to-image",
        tags=["face-restoration", info.family],
    )
    facts = {
        "pixels": f"{info.resolution} x {info.resolution}",
        "alignment": info.alignment.upper(),
        "steps": info.steps,
        "scheduler": info.scheduler,
    }
    if info.family == "refldm":
        facts["guidance"] = f"{info.guidance:g}"
    if blind is not None:
        facts["without references"] = f"{blind.name} (family {blind.family})"
    return "\n".join(
        [
            f"---\n{data.to_yaml()}\n---\n",
            f"# {info.name}\n",
            f"It {_WHAT[info.family]}. The folder is one of diffusers', with `faceref.json` beside it; it is used with "
            "[faceref](https://pypi.org/project/faceref), which loads no code from it.\n",
            f"    faceref restore old.jpg --ref good/ --model {repository}\n",
            f'    from faceref import Restorer\n    restorer = Restorer.from_pretrained("{repository}")\n',
            _table("default", "value", facts),
            f"**Training data.** {info.training_data}\n",
            f"**Licence.** {info.licence}\n",
            "## Measured\n",
            _measured(info),
            "## Before you use it\n",
            "A restored face is partly invented: where the photograph holds nothing, it is a guess led by the "
            "references. Restore photographs of people who would agree to it, and identify nobody by a restored "
            "picture.\n",
        ]
    )


def _measured(info: ModelInfo) -> str:
    if not info.quality:
        return "Nothing was measured, or it was not written down.\n"
    command = f"\nMeasured by\n\n    {info.quality_command}\n" if info.quality_command else ""
    return _table("what", "value", info.quality) + command


def _table(left: str, right: str, rows: dict) -> str:
    lines = [f"| {left} | {right} |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())]
    return "\n".join(lines) + "\n"
