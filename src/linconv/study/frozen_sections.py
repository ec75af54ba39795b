"""The chapter on frozen encoders: its steps, with their words, tables, pictures and verdicts."""

from __future__ import annotations

from functools import partial

import numpy as np

from linconv.analysis.inverse import inverse_kernel
from linconv.convolution import Conv
from linconv.study import frozen_pictures as pictures
from linconv.study import frozen_words as words
from linconv.study.frozen import examine
from linconv.study.frozen_results import ADAM, LINEAR, TANH, Judged, ModelResult
from linconv.study.frozen_study import FrozenStudy
from linconv.study.presenting import duration, psnr
from linconv.study.progress import Tell
from linconv.study.published import IMAGE, KERNEL, NOTEBOOK, PUBLISHED, PUBLISHED_TRAINING
from linconv.study.results import Cell, Part, Picture, Section, Step, Table
from linconv.study.training import train_inverse_filter
from linconv.study.verdicts import Verdict

__all__ = ["CHAPTER", "FILTER_EPOCHS", "frozen_steps"]

CHAPTER = "Frozen encoders: trained and optimal decoders"
FILTER_EPOCHS = 10_000
"""Of the inverse filter, as in the course."""

OTHER_IMAGES = "course, other images"


def frozen_steps(study: FrozenStudy, tell: Tell) -> tuple[Step, ...]:
    """Return the steps of the chapter in order.

    Parameters
    ----------
    study : FrozenStudy
        Changed by the steps, which see what those before them have found.
    tell : callable
        Told of progress within a step.
    """
    steps: list[Step] = [("the images", partial(the_images, study))]
    if study.training:
        steps.append(("the inverse filter trained", partial(inverse_filter, study, tell)))
    steps += [(f"model {key}", partial(model, study, key, tell)) for key in study.models]
    return (*steps, ("all models", partial(together, study)))


def the_images(study: FrozenStudy) -> Part:
    """Say what the decoders are fitted to, and what they are judged by."""
    images = study.images
    fitting, held_out = images.fitting, images.held_out_images
    height, width = images.images.shape[1:3]
    note = f": {images.note}" if images.note else ""
    text: tuple[str, ...] = (
        "An encoder is frozen: its weights are random, and stay. Only a decoder, one 3 × 3 "
        "transposed convolution with stride 2, is to bring back the image from the encoder's "
        "features. The course trained it. But without its activation it is linear in its weights, "
        "so that the best one is the solution of a least-squares problem; with tanh it takes a few "
        "such solutions, one after the other (Gauss–Newton).",
        f"The images are {len(images.images)} grey ones of {height} × {width} pixels "
        f"({images.name}{note}). {len(fitting)} are fitted to, {len(held_out)} are held out, "
        "and only judged by: the course trained on all of its images, and could not tell what was "
        f"learned by heart. The variance of both, {fitting.var():.3g} and {held_out.var():.3g}, is "
        "the error of a decoder that knows nothing but the mean.",
        "With stride 2 every second pixel, along each axis, is of the same phase. The four phases "
        "of the output meet 4, 2, 2 and 1 of the kernel's nine taps. Where their sums differ, a "
        "flat feature gives a pattern: `linconv.checkerboard` measures it, 0 for none. "
        "`linconv.remove_checkerboard` gives the nearest kernel whose phases have equal sums in "
        "every channel. Each decoder is shown with its own kernel, and with that one.",
    )
    if not study.training:
        text = (*text, f"The training {study.untrained}. The best decoders need none.")
    numbers = {**images.to_dict(), "shown": study.shown, "variance": float(fitting.var())}
    section = Section(CHAPTER, "The images", text, (), (pictures.images(study),), numbers)
    return Part(section)


