"""What code is written for: a convolution, as it is stored, and the words all frameworks share."""

from __future__ import annotations

from dataclasses import dataclass

from linconv.convolution import Conv, ConvTranspose
from linconv.errors import LinconvError
from linconv.layers.layer import Layer
from linconv.layers.plain import Plain
from linconv.layers.suggesting import NUMPY_MODES
from linconv.padding import Pairs

__all__ = ["LETTERS", "Task", "array_pads", "one_group", "slices", "split", "xla_pads"]

LETTERS = {1: "W", 2: "HW", 3: "DHW"}


@dataclass(frozen=True)
class Task:
    """What is written: the convolution, as it is stored, its layer, and for whom."""

    plain: Plain
    stored: Conv | ConvTranspose
    layer: Layer
    framework: str

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return self.plain.geometry.ndim

    @property
    def has_bias(self) -> bool:
        """Whether a bias is added."""
        return self.layer.bias is not None

    def refuse(self, why: str, remedy: str) -> LinconvError:
        """Return the error that says why a framework cannot."""
        return LinconvError(f"{self.framework} cannot express this layer: {why}; {remedy}")

    def kernel(self, *, first: bool, own: bool = False) -> str:
        """Return the kernel in the framework's order of axes, as text; `own`: always a copy."""
        n, layout = self.ndim, self.stored.layout
        if layout.bare:
            added = "kernel[None, None]" if first else "kernel[..., None, None]"
            return f"{added}.copy()" if own else added
        if layout.channels_last != first:
            return "kernel.copy()" if own else "kernel"
        order = (n + 1, n, *range(n)) if first else (*range(2, n + 2), 1, 0)
        return f"kernel.transpose({', '.join(map(str, order))}).copy()"

    def crops(self) -> Pairs:
        """Return what is cut from the full result of a transposed layer; negative: zeros more."""
        g = self.plain.geometry
        if set(g.padding_mode) != {"zeros"} and any(map(any, g.padding)):
            raise self.refuse(
                "a transposed layer whose border is folded back", "use padding_mode='zeros'"
            )
        sizes = zip(g.output_size, g.stride, g.effective_kernel_size, g.input_size, strict=True)
        lows = [low for low, _ in g.padding]
        pairs = zip(lows, [(n - 1) * s + k - out for n, s, k, out in sizes], strict=True)
        return tuple((low, total - low) for low, total in pairs)

    def pads(self) -> list[tuple[str, Pairs]]:
        """Return the pads before the convolution, one step per mode, crops first."""
        g = self.plain.geometry
        steps = []
        for mode in dict.fromkeys(g.padding_mode):
            pairs = tuple(
                pair if own == mode else (0, 0)
                for pair, own in zip(g.padding, g.padding_mode, strict=True)
            )
            if mode != "zeros" and any(side < 0 for pair in pairs for side in pair):
                raise self.refuse(
                    f"a crop together with {mode} padding", "crop the input before it"
                )
            if any(map(any, pairs)):
                steps.append((mode, pairs))
        return steps

    def options(self, **names: str) -> str:
        """Return the arguments that are not their default, by the names of the framework."""
        g = self.plain.geometry
        values = {"stride": g.stride, "dilation": g.dilation}
        text = ""
        for ours, theirs in names.items():
            value = g.groups if ours == "groups" else values[ours]
            if value not in (1, (1,) * g.ndim):
                text += f", {theirs}={value}"
        return text

    def result(self, value: str, activate: str) -> list[str]:
        """Return the last lines of a function: bias, activation, return."""
        if self.has_bias:
            value = f"{value} + bias" if self.framework != "torch" else value
        if self.layer.activation is not None:
            value = f"{activate}.{self.layer.activation}({value})"
        return [f"    return {value}"]


def slices(pairs: Pairs, *, first: bool) -> str:
    """Return an index that crops the spatial axes by pairs of at least 0."""
    cuts = [f"{low or ''}:{-high or ''}" for low, high in pairs]
    return ", ".join([":", ":", *cuts] if first else [":", *cuts])


def split(pairs: Pairs) -> tuple[Pairs, Pairs]:
    """Return the crops (at least 0) and the pads (at least 0) of signed pads."""
    crops = tuple((max(0, -low), max(0, -high)) for low, high in pairs)
    return crops, tuple((max(0, low), max(0, high)) for low, high in pairs)


def array_pads(task: Task, module: str) -> list[str]:
    """Return lines that pad channels-last arrays by `module`.pad."""
    lines = []
    for mode, pairs in task.pads():
        crops, grow = split(pairs)
        if any(map(any, crops)):
            lines.append(f"    x = x[{slices(crops, first=False)}]")
        if any(map(any, grow)):
            shown = "" if mode == "zeros" else f', mode="{NUMPY_MODES[mode]}"'
            lines.append(f"    x = {module}.pad(x, {((0, 0), *grow, (0, 0))}{shown})")
    return lines


def xla_pads(task: Task) -> Pairs:
    """Return the pads of the dilated input that leave what is not cropped."""
    reach = task.plain.geometry.effective_kernel_size
    return tuple((k - 1 - a, k - 1 - b) for k, (a, b) in zip(reach, task.crops(), strict=True))


def one_group(task: Task) -> None:
    """Refuse a transposed layer with groups."""
    if task.plain.geometry.groups > 1:
        raise task.refuse(
            f"its transposed convolution has no groups, this one has {task.plain.geometry.groups}",
            "write one layer per group",
        )
