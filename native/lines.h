// Lines: one output channel per group, samples side by side, windows that overlap. Bands of the
// output whose windows lie inside the image are computed from the input where it lies; for others all
// they read is copied first, zeros around. Of a wide image only a frame is copied (kernels.cpp).
#pragma once

#include "lattice.h"
#include "tiles.h"

namespace linconv::LINCONV_TARGET {

template <class T>
class Lines : public Lattice<T> {
    static constexpr int L = Lanes<T>::count;
    static constexpr Index WIDEST_BAND = 2048, LEAST_BAND = 16;  // samples, lines
    static constexpr Index WORTH_A_FRAME = 768;                  // samples
    static constexpr Index WORTH_TALLER = 4 * TALLER;            // lines

    using Lattice<T>::problem_, Lattice<T>::span_, Lattice<T>::bands_, Lattice<T>::combinations_;
    using Lattice<T>::first, Lattice<T>::needed;

    // Distances in samples: of lines, planes and channels, in the input or in a copy.
    struct Pitch {
        Index line = 0, plane = 0, channel = 0;
    };

    bool shared_;        // lines whose windows overlap; if not, one long line
    Index tall_, wide_;  // of a tile: lines, or stretches of one; steps along the width
    Index unit_;         // samples of a step along the width
    Index height_;       // output lines of a tile
    Pitch copy_;         // of the copy of a band, if there is any
    const int* in_copy_ = nullptr;  // where kernels are read in a copy

public:
    // Whether a problem is of this kind, few enough taps for one sum.
    static bool takes(const Problem<T>& p) {
        Index taps = p.in_channels;
        double farthest = double(p.in_channels) * double(size_of(p.x_channel));
        for (const Axis& axis : p.axis) {
            if (axis.phases != 1 || !axis.phase[0].taps) return false;
            taps *= axis.phase[0].taps;
        }
        for (int a = 0; a < AXES; ++a)
            farthest += double(Span(p.axis[a]).reach) * double(size_of(p.x_axis[a]));
        return p.out_channels == 1 && p.axis[2].stride == 1 &&
               p.axis[2].phase[0].step * p.y_axis[2] == 1 && taps <= LONGEST_SUM &&
               farthest < 2e9 && (lines_overlap(p) || neighbouring(p.axis[2], 2 * L));
    }

    // Whether so many outputs lie inside that the rest is better computed by itself.
    static bool worth_a_frame(const Problem<T>& p) {
        const Part planes = within(p.axis[0], p.axis[0].phase[0]), lines = within(p.axis[1], p.axis[1].phase[0]),
                   width = within(p.axis[2], p.axis[2].phase[0]);
        const bool framed = width.last - width.first < p.axis[2].phase[0].count;
        const Index least = framed ? WORTH_A_FRAME : widest_tile(p) * unit(p);
        return p.x_axis[2] == 1 && planes.first < planes.last && width.last - width.first >= least &&
               lines.last - lines.first >= (lines_overlap(p) ? tall(p) : 1);
    }

    Lines(const Problem<T>& problem, int threads) : Lattice<T>(problem) {
        shared_ = lines_overlap(problem);
        tall_ = tall(problem);
        wide_ = widest_tile(problem);
        unit_ = unit(problem);
        height_ = shared_ ? tall_ : 1;
        const Part all[] = {{0, span_[0].outputs}, {0, span_[1].outputs}, {0, span_[2].outputs}};
        if (in_place(all))
            cut_in_place(threads);
        else
            cut_for_copies(threads);
    }

    Index thread_bytes() const {
        const Index slack = tall_ * copy_.line + 2 * ACCUMULATORS * L;  // read by tiles, not used
        return copy_.line ? (problem_.in_channels * copy_.channel + slack) * Index(sizeof(T)) : 0;
    }
    Index shared_bytes() const {
        const Combination<T> c = all_taps();
        const Index kernels = problem_.in_channels * c.taps[0] * c.taps[1];
        return this->table_bytes() + problem_.groups * kernels * c.taps[2] * Index(sizeof(T)) +
               (2 * kernels + larger(L, c.taps[2])) * Index(sizeof(int));
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
        to = fill_offsets(to, {p.x_axis[1], p.x_axis[0], p.x_channel});
        in_copy_ = to;
        to = fill_offsets(to, copy_);
        c.along = to;
        for (Index k = 0; k < larger(L, w.taps); ++k) *to++ = int(k * w.dilation);
    }

