"""A stage with its optimizers, averaged weights and stream of samples: one step of training, and its state.

Everything random in step k is drawn from generators seeded with (seed, k, process), what a pool holds with the pool's
number in the place of k, and the learning rate is a function of k: the state holds no random numbers.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import cast

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import ModelMixin
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.utils.data import Dataset, default_collate
from torch.utils.flop_counter import FlopCounterMode

from faceref.data.dataset import FaceDataset, SeededSampler
from faceref.data.resident import ResidentFaces
from faceref.errors import CheckpointError, UsageError
from faceref.training.checkpoints import TrainingState
from faceref.training.config import PoolConfig, StageConfig
from faceref.training.optimizer import learning_rate, load_moments, make_optimizer, moments_of, set_rates
from faceref.training.pool import Pool
from faceref.training.readers import read_batches
from faceref.training.stages.stage import Batch, Stage

POOLS = 2**32  # in the place of a step, which is less: what is drawn for pools


def seeded_generator(device: torch.device | str, *key: int) -> torch.Generator:
    """A generator whose stream depends on the numbers of the key, but for zeros at its end."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]) >> 1
    return torch.Generator(device).manual_seed(seed)


class Trainer:
    """What the loop moves: every step changes the stage, its optimizers and the average, and nothing else."""

    def __init__(
        self,
        config: StageConfig,
        stage: Stage,
        dataset: Dataset,
        accelerator: Accelerator,
        sample_weights: np.ndarray | None,
        state: TrainingState | None = None,
    ) -> None:
        """`state`: where to go on; None: from the beginning. Raises CheckpointError if it is another stage's."""
        self.config, self.stage, self.dataset, self.accelerator = config, stage, dataset, accelerator
        stage.to(device=accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if state is not None:
            load_networks(stage, state)
        if config.loop.gradient_checkpointing:
            checkpoint_gradients(stage)
        self.average = EMAModel(stage.averaged().parameters(), decay=config.loop.ema_decay, foreach=True)
        self.average.to(accelerator.device)
        # all of them from the start: a run that is resumed may reach turns that it was not meant to when it began
        optimizers = {turn: make_optimizer(stage.trainable(turn), config.optimizer) for turn in stage.all_turns}
        self.model, *prepared = accelerator.prepare(stage, *optimizers.values())
        self.optimizers = dict(zip(optimizers, prepared, strict=True))
        if state is not None:
            self._load(state)
        loop, step = config.loop, 0 if state is None else state.step
        self.pool = None if loop.pool is None else Pool(loop, self._fill)
        size = loop.batch_size if loop.pool is None else loop.pool.at_once
        drawn = step * loop.accumulate * size if self.pool is None else step // self.pool.steps * self.pool.samples
        keys = _batches_of_process(len(dataset), size, loop.seed, drawn, accelerator, sample_weights)  # type: ignore[arg-type]
        self.items: Iterator[Batch]
        if config.data.on_device:
            resident = ResidentFaces(cast(FaceDataset, dataset), accelerator.device)
            self.items = map(resident.batch, keys)
        else:
            self.items = read_batches(dataset, keys, config.data.workers)

    def optimize(self, step: int) -> dict[str, Tensor]:
        """One step of every turn; returns the numbers of its last micro batch, detached."""
        accelerator, loop = self.accelerator, self.config.loop
        logs: dict[str, Tensor] = {}
        micro_batches = []
        for micro in range(loop.accumulate):
            generator = seeded_generator(accelerator.device, loop.seed, step, micro, accelerator.process_index)
            batch = self._make_batch(next(self.items), generator) if self.pool is None else self.pool.batch(step)
            micro_batches.append((batch, generator))
        self._restart_average(self.stage.prepare(step))
        for turn in self.stage.turns(step):
            for i, (batch, generator) in enumerate(micro_batches):
                with ExitStack() as stack:
                    if i + 1 < loop.accumulate:
                        stack.enter_context(accelerator.no_sync(self.model))
                    loss, numbers = self.model(batch, generator, step, turn)
                    accelerator.backward(loss / loop.accumulate)
                # a number that is not finite stays so however many micro batches follow
                logs[f"loss/{turn}"] = logs.get(f"loss/{turn}", 0) + loss.detach() / loop.accumulate
                logs |= numbers
            modules = self.stage.trainable(turn)
            parameters = [parameter for module in modules for parameter in module.parameters()]
            norm = accelerator.clip_grad_norm_(parameters, self.config.optimizer.clip_norm)
            if norm is not None:
                logs[f"gradient_norm/{turn}"] = norm.detach()
            rate = learning_rate(self.config.optimizer, step, loop.steps)
            set_rates(self.optimizers[turn], [share * rate for share in modules.values()])
            self.optimizers[turn].step()
            self.stage.zero_grad(set_to_none=True)  # those that a GAN's one side left in the other, too
        self.average.step(self.stage.averaged().parameters())
        return logs

    def is_finite(self, logs: dict[str, Tensor]) -> bool:
        """Whether losses and gradient norms of a step are numbers; in fp16 a gradient may overflow, and is skipped."""
        scaled = self.accelerator.scaler is not None
        kinds = "loss/" if scaled else ("loss/", "gradient_norm/")
        judged = [value.float().mean() for name, value in logs.items() if name.startswith(kinds)]
        return bool(torch.stack(judged).isfinite().all())

    def flops(self, step: int) -> float:
        """Operations of a forward and backward pass, per sample; of what a pool makes at once, a step's share."""
        with self._beside_the_run(step) as (make, passes):
            with FlopCounterMode(display=False) as making:
                batch = make()
            with FlopCounterMode(display=False) as training:
                passes(batch)
        total = self._share_made * making.get_total_flops() + training.get_total_flops()
        return total / self.config.loop.batch_size

    def seconds(self, step: int) -> float:
        """What such a pass takes; what is done once has to be done before, as by `flops`."""
        with self._beside_the_run(step) as (make, passes):
            started = time.perf_counter()
            batch = make()
            made = time.perf_counter()
            passes(batch)
            trained = time.perf_counter()
        return self._share_made * (made - started) + trained - made

    @property
    def _share_made(self) -> float:
        loop = self.config.loop
        return 1.0 if loop.pool is None else loop.batch_size / loop.pool.at_once / loop.pool.visits

    @contextmanager
    def _beside_the_run(self, step: int) -> Iterator[tuple[Callable[[], Batch], Callable[[Batch], None]]]:
        """What makes a batch (with a pool, of as many samples as it makes at once), and what passes it; none stays."""
        loop = self.config.loop
        size = loop.batch_size if loop.pool is None else loop.pool.at_once
        rows = torch.arange(loop.batch_size, device=self.accelerator.device) % size
        items = default_collate([self.dataset[i] for i in range(size)])
        generator = seeded_generator(self.accelerator.device, loop.seed)

        def make() -> Batch:
            batch = self._make_batch(items, generator)
            return batch if loop.pool is None else {name: values[rows] for name, values in batch.items()}

        def passes(batch: Batch) -> None:
            for turn in self.stage.turns(step):
                loss, _ = self.model(batch, generator, step, turn)
                self.accelerator.backward(loss)
                loss.item()  # waits for the device
            self.stage.zero_grad(set_to_none=True)

        before = [buffer.clone() for buffer in self.stage.buffers()]  # spectral norms move theirs in each pass
        yield make, passes
        for buffer, values in zip(self.stage.buffers(), before, strict=True):
            buffer.copy_(values)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """The averaged weights take the place of the trained ones meanwhile."""
        parameters = list(self.stage.averaged().parameters())
        self.average.store(parameters)
        self.average.copy_to(parameters)
        try:
            yield
        finally:
            self.average.restore(parameters)

    def state(self, step: int) -> TrainingState:
        """All that the run depends on, by reference: to be written before the next step."""
        names = [name for name, _ in self.stage.averaged().named_parameters()]
        scaler = self.accelerator.scaler
        return TrainingState(
            step,
            networks=self.stage.state_dict(),
            average=dict(zip(names, self.average.shadow_params, strict=True)),
            optimizers=moments_of(self.optimizers),
            average_steps=self.average.optimization_step,
            scaler={} if scaler is None else scaler.state_dict(),
        )

    def disband(self) -> None:
        """End what the processes have in common; the stage, its average and its optimizers stay.

        The wrapper of DistributedDataParallel goes first. As the last holder of a process group it would wait for the
        group's threads with Python's lock held, and they for the lock (pytorch/pytorch#56297).
        """
        del self.model
        self.accelerator.free_memory()
        self.accelerator.end_training()

    def _load(self, state: TrainingState) -> None:
        names = [name for name, _ in self.stage.averaged().named_parameters()]
        check_names(names, state.average, "average")
        for name, average in zip(names, self.average.shadow_params, strict=True):
            average.copy_(state.average[name])
        self.average.optimization_step = state.average_steps
        load_moments(self.optimizers, state.optimizers)
        if self.accelerator.scaler is not None and state.scaler:
            self.accelerator.scaler.load_state_dict(state.scaler)

    def _restart_average(self, parameters: list[Tensor]) -> None:
        new = {id(parameter) for parameter in parameters}
        for parameter, average in zip(self.stage.averaged().parameters(), self.average.shadow_params, strict=True):
            if id(parameter) in new:
                average.copy_(parameter.data)

    def _fill(self, number: int) -> Iterator[Batch]:
        """The samples of a pool, by its number, in parts."""
        pool, accelerator = cast(PoolConfig, self.config.loop.pool), self.accelerator
        for part in range(pool.samples // pool.at_once):
            key = self.config.loop.seed, POOLS, number, part, accelerator.process_index
            yield self._make_batch(next(self.items), seeded_generator(accelerator.device, *key))

    def _make_batch(self, items: Batch, generator: torch.Generator) -> Batch:
        on_device = {key: value.to(self.accelerator.device, non_blocking=True) for key, value in items.items()}
        with self.accelerator.autocast():
            return self.stage.make_batch(on_device, generator)


def load_networks(stage: Stage, state: TrainingState) -> None:
    """Give a stage the trained weights of a state. Raises CheckpointError if they are not exactly its own."""
    check_names(stage.state_dict(), state.networks, "networks")
    try:
        stage.load_state_dict(state.networks)
    except RuntimeError as error:  # of another shape
        raise CheckpointError(f"The checkpoint of step {state.step} has networks of other sizes: {error}") from error


def checkpoint_gradients(stage: Stage) -> None:
    """Compute activations again in the backward pass instead of keeping them. Raises UsageError if nothing here can."""
    able = [one for one in stage.modules() if isinstance(one, ModelMixin) and one._supports_gradient_checkpointing]
    if not able:
        raise UsageError("loop.gradient_checkpointing: no network here knows of any", hint="leave it out")
    for network in able:
        network.enable_gradient_checkpointing()


def check_names(wanted: object, found: dict[str, Tensor], part: str) -> None:
    """Raises CheckpointError naming what is missing or left over in a part of a state."""
    if wrong := set(wanted) ^ set(found):  # type: ignore[call-overload]
        raise CheckpointError(
            f"The checkpoint does not belong to this configuration: in its {part}, {min(wrong)} is missing or left over"
        )


def _batches_of_process(
    length: int, size: int, seed: int, drawn: int, accelerator: Accelerator, weights: np.ndarray | None
) -> Iterator[list[int]]:
    """Endless batches of data-set keys: all processes together take one seeded stream, each its own part of it.

    size: of a batch; drawn: how many keys each process has had before.
    """
    rank, together = accelerator.process_index, size * accelerator.num_processes
    keys = iter(SeededSampler(length, seed, weights, start=drawn * accelerator.num_processes))
    while True:
        yield list(itertools.islice(keys, together))[rank * size : (rank + 1) * size]
