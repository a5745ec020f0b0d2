"""ComfyUI's progress bar and its button to interrupt, where ComfyUI runs; tests run the nodes without it."""

from collections.abc import Callable


def progress(photographs: int) -> Callable[[int, int, int], None]:
    """A function of (photograph, steps done, steps in all) that draws the bar of all `photographs`, and ends when told.

    Raises ComfyUI's own InterruptProcessingException, from within, where somebody has pressed the button.
    """
    try:
        from comfy.model_management import throw_exception_if_processing_interrupted  # type: ignore[import-not-found]
        from comfy.utils import ProgressBar  # type: ignore[import-not-found]
    except ImportError:
        return lambda photograph, done, total: None
    bar = ProgressBar(photographs)

    def tell(photograph: int, done: int, total: int) -> None:
        throw_exception_if_processing_interrupted()
        bar.update_absolute(photograph * total + done, photographs * total)

    return tell
