"""The study: a convolution shown as the linear map that it is, and held against published figures.

`study` is the whole of it; the other files say what it reads, computes, draws and writes. They are
imported when it is called, so that who imports linconv for its maps does not wait for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

from linconv.files import StrPath
from linconv.study.progress import Progress

if TYPE_CHECKING:
    from linconv.study.results import StudyResults

__all__ = ["Progress", "study"]


def study(
    image: StrPath | None = None,
    kernel: StrPath | None = None,
    *,
    out: StrPath | None = None,
    seed: int = 0,
    data: StrPath | None = None,
    epochs: int = 20,
    models: str | Iterable[str] | None = None,
    training: bool | None = None,
    progress: Progress | None = None,
) -> StudyResults:
    """Show a convolution as the linear map that it is, and how well one is undone.

    On the course's 4 × 4 image, where figures are published, and on a photograph: the convolution
    by the operator and by hand, its matrix, its transpose with strides 1 and 2 and as a
    convolution, the best inverse kernels, and all forms compared; the singular values of the
    padded convolution and its exact inverse; a blurred photograph, restored with and without
    noise. Then, on many small images, the course's frozen encoders: the decoder that Adam trains
    with Keras, the best ones in closed form, and their artifacts.

    Parameters
    ----------
    image : str or path, optional
        A PNG, JPEG, TIFF or NPY file, or the name of a photograph that scikit-image bundles; by
        default ``"camera"``.
    kernel : str or path, optional
        For the photograph: a name such as ``"gaussian5"``, or a NPY, JSON, CSV or text file; by
        default the course's 3 × 3 kernel.
    out : str or path, optional
        A folder for ``report.html``, ``results.json`` and ``figures``; made if need be, files of
        an earlier study in it are replaced. Nothing is written without it.
    seed : int
        Of everything random: the arrays that the transpose is tested with, the bundled images
        and those shown, the encoders' weights, the training.
    data : str or path, optional
        The small images: an HDF5, NPZ or NPY file, a folder of pictures, or ``"cifar10"``, of
        which 1000 are used; by default 32 × 32 patches of bundled photographs.
    epochs : int
        Of the training.
    models : str or iterable of str, optional
        The encoders ``"A1"``, ``"A10"``, ``"A20"``, ``"B"`` and ``"B2"``, or ``"none"``; by
        default all of them.
    training : bool, optional
        Whether to train decoders; by default if Keras and JAX are installed. The best ones need
        no training.
    progress : callable, optional
        Called with the share done and what is next.

    Returns
    -------
    StudyResults
        Verdicts, sections and complete numbers; ``passed`` tells whether every published figure
        is met. After Ctrl-C among the frozen encoders: with what was trained so far, and no more.

    Raises
    ------
    InputError
        If the image, the kernel or the data cannot be read, the image is smaller than the kernel,
        or a model is unknown.
    OutputError
        If `out` cannot be written: said before any work.
    MissingPackageError
        If a package of ``linconv[study]`` is absent; Keras and JAX only if `training` is True.

    Notes
    -----
    Less than a minute on two cores, most of it for training; without models some ten seconds, half
    of them for drawing. A picture with a side over 512 pixels is reduced, and more for kernels so
    large that the matrix would have over 7 million entries. While it runs, BLAS uses one thread.

    Examples
    --------
    >>> import linconv as lc
    >>> results = lc.study("coins", "sharpen", out="coins-study")  # doctest: +SKIP
    >>> results.headline()  # doctest: +SKIP
    'All 16 published figures are met.'
    """
    whole = import_module("linconv.study.whole")
    results: StudyResults = whole.study(
        image,
        kernel,
        out=out,
        seed=seed,
        data=data,
        epochs=epochs,
        models=models,
        training=training,
        progress=progress,
    )
    return results
