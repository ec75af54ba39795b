// Shapes: how many sums, and in what rectangle, a tile should keep in registers.
#pragma once

#include "tiles.h"

namespace linconv::LINCONV_TARGET {

// Of a tile: channels or lines, and vectors.
struct Shape {
    int tall = 1, wide = 1;
};

// Estimated cycles of one tap: multiplications (two a cycle), their latency, loads (two a cycle).
inline double tap_cycles(double sums, double loads) {
    double cycles = sums / 2 > 4.0 ? sums / 2 : 4.0;
    return cycles > loads / 2 ? cycles : loads / 2;
}

// Estimated cycles per tap of covering `n` lines or channels by `vectors` with tiles of a shape. A
// load that straddles two cache lines counts twice, and of loads at all places 7 in 16 do.
inline double cover_cycles(Index n, Index vectors, Shape shape, bool lines) {
    constexpr double LOAD = 1.44;
    const Pieces down(n, shape.tall), across(vectors, shape.wide);
    double total = 0;
    for (Index i = 0; i < 2; ++i)
        for (Index j = 0; j < 2; ++j) {
            const Index rows = i ? down.rest : down.parts - down.rest;
            const Index columns = j ? across.rest : across.parts - across.rest;
            const double height = double(down.base + i), width = double(across.base + j);
            const double sums = height * width;
            const double loads = lines ? LOAD * sums + 2 : LOAD * width + height + 1;
            total += double(rows * columns) * tap_cycles(sums, loads);
        }
    return total;
}

// The shape that covers them in the fewest cycles; `lines`: each has its own samples, one weight.
inline Shape best_shape(Index n, Index vectors, bool lines) {
    Shape best;
    double least = 0;
    for (int tall = 1; tall <= TALLEST && tall <= n; ++tall)
        for (int wide = 1; wide <= WIDEST && tall * wide <= ACCUMULATORS; ++wide) {
            const double cycles = cover_cycles(n, vectors, {tall, wide}, lines);
            if (least > 0 && cycles >= least) continue;
            least = cycles;
            best = {tall, wide};
        }
    return best;
}

}  // namespace linconv::LINCONV_TARGET
