// Inner: outputs whose windows lie inside the image, computed from the input where it lies. No sample
// is copied; what is left of the output, a frame around them, is a few small problems for other paths.
// For one output channel per group, samples side by side, windows that overlap.
#pragma once

#include "lattice.h"
#include "tiles.h"

namespace linconv::LINCONV_TARGET {

template <class T>
class Inner : public Lattice<T> {
    static constexpr int L = Lanes<T>::count;
    static constexpr Index WIDEST_BAND = 2048, LEAST_BAND = 4 * SHARED;  // samples, lines
    static constexpr Index WIDE = ACCUMULATORS / SHARED;                 // steps of a tile
    static constexpr Index WORTH_A_FRAME = 768;                          // samples

    using Lattice<T>::problem_, Lattice<T>::span_, Lattice<T>::bands_, Lattice<T>::combinations_;

    bool shared_;  // lines whose windows overlap; if not, one long line
    Index unit_;   // samples of a step along the width

public:
    // The outputs of an axis whose windows lie inside.
    static Part within(const Axis& axis) {
        const Phase& p = axis.phase[0];
        const Index last = axis.input_size - 1 - (p.taps - 1) * p.dilation - p.offset;
        const Index first = p.offset < 0 ? ceil_div(-p.offset, axis.stride) : 0;
        return {first, last < 0 ? first : larger(first, smaller(p.count, last / axis.stride + 1))};
    }

    // Whether the inner part of a problem is worth it, and can be computed here.
    static bool takes(const Problem<T>& p) {
        Index taps = p.in_channels;
        double farthest = double(p.in_channels) * double(size_of(p.x_channel));
        Index outputs[AXES];
        for (int a = 0; a < AXES; ++a) {
            const Axis& axis = p.axis[a];
            if (axis.phases != 1 || !axis.phase[0].taps) return false;
            taps *= axis.phase[0].taps;
            farthest += double(Span(axis).reach) * double(size_of(p.x_axis[a]));
            const Part in = within(axis);
            outputs[a] = in.last - in.first;
        }
        const bool framed = outputs[2] < p.axis[2].phase[0].count;
        const bool shared = lines_overlap(p, outputs[1]);
        return p.out_channels == 1 && p.x_axis[2] == 1 && p.axis[2].stride == 1 &&
               p.axis[2].phase[0].step * p.y_axis[2] == 1 && taps <= LONGEST_SUM &&
               farthest < 2e9 && outputs[0] > 0 && outputs[1] > 0 &&
               outputs[2] >= (framed ? WORTH_A_FRAME : WIDE * unit(shared)) &&
               (shared || neighbouring(p.axis[2], 2 * L));
    }

    Inner(const Problem<T>& problem, int threads) : Lattice<T>(problem) {
        shared_ = lines_overlap(problem, span_[1].outputs);
        unit_ = unit(shared_);
        bands_.channels = problem.in_channels;
        bands_.unit[0] = 1;
        bands_.unit[1] = shared_ ? SHARED : 1;
        bands_.unit[2] = unit_;
        bands_.cut(span_, 2, WIDEST_BAND);
        // Lines such that all planes that a window reads stay in the cache.
        const Index plane = span_[0].reach * problem.in_channels * bands_.longest[2] * Index(sizeof(T));
        bands_.cut(span_, 1, larger(LEAST_BAND, PACKED_BYTES / plane - span_[1].reach));
        bands_.cut(span_, 0, span_[0].outputs);
        for (int axis = 1; axis >= 0; --axis)
            while (threads > 1 && this->tasks() < TASKS_PER_THREAD * threads &&
                   bands_.longest[axis] >= 2 * (axis == 1 ? LEAST_BAND : 1))
                bands_.cut(span_, axis, ceil_div(bands_.longest[axis], 2));
    }

    Index thread_bytes() const { return 0; }
    Index shared_bytes() const {
        const Combination<T> c = all_taps();
        const Index kernels = problem_.in_channels * c.taps[0] * c.taps[1];
        return this->table_bytes() + problem_.groups * kernels * c.taps[2] * Index(sizeof(T)) +
               (kernels + larger(L, c.taps[2])) * Index(sizeof(int));
    }

