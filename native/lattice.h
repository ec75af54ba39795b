// Lattice: what all paths share. The phases of a problem, the bands its output is cut into, and the
// input lines that a band reads.
#pragma once

#include "bands.h"
#include "pack.h"

namespace linconv::LINCONV_TARGET {

// One combination of phases, one per axis: its taps, and where its tables begin.
template <class T>
struct Combination {
    const int* offsets = nullptr;  // of taps, in the packed input
    const int* along = nullptr;    // of taps within a packed line
    const T* weights = nullptr;
    Index taps[AXES] = {};
    Index all() const { return taps[0] * taps[1] * taps[2]; }
};

// One task: a band of one image, one group, some of the output channels.
struct Task {
    Part band[AXES];
    Index image, group, part;
};

template <class T>
class Lattice {
public:
    Index tasks() const {
        return problem_.batch * problem_.groups * bands_.count() * channel_parts_;
    }
    // Tables that threads fill together before the tasks begin, where a path has any.
    Index shared_tasks() const { return 0; }
    void share(Index, char*) const {}
    // Whether numbers that are none (NaN, infinity) went where they do not belong.
    bool lost() const { return false; }

protected:
    const Problem<T>& problem_;
    Span span_[AXES];
    Bands bands_;
    Index channel_parts_ = 1;  // the output channels are cut too, where bands are too few
    Combination<T>* combinations_ = nullptr;

    explicit Lattice(const Problem<T>& problem)
        : problem_(problem),
          span_{Span(problem.axis[0]), Span(problem.axis[1]), Span(problem.axis[2])} {}

    Index count_combinations() const {
        return problem_.axis[0].phases * problem_.axis[1].phases * problem_.axis[2].phases;
    }

    // Cuts the tiles of output channels where bands are fewer than threads want; changes no sum.
    void cut_channels(Index tiles, int threads) {
        if (threads > 1) channel_parts_ = smaller(tiles, ceil_div(TASKS_PER_THREAD * threads, tasks()));
    }

    // The table of combinations, at the start of the memory that all threads read, and what is left
    // of that memory, for weights.
    Index table_bytes() const {
        return ceil_div(count_combinations() * Index(sizeof(Combination<T>)), 64) * 64;
    }
    T* enter_combinations(char* memory) {
        combinations_ = reinterpret_cast<Combination<T>*>(memory);
        each_combination([&](Index i, const Phase& d, const Phase& h, const Phase& w) {
            combinations_[i] = {nullptr, nullptr, nullptr, {d.taps, h.taps, w.taps}};
        });
        return reinterpret_cast<T*>(memory + table_bytes());
    }

    // Calls f(i, d, h, w) for every combination of phases.
    template <class F>
    void each_combination(F f) const {
        const Axis* axis = problem_.axis;
        Index i = 0;
        for (Index d = 0; d < axis[0].phases; ++d)
            for (Index h = 0; h < axis[1].phases; ++h)
                for (Index w = 0; w < axis[2].phases; ++w)
                    f(i++, axis[0].phase[d], axis[1].phase[h], axis[2].phase[w]);
    }

    Task decode(Index task) const {
        Task t;
        t.part = task % channel_parts_;
        task /= channel_parts_;
        for (int axis = AXES - 1; axis >= 0; --axis) {
            t.band[axis] = bands_.stretch(span_, axis, task % bands_.parts[axis]);
            task /= bands_.parts[axis];
        }
        t.group = task % problem_.groups;
        t.image = task / problem_.groups;
        return t;
    }

    // The first input sample that a band reads along an axis, and how many from there.
    Index first(const Part* band, int axis) const {
        return span_[axis].base + span_[axis].stride * band[axis].first;
    }
    Index needed(const Part* band, int axis) const {
        return span_[axis].needed(band[axis].last - band[axis].first);
    }

    // Whether no window reads a line: strides longer than windows leave gaps.
    static bool skipped(Index line, const Span& span) {
        return span.stride > span.reach && line % span.stride >= span.reach;
    }

