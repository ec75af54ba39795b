"""The course's models in Keras, their backend, and which models are refused."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from linconv import keras_import
from linconv.errors import LinconvError, MissingPackageError
from linconv.study.encoders import model_a, model_b
from linconv.study.encoding import encode
from linconv.study.keras_models import import_keras, keras_model, parameter_counts, summary

pytest.importorskip("jax", reason="training needs jax")
keras = pytest.importorskip("keras", reason="training needs keras")


# The models


def test_parameters_are_those_published(course):
    model = keras_model(model_b(), image_size=(32, 32))
    assert parameter_counts(model) == course["model_B"]["parameters_as_run"]
    text = summary(model)
    for part in ("Total params: 286", "Trainable params: 136", "Non-trainable params: 150"):
        assert part in text
    assert "(None, 16, 16, 15)" in text
    assert "decoder (Conv2DTranspose)" in text


@pytest.mark.parametrize(
    "encoder",
    [model_a(10, seed=1), model_b("as described", seed=1)],
    ids=lambda encoder: encoder.name,
)
def test_the_frozen_part_is_the_encoder(encoder):
    model = keras_model(encoder)
    assert parameter_counts(model)["frozen"] == encoder.parameters
    assert parameter_counts(model)["trainable"] == 9 * encoder.kernels[-1].shape[3] + 1
    frozen = keras.Sequential([keras.Input((None, None, 1)), *model.layers[:-1]])
    x = np.random.default_rng(0).random((3, 8, 6, 1))
    np.testing.assert_allclose(encode(frozen, x), encoder(x), rtol=0, atol=1e-6)


def test_a_model_has_the_weights_of_its_seed():
    first, again, other = (
        keras.ops.convert_to_numpy(keras_model(model_a(2), seed=seed).layers[-1].kernel.value)
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


# The backend


def fresh_python(code: str, **environment: str) -> str:
    """Return what `code` prints in a new interpreter, KERAS_BACKEND as given or not set."""
    plain = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=plain | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_jax_is_the_backend_unless_another_is_chosen(folder):
    code = (
        "from linconv.study.keras_models import import_keras\n"
        "print(import_keras().backend.backend())"
    )
    assert fresh_python(code, KERAS_HOME=str(folder)) == "jax"


def test_a_backend_in_use_is_kept_and_said(folder):
    pytest.importorskip("torch", reason="the other backend is torch")
    code = (
        "import keras, os; del os.environ['KERAS_BACKEND']\n"
        "import numpy as np\n"
        "from linconv.study.encoders import model_a\n"
        "from linconv.study.keras_models import keras_model\n"
        "from linconv.study.training import train\n"
        "result = train(keras_model(model_a(1)), np.ones((2, 4, 4, 1)), epochs=2)\n"
        "print(result.backend, result.epochs_done)"
    )
    assert fresh_python(code, KERAS_BACKEND="torch", KERAS_HOME=str(folder)) == "torch 2"


@pytest.mark.parametrize("absent", ["keras", "jax"])
def test_a_missing_framework_is_named_with_the_extra(monkeypatch, absent):
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(keras_import, "find_spec", lambda name: None if name == absent else name)
    with pytest.raises(MissingPackageError, match=f"package {absent}, .*linconv.study."):
        import_keras()


# What is refused


def test_only_an_encoder_is_copied_into_keras():
    with pytest.raises(LinconvError, match="needs an Encoder.*; got function"):
        keras_model(lambda x: x)
    with pytest.raises(LinconvError, match="activation must be .*got 'tan'.*'tanh'"):
        keras_model(model_a(), "tan")