    // Weights as they lie in the kernel, line by line, and where each line is read.
    void prepare(char* memory) {
        const Problem<T>& p = problem_;
        T* weights = this->enter_combinations(memory);
        Combination<T>& c = combinations_[0];
        c.weights = weights;
        const Phase &d = p.axis[0].phase[0], &h = p.axis[1].phase[0], &w = p.axis[2].phase[0];
        for (Index g = 0; g < p.groups; ++g)
            for (Index i = 0; i < p.in_channels; ++i)
                for (Index a = 0; a < d.taps; ++a)
                    for (Index b = 0; b < h.taps; ++b)
                        for (Index k = 0; k < w.taps; ++k)
                            *weights++ = *this->kernel_at(g, 0, i, d, a, h, b, w, k);
        int* to = reinterpret_cast<int*>(weights);
        c.offsets = to;
        for (Index i = 0; i < p.in_channels; ++i)
            for (Index a = 0; a < d.taps; ++a)
                for (Index b = 0; b < (shared_ ? 1 : h.taps); ++b)
                    *to++ = int(i * p.x_channel + a * d.dilation * p.x_axis[0] +
                                b * h.dilation * p.x_axis[1]);
        c.along = to;
        for (Index k = 0; k < larger(L, w.taps); ++k) *to++ = int(k * w.dilation);
    }

    void run(Index number, char*) const {
        const Problem<T>& p = problem_;
        const Task task = this->decode(number);
        const Combination<T>& c = combinations_[0];
        const Part lines = task.band[1], width = task.band[2];
        const Index height = shared_ ? SHARED : 1, all = p.in_channels * c.all();
        Overlapping<T> kernels{c.offsets, p.in_channels * c.taps[0], c.taps[1], c.taps[2], 0, c.along,
                               c.weights + task.group * all};
        // A long kernel along one line: whole vectors of its taps are as many kernel lines.
        if (!shared_)
            kernels = {c.offsets, p.in_channels * c.taps[0] * c.taps[1], c.taps[2] / L, L,
                       c.taps[2] % L, c.along, kernels.weights};
        const T* x = p.x + task.image * p.x_batch + task.group * p.in_channels * p.x_channel +
                     span_[2].base + width.first;
        T* y = p.y + task.image * p.y_batch + task.group * p.y_channel +
               p.axis[2].phase[0].start * p.y_axis[2] + width.first;
        for (Index z = task.band[0].first; z < task.band[0].last; ++z)
            for (Index v = lines.first; v < lines.last; v += height) {
                const Index line = smaller(v, lines.last - height);  // the last ones once more
                this->line(x + this->sample(0, z) + this->sample(1, line), kernels,
                           y + this->target(0, z) + this->target(1, line), width.last - width.first);
            }
    }

private:
    static Index size_of(Index step) { return step < 0 ? -step : step; }
    static Index unit(bool shared) { return shared ? L : SHARED * L; }
    static bool lines_overlap(const Problem<T>& p, Index outputs) {
        return neighbouring(p.axis[1], 3) && outputs >= SHARED;
    }
    Combination<T> all_taps() const {
        const Axis* axis = problem_.axis;
        return {nullptr, nullptr, nullptr,
                {axis[0].phase[0].taps, axis[1].phase[0].taps, axis[2].phase[0].taps}};
    }
    // Where output `i` of an axis begins to read, and where it is written.
    Index sample(int axis, Index i) const {
        return (span_[axis].base + i * span_[axis].stride) * problem_.x_axis[axis];
    }
    Index target(int axis, Index i) const {
        const Phase& phase = problem_.axis[axis].phase[0];
        return (phase.start + i * phase.step) * problem_.y_axis[axis];
    }

    // Some lines over the width of a band. The last tile ends where the band does: it reads nothing
    // beyond, and some samples are computed once more.
    void line(const T* x, const Overlapping<T>& kernels, T* y, Index count) const {
        const Index step = shared_ ? problem_.x_axis[1] : L;
        const Index pitch = problem_.axis[1].phase[0].step * problem_.y_axis[1];
        const Pieces tiles(ceil_div(count, unit_), WIDE);
        for (Index i = 0, at = 0; i < tiles.parts; ++i) {
            const Index wide = tiles.size(i), from = smaller(at, count - wide * unit_);
            overlapping_tiles<T>(wide, !shared_, kernels.taps)(
                x + from, step, kernels, Out<T>{y + from, pitch, wide * unit_, false, SHARED});
            at += wide * unit_;
        }
    }
};

}  // namespace linconv::LINCONV_TARGET
