"""How fast the best decoder of a frozen encoder is found, beside training it; and how much memory.

    python benchmarks/decoder.py [--json FILE] [--only TEXT]

Three races: the course's model B on 1000 images (encoding included on both sides), the 4 x 4
inverse filter, and 50,000 images streamed from an HDF5 file through encoder and fit. Training is
the course's: Keras on its JAX backend, Adam, 20 epochs of batch size 1; 10,000 epochs for the
filter.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import timing

import linconv as lc
from linconv.study.datasets import iter_hdf5, load_images
from linconv.study.encoders import model_b
from linconv.study.published import IMAGE, KERNEL

STREAMED = (10_000, 50_000)
KERAS = ("keras", "jax")


def main() -> None:
    """Run the races that were asked for, and print their tables."""
    options = timing.arguments(__doc__.splitlines()[0])
    timing.print_machine()
    races: dict[str, Callable[[], dict[str, Any]]] = {
        "model B": model_b_race,
        "inverse filter": inverse_filter_race,
        "streaming": streaming,
    }
    figures = {name: race() for name, race in races.items() if options.only in name}
    timing.write_json(options.json, figures)


def model_b_race() -> dict[str, Any]:
    """Find the optimal decoders of model B on 1000 images, and train one."""
    images = load_images().images
    encoder = model_b()
    found: dict[str, Any] = {}

    def fitted(activation: str) -> Callable[[], lc.Decoder]:
        def fit() -> lc.Decoder:
            features = encoder(images)
            return lc.fit_decoder(features, images, 3, stride=2, activation=activation)

        return fit

    for name in ("linear", "tanh"):
        best = fitted(name)()
        found[f"optimal, {name}"] = (timing.timed(fitted(name), 2.0).seconds, best.mse)
    if timing.installed(*KERAS):
        from linconv.study.keras_models import keras_model
        from linconv.study.training import train

        start = perf_counter()
        trained = train(keras_model(encoder), images)
        mse = float(np.mean((trained.decoder(encoder(images)) - images) ** 2))
        found["Adam, 20 epochs"] = (perf_counter() - start, mse)
    show("Model B, 1000 images of 32 x 32, encoding included", found)
    return found


def inverse_filter_race() -> dict[str, Any]:
    """Find the best 3 x 3 inverse of the course's convolution, and train for it 10,000 epochs."""
    image = IMAGE.astype(np.float64)
    blur = lc.Conv(KERNEL, image.shape, padding="same")
    best = lc.inverse_kernel(blur, 3, image)
    seconds = timing.timed(lambda: lc.inverse_kernel(blur, 3, image), 0.4).seconds
    found = {"closed form": (seconds, best.mse)}
    if timing.installed(*KERAS):
        from linconv.study.training import train_inverse_filter

        trained = train_inverse_filter(image, KERNEL)
        rebuilt = trained.decoder(blur(image)[None, ..., None])[0, ..., 0]
        found["Adam, 10,000 epochs"] = (trained.seconds, float(np.mean((rebuilt - image) ** 2)))
    show("4 x 4 inverse filter", found)
    return found


def show(title: str, found: dict[str, tuple[float, float]]) -> None:
    """Print seconds, the ratio to the slowest, and the error reached."""
    slowest = max(seconds for seconds, _ in found.values())
    worst = max(mse for _, mse in found.values())
    rows = [
        (name, f"{1e3 * s:.1f} ms", f"{slowest / s:.1f} x", f"{mse:.3g}", f"{worst / mse:.3g} x")
        for name, (s, mse) in found.items()
    ]
    timing.table(title, ("decoder", "time", "faster", "mse", "lower"), rows)


def streaming() -> dict[str, Any]:
    """Fit model B's decoder to images streamed from HDF5, each number in a process of its own."""
    if not timing.installed("h5py"):
        print("\nstreaming is left out: h5py is not installed")
        return {}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in STREAMED:
            file = write_images(Path(folder), count)
            command = [sys.executable, __file__, "--stream", str(file)]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            seconds, before, peak, mse = map(float, told.split())
            found[str(count)] = {"seconds": seconds, "MiB above imports": peak - before, "mse": mse}
    rows = [
        (count, f"{f['seconds']:.2f} s", f"{f['MiB above imports']:.0f} MiB", f"{f['mse']:.3g}")
        for count, f in found.items()
    ]
    head = ("images", "time", "peak memory above imports", "mse")
    timing.table("Streamed from HDF5 through model B and the fit", head, rows)
    return found


def write_images(folder: Path, count: int) -> Path:
    """Write colour images as CIFAR has them: patches of the bundled photographs, shuffled."""
    import h5py

    grey = load_images().images
    rng = np.random.default_rng(0)
    file = folder / f"{count}.h5"
    with h5py.File(file, "w") as store:
        x = store.create_dataset("x", (count, 32, 32, 3), np.uint8)
        for start in range(0, count, 1000):
            shifted = np.roll(grey[rng.permutation(1000)], rng.integers(32, size=2), (1, 2))
            size = min(1000, count - start)
            x[start : start + size] = (255 * np.repeat(shifted[:size], 3, axis=3)).astype(np.uint8)
    return file


def stream(file: str) -> None:
    """Fit to one file, and print seconds, memory before and at the peak in MiB, and the error."""
    encoder, fit = model_b(), lc.DecoderFit(3, stride=2)
    warm = np.random.default_rng(0).random((10, 32, 32, 1))
    fit.update(encoder(warm), warm)  # what libraries load at their first use counts as imports
    fit = lc.DecoderFit(3, stride=2)
    before, start = peak_memory(), perf_counter()
    for images in batches(file):
        fit = fit.update(encoder(images), images)
    print(perf_counter() - start, before, peak_memory(), fit.solve().mse)


def batches(file: str) -> Iterator[np.ndarray]:
    """Yield grey images (n, 32, 32, 1)."""
    for batch in iter_hdf5(file):
        yield batch if batch.ndim == 4 else batch[..., None]


def peak_memory() -> float:
    """Return the most memory that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    stream(sys.argv[2]) if sys.argv[1:2] == ["--stream"] else main()
