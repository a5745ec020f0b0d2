"""What can be asked of a restoration, in one place: defaults, ranges and help texts for all who ask.

Python, the command, folders, the page and the API all read them here.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)
from pydantic_core import from_json

from faceref.errors import UsageError
from faceref.pipelines.scheduler_name import SchedulerName

CLEAN, LANCZOS, REALESRGAN = NAMED_BACKGROUNDS = ("clean", "lanczos", "realesrgan")


def _not_a_truth(value: object) -> object:
    if isinstance(value, bool):  # which Python counts as 0 or 1
        raise ValueError("true and false are no numbers")
    return value


Number = BeforeValidator(_not_a_truth)
Counted = Annotated[int, Field(ge=1), Number]
Edge = Annotated[float, Field(allow_inf_nan=False), Number]


def _not_empty(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    if left >= right or top >= bottom:
        raise ValueError("the box is empty: its edges are left, top, right, bottom")
    return box


# A number counts from the left, beginning with 1; a box (left, top, right, bottom in pixels) is drawn around the face.
FaceChoice = Counted | Literal["largest", "all"] | Annotated[tuple[Edge, Edge, Edge, Edge], AfterValidator(_not_empty)]


def _as_typed(strength: object) -> object:
    """What is typed for single faces, as 1:0.5,3:1 or as JSON, by their numbers; all else as it is."""
    if not isinstance(strength, str) or ":" not in strength:
        return strength
    if strength.lstrip().startswith("{"):
        return from_json(strength)
    parts = [one.partition(":") for one in strength.split(",")]
    if len(faces := {face.strip().lstrip("0") or face: part for face, _, part in parts}) < len(parts):
        raise ValueError("a face is given twice")
    return faces


def _in_words(part: Any, validate: ValidatorFunctionWrapHandler) -> float:
    try:
        return validate(part)
    except ValidationError:
        raise ValueError("it has to lie between 0 and 1") from None


# How much of a restoration is shown: of all faces alike, or of each by its number; those not named as they need.
Part = Annotated[float, Field(ge=0, le=1), Number, WrapValidator(_in_words)]
Strength = Annotated[
    Annotated[Part, Tag("all")] | Annotated[dict[Counted, Part], Tag("faces")],
    Discriminator(lambda strength: "faces" if isinstance(strength, dict) else "all"),
    BeforeValidator(_as_typed, json_schema_input_type=Part | dict[Counted, Part] | str),
]


class ByHand(BaseModel):
    """What becomes of one face, whoever it looks like."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    face: Counted = Field(description="Its number from the left, beginning with 1.")
    become: Literal["person", "blind", "skip"] = Field(
        description="Restored with a person's references (person) or without any (blind), or left alone (skip)."
    )
    person: str | None = Field(
        default=None, max_length=1000, description="The name of one of those looked for; null is the only one given."
    )


