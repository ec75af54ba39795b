"""A U-Net, a DCGAN generator and a small ResNet in PyTorch and Keras, with reproducible weights."""

from __future__ import annotations

import numpy as np

# Weights are filled later: random ones would be compiled for each shape.
ZEROS = {"kernel_initializer": "zeros"}


def torch_unet(pool=None):
    """Two levels; max pooling down, transposed convolutions up, skips joined by channels."""
    import torch
    from torch import nn

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.enter = block(nn, 3, 8)
            self.pool = pool or nn.MaxPool2d(2)
            self.down = block(nn, 8, 16)
            self.bottom = block(nn, 16, 32)
            self.up1 = nn.ConvTranspose2d(32, 16, 2, stride=2)
            self.join1 = block(nn, 32, 16)
            self.up2 = nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1, output_padding=1)
            self.join2 = block(nn, 16, 8)
            self.leave = nn.Conv2d(8, 2, 1)

        def forward(self, x):
            a = self.enter(x)
            b = self.down(self.pool(a))
            c = self.bottom(self.pool(b))
            d = self.join1(torch.cat([self.up1(c), b], 1))
            return self.leave(self.join2(torch.cat([self.up2(d), a], 1)))

    return filled_torch(UNet())


def block(nn, before, after):
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )


def torch_generator():
    """DCGAN's generator (Radford, Metz and Chintala 2016, figure 1), at a quarter of its width."""
    from torch import nn

    sizes = [(16, 32, 1, 0), (32, 16, 2, 1), (16, 8, 2, 1), (8, 3, 2, 1)]
    layers = []
    for before, after, stride, padding in sizes:
        layers.append(nn.ConvTranspose2d(before, after, 4, stride, padding, bias=False))
        layers += [nn.BatchNorm2d(after), nn.ReLU(True)] if after > 3 else [nn.Tanh()]
    return filled_torch(nn.Sequential(*layers))


def torch_resnet():
    """A stem and two residual blocks, the second with a strided shortcut (He et al. 2016)."""
    from torch import nn
    from torch.nn import functional

    class Block(nn.Module):
        def __init__(self, before, after, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(after)
            self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(after)
            self.shortcut = nn.Sequential()
            if stride > 1:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
                )

        def forward(self, x):
            y = functional.relu(self.bn1(self.conv1(x)))
            return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
            self.pool = nn.MaxPool2d(3, 2, 1)
            self.block1 = Block(8, 8, 1)
            self.block2 = Block(8, 16, 2)
            self.head = nn.Linear(16, 10)

        def forward(self, x):
            x = self.pool(functional.relu(self.stem(x)))
            return self.head(self.block2(self.block1(x)).mean((2, 3)))

    return filled_torch(ResNet())


def keras_unet():
    """As `torch_unet`, by Keras' own "same" padding, its strided layers shifted by it."""
    import keras
    from keras import layers

    def conv(x, filters, name):
        x = layers.Conv2D(filters, 3, padding="same", name=name, **ZEROS)(x)
        return layers.ReLU()(layers.BatchNormalization()(x))

    x = keras.Input((32, 48, 3))
    a = conv(x, 8, "enter")
    b = conv(layers.Conv2D(8, 3, strides=2, padding="same", name="down1", **ZEROS)(a), 16, "down")
    c = conv(layers.MaxPooling2D(2)(b), 32, "bottom")
    d = layers.Conv2DTranspose(16, 2, strides=2, name="up1", **ZEROS)(c)
    d = conv(layers.Concatenate()([d, b]), 16, "join1")
    e = layers.Conv2DTranspose(8, 3, strides=2, padding="same", name="up2", **ZEROS)(d)
    e = conv(layers.Concatenate()([e, a]), 8, "join2")
    return filled_keras(keras.Model(x, layers.Conv2D(2, 1, name="leave", **ZEROS)(e), name="unet"))


def keras_generator():
    """As `torch_generator`, in Keras; its third layer has an odd kernel, its last is even."""
    import keras
    from keras import layers

    steps = [keras.Input((1, 1, 16))]
    sizes = [(32, 4, 1, "valid"), (16, 4, 2, "same"), (8, 5, 2, "same"), (3, 4, 2, "same")]
    for number, (filters, kernel, stride, padding) in enumerate(sizes, start=1):
        name = f"up{number}"
        steps.append(
            layers.Conv2DTranspose(
                filters, kernel, strides=stride, padding=padding, use_bias=False, name=name, **ZEROS
            )
        )
        steps.append(layers.ReLU() if filters > 3 else layers.Activation("tanh"))
    return filled_keras(keras.Sequential(steps, name="generator"))


def keras_resnet():
    """A stem with explicit zero padding and one residual block inside a model of its own."""
    import keras
    from keras import layers

    def conv(x, filters, kernel, strides=1, name=None):
        return layers.Conv2D(
            filters, kernel, strides=strides, padding="same", use_bias=False, name=name, **ZEROS
        )(x)

    inner = keras.Input((None, None, 8))
    y = layers.ReLU()(layers.BatchNormalization()(conv(inner, 16, 3, 2, "conv1")))
    y = layers.BatchNormalization()(conv(y, 16, 3, 1, "conv2"))
    y = layers.ReLU()(layers.Add()([y, conv(inner, 16, 1, 2, "shortcut")]))
    block = keras.Model(inner, y, name="block")

    x = keras.Input((None, None, 3))
    y = layers.ZeroPadding2D(3, name="pad")(x)
    y = layers.ReLU()(layers.Conv2D(8, 7, strides=2, use_bias=False, name="stem", **ZEROS)(y))
    y = block(layers.MaxPooling2D(3, strides=2, padding="same")(y))
    y = layers.Dense(10, **ZEROS)(layers.GlobalAveragePooling2D()(y))
    return filled_keras(keras.Model(x, y, name="resnet"))


def filled_torch(module):
    """Fill weights from a generator of NumPy's, and put the module into evaluation mode."""
    import torch

    rng = np.random.default_rng(7)
    with torch.no_grad():
        for parameter in module.parameters():
            values = rng.uniform(-0.5, 1, parameter.shape).astype(np.float32)
            parameter.copy_(torch.from_numpy(values))
    return module.eval()


def filled_keras(model):
    """Fill weights from a generator of NumPy's."""
    rng = np.random.default_rng(7)
    model.set_weights([rng.uniform(0.1, 1, w.shape).astype(np.float32) for w in model.weights])
    return model