    void run(Index number, char* scratch) const {
        const Problem<T>& p = problem_;
        const Task task = this->decode(number);
        const T* x = p.x + task.image * p.x_batch + task.group * p.in_channels * p.x_channel;
        if (in_place(task.band)) {
            for (int axis = 0; axis < AXES; ++axis) x += first(task.band, axis) * p.x_axis[axis];
            return compute(x, {p.x_axis[1], p.x_axis[0], p.x_channel}, combinations_[0].offsets, task);
        }
        T* const copy = reinterpret_cast<T*>(scratch);
        for (Index i = 0; i < p.in_channels; ++i)
            this->each_line(x + i * p.x_channel, task.band, {0, needed(task.band, 1)},
                            [&](Index d, Index h, const T* line) {
                pack_line(copy + i * copy_.channel + d * copy_.plane + h * copy_.line, copy_.line, line,
                          p.x_axis[2], p.axis[2].input_size, first(task.band, 2), 1);
            });
        compute(copy, copy_, in_copy_, task);
    }

private:
    static Index size_of(Index step) { return step < 0 ? -step : step; }
    // Lines of a tile: of the output or, where they do not overlap, stretches of one line. The same
    // for all bands and any number of threads: it sets the order of sums.
    static Index tall(const Problem<T>& p) {
        const Phase &h = p.axis[1].phase[0], &w = p.axis[2].phase[0];
        if (lines_overlap(p)) return h.taps >= LONG && h.count >= WORTH_TALLER ? TALLER : SHARED;
        return w.taps / L >= LONG && w.count >= WORTH_TALLER * L ? TALLER : SHARED;
    }
    static Index widest_tile(const Problem<T>& p) { return ACCUMULATORS / tall(p); }  // in steps
    static Index unit(const Problem<T>& p) { return lines_overlap(p) ? L : tall(p) * L; }
    static bool lines_overlap(const Problem<T>& p) {
        return neighbouring(p.axis[1], 3) && p.axis[1].phase[0].count >= SHARED;
    }
    // Whether a band is computed from the input itself: all its windows lie inside, and whole tiles
    // fit into it, so that nothing beyond is read.
    bool in_place(const Part* band) const {
        for (int axis = 0; axis < AXES; ++axis)
            if (first(band, axis) < 0 ||
                first(band, axis) + needed(band, axis) > problem_.axis[axis].input_size)
                return false;
        return problem_.x_axis[2] == 1 && band[2].last - band[2].first >= wide_ * unit_ &&
               band[1].last - band[1].first >= height_;
    }

    void cut_in_place(int threads) {
        bands_.channels = problem_.in_channels;
        bands_.unit[0] = 1;
        bands_.unit[1] = height_;
        bands_.unit[2] = unit_;
        bands_.joined = true;
        bands_.cut(span_, 2, WIDEST_BAND);
        // Lines such that all planes that a window reads stay in the cache.
        const Index plane = span_[0].reach * problem_.in_channels * bands_.longest[2] * Index(sizeof(T));
        bands_.cut(span_, 1, larger(LEAST_BAND, packed_bytes() / plane - span_[1].reach));
        bands_.cut(span_, 0, span_[0].outputs);
        for (int axis = 1; axis >= 0; --axis)
            while (threads > 1 && this->tasks() < TASKS_PER_THREAD * threads &&
                   bands_.longest[axis] >= 2 * (axis == 1 ? LEAST_BAND : 1))
                bands_.cut(span_, axis, ceil_div(bands_.longest[axis], 2));
    }
    void cut_for_copies(int threads) {
        const Index widest = span_[0].outputs * span_[1].outputs == 1 ? 4096 : 1024;
        bands_ = cut_bands(span_, problem_.in_channels, widest, unit_, height_,
                           [&](Index width) { return copied_line(width) * Index(sizeof(T)); }, true);
        cut_for_threads(bands_, span_, problem_.batch * problem_.groups, threads);
        copy_.line = copied_line(bands_.longest[2]);
        copy_.plane = copy_.line * span_[1].needed(bands_.longest[1]);
        copy_.channel = copy_.plane * span_[0].needed(bands_.longest[0]);
    }
    Index copied_line(Index width) const {
        return odd_lines<T>(ceil_div(width, unit_) * unit_ + span_[2].reach + (shared_ ? 0 : 2 * L));
    }

