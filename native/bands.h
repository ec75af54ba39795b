// Bands: stretches of the output small enough that all they read, once packed, stays in the cache.
#pragma once

#include <unistd.h>

#include "vectors.h"

namespace linconv::LINCONV_TARGET {

constexpr Index LONGEST_SUM = 256;          // products that one register sums up: keeps sums exact
constexpr Index LEAST_LINES = 4;            // of a band: fewer would be packed again too often
constexpr Index TASKS_PER_THREAD = 4;       // wanted, so that no thread waits long for the last

// Bytes of the second cache, as the system tells them or as is usual.
inline Index second_cache_bytes() {
#ifdef _SC_LEVEL2_CACHE_SIZE
    static const long found = sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (found > 0) return found;
#endif
    return 512 << 10;
}

// Bytes of a band's packed input: within the second cache, beside what else passes through it.
inline Index packed_bytes() {
    return larger(160 << 10, smaller(512 << 10, second_cache_bytes() / 4));
}

// What output samples 0, 1, ... (counted within a phase) of one axis read of the input.
struct Span {
    Index base = 0;     // the first sample that output 0 reads, over all phases
    Index reach = 0;    // samples from there to the last that it reads; 0: it reads none
    Index stride = 1;   // input samples from one output to the next
    Index outputs = 0;  // of the longest phase

    explicit Span(const Axis& axis) : stride(axis.stride) {
        Index end = 0;
        for (Index p = 0; p < axis.phases; ++p) {
            const Phase& phase = axis.phase[p];
            outputs = larger(outputs, phase.count);
            if (!phase.taps) continue;
            const Index last = phase.offset + (phase.taps - 1) * phase.dilation + 1;
            base = reach ? smaller(base, phase.offset) : phase.offset;
            end = reach ? larger(end, last) : last;
            reach = end - base;
        }
    }
    Index needed(Index n) const { return reach ? stride * (n - 1) + reach : 0; }
};

// The outputs of a phase whose taps all lie inside the axis.
inline Part within(const Axis& axis, const Phase& phase) {
    const Index last = axis.input_size - 1 - (phase.taps - 1) * phase.dilation - phase.offset;
    const Index first = phase.offset < 0 ? ceil_div(-phase.offset, axis.stride) : 0;
    return {first, last < 0 ? first : larger(first, smaller(phase.count, last / axis.stride + 1))};
}

inline Index most_taps(const Axis& axis) {
    Index most = 0;
    for (Index p = 0; p < axis.phases; ++p) most = larger(most, axis.phase[p].taps);
    return most;
}

// Whether the phases of an axis read neighbouring samples, one of them enough of them.
inline bool neighbouring(const Axis& axis, Index least_taps) {
    for (Index p = 0; p < axis.phases; ++p)
        if (axis.phase[p].taps > 1 && axis.phase[p].dilation != 1) return false;
    return axis.stride == 1 && most_taps(axis) >= least_taps;
}

// How the output is cut: parts of each axis, and how many channels are packed at once.
struct Bands {
    Index unit[AXES];     // a band begins at a multiple of it
    bool joined = false;  // whether what is left of a unit goes with the one before it
    Index parts[AXES];
    Index longest[AXES];
    Index channels;

    Index count() const { return parts[0] * parts[1] * parts[2]; }
    Index units(const Span* span, int axis) const {
        const Index outputs = span[axis].outputs;
        return joined ? larger(1, outputs / unit[axis]) : ceil_div(outputs, unit[axis]);
    }
    void cut(const Span* span, int axis, Index size) {
        const Index outputs = span[axis].outputs, all = units(span, axis);
        parts[axis] = ceil_div(all, larger(1, size / unit[axis]));
        const Index left = joined ? outputs % unit[axis] : 0;
        longest[axis] = smaller(outputs, ceil_div(all, parts[axis]) * unit[axis] + left);
    }
    Part stretch(const Span* span, int axis, Index i) const {
        const Part some = part(units(span, axis), parts[axis], i);
        const Index last = i + 1 < parts[axis] ? some.last * unit[axis] : span[axis].outputs;
        return {some.first * unit[axis], last};
    }
};

// Cuts the last axis to `width`, then takes as many lines as fit (a few times `lines`, which belong
// together, at least), and then as many channels. `line_bytes(width)` is a packed line's size.
template <class LineBytes>
Bands cut_bands(const Span* span, Index channels, Index width, Index vector, Index lines,
                LineBytes line_bytes, bool joined = false) {
    Bands bands;
    bands.unit[0] = 1;
    bands.unit[1] = lines;
    bands.unit[2] = vector;
    bands.joined = joined;
    bands.cut(span, 2, width);
    const Index line = line_bytes(bands.longest[2]);
    // Lines and planes in the shape that packs the fewest samples per output sample.
    const Index fitting = larger(1, packed_bytes() / (channels * line));
    double best = 0;
    Index best_lines = larger(lines, LEAST_LINES), best_planes = 1;
    for (Index n = best_lines; n < span[1].outputs + best_lines; n += lines) {
        const Index across = larger(1, span[1].needed(smaller(n, span[1].outputs)));
        const Index deep = fitting / across - span[0].reach;
        const Index down = deep < 0 ? 0 : deep / span[0].stride + 1;
        if (n > best_lines && down < 1) break;
        const Index planes = larger(1, smaller(span[0].outputs, down));
        const double packed = double(across) / double(smaller(n, span[1].outputs)) *
                              double(larger(1, span[0].needed(planes))) / double(planes);
        if (best && packed >= best) continue;
        best = packed;
        best_lines = n;
        best_planes = planes;
    }
    bands.cut(span, 1, best_lines);
    bands.cut(span, 0, best_planes);
    const Index plane = line * larger(1, span[1].needed(bands.longest[1]));
    const Index volume = plane * larger(1, span[0].needed(bands.longest[0]));
    bands.channels = larger(1, smaller(channels, 2 * packed_bytes() / volume));
    return bands;
}

// Halves the bands until there are enough tasks; which band an output is in changes no sum.
inline void cut_for_threads(Bands& bands, const Span* span, Index others, int threads) {
    if (threads < 2) return;
    for (int axis = 0; axis < 2; ++axis) {
        const Index least = axis == 1 ? larger(LEAST_LINES, bands.unit[1]) : 1;
        while (others * bands.count() < TASKS_PER_THREAD * threads &&
               bands.longest[axis] >= 2 * least)
            bands.cut(span, axis, ceil_div(bands.longest[axis], 2));
    }
}

}  // namespace linconv::LINCONV_TARGET