def inverse_filter(study: FrozenStudy, tell: Tell) -> Part:
    """Train the inverse filter of the 4 × 4 image as the course did."""

    def told(done: int, wanted: int, loss: float) -> None:
        if done == wanted or done % (wanted // 10) == 0:
            tell(done / wanted, f"inverse filter, epoch {done} of {wanted}, loss {loss:.3g}")

    image = IMAGE.astype(np.float64)
    training = train_inverse_filter(image, KERNEL, FILTER_EPOCHS, seed=study.seed, progress=told)
    if training.interrupted:
        study.stop_training()
        tell(1.0, "inverse filter, training ended by Ctrl-C")
    conv = Conv(KERNEL, image.shape, padding="same")
    best = inverse_kernel(conv, 3, image)
    rebuilt = training.decoder(conv(image)[np.newaxis, ..., np.newaxis])[0, ..., 0]
    mse = float(np.mean((rebuilt - image) ** 2))
    broken = (
        f", interrupted by Ctrl-C after {training.epochs_done:,}" if training.interrupted else ""
    )
    text = (
        "The smallest frozen encoder is the convolution of the 4 × 4 image, and its decoder the "
        f"3 × 3 inverse filter. Trained here as in the course, {training.epochs:,} epochs of "
        f"Adam{broken}, it reaches a mean squared error of {mse:.5f} in "
        f"{duration(training.seconds)}, from other first weights than the course's "
        f"({PUBLISHED.trained_mse:.5f}). The closed form has {best.mse:.5f}, "
        f"{mse / best.mse:.3g} times less, and depends on no first weights.",
    )
    picture = pictures.inverse_curve(training, best)
    numbers = {"training": training, "mse": mse, "best_mse": best.mse}
    title = "The inverse filter, trained again"
    section = Section(CHAPTER, title, text, (), (picture,) if picture else (), numbers)
    verdict = Verdict.at_least(
        "inverse filter, Adam ÷ best", mse / best.mse, 1.0, "Adam trained here"
    )
    return Part(section, (verdict,))


def model(study: FrozenStudy, key: str, tell: Tell) -> Part:
    """Train and fit the decoders of one encoder's features."""
    result = examine(study, key, tell)
    text = (
        words.encoding(result, study.images),
        words.trained(result, study),
        " ".join(filter(None, (words.optimum(result), words.held_out(result)))),
        words.checkerboards(result),
    )
    curve = pictures.loss_curve(result)
    shown: tuple[Picture, ...] = (
        *((curve,) if curve else ()),
        pictures.reconstructions(study, result),
        pictures.errors(result),
    )
    section = Section(
        CHAPTER, words.title(key), text, (_decoders(result),), shown, result.to_dict()
    )
    return Part(section, _verdicts(result))


def together(study: FrozenStudy) -> Part:
    """Hold all models side by side."""
    columns = (
        "encoder",
        "features",
        "lost",
        "best linear",
        "best tanh",
        "Adam",
        "Adam ÷ best tanh",
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            words.title(r.key),
            int(np.prod(r.feature_shape)),
            words.percent(r.lost),
            words.three(r.mse(LINEAR)),
            words.three(r.mse(TANH)),
            words.three(r.mse(ADAM)),
            words.three(r.excess),
        )
        for r in study.found
    )
    table = Table(
        "Mean squared errors on the fitting images. Lost is the share of their variance that the "
        "best linear decoder misses; Adam ÷ best tanh compares decoders of the same form",
        columns,
        rows,
    )
    numbers = {
        r.key: {"lost": r.lost, "adam_over_best_tanh": r.excess if r.training else None}
        for r in study.found
    }
    title = "What the encoders lost, and what the training did"
    return Part(Section(CHAPTER, title, words.findings(study), (table,), (), numbers))


def _decoders(result: ModelResult) -> Table:
    """Return all figures of all decoders, and the course's last loss for model B."""
    columns = (
        "decoder",
        "MSE",
        "held out",
        "PSNR, dB",
        "held out",
        "checkerboard",
        "imbalance",
        "time",
    )
    rows = [_row(judged) for judged in result.decoders]
    if result.key == "B":
        losses, seconds = PUBLISHED_TRAINING.losses, PUBLISHED_TRAINING.seconds_per_epoch
        published = psnr(losses[-1])
        rows.append(
            (
                "Adam, as published, other images",
                losses[-1],
                None,
                None if published is None else round(published, 2),
                None,
                None,
                None,
                " to ".join(str(len(losses) * s) for s in seconds) + " s",
            )
        )
    return Table(
        f"Decoders of {words.spoken(result.key)}. Imbalance is that of the held-out images' errors "
        "over the four output phases: 0 where each pixel of four has the same",
        columns,
        tuple(rows),
    )


def _row(judged: Judged) -> tuple[Cell, ...]:
    held_out = psnr(judged.held_out.mse)
    return (
        pictures.label(judged).replace("\n", ", "),
        words.three(judged.mse),
        words.three(judged.held_out.mse),
        None if judged.psnr is None else round(judged.psnr, 2),
        None if held_out is None else round(held_out, 2),
        # What is left in an even kernel is the rounding of its dtype.
        0.0 if judged.evened else words.three(judged.checkerboard),
        words.three(judged.held_out.phase_imbalance),
        duration(judged.seconds),
    )


def _verdicts(result: ModelResult) -> tuple[Verdict, ...]:
    """Judge what was published of model B, and report the rest."""
    verdicts = [
        Verdict.unpublished(f"model {result.key}: {name}", result.mse(name), "linconv")
        for name in (ADAM, LINEAR, TANH)
        if result.judged(name)
    ]
    if result.key != "B":
        return tuple(verdicts)
    frozen, trained = result.encoder.parameters, result.fits[TANH].unknowns
    if result.training is not None:
        frozen, trained = result.training.frozen, result.training.trainable
    counts = [frozen + trained, trained, frozen]
    wanted = PUBLISHED_TRAINING.parameters
    loss = PUBLISHED_TRAINING.losses[-1]
    optima = [
        Verdict.on_other_data(verdict.name, float(verdict.ours), loss, OTHER_IMAGES)
        for verdict in verdicts[-2:]
    ]
    parameters = Verdict.close("model B: parameters", counts, wanted, 0, NOTEBOOK)
    return (parameters, *verdicts[:-2], *optima)
