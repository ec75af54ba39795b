"""Training: the Keras models, the updates against Adam by hand, events, and Ctrl-C."""

from __future__ import annotations

import json
import signal
import threading

import numpy as np
import pytest

import linconv as lc
from linconv.errors import LinconvError, OutputError, ShapeError
from linconv.study import training
from linconv.study.encoders import ConvLayer, Encoder, model_a, model_b
from linconv.study.keras_models import keras_model
from linconv.study.training import train, train_inverse_filter

pytest.importorskip("jax", reason="training needs jax")
keras = pytest.importorskip("keras", reason="training needs keras")


def images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape)


def small() -> tuple[Encoder, np.ndarray]:
    """An encoder and images with which a step costs little."""
    rng = np.random.default_rng(2)
    layer = ConvLayer(rng.normal(size=(3, 3, 1, 2)), np.zeros(2), "sigmoid", 2)
    return Encoder("small", (layer,)), images(6, 4, 4, 1)


def weights(model) -> list[np.ndarray]:
    layer = model.layers[-1]
    return [keras.ops.convert_to_numpy(w.value).copy() for w in (layer.kernel, layer.bias)]


def adam(encoder, x, order, rate, start, activation=np.tanh, slope=lambda a: 1 - a * a):
    """Kernel, bias and losses by Adam in float64, one image a step: Kingma and Ba, algorithm 1."""
    kernel, bias = (np.asarray(w, np.float64) for w in start)
    moments = [[np.zeros_like(w), np.zeros_like(w)] for w in (kernel, bias)]
    losses = []
    for step, index in enumerate(order, start=1):
        features, target = encoder(x[index : index + 1])[0], x[index]
        options = {"stride": encoder.stride, "padding": "same"}
        up = lc.ConvTranspose(kernel, features.shape, **options)
        rebuilt = activation(up(features) + bias)
        losses.append(np.mean((rebuilt - target) ** 2))
        pull = 2 * (rebuilt - target) * slope(rebuilt) / target.size
        gradients = (up.as_function_of_kernel(features).T(pull), pull.sum((0, 1)))
        updates = []
        for moment, gradient in zip(moments, gradients, strict=True):
            moment[0] = 0.9 * moment[0] + 0.1 * gradient
            moment[1] = 0.999 * moment[1] + 0.001 * gradient**2
            mean, square = moment[0] / (1 - 0.9**step), moment[1] / (1 - 0.999**step)
            updates.append(rate * mean / (np.sqrt(square) + 1e-7))
        kernel, bias = kernel - updates[0], bias - updates[1]
    return kernel, bias, np.array(losses)


# The decoder


@pytest.mark.parametrize(
    ("encoder", "activation"),
    [(model_a(10), "tanh"), (model_b(), "sigmoid"), (model_b("as described"), "linear")],
    ids=["A 10, tanh", "B as run, sigmoid", "B as described, linear"],
)
def test_the_decoder_as_trained_is_that_of_keras(encoder, activation):
    x = images(4, 8, 6, 1)
    model = keras_model(encoder, activation)
    result = train(model, x, epochs=1, batch_size=3, learning_rate=0.01)
    expected = model.predict_on_batch(x.astype(np.float32))
    rebuilt = result.decoder(encoder(x))
    np.testing.assert_allclose(rebuilt, expected, rtol=0, atol=1e-6)
    assert result.decoder.activation == activation
    assert result.kernel.shape == (3, 3, 1, encoder.kernels[-1].shape[3])
    assert result.bias.shape == (1,)
    assert result.kernel.dtype == result.bias.dtype == np.float32
    assert result.decoder(encoder(x).astype(np.float32)).dtype == np.float32
    up = result.decoder.to_conv_transpose(encoder(x).shape[1:])
    assert up.output_shape == (8, 6, 1)


# The training