    // Calls f(d, h, line) for the lines of a band, of all planes, from `lines.first` on: its place
    // in the band, and where its samples begin in the channel `x` (null: outside, all zeros).
    template <class F>
    void each_line(const T* x, const Part* band, Part lines, F f) const {
        const Problem<T>& p = problem_;
        for (Index d = 0, n = needed(band, 0); d < n; ++d) {
            if (skipped(d, span_[0])) continue;
            const Index z = first(band, 0) + d;
            for (Index h = lines.first; h < lines.last; ++h) {
                if (skipped(h, span_[1])) continue;
                const Index v = first(band, 1) + h;
                const bool inside = z >= 0 && z < p.axis[0].input_size && v >= 0 &&
                                    v < p.axis[1].input_size;
                f(d, h, inside ? x + z * p.x_axis[0] + v * p.x_axis[1] : nullptr);
            }
        }
    }

    // Whether lines are fetched ahead: those of a single channel, samples side by side, where little
    // is computed with each sample and memory would be waited for. Short ones are packed in no time.
    bool fetches(const Task& task) const {
        return problem_.in_channels == 1 && problem_.x_axis[2] == 1 && needed(task.band, 2) >= 2 * 64;
    }
    // These lines, while so many tiles are computed.
    Ahead lines_ahead(const Task& task, Part lines, Index tiles) const {
        const Problem<T>& p = problem_;
        Index from[AXES], to[AXES];
        for (int axis = 0; axis < AXES; ++axis) {
            const bool is_line = axis == 1;
            const Index start = first(task.band, axis), n = needed(task.band, axis);
            from[axis] = larger(0, start + (is_line ? lines.first : 0));
            to[axis] = smaller(p.axis[axis].input_size,
                               start + (is_line ? smaller(lines.last, n) : n));
            if (from[axis] >= to[axis]) return {};
        }
        const T* x = p.x + task.image * p.x_batch + task.group * p.x_channel +
                     from[0] * p.x_axis[0] + from[1] * p.x_axis[1] + from[2];
        Ahead ahead;
        ahead.at = reinterpret_cast<const char*>(x);
        ahead.bytes = (to[2] - from[2]) * Index(sizeof(T));
        ahead.line = p.x_axis[1] * Index(sizeof(T));
        ahead.lines = to[1] - from[1];
        ahead.plane = p.x_axis[0] * Index(sizeof(T));
        ahead.planes = to[0] - from[0];
        ahead.each = ceil_div(ahead.planes * ahead.lines * ceil_div(ahead.bytes, 64), tiles);
        return ahead;
    }

    // Where tap `t` of a phase lies, counted from the first sample that output 0 reads.
    Index ahead(const Phase& phase, int axis, Index t) const {
        return phase.offset - span_[axis].base + t * phase.dilation;
    }

    // Where all taps of every combination lie, in a band packed by planes, lines and pixels.
    void enter_offsets(int* to, Index plane, Index line, Index pixel) {
        each_combination([&](Index i, const Phase& d, const Phase& h, const Phase& w) {
            combinations_[i].offsets = to;
            for (Index a = 0; a < d.taps; ++a)
                for (Index b = 0; b < h.taps; ++b)
                    for (Index k = 0; k < w.taps; ++k)
                        *to++ = int(ahead(d, 0, a) * plane + ahead(h, 1, b) * line +
                                    ahead(w, 2, k) * pixel);
        });
    }

    // A tap of the kernel: of one group, output and input channel, and of one phase per axis.
    const T* kernel_at(Index group, Index out, Index in, const Phase& d, Index a, const Phase& h,
                       Index b, const Phase& w, Index k) const {
        const Problem<T>& p = problem_;
        return p.kernel + group * p.kernel_group + out * p.kernel_out + in * p.kernel_in +
               (d.first_tap + a * d.tap_step) * p.kernel_axis[0] +
               (h.first_tap + b * h.tap_step) * p.kernel_axis[1] +
               (w.first_tap + k * w.tap_step) * p.kernel_axis[2];
    }
};

}  // namespace linconv::LINCONV_TARGET
