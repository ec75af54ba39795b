"""Training as the course did it: real Keras models, a frozen encoder, a decoder trained by Adam."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import ceil, inf, nan
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.arguments import integer
from linconv.engines.arrays import as_array
from linconv.errors import LinconvError, ShapeError
from linconv.files import StrPath
from linconv.study.encoders import ConvLayer, Encoder
from linconv.study.event_files import event_file
from linconv.study.interrupts import Stop, deferred_interrupt
from linconv.study.keras_models import (
    decoder_layer,
    import_keras,
    keras_model,
    parameter_counts,
    training_images,
)
from linconv.study.trained import TrainedDecoder, Training

__all__ = ["Progress", "train", "train_inverse_filter"]

Array = NDArray[Any]

Progress = Callable[[int, int, float], None]
"""Called with the epochs done, the epochs wanted and the last loss."""

LOSS_TAG = "epoch_loss"
"""The name of the loss in event files: the one that Keras' own callback gives it."""

ADAM_RATE = 0.001
"""Keras' default learning rate of Adam; Kingma and Ba, 2015, algorithm 1."""

MAX_STEPS = 1000
"""Most steps between two looks at whether to stop."""


def train(
    model: Any,
    images: Any,
    *,
    epochs: int = 20,
    batch_size: int = 1,
    learning_rate: float | None = None,
    progress: Progress | None = None,
    event_dir: StrPath | None = None,
    seed: int = 0,
    epochs_per_report: int = 1,
) -> Training:
    """Train a Keras model that ends in a transposed convolution to return its input.

    Adam on the mean squared error, by ``model.fit``, every epoch in a new random order. The model
    is changed in place, and training goes on from the weights that it has.

    Parameters
    ----------
    model : keras.Model
        From `keras_model`, or any whose last layer is a ``Conv2DTranspose``, channels last.
    images : array, shape (n, height, width, channels)
        Input and target, computed in float32.
    epochs, batch_size : int
    learning_rate : float, optional
        Of Adam; by default Keras' own, 0.001.
    progress : callable, optional
        Called after each report with the epochs done, the epochs wanted and the loss. It may end
        the training by raising KeyboardInterrupt.
    event_dir : str or path, optional
        A folder for an event file with the loss of each report, for TensorBoard; made if need be.
    seed : int
        Of the order of the images.
    epochs_per_report : int
        A divisor of `epochs`: how many are reported as one, with their mean loss. With few steps
        in an epoch, reporting each takes longer than training. It changes no update.

    Returns
    -------
    Training
        After Ctrl-C: what was trained so far. A second Ctrl-C is no longer caught.

    Raises
    ------
    ShapeError
        If the images do not fit the model, or it returns another shape.
    LinconvError
        If a value is not finite, an option out of range, or the model of another kind.
    MissingPackageError
        If an event file is wanted and TensorBoard is absent.
    OutputError
        If `event_dir` cannot be written: said before any work.

    Notes
    -----
    On the JAX backend about 0.1 ms a step, and a second to compile. Up to 1000 steps are run
    between two callbacks (``steps_per_execution``), which changes no update.
    """
    keras = import_keras()
    decoder = decoder_layer(model)
    x = training_images(model, images)
    epochs, group = integer("epochs", epochs, 1), integer("epochs_per_report", epochs_per_report, 1)
    if epochs % group:
        raise LinconvError(
            f"epochs_per_report must divide epochs; got epochs_per_report={group}, "
            f"epochs={epochs}; use e.g. 1"
        )
    batch_size, seed = integer("batch_size", batch_size, 1), integer("seed", seed, 0)
    rate = _learning_rate(learning_rate)
    steps = group * ceil(len(x) / batch_size)
    adam = keras.optimizers.Adam(rate)
    backend = keras.backend.backend()
    at_once = 1 if backend == "torch" else _steps_at_once(steps)  # its trainer knows no others
    model.compile(optimizer=adam, loss="mse", steps_per_execution=at_once)
    with ExitStack() as stack:
        write = None
        if event_dir is not None:
            write = stack.enter_context(event_file(event_dir, LOSS_TAG))
        # Raised within a step, KeyboardInterrupt would lose the weights: JAX has given away their
        # memory to the step's results.
        stop = stack.enter_context(deferred_interrupt())
        log = _Log(model, epochs, group, steps, progress, write, stop)
        started = perf_counter()
        model.fit(
            _batches(x, batch_size, seed),
            steps_per_epoch=steps,
            epochs=epochs // group,
            shuffle=False,  # the batches come shuffled
            verbose=0,
            callbacks=[
                keras.callbacks.LambdaCallback(
                    on_train_batch_end=log.on_batch_end, on_epoch_end=log.on_epoch_end
                )
            ],
        )
        seconds = perf_counter() - started
    kernel, bias = (
        np.array(keras.ops.convert_to_numpy(weights.value))
        for weights in (decoder.kernel, decoder.bias)
    )
    activation = keras.activations.serialize(decoder.activation)
    counts = parameter_counts(model)
    return Training(
        decoder=TrainedDecoder(kernel, bias, activation, tuple(decoder.strides)),
        history=tuple(log.losses),
        epoch_seconds=tuple(np.diff([started, *log.times]).tolist()),
        epochs=epochs,
        epochs_done=group * len(log.losses),
        epochs_per_report=group,
        batch_size=batch_size,
        learning_rate=rate,
        interrupted=stop.wanted,
        seconds=seconds,
        trainable=counts["trainable"],
        frozen=counts["frozen"],
        backend=backend,
        seed=seed,
    )


