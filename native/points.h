// Points: how Winograd's algorithm computes one axis. A tile of four input samples d and two or three
// taps g give their three or two outputs from four products in place of six:
//
//     y = A ((G g) * (B d)),  a product of polynomials by its values at 0, 1, -1 and infinity
//
// (S. Winograd, Arithmetic Complexity of Computations, 1980; for two axes A. Lavin and S. Gray, Fast
// Algorithms for Convolutional Neural Networks, CVPR 2016). B and A have the entries 0, 1 and -1, G
// also one half: sums of neighbours, with little rounding.
#pragma once

#include "bands.h"

namespace linconv::LINCONV_TARGET {

constexpr int POINTS = 4, INFINITE = POINTS - 1;

// One axis: windows are cut into residues of the stride, outputs into tiles. Phases share the tiles,
// each shifted to where its windows lie.
struct Side {
    const Axis& axis;
    Index base;      // the first sample that output 0 reads, over all phases
    Index taps = 0;  // of the longest residue of any phase
    Index step;      // outputs of a tile
    Index tiles = 0;

    explicit Side(const Axis& of) : axis(of), base(Span(of).base) {
        taps = ceil_div(most_taps(axis), axis.stride);
        step = POINTS + 1 - taps;
        for (Index i = 0; i < axis.phases; ++i)
            tiles = larger(tiles, ceil_div(axis.phase[i].count + shift(axis.phase[i]), step));
    }
    // Outputs of the first tile before output 0 of a phase: only where the stride is one.
    Index shift(const Phase& phase) const { return phase.offset - base; }
    // Residues of a phase with a tap, and at infinity those with as many taps as any.
    Index present(const Phase& phase, int point) const {
        const Index last = phase.taps - (taps - 1) * axis.stride;
        return point == INFINITE ? larger(0, last) : smaller(axis.stride, phase.taps);
    }
    // Of all phases.
    Index present(int point) const {
        Index most = 0;
        for (Index i = 0; i < axis.phases; ++i) most = larger(most, present(axis.phase[i], point));
        return most;
    }
    // Samples that some neighbouring tiles read.
    Index read(Index tiles) const { return axis.stride * (step * tiles + taps - 1); }
};

// G g: the values at the points 0, 1, -1 and infinity.
template <class V>
inline INLINE void values(V (&to)[POINTS], V first, V second, V third, Index taps) {
    const auto half = (V{} + 1) / 2;
    to[0] = first;
    to[1] = half * (first + second + third);
    to[2] = half * (first - second + third);
    to[3] = taps == 3 ? third : second;
}
// B d of four samples, in their place.
template <class V>
inline INLINE void differences(V& a, V& b, V& c, V& d) {
    const V sum = b + c, difference = c - b;
    a -= c;
    d -= b;
    b = sum;
    c = difference;
}

// A m of four values: M outputs.
template <int M, class V>
inline INLINE void recover(V (&y)[POINTS], V a, V b, V c, V d) {
    y[0] = a + b + c;
    y[1] = b - c;
    y[2] = b + c;
    y[M - 1] += d;
}

}  // namespace linconv::LINCONV_TARGET