    int* fill_offsets(int* to, const Pitch& pitch) const {
        const Phase &d = problem_.axis[0].phase[0], &h = problem_.axis[1].phase[0];
        for (Index i = 0; i < problem_.in_channels; ++i)
            for (Index a = 0; a < d.taps; ++a)
                for (Index b = 0; b < (shared_ ? 1 : h.taps); ++b)
                    *to++ = int(i * pitch.channel + a * d.dilation * pitch.plane +
                                b * h.dilation * pitch.line);
        return to;
    }

    Combination<T> all_taps() const {
        const Axis* axis = problem_.axis;
        return {nullptr, nullptr, nullptr,
                {axis[0].phase[0].taps, axis[1].phase[0].taps, axis[2].phase[0].taps}};
    }
    Index target(int axis, Index i) const {
        const Phase& phase = problem_.axis[axis].phase[0];
        return (phase.start + i * phase.step) * problem_.y_axis[axis];
    }

    // A band, from the first sample that it reads on.
    void compute(const T* x, const Pitch& pitch, const int* bases, const Task& task) const {
        const Problem<T>& p = problem_;
        const Combination<T>& c = combinations_[0];
        const Part planes = task.band[0], lines = task.band[1], width = task.band[2];
        Overlapping<T> kernels{bases, p.in_channels * c.taps[0], c.taps[1], c.taps[2], 0, c.along,
                               c.weights + task.group * p.in_channels * c.all()};
        // A long kernel along one line: whole vectors of its taps are as many kernel lines.
        if (!shared_)
            kernels = {bases, p.in_channels * c.taps[0] * c.taps[1], c.taps[2] / L, L,
                       c.taps[2] % L, c.along, kernels.weights};
        T* y = p.y + task.image * p.y_batch + task.group * p.y_channel + target(2, width.first);
        for (Index z = planes.first; z < planes.last; ++z)
            for (Index v = lines.first; v < lines.last; v += height_) {
                // The last lines once more, rather than lines beyond: of the image, for only its last
                // band ends between units.
                const Index line = larger(lines.first, smaller(v, lines.last - height_));
                const T* from = x + (z - planes.first) * span_[0].stride * pitch.plane +
                                (line - lines.first) * span_[1].stride * pitch.line;
                this->line(from, shared_ ? pitch.line : L, kernels, y + target(0, z) + target(1, line),
                           smaller(height_, lines.last - line), width.last - width.first);
            }
    }

    // Some lines over the width of a band. The last tile ends where the band does, if it can: some
    // samples are computed once more. Where the order of a sum depends on the place in a tile, whole
    // steps come first, and that tile is as short as can be: bands then play no part.
    void line(const T* x, Index step, const Overlapping<T>& kernels, T* y, Index lines,
              Index count) const {
        const Index whole = shared_ ? ceil_div(count, unit_) : larger(1, count / unit_);
        const Pieces tiles(whole, wide_);
        for (Index i = 0; i < tiles.parts; ++i) {
            const Index wide = tiles.size(i);
            tile(x, step, kernels, y, lines, count, tiles.first(i) * unit_, wide);
        }
        if (whole * unit_ < count) tile(x, step, kernels, y, lines, count, count - unit_, 1);
    }
    void tile(const T* x, Index step, const Overlapping<T>& kernels, T* y, Index lines, Index count,
              Index at, Index wide) const {
        const Index pitch = problem_.axis[1].phase[0].step * problem_.y_axis[1];
        const Index from = larger(0, smaller(at, count - wide * unit_));
        overlapping_tiles<T>(tall_, wide, !shared_, kernels.taps)(
            x + from, step, kernels, Out<T>{y + from, pitch, count - from, false, lines});
    }
};

}  // namespace linconv::LINCONV_TARGET