def test_updates_are_those_of_adam_by_hand():
    encoder, x = small()
    model = keras_model(encoder)
    start = weights(model)
    result = train(model, x, epochs=5, learning_rate=0.01, seed=9)
    rng = np.random.default_rng(9)
    order = np.concatenate([rng.permutation(6) for _ in range(5)])
    kernel, bias, losses = adam(encoder, x, order, 0.01, start)
    np.testing.assert_allclose(result.kernel, kernel, rtol=0, atol=1e-4)
    np.testing.assert_allclose(result.bias, bias, rtol=0, atol=1e-4)
    np.testing.assert_allclose(result.history, losses.reshape(5, 6).mean(1), rtol=1e-4)
    assert np.abs(kernel - start[0]).max() > 0.1, "thirty steps of about the learning rate"
    assert result.learning_rate == 0.01


def test_training_is_that_of_keras_on_arrays():
    encoder, _ = small()
    x = images(1, 4, 4, 1).astype(np.float32)
    ours, plain = keras_model(encoder), keras_model(encoder)
    result = train(ours, x, epochs=7)
    plain.compile("adam", "mse")
    history = plain.fit(x, x, epochs=7, batch_size=1, verbose=0).history["loss"]
    np.testing.assert_allclose(result.history, history, rtol=1e-6)
    np.testing.assert_allclose(result.kernel, weights(plain)[0], atol=1e-7)


def test_reports_of_several_epochs_change_no_update():
    encoder, x = small()
    one = train(keras_model(encoder), x, epochs=6, batch_size=4)
    many = train(keras_model(encoder), x, epochs=6, batch_size=4, epochs_per_report=3)
    np.testing.assert_allclose(many.kernel, one.kernel, rtol=0, atol=1e-7)
    means = np.array(one.history).reshape(-1, 3).mean(1)
    np.testing.assert_allclose(many.history, means, rtol=1e-6)
    assert (one.epochs_done, many.epochs_done) == (6, 6)


def test_the_seed_decides_the_order():
    encoder, x = small()
    first, again, other = (train(keras_model(encoder), x, epochs=2, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.kernel, again.kernel)
    assert first.history == again.history
    assert not np.array_equal(first.kernel, other.kernel)


def test_training_goes_on_from_the_weights_of_the_model():
    encoder, x = small()
    model = keras_model(encoder)
    first = train(model, x, epochs=10, learning_rate=0.01)
    second = train(model, x, epochs=10, learning_rate=0.01)
    assert second.history[-1] < first.history[-1] < first.history[0]


def test_every_epoch_takes_every_image_once_in_a_new_order():
    x = np.arange(10.0).reshape(10, 1, 1, 1)
    batches = training._batches(x, 4, seed=5)
    epochs = []
    for _ in range(20):
        pairs = [next(batches) for _ in range(3)]
        assert [len(given) for given, _ in pairs] == [4, 4, 2]
        assert all(given is target for given, target in pairs)
        epochs.append(np.concatenate([given for given, _ in pairs]).ravel())
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 20


@pytest.mark.parametrize("steps", [1, 7, 999, 1000, 1001, 1009, 2000, 50_000])
def test_executions_divide_an_epoch(steps):
    chunk = training._steps_at_once(steps)
    assert steps % chunk == 0
    assert chunk == max(n for n in range(1, 1001) if steps % n == 0)


def test_the_users_random_numbers_are_left_alone():
    encoder, x = small()
    # The generator that Keras would draw from.
    np.random.seed(12)  # noqa: NPY002
    expected = np.random.random(3)  # noqa: NPY002
    np.random.seed(12)  # noqa: NPY002
    train(keras_model(encoder), x, epochs=1)
    np.testing.assert_array_equal(np.random.random(3), expected)  # noqa: NPY002


def test_progress_and_result_tell_the_same():
    encoder, x = small()
    told = []
    result = train(
        keras_model(encoder),
        x,
        epochs=3,
        batch_size=2,
        progress=lambda *report: told.append(report),
    )
    assert told == [(done, 3, loss) for done, loss in enumerate(result.history, start=1)]
    assert not result.interrupted
    assert result.learning_rate == 0.001
    assert (result.trainable, result.frozen) == (19, 20)
    assert result.backend == keras.backend.backend()
    assert len(result.epoch_seconds) == 3
    assert 0 < sum(result.epoch_seconds) <= result.seconds
    read = json.loads(json.dumps(result.to_dict()))
    assert read["history"] == list(result.history)
    np.testing.assert_array_equal(np.float32(read["kernel"]), result.kernel)
    assert read["epochs_done"] == read["epochs"] == 3


# The inverse filter


def test_the_inverse_filter_is_trained_towards_the_optimum(course):
    image, kernel = np.array(course["image"]), np.array(course["kernel"])
    published = course["inverse_filter"]
    result = train_inverse_filter(image, kernel)
    assert (result.epochs_done, result.trainable, result.frozen) == (10_000, 10, 10)
    features = lc.Conv(kernel, image.shape, padding="same")(image.astype(float))
    rebuilt = result.decoder(features[None, ..., None])[0, ..., 0]
    mse = np.mean((rebuilt - image) ** 2)
    assert mse == pytest.approx(result.history[-1], rel=1e-2)
    # Where Adam gets in 10,000 epochs depends on the first weights; below the optimum, never.
    assert published["exact_optimum_mse"] < mse < 2 * published["trained_mse"]


def test_the_inverse_filter_follows_adam_by_hand():
    image, taps = images(5, 4, seed=3), np.random.default_rng(4).normal(size=(3, 3))
    encoder = Encoder("", (ConvLayer(taps[..., None, None], np.zeros(1)),))
    start = weights(keras_model(encoder, "linear", seed=6))
    result = train_inverse_filter(image, taps, epochs=40, epochs_per_report=10, seed=6)
    kernel, bias, losses = adam(
        encoder, image[None, ..., None], [0] * 40, 0.001, start, lambda z: z, np.ones_like
    )
    np.testing.assert_allclose(result.kernel, kernel, rtol=0, atol=2e-5)
    np.testing.assert_allclose(result.bias, bias, rtol=0, atol=2e-5)
    np.testing.assert_allclose(result.history, losses.reshape(4, 10).mean(1), rtol=1e-4)


# Event files


def test_tensorboard_reads_the_losses(folder):
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="event files are read by TensorBoard",
    )
    encoder, x = small()
    result = train(keras_model(encoder), x, epochs=4, epochs_per_report=2, event_dir=folder / "a")
    accumulator = reader.EventAccumulator(str(folder / "a")).Reload()
    assert accumulator.Tags()["scalars"] == ["epoch_loss"]
    events = accumulator.Scalars("epoch_loss")
    assert [event.step for event in events] == [2, 4]
    np.testing.assert_allclose([e.value for e in events], result.history, rtol=1e-7)
    assert events[0].wall_time <= events[1].wall_time