def train_inverse_filter(
    image: Any,
    kernel: Any,
    epochs: int = 10_000,
    *,
    size: int = 3,
    learning_rate: float | None = None,
    progress: Progress | None = None,
    seed: int = 0,
    epochs_per_report: int = 100,
) -> Training:
    """Train a transposed convolution to undo a convolution of one image, as the course did.

    The convolution is frozen ("same" padding, zero bias); a linear transposed convolution with bias
    follows. Input and target are the image.

    Parameters
    ----------
    image : array, shape (height, width)
    kernel : array, shape (kernel height, kernel width)
    epochs : int
        One step each: there is one image.
    size : int
        Of the trained kernel.
    learning_rate, progress, epochs_per_report
        As `train`; the default reports a hundred epochs as one.
    seed : int
        Of the first weights.

    Returns
    -------
    Training

    Raises
    ------
    ShapeError
        If image or kernel are not real with two axes; otherwise as `train` and `keras_model`.

    Notes
    -----
    About a second on the JAX backend; `linconv.inverse_kernel` finds the optimum in milliseconds.
    """
    pixels, taps = _plane("the image", image), _plane("the kernel", kernel)
    frozen = ConvLayer(taps[..., None, None], np.zeros(1))
    encoder = Encoder("a convolution", (frozen,))
    model = keras_model(encoder, "linear", kernel_size=size, image_size=pixels.shape, seed=seed)
    return train(
        model,
        pixels[None, ..., None],
        epochs=epochs,
        learning_rate=learning_rate,
        progress=progress,
        epochs_per_report=epochs_per_report,
    )


def _plane(name: str, value: Any) -> NDArray[np.float64]:
    array = as_array(name, value)
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind == "c":
        raise ShapeError(
            f"{name} must be real, of shape (height, width); got {array.dtype}, {array.shape}; "
            "give one channel of real numbers"
        )
    return array.astype(np.float64)


@dataclass
class _Log:
    """What the callbacks of one training note, and how they end it."""

    model: Any
    epochs: int
    group: int
    steps: int
    progress: Progress | None
    write: Callable[[int, float], None] | None
    stop: Stop
    losses: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    last_step: int = -1

    def on_batch_end(self, step: int, logs: Any) -> None:
        self.last_step = step
        self._end_if_wanted()

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        if self.last_step + 1 < self.steps:
            return  # broken off: its loss is of a part only
        loss, done = float(logs["loss"]), (epoch + 1) * self.group
        self.losses.append(loss)
        self.times.append(perf_counter())
        if self.write is not None:
            self.write(done, loss)
        if self.progress is not None:
            try:
                self.progress(done, self.epochs, loss)
            except KeyboardInterrupt:
                self.stop.wanted = True
        self._end_if_wanted()

    def _end_if_wanted(self) -> None:
        if self.stop.wanted:
            self.model.stop_training = True


def _batches(x: Array, batch_size: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """Give the batches of epoch after epoch, each in an order of its own.

    Keras would draw the orders from the global generators, which belong to the user.
    """
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(x))
        for start in range(0, len(x), batch_size):
            batch = x[order[start : start + batch_size]]
            yield batch, batch


def _steps_at_once(steps: int) -> int:
    """Return the largest divisor of `steps` up to `MAX_STEPS`: no execution may pass an epoch."""
    return next(n for n in range(min(steps, MAX_STEPS), 0, -1) if steps % n == 0)


def _learning_rate(rate: float | None) -> float:
    if rate is None:
        return ADAM_RATE
    try:
        value = float(rate)
    except (TypeError, ValueError):
        value = nan
    if not 0 < value < inf:
        raise LinconvError(
            f"learning_rate must be a positive number; got {rate!r}; use e.g. {ADAM_RATE}"
        )
    return value
