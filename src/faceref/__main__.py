"""`python -m faceref` is `faceref`; `accelerate launch -m faceref train ...` needs it."""

from faceref.app.cli import main

main()