def test_a_folder_for_events_that_cannot_be_is_refused_before_training(folder):
    pytest.importorskip("tensorboard", reason="event files are written by TensorBoard")
    encoder, x = small()
    (folder / "file").write_text("in the way")
    reports = []
    with pytest.raises(OutputError, match=r"cannot be written: .*; give another event_dir"):
        train(
            keras_model(encoder),
            x,
            event_dir=folder / "file",
            progress=lambda *report: reports.append(report),
        )
    assert not reports


# Ctrl-C


@pytest.fixture
def python_handler():
    """Give SIGINT Python's own handler, and see that it is back afterwards."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    after = signal.signal(signal.SIGINT, before)
    assert after is signal.default_int_handler


@pytest.mark.usefixtures("python_handler")
def test_ctrl_c_keeps_what_was_trained():
    encoder, x = small()

    def press(done, epochs, loss):
        if done == 3:
            signal.raise_signal(signal.SIGINT)

    def throw(done, epochs, loss):
        if done == 3:
            raise KeyboardInterrupt

    whole = train(keras_model(encoder), x, epochs=3)
    for interrupt in (press, throw):
        result = train(keras_model(encoder), x, epochs=1000, progress=interrupt)
        assert result.interrupted
        assert (result.epochs, result.epochs_done) == (1000, 3)
        assert result.history == whole.history
        np.testing.assert_array_equal(result.kernel, whole.kernel)


@pytest.mark.usefixtures("python_handler")
def test_ctrl_c_within_an_epoch_keeps_its_steps(monkeypatch):
    encoder, x = small()
    batches = training._batches

    def interrupting(*arguments):
        for step, batch in enumerate(batches(*arguments), start=1):
            if step == 6 + 4:
                signal.raise_signal(signal.SIGINT)
            yield batch

    monkeypatch.setattr(training, "MAX_STEPS", 1)
    whole = train(keras_model(encoder), x, epochs=1)
    monkeypatch.setattr(training, "_batches", interrupting)
    result = train(keras_model(encoder), x, epochs=1000)
    assert result.interrupted
    assert result.epochs_done == 1
    assert result.history == whole.history
    change = np.abs(result.kernel - whole.kernel).max()
    assert 0.001 < change < 0.006, "four more steps of at most about the learning rate each"


def test_training_runs_in_another_thread():
    encoder, x = small()
    results = []
    thread = threading.Thread(
        target=lambda: results.append(train(keras_model(encoder), x, epochs=1))
    )
    thread.start()
    thread.join()
    assert results[0].epochs_done == 1


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1; got 0"),
        ({"epochs": 2.5}, "epochs must be a whole number; got 2.5"),
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"seed": -1}, "seed must be at least 0; got -1"),
        ({"epochs": 20, "epochs_per_report": 3}, r"got epochs_per_report=3, epochs=20; use e.g. 1"),
        ({"learning_rate": 0.0}, "learning_rate must be a positive number; got 0.0"),
        ({"learning_rate": float("nan")}, "positive number; got nan"),
        ({"learning_rate": "fast"}, "positive number; got 'fast'"),
    ],
)
def test_options_are_checked(options, message):
    encoder, x = small()
    with pytest.raises(LinconvError, match=message):
        train(keras_model(encoder), x, **options)


@pytest.mark.parametrize(
    ("shape", "image_size", "message"),
    [
        ((3, 5, 4, 1), (None, None), r"from \(5, 4, 1\) it makes \(6, 4, 1\); crop"),
        ((3, 4, 4, 2), (None, None), r"takes images of shape \(None, None, 1\); got \(4, 4, 2\)"),
        ((3, 4, 4, 1), (4, 6), r"takes images of shape \(4, 6, 1\); got \(4, 4, 1\)"),
        ((3, 4, 4), (None, None), r"\(n, height, width, channels\); got \(3, 4, 4\)"),
    ],
)
def test_images_that_do_not_fit_are_refused(shape, image_size, message):
    encoder, _ = small()
    with pytest.raises(ShapeError, match=message):
        train(keras_model(encoder, image_size=image_size), np.zeros(shape))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_that_are_not_finite_are_refused(value):
    encoder, x = small()
    x[0, 0, 0, 0] = value
    with pytest.raises(LinconvError, match="finite; 1 of 96 values are NaN or infinite"):
        train(keras_model(encoder), x)


@pytest.mark.parametrize("bad", [np.zeros(4), np.zeros((0, 3)), np.zeros((3, 3), complex)])
def test_the_inverse_filter_takes_one_real_image(bad):
    with pytest.raises(ShapeError, match="the image must be real, of shape .*; got"):
        train_inverse_filter(bad, np.ones((3, 3)))
    with pytest.raises(ShapeError, match="the kernel must be real, of shape .*; got"):
        train_inverse_filter(np.ones((3, 3)), bad)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": "valid"}, "its padding is 'valid'"),
        ({"use_bias": False}, "its use_bias is False"),
        ({"activation": "relu"}, "its activation is 'relu'"),
        ({"dilation_rate": 2}, r"its dilation_rate is \(2, 2\)"),
        ({"strides": 2, "output_padding": 1}, r"its output_padding is \(1, 1\)"),
        ({"data_format": "channels_first"}, "its data_format is 'channels_first'"),
    ],
)
def test_only_decoders_that_can_be_told_are_trained(options, message):
    layer = keras.layers.Conv2DTranspose(1, 3, **{"padding": "same"} | options)
    with pytest.raises(LinconvError, match=message):
        train(keras.Sequential([layer]), np.zeros((1, 4, 4, 1)))


def test_only_models_are_trained():
    wanted = "must be a Keras model that ends in a Conv2DTranspose"
    with pytest.raises(LinconvError, match=f"{wanted}.*; got str"):
        train("model", np.zeros((1, 4, 4, 1)))
    with pytest.raises(LinconvError, match=f"{wanted}.*; got Dense"):
        train(keras.Sequential([keras.layers.Dense(1)]), np.zeros((1, 4, 4, 1)))
