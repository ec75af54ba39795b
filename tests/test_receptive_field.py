"""Receptive fields, by following the samples from the output back to the input."""

from hypothesis import given
from hypothesis import strategies as st

from linconv.geometry import Geometry
from strategies import legal_cases


@given(st.lists(legal_cases(max_ndim=1, modes=("zeros",)), min_size=1, max_size=3))
def test_receptive_field_of_a_chain_by_following_samples(cases):
    """Through layers with so much input that no padding is read beyond the first sample."""
    layers = [
        Geometry((200,), c.kernel_size, stride=c.stride, dilation=c.dilation, padding=((2, 0),))
        for c in cases
    ]
    field = layers[0].receptive_field
    for layer in layers[1:]:
        field = field.then(layer.receptive_field)

    def positions(outputs: set[int]) -> set[int]:
        for g in reversed(layers):
            outputs = {
                o * g.stride[0] + t * g.dilation[0] - g.padding[0][0]
                for o in outputs
                for t in range(g.kernel_size[0])
            }
        return outputs

    for o in (0, 1, 5):
        read = positions({o})
        assert min(read) == field.start[0] + o * field.stride[0]
        assert max(read) - min(read) + 1 == field.size[0]


def test_receptive_field_of_a_known_stack():
    # the first layers of a residual network: 7x7 stride 2 pad 3, 3x3 pool stride 2 pad 1, 3x3 pad 1
    stem = Geometry((224, 224), 7, stride=2, padding=3)
    pool = Geometry(stem.output_size, 3, stride=2, padding=1)
    block = Geometry(pool.output_size, 3, padding=1)
    field = stem.receptive_field.then(pool.receptive_field).then(block.receptive_field)
    assert (field.size, field.stride, field.start) == ((19, 19), (4, 4), (-9, -9))
