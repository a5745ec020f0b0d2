"""`python -m faceref` is `faceref`; `accelerate launch -m faceref train ...` needs it."""

from faceref.app.cli.main import main

main()
