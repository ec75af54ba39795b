// Tiles: the innermost loops. A tile is a block of sums held in registers while it runs through
// all taps; where each tap is read stands in a table of offsets, so that a tile knows nothing of
// strides, dilation or axes.
#pragma once

#include "vectors.h"

namespace linconv::LINCONV_TARGET {

// What a tile writes: `count` samples of each of its lines, `pitch` apart. `lines` is read where
// a tile has more lines than are wanted.
template <class T>
struct Out {
    T* y;
    Index pitch;
    Index count;
    bool add;
    Index lines = 0;
};

// Writes or adds `lines` lines of `wide` vectors, the last of which may be cut short. Kept out of the
// tiles: it is rare, and would be most of their code.
template <class T>
__attribute__((noinline)) void finish_some(const Vector<T>* sum, Index wide, const Out<T>& out,
                                           Index lines) {
    constexpr Index L = Lanes<T>::count;
    for (Index r = 0; r < lines; ++r)
        for (Index v = 0; v < wide; ++v) {
            T* const to = out.y + r * out.pitch + v * L;
            Vector<T> value = sum[r * wide + v];
            if (v * L + L <= out.count) {
                if (out.add) value += load(to);
                store(to, value);
            } else {
                for (Index lane = 0; v * L + lane < out.count; ++lane)
                    to[lane] = out.add ? to[lane] + value[lane] : value[lane];
            }
        }
}

template <class T, int M, int V>
inline INLINE void finish(const Vector<T> (&sum)[M][V], const Out<T>& out, Index lines) {
    constexpr int L = Lanes<T>::count;
    if (out.count >= V * L && lines == M) {
        UNROLL for (int m = 0; m < M; ++m) {
            UNROLL for (int v = 0; v < V; ++v) {
                T* const to = out.y + m * out.pitch + v * L;
                store(to, out.add ? load(to) + sum[m][v] : sum[m][v]);
            }
        }
        return;
    }
    Vector<T> all[M * V];
    UNROLL for (int m = 0; m < M; ++m) {
        UNROLL for (int v = 0; v < V; ++v) all[m * V + v] = sum[m][v];
    }
    finish_some<T>(all, V, out, lines);
}

// M output channels by V vectors of neighbouring samples: one load serves M channels.
template <class T, int M, int V>
void channels_tile(const T* x, const int* offsets, Index taps, const T* weights, const Out<T>& out) {
    constexpr int L = Lanes<T>::count;
    Vector<T> sum[M][V] = {};
    for (Index k = 0; k < taps; ++k, weights += M) {
        const T* from = x + offsets[k];
        if constexpr (M >= V) {
            Vector<T> samples[V];
            UNROLL for (int v = 0; v < V; ++v) samples[v] = load(from + v * L);
            UNROLL for (int m = 0; m < M; ++m) {
                UNROLL for (int v = 0; v < V; ++v) sum[m][v] += weights[m] * samples[v];
            }
        } else {
            UNROLL for (int v = 0; v < V; ++v) {
                const Vector<T> samples = load(from + v * L);
                UNROLL for (int m = 0; m < M; ++m) sum[m][v] += weights[m] * samples;
            }
        }
    }
    finish<T, M, V>(sum, out, M);
}

// R lines of one output channel, `step` apart in the input, by V vectors: one weight serves all.
template <class T, int R, int V>
void lines_tile(const T* x, Index step, const int* offsets, Index taps, const T* weights,
                const Out<T>& out) {
    constexpr int L = Lanes<T>::count;
    Vector<T> sum[R][V] = {};
    for (Index k = 0; k < taps; ++k) {
        const T* from = x + offsets[k];
        UNROLL for (int r = 0; r < R; ++r) {
            UNROLL for (int v = 0; v < V; ++v) sum[r][v] += weights[k] * load(from + r * step + v * L);
        }
    }
    finish<T, R, V>(sum, out, R);
}

// R lines whose windows overlap: input line j serves output line r with kernel line j - r, so that
// one load serves up to R lines. "Lines" may also be stretches of one line (see rows.h, lines.h):
// `line` and `vector` are the distances between input lines and between a line's vectors.
//
// SHARED lines; or, with registers enough, TALLER for kernels of at least LONG lines: fewer loads.
constexpr int SHARED = 4, TALLER = ACCUMULATORS > 12 ? 6 : SHARED, LONG = TALLER - 1;

// Output lines FIRST to LAST read one tap of the input line at `x`; `weights` is that tap in the
// kernel line that FIRST sees, and each next output line sees the kernel line before.
template <class T, int R, int V, int FIRST, int LAST>
inline INLINE void shared_tap(Vector<T> (&sum)[R][V], const T* x, Index vector, const T* weights,
                              Index line) {
    // Taps stay apart: a compiler that merges their loads has no registers left for the sums.
    asm volatile("" ::: "memory");
    Vector<T> samples[V];
    UNROLL for (int v = 0; v < V; ++v) samples[v] = load(x + v * vector);
    UNROLL for (int r = FIRST; r < LAST; ++r) {
        UNROLL for (int v = 0; v < V; ++v) sum[r][v] += weights[-(r - FIRST) * line] * samples[v];
    }
}

// Kernels whose windows overlap: one per entry of `bases`, each of `lines` lines of as many taps as
// `along` has entries, and of `rest` taps of one line more. Their weights lie one after the other.
template <class T>
struct Overlapping {
    const int* bases;
    Index count;
    Index lines, taps, rest;
    const int* along;
    const T* weights;
};

// All taps of one input line, for output lines FIRST to LAST. Where the number of taps is known in
// advance (TAPS, not 0) there is no loop.
template <class T, int R, int V, int FIRST, int LAST, int TAPS>
inline INLINE void shared_line(Vector<T> (&sum)[R][V], const T* x, Index vector,
                               const int* along, Index taps, const T* weights) {
    UNROLL for (int b = 0; b < TAPS; ++b)
        shared_tap<T, R, V, FIRST, LAST>(sum, x + along[b], vector, weights + b, TAPS);
    for (Index b = 0; TAPS == 0 && b < taps; ++b)
        shared_tap<T, R, V, FIRST, LAST>(sum, x + along[b], vector, weights + b, taps);
}

// The input line that serves the first FIRST outputs only, and the one a whole kernel below it, which
// serves the others: together they keep all sums busy.
template <class T, int R, int V, int FIRST, int TAPS>
inline INLINE void shared_ends(Vector<T> (&sum)[R][V], const T* x, Index below, Index vector,
                               const int* along, Index taps, const T* weights, const T* last) {
    UNROLL for (int b = 0; b < TAPS; ++b) {
        shared_tap<T, R, V, 0, FIRST>(sum, x + along[b], vector, weights + b, TAPS);
        shared_tap<T, R, V, FIRST, R>(sum, x + below + along[b], vector, last + b, TAPS);
    }
    for (Index b = 0; TAPS == 0 && b < taps; ++b) {
        shared_tap<T, R, V, 0, FIRST>(sum, x + along[b], vector, weights + b, taps);
        shared_tap<T, R, V, FIRST, R>(sum, x + below + along[b], vector, last + b, taps);
    }
}

// All such pairs, from that of the first output alone on.
template <class T, int R, int V, int FIRST, int TAPS>
inline INLINE void shared_heads(Vector<T> (&sum)[R][V], const T* x, Index below, Index line,
                                Index vector, const int* along, Index taps, const T* weights,
                                const T* last) {
    shared_ends<T, R, V, FIRST, TAPS>(sum, x, below, vector, along, taps, weights, last);
    if constexpr (FIRST + 1 < R)
        shared_heads<T, R, V, FIRST + 1, TAPS>(sum, x + line, below, line, vector, along, taps,
                                               weights + taps, last);
}

// One kernel line, every output with an input line of its own.
template <class T, int R, int V, int FIRST, int TAPS>
inline INLINE void each_line(Vector<T> (&sum)[R][V], const T* x, Index line, Index vector,
                             const int* along, Index taps, const T* weights) {
    shared_line<T, R, V, FIRST, FIRST + 1, TAPS>(sum, x + FIRST * line, vector, along, taps, weights);
    if constexpr (FIRST + 1 < R)
        each_line<T, R, V, FIRST + 1, TAPS>(sum, x, line, vector, along, taps, weights);
}

// One kernel of `lines` lines of `taps` each; `line` and `vector` are the distances between input
// lines and between a line's vectors.
template <class T, int R, int V, int TAPS>
inline INLINE void shared_kernel(Vector<T> (&sum)[R][V], const T* x, Index line, Index vector,
                                 Index lines, const int* along, Index taps, const T* weights) {
    const T* const end = weights + lines * taps;
    if (lines < R - 1) {
        for (; weights < end; weights += taps, x += line)
            each_line<T, R, V, 0, TAPS>(sum, x, line, vector, along, taps, weights);
        return;
    }
    const Index below = lines * line;
    shared_heads<T, R, V, 1, TAPS>(sum, x, below, line, vector, along, taps, weights, end - taps);
    weights += (R - 1) * taps;
    x += (R - 1) * line;
    for (; weights < end; x += line, weights += taps)
        shared_line<T, R, V, 0, R, TAPS>(sum, x, vector, along, taps, weights);
}

// R neighbouring lines by V vectors.
template <class T, int R, int V, int TAPS>
void shared_tile(const T* x, Index line, const Overlapping<T>& kernels, const Out<T>& out) {
    constexpr int L = Lanes<T>::count;
    Vector<T> sum[R][V] = {};
    const Overlapping<T> k = kernels;
    const Index taps = TAPS ? TAPS : k.taps;
    for (Index i = 0; i < k.count; ++i)
        shared_kernel<T, R, V, TAPS>(sum, x + k.bases[i], line, L, k.lines, k.along, taps,
                                  k.weights + i * k.lines * taps);
    finish<T, R, V>(sum, out, out.lines);
}

// One long line as if it were wrapped: its vectors are the lines, a vector apart, so that a long
// kernel along the line is one of many kernel lines, each of as many taps as a vector has lanes.
template <class T, int R, int V>
void wrapped_tile(const T* x, Index line, const Overlapping<T>& kernels, const Out<T>& out) {
    constexpr int L = Lanes<T>::count;
    Vector<T> sum[R][V] = {};
    const Overlapping<T> k = kernels;
    const T* weights = k.weights;
    for (Index i = 0; i < k.count; ++i) {
        const T* const from = x + k.bases[i];
        if (k.lines)
            shared_kernel<T, R, V, 0>(sum, from, line, R * L, k.lines, k.along, k.taps, weights);
        weights += k.lines * k.taps;
        if (k.rest)
            shared_kernel<T, R, V, 0>(sum, from + k.lines * line, line, R * L, 1, k.along, k.rest,
                                   weights);
        weights += k.rest;
    }
    Vector<T> along[1][V * R];
    UNROLL for (int v = 0; v < V; ++v) {
        UNROLL for (int r = 0; r < R; ++r) along[0][v * R + r] = sum[r][v];
    }
    finish<T, 1, V * R>(along, out, 1);
}

// P pixels, `step` apart, by V vectors of output channels; `depth` input channels lie together.
template <class T, int P, int V>
void pixels_tile(const T* x, Index step, const int* offsets, Index taps, Index depth,
                 const T* weights, const Out<T>& out) {
    constexpr int L = Lanes<T>::count;
    Vector<T> sum[P][V] = {};
    for (Index k = 0; k < taps; ++k) {
        const T* from = x + offsets[k];
        for (Index c = 0; c < depth; ++c, ++from, weights += V * L) {
            Vector<T> kernel[V];
            UNROLL for (int v = 0; v < V; ++v) kernel[v] = load(weights + v * L);
            UNROLL for (int p = 0; p < P; ++p) {
                UNROLL for (int v = 0; v < V; ++v) sum[p][v] += from[p * step] * kernel[v];
            }
        }
    }
    finish<T, P, V>(sum, out, P);
}

// Tiles by their size at run time: tables of all sizes that fit the registers, made once.
constexpr int TALLEST = ACCUMULATORS > 12 ? 8 : 6, WIDEST = 6;

template <class Tile, int TALL, int WIDE>
struct Table {
    Tile tile[TALL][WIDE] = {};
    Tile operator()(Index tall, Index wide) const { return tile[tall - 1][wide - 1]; }
};

template <class T>
using ChannelsTile = void (*)(const T*, const int*, Index, const T*, const Out<T>&);
template <class T>
using LinesTile = void (*)(const T*, Index, const int*, Index, const T*, const Out<T>&);
template <class T>
using OverlappingTile = void (*)(const T*, Index, const Overlapping<T>&, const Out<T>&);
template <class T>
using PixelsTile = void (*)(const T*, Index, const int*, Index, Index, const T*, const Out<T>&);

// Enters the tiles of `TALL` by `WIDE` and all smaller ones into a table.
#define TILE_TABLE(NAME, TILE, TALL, WIDE)                                             \
    template <class T, int M = 1, int V = 1>                                           \
    constexpr void enter_##NAME(Table<TILE<T>, TALL, WIDE>& table) {                   \
        if constexpr (M * V <= ACCUMULATORS) table.tile[M - 1][V - 1] = NAME##_tile<T, M, V>; \
        if constexpr (V < WIDE)                                                        \
            enter_##NAME<T, M, V + 1>(table);                                          \
        else if constexpr (M < TALL)                                                   \
            enter_##NAME<T, M + 1, 1>(table);                                          \
    }                                                                                  \
    template <class T>                                                                 \
    constexpr auto make_##NAME() {                                                     \
        Table<TILE<T>, TALL, WIDE> table;                                              \
        enter_##NAME<T>(table);                                                        \
        return table;                                                                  \
    }                                                                                  \
    template <class T>                                                                 \
    constexpr Table<TILE<T>, TALL, WIDE> NAME##_tiles = make_##NAME<T>();

