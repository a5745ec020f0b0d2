"""An invented person of noise."""

import numpy as np
from PIL import Image

from faceref.people.person import FACE_SIZE, Person, Reference


def invented(*seeds: int) -> Person:
    """Somebody with a reference for each seed: faces and embeddings of noise."""
    references = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        small = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        face = small.resize((FACE_SIZE, FACE_SIZE), Image.Resampling.NEAREST)
        embedding = rng.standard_normal(128).astype(np.float32)
        references.append(Reference(f"photo {seed}.jpg", face, embedding, f"digest of {seed}"))
    return Person(tuple(references))


def contents(person: Person) -> list[tuple]:
    return [(one.name, one.face.tobytes(), one.embedding.tobytes(), one.digest) for one in person.references]
