"""Training states on disk: each appears whole or not at all."""

import shutil
from pathlib import Path

from accelerate import Accelerator


class Checkpoints:
    """Numbered training states in a folder; a state appears whole or not at all, and the last two are kept."""

    def __init__(self, root: Path, keep: int = 2):
        self.root, self.keep = root, keep

    def folder(self, step: int) -> Path:
        return self.root / f"step_{step:08d}"

    def steps(self) -> list[int]:
        return sorted(int(path.name.removeprefix("step_")) for path in self.root.glob("step_*"))

    def latest_step(self) -> int:
        """The step to resume from; 0 where there is no checkpoint."""
        return max(self.steps(), default=0)

    def save(self, step: int, accelerator: Accelerator) -> None:
        temporary = self.root / f".step_{step}"
        if accelerator.is_main_process:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(temporary))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            shutil.rmtree(self.folder(step), ignore_errors=True)
            temporary.rename(self.folder(step))
            for old in self.steps()[: -self.keep]:
                shutil.rmtree(self.folder(old))
        accelerator.wait_for_everyone()