class RestoreOptions(BaseModel):
    """How to restore a photograph. None stands for what the model or the photograph says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    aligned: bool = Field(
        default=False, description="All pictures are aligned square faces already (FFHQ's alignment)."
    )
    face: FaceChoice | None = Field(
        default=None,
        description="Which face: a number from the left, largest, all, or a box around it (left, top, right, bottom). "
        "By default the one most like the references; all without references, or with several people's, but for "
        "those in the background or cut off by the border that nobody's references are for.",
    )
    unknown: Literal["blind", "skip"] = Field(
        default="skip",
        description="What becomes of a face that is none of the people, where each is looked for: "
        "restored without references (blind), or left alone (skip).",
    )
    by_hand: tuple[ByHand, ...] = Field(
        default=(), description="What becomes of single faces; the others are looked for as without it."
    )
    max_refs: Counted = Field(
        default=5,
        description="How many references a face is shown at the most: good and typical ones, turned like it.",
    )
    steps: Counted | None = Field(
        default=None, description="Denoising steps; the model's own by default, of which `small` has one."
    )
    guidance: Annotated[float, Field(ge=0, allow_inf_nan=False), Number] | None = Field(
        default=None,
        description="How strongly to follow the references; 1 means no extra push; the model's own by default.",
    )
    scheduler: SchedulerName | None = Field(
        default=None, description="ddim, dpmsolver++ or unipc; the model's own by default."
    )
    seed: Annotated[int, Field(ge=0, lt=2**63), Number] = Field(
        default=0, description="The same seed gives the same picture."
    )
    crisp: Annotated[float, Field(ge=0, le=1), Number] | None = Field(
        default=None,
        description="How crisply faces are drawn (skin, lashes, hair), if the model can be told: from 0, softly, to 1, "
        "like a sharp photograph; the model's own by default.",
    )
    strength: Strength | None = Field(
        default=None,
        description="How much of the restoration is shown, 0 to 1, or that for single faces by their numbers from the "
        "left (1:0.5,3:1, or a JSON object); by default as much as the face needs.",
    )
    always: bool = Field(
        default=False,
        description="Restore faces fully that are good already, in the background or cut off by the border; else they "
        "are left alone.",
    )
    face_only: bool = Field(
        default=False,
        description="Restore the face alone; else hair, ears and neck are, too, where no other face is that near.",
    )
    colour: Literal["keep", "allow"] = Field(
        default="keep",
        description="keep: a face has the mean colour that it has in the photograph, and a print its tone (grey, "
        "sepia, faded); allow: the model's own colours.",
    )
    largest_reference_face: bool = Field(
        default=False,
        description="Use references with several faces too, by their largest; else they are left out. All are one "
        "person's then, also those of a folder that shows several people.",
    )

    background: str | None = Field(
        default=None,
        min_length=1,
        description="What becomes of the whole picture: clean takes noise and compression away, from faces, too; "
        "lanczos, realesrgan (extra background), or the file of a model for it (extra spandrel) make the whole picture "
        "larger, and draw no faces. By default it stays as it is.",
    )
    scale: Literal[2, 4] | None = Field(
        default=None,
        description="How much larger the background makes the whole picture: 2 (the default) or 4 times; clean keeps "
        "its size by default.",
    )

    @field_validator("background")
    @classmethod
    def _is_of_a_photograph(cls, background: str | None, info: ValidationInfo) -> str | None:
        if background is not None and info.data.get("aligned"):
            raise ValueError("an aligned face has the model's size and no background")
        return background

    @field_validator("scale")
    @classmethod
    def _has_a_background(cls, scale: int | None, info: ValidationInfo) -> int | None:
        if scale is not None and info.data.get("background") is None:
            raise ValueError("it is for a background (clean, lanczos, realesrgan or a model), and none was given")
        return scale

    @property
    def enlargement(self) -> int:
        """How many times larger than the photograph the result is."""
        return self.scale or (1 if self.background in (None, CLEAN) else 2)

    @property
    def may_be_blind(self) -> bool:
        """Whether a face may be restored without references though there are some."""
        return self.unknown == "blind" or any(one.become == "blind" for one in self.by_hand)

    def strength_of(self, face: int) -> float | None:
        """How much of a face is shown; None: as much as it needs."""
        return self.strength.get(face) if isinstance(self.strength, dict) else self.strength

    @classmethod
    def of(cls, **settings: Any) -> Self:
        """As the constructor, for settings that a user has typed: raises UsageError naming the first wrong one."""
        try:
            return cls(**settings)
        except ValidationError as error:
            name, reason = first_wrong(error)
            raise UsageError(f"cannot be {settings.get(name)!r}: {reason}", subject=name) from error


Options = RestoreOptions | Mapping[str, Any]  # what is asked, or the settings by name


def options_of(options: Options) -> RestoreOptions:
    """Raises UsageError naming the first setting that is wrong."""
    return RestoreOptions.of(**options) if isinstance(options, Mapping) else options


def first_wrong(error: ValidationError) -> tuple[str, str]:
    """Which of the options is wrong, and why: in our words, where any of what it may be has some."""
    errors = error.errors(include_url=False)
    first = next((one for one in errors if one["type"] == "value_error"), errors[0])
    return str(first["loc"][0]) if first["loc"] else "options", first["msg"].removeprefix("Value error, ")


def help_text(name: str) -> str:
    """What an option is, for whoever offers it."""
    return RestoreOptions.model_fields[name].description or ""
