"""What a restoration leaves behind: the picture, its faces, how it was made; and how that is written to disk."""

import dataclasses
import io
import json
import os
import secrets
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from faceref.errors import OutputError, UsageError
from faceref.images import Photo
from faceref.pipelines.refldm import SchedulerName
from faceref.references import EncodedReferences

TILE = 256  # pixels of a face in a comparison, at least
MOST_REFERENCES_SHOWN = 5
# IPTC's word for a photograph in which a trained model filled in a part
DIGITAL_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


@dataclass(frozen=True)
class Settings:
    """All that decides the result beside the pictures; written into the files that `faceref restore` makes."""

    model: str
    steps: int
    guidance: float
    scheduler: SchedulerName
    seed: int
    match_color: bool


@dataclass(frozen=True, eq=False)
class RestoredFace:
    """One restored face.

    number: its place among the faces of the photograph, from the left, beginning with 1.
    box: (left, top, right, bottom) and landmarks float32 [68, 2] in pixels of the photograph; None with `aligned`.
    aligned_before, aligned_after: the square that the model saw and what became of it, both at the model's resolution.
    similarity_to_references, similarity_to_input: of aligned_after, cosine of dlib's embeddings in [-1, 1] (mean over
        the references, None without them). Between sharp photographs of one person 0.92 and more, of two 0.89 and less.
    """

    number: int
    box: tuple[float, float, float, float] | None
    landmarks: np.ndarray | None
    aligned_before: Image.Image
    aligned_after: Image.Image
    similarity_to_references: float | None
    similarity_to_input: float


@dataclass(frozen=True, eq=False)
class Result:
    """What `Restorer.restore` made: `image` is the photograph with its faces restored, RGB, or RGBA if it had alpha.

    photo: the photograph as it was opened; faces: the restored ones, of `faces_found`; warnings: a sentence each;
    timings: seconds by phase.
    """

    image: Image.Image
    photo: Photo
    faces: tuple[RestoredFace, ...]
    faces_found: int
    references: EncodedReferences | None
    warnings: tuple[str, ...]
    timings: dict[str, float]
    settings: Settings

    def save(self, path: str | Path) -> None:
        """Write the picture as PNG, JPEG or WebP: all of it or nothing; an older file of that name is replaced.

        It carries the photograph's EXIF (but for the orientation, which was applied) and colour profile, and XMP that
        says that it was restored by a model, and how. Raises UsageError (another suffix) or OutputError.
        """
        path = Path(path)
        xmp = self._xmp()
        match path.suffix.lower():
            case ".png":
                info = PngInfo()
                info.add_itxt("XML:com.adobe.xmp", xmp)
                options = {"format": "PNG", "pnginfo": info}
            case ".jpg" | ".jpeg":
                options = {"format": "JPEG", "quality": 95, "subsampling": "4:4:4", "xmp": xmp.encode()}
            case ".webp":
                options = {"format": "WEBP", "lossless": True, "xmp": xmp.encode()}
            case suffix:
                raise UsageError(
                    f"{path} cannot be written as {suffix or 'a file without a suffix'}; use .png, .jpg or .webp."
                )
        image = self.image.convert("RGB") if options["format"] == "JPEG" else self.image
        if self.photo.exif:
            options["exif"] = self.photo.exif
        if self.photo.icc_profile:
            options["icc_profile"] = self.photo.icc_profile
        encoded = io.BytesIO()
        image.save(encoded, **options)
        write_whole(path, encoded.getvalue())

    def comparison(self) -> Image.Image:
        """Before, after and references side by side: a row for each restored face."""
        references = self.references.used[:MOST_REFERENCES_SHOWN] if self.references else ()
        rows = [[("before", face.aligned_before), ("after", face.aligned_after)] for face in self.faces]
        rows[0] += [(f"reference {i}", reference.face) for i, reference in enumerate(references, start=1)]
        side = max(TILE, self.faces[0].aligned_after.width)
        gap = side // 16
        font = ImageFont.load_default(size=gap)
        canvas = Image.new("RGB", (len(rows[0]) * (side + gap) + gap, len(rows) * (side + 3 * gap)), "white")
        draw = ImageDraw.Draw(canvas)
        for y, row in enumerate(rows):
            for x, (label, picture) in enumerate(row):
                corner = (gap + x * (side + gap), 2 * gap + y * (side + 3 * gap))
                canvas.paste(picture.resize((side, side), Image.Resampling.LANCZOS), corner)
                draw.text((corner[0], corner[1] - 3), label, fill="black", font=font, anchor="lb")
        return canvas

    def save_comparison(self, path: str | Path) -> None:
        """Write the comparison as PNG: all of it or nothing. Raises OutputError."""
        encoded = io.BytesIO()
        self.comparison().save(encoded, format="PNG")
        write_whole(Path(path), encoded.getvalue())

    def _xmp(self) -> str:
        settings = json.dumps(dataclasses.asdict(self.settings))
        return (
            '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
            '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
            'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
            f"<xmp:CreatorTool>faceref {version('faceref')}</xmp:CreatorTool>"
            f"<Iptc4xmpExt:DigitalSourceType>{DIGITAL_SOURCE}</Iptc4xmpExt:DigitalSourceType>"
            '<dc:description><rdf:Alt><rdf:li xml:lang="x-default">'
            f"AI-restored faces; settings: {escape(settings)}"
            "</rdf:li></rdf:Alt></dc:description></rdf:Description></rdf:RDF></x:xmpmeta>"
        )


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, then rename it: whatever happens, `path` is the old, the new, or nothing.

    Makes missing folders. Raises OutputError if that cannot be done.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(data)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); choose another place.") from error