TILE_TABLE(channels, ChannelsTile, TALLEST, WIDEST)
TILE_TABLE(lines, LinesTile, TALLEST, WIDEST)
TILE_TABLE(pixels, PixelsTile, ACCUMULATORS, 2)

// A tile of `tall` lines, SHARED or TALLER.
template <class T, int R = SHARED, int V = 1>
OverlappingTile<T> overlapping_tiles(Index tall, Index wide, bool wrapped, Index taps) {
    if constexpr (R != TALLER)
        if (tall == TALLER) return overlapping_tiles<T, TALLER, V>(tall, wide, wrapped, taps);
    if (wide == V) {
        if (wrapped) return wrapped_tile<T, R, V>;
        // Loops without a counter, for square kernels: of 3 taps where a tile is SHARED (3 lines are
        // too few for a taller one), of 5 where it is the tallest, of 7 where it is taller.
        if constexpr (R == SHARED)
            if (taps == 3) return shared_tile<T, R, V, 3>;
        if constexpr (R == TALLER)
            if (taps == 5) return shared_tile<T, R, V, 5>;
        if constexpr (R > SHARED)
            if (taps == 7) return shared_tile<T, R, V, 7>;
        return shared_tile<T, R, V, 0>;
    }
    if constexpr (R * (V + 1) <= ACCUMULATORS)
        return overlapping_tiles<T, R, V + 1>(tall, wide, wrapped, taps);
    return nullptr;
}

}  // namespace linconv::LINCONV_TARGET
