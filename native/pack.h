// Packing: lines of the input, of any strides, copied to where tiles read them side by side; and
// lines of the output that were computed phase by phase, copied to where they belong.
#pragma once

#include <cstring>

#include "vectors.h"

namespace linconv::LINCONV_TARGET {

// Rounds up to an odd number of cache lines, so that neighbours do not fall onto the same places of
// the cache.
template <class T>
Index odd_lines(Index samples) {
    constexpr Index cache_line = 64 / sizeof(T);
    return (ceil_div(samples, cache_line) | 1) * cache_line;
}

// Copies samples that lie together, or writes zeros. Lines are often short, and a call of the C
// library would take longer than its work.
template <class T>
inline INLINE void copy(T* __restrict to, const T* __restrict from, Index n) {
    constexpr Index L = Lanes<T>::count;
    if (n >= 64 * L) {
        std::memcpy(to, from, n * sizeof(T));
        return;
    }
    Index i = 0;
    for (; i + L <= n; i += L) store(to + i, load(from + i));
    for (; i < n; ++i) to[i] = from[i];
}
template <class T>
inline INLINE void zero(T* to, Index n) {
    constexpr Index L = Lanes<T>::count;
    Index i = 0;
    for (; i + L <= n; i += L) store(to + i, Vector<T>{});
    for (; i < n; ++i) to[i] = T(0);
}

// Copies samples first, first + 1, ... of a line of `size` samples into `stride` rows, every
// stride-th sample in one of them; zeros where there is no sample, and up to `pitch`.
template <class T>
void pack_line(T* rows, Index pitch, const T* line, Index step, Index size, Index first,
               Index stride) {
    for (Index q = 0; q < stride; ++q, rows += pitch, ++first) {
        const Index before = stride == 1 ? -first : ceil_div(-first, stride);
        const Index end = stride == 1 ? size - first : ceil_div(size - first, stride);
        const Index low = line ? smaller(pitch, larger(0, before)) : pitch;
        const Index high = line ? larger(low, smaller(pitch, end)) : low;
        zero(rows, low);
        if (low < high) {
            const T* __restrict from = line + (first + low * stride) * step;
            T* __restrict to = rows + low;
            const Index n = high - low;
            if (step == 1 && stride == 1)
                copy(to, from, n);
            else if (step == 1 && stride == 2)
                for (Index i = 0; i < n; ++i) to[i] = from[2 * i];
            else
                for (Index i = 0; i < n; ++i) to[i] = from[i * stride * step];
        }
        zero(rows + high, pitch - high);
    }
}

// Asks for the lines of the input that are packed next while the present ones are computed: a few
// cache lines at every tile.
struct Ahead {
    const char* at = nullptr;
    Index bytes = 0, line = 0, lines = 0, plane = 0, planes = 0;  // length, distances and counts
    Index each = 0;
    Index done = 0, here = 0;  // bytes of this line, lines of this plane

    void fetch() {
        for (Index i = 0; planes && i < each; ++i) {
            __builtin_prefetch(at + here * line + done, 0, 2);
            done += 64;
            if (done < bytes) continue;
            done = 0;
            if (++here < lines) continue;
            here = 0;
            at += plane;
            --planes;
        }
    }
};

// Copies `n` channels of samples first, first + 1, ... of a line of `size` samples into pixels of
// `pitch` samples each; zeros where there is no sample, and after the channels.
template <class T>
void pack_pixels(T* pixels, Index pitch, Index count, Index n, const T* line, Index channel,
                 Index step, Index size, Index first) {
    const Index low = line ? smaller(count, larger(0, -first)) : count;
    const Index high = line ? larger(low, smaller(count, size - first)) : low;
    std::memset(pixels, 0, low * pitch * sizeof(T));
    std::memset(pixels + high * pitch, 0, (count - high) * pitch * sizeof(T));
    if (low == high) return;
    const T* from = line + (first + low) * step;
    T* to = pixels + low * pitch;
    const Index width = high - low;
    if (channel == 1 && step == n && pitch == n) {
        std::memcpy(to, from, width * n * sizeof(T));
    } else if (channel == 1) {
        for (Index i = 0; i < width; ++i, to += pitch, from += step) {
            copy(to, from, n);
            for (Index c = n; c < pitch; ++c) to[c] = T(0);
        }
    } else {
        constexpr Index BLOCK = 16;
        for (Index i = 0; i < width; i += BLOCK) {
            const Index block = smaller(BLOCK, width - i);
            for (Index c = 0; c < pitch; ++c)
                for (Index j = i; j < i + block; ++j)
                    to[j * pitch + c] = c < n ? from[j * step + c * channel] : T(0);
        }
    }
}

// Writes a stretch of finished lines, one for each phase of an axis, to its places in the output.
template <class T>
void interleave(T* y, Index sample, const Axis& axis, const T* from, Index pitch, Part wide,
                bool add) {
    const Phase* phase = axis.phase;
    Index done = 0;
    if (axis.phases == 2 && phase[0].step == 2 && sample == 1 && phase[0].start == 0 &&
        phase[1].start == 1 && !add) {
        const T* __restrict even = from;
        const T* __restrict odd = from + pitch;
        T* __restrict to = y + 2 * wide.first;
        const Index last = smaller(wide.last, smaller(phase[0].count, phase[1].count));
        done = larger(0, last - wide.first);
        for (Index i = 0; i < done; ++i) {
            to[2 * i] = even[i];
            to[2 * i + 1] = odd[i];
        }
    }
    for (Index w = 0; w < axis.phases; ++w, from += pitch) {
        const Index count = smaller(wide.last, phase[w].count) - wide.first;
        const Index step = phase[w].step * sample;
        T* to = y + phase[w].start * sample + wide.first * step;
        for (Index i = done; i < count; ++i) to[i * step] = add ? to[i * step] + from[i] : from[i];
    }
}

}  // namespace linconv::LINCONV_TARGET
