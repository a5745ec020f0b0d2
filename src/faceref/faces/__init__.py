"""Finding, aligning, recognising and pasting back faces in photographs."""
