// Tiles of depthwise layers: every channel has its own weights, vectors across channels.
#pragma once

#include "tiles.h"

namespace linconv::LINCONV_TARGET {

// What a depthwise tile reads and writes: pixels `step` apart, lines `line`, all channels, a run of
// taps; the taps' weights are `channels` apart. `next`: what will be read next from memory, or null.
template <class T>
struct Depths {
    const T* x;
    Index step, line;
    const int* offsets;
    Index taps;
    const T* weights;
    Index channels;
    T* y;
    Index y_step, y_line;
    const T* next;
    bool add, stream;
};

template <class T, int P, int V>
inline INLINE void finish_depths(const Vector<T> (&sum)[P][V], const Depths<T>& d, Index at,
                                 Index line) {
    constexpr int L = Lanes<T>::count;
    if (d.next)
        UNROLL for (int p = 0; p < P; ++p)
            __builtin_prefetch(d.next + at + line * d.line + p * d.step, 0, 2);
    UNROLL for (int p = 0; p < P; ++p) {
        UNROLL for (int v = 0; v < V; ++v) {
            T* const to = d.y + at + line * d.y_line + p * d.y_step + v * L;
            if (d.stream)
                stream(to, sum[p][v]);
            else
                store(to, d.add ? load(to) + sum[p][v] : sum[p][v]);
        }
    }
}

// P pixels of a depthwise layer, V vectors of channels at a time from `first` to `last`: every channel
// has its own weights.
template <class T, int P, int V>
void depthwise_tile(const Depths<T>& given, Index first, Index last) {
    constexpr int L = Lanes<T>::count;
    const Depths<T> d = given;
    for (Index at = first; at < last; at += V * L) {
        Vector<T> sum[P][V] = {};
        const T* weights = d.weights + at;
        for (Index k = 0; k < d.taps; ++k, weights += d.channels) {
            const T* from = d.x + at + d.offsets[k];
            UNROLL for (int v = 0; v < V; ++v) {
                const Vector<T> kernel = load(weights + v * L);
                UNROLL for (int p = 0; p < P; ++p)
                    sum[p][v] += kernel * load(from + p * d.step + v * L);
            }
        }
        finish_depths<T, P, V>(sum, d, at, 0);
    }
}

// BLOCK lines of PIXELS pixels each whose K x K windows overlap: lines and pixels are as far apart as
// taps, so that one load of the input serves up to K x K of them.
constexpr int PIXELS = 4, BLOCK = 2;

// Input line I of a block: it serves output line r with kernel line I - r.
template <class T, int K, int I>
inline INLINE void depthwise_line(Vector<T> (&sum)[BLOCK][PIXELS], const Depths<T>& d, const T* x,
                                  const T* weights) {
    constexpr int FIRST = I < K ? 0 : I - K + 1, LAST = I < BLOCK ? I + 1 : BLOCK;
    // Lines stay apart: a compiler that loads all weights at once has no registers left for the sums.
    asm volatile("" ::: "memory");
    const T* from = x + I * d.line;
    Vector<T> kernel[LAST - FIRST][K];
    UNROLL for (int r = FIRST; r < LAST; ++r) {
        UNROLL for (int k = 0; k < K; ++k)
            kernel[r - FIRST][k] = load(weights + ((I - r) * K + k) * d.channels);
    }
    UNROLL for (int i = 0; i < PIXELS + K - 1; ++i, from += d.step) {
        const Vector<T> samples = load(from);
        UNROLL for (int r = FIRST; r < LAST; ++r) {
            UNROLL for (int k = 0; k < K; ++k) {
                if (i - k >= 0 && i - k < PIXELS) sum[r][i - k] += kernel[r - FIRST][k] * samples;
            }
        }
    }
    if constexpr (I + 1 < K + BLOCK - 1) depthwise_line<T, K, I + 1>(sum, d, x, weights);
}

template <class T, int K>
void depthwise_block(const Depths<T>& given, Index first, Index last) {
    constexpr int L = Lanes<T>::count;
    const Depths<T> d = given;
    for (Index at = first; at < last; at += L) {
        Vector<T> sum[BLOCK][PIXELS] = {};
        depthwise_line<T, K, 0>(sum, d, d.x + at + d.offsets[0], d.weights + at);
        UNROLL for (int r = 0; r < BLOCK; ++r) {
            Vector<T> line[PIXELS][1];
            UNROLL for (int p = 0; p < PIXELS; ++p) line[p][0] = sum[r][p];
            finish_depths<T, PIXELS, 1>(line, d, at, r);
        }
    }
}

template <class T>
using DepthwiseTile = void (*)(const Depths<T>&, Index, Index);

TILE_TABLE(depthwise, DepthwiseTile, ACCUMULATORS, 2)

// The tile of a depthwise layer whose square windows overlap, by their taps along an axis, or null.
template <class T>
DepthwiseTile<T> depthwise_blocks(Index taps) {
    if (taps == 3) return depthwise_block<T, 3>;
    if (taps == 5) return depthwise_block<T, 5>;
    return taps == 7 ? depthwise_block<T, 7> : nullptr;
}

}  // namespace linconv::LINCONV_TARGET
