// Depthwise: vectors across the channels of a layer whose channels are filtered each by itself,
// channels last, at least a vector of them. Nothing is packed: samples are read where they lie, and
// taps outside the image are left out.
#pragma once

#include "depthwise_tiles.h"
#include "lattice.h"

namespace linconv::LINCONV_TARGET {

template <class T>
class Depthwise : public Lattice<T> {
    static constexpr int L = Lanes<T>::count;
    static constexpr Index LINES = 64;                         // of a task
    static constexpr double STREAMED_BYTES = double(8 << 20);  // of a result, at least

    using Lattice<T>::problem_, Lattice<T>::span_, Lattice<T>::combinations_;

    bool streams_;         // whether the output is written past the caches
    Index lines_, parts_;  // output lines of an image (of the longest phases), and their parts

public:
    static bool takes(const Problem<T>& p) {
        double farthest = 0;  // tap from the first, in samples: the tables hold 32 bits
        for (int axis = 0; axis < AXES; ++axis)
            farthest += double(Span(p.axis[axis]).reach) *
                        double(p.x_axis[axis] < 0 ? -p.x_axis[axis] : p.x_axis[axis]);
        return p.in_channels == 1 && p.out_channels == 1 && p.groups >= L && p.x_channel == 1 &&
               p.y_channel == 1 && farthest < 2e9;
    }

    Depthwise(const Problem<T>& problem, int threads) : Lattice<T>(problem) {
        lines_ = span_[0].outputs * span_[1].outputs;
        const Index wanted = ceil_div(TASKS_PER_THREAD * threads, problem.batch);
        parts_ = smaller(lines_, larger(wanted, ceil_div(lines_, LINES)));
        streams_ = streams(problem);
    }

    Index tasks() const { return problem_.batch * parts_; }
    Index thread_bytes() const { return 0; }
    Index shared_bytes() const {
        Index bytes = this->table_bytes();
        this->each_combination([&](Index, const Phase& d, const Phase& h, const Phase& w) {
            bytes += d.taps * h.taps * w.taps * (sizeof(int) + problem_.groups * sizeof(T));
        });
        return bytes;
    }

    // The weights of each tap, all channels; where it lies, in the image itself.
    void prepare(char* memory) {
        const Problem<T>& p = problem_;
        T* weights = this->enter_combinations(memory);
        this->each_combination([&](Index i, const Phase& d, const Phase& h, const Phase& w) {
            combinations_[i].weights = weights;
            for (Index a = 0; a < d.taps; ++a)
                for (Index b = 0; b < h.taps; ++b)
                    for (Index k = 0; k < w.taps; ++k, weights += p.groups)
                        for (Index c = 0; c < p.groups; ++c)
                            weights[c] = *this->kernel_at(c, 0, 0, d, a, h, b, w, k);
        });
        this->enter_offsets(reinterpret_cast<int*>(weights), p.x_axis[0], p.x_axis[1], p.x_axis[2]);
    }

    void run(Index task, char*) const {
        const Index image = task / parts_;
        const Part lines = part(lines_, parts_, task % parts_);
        for (Index i = lines.first; i < lines.last;) {
            const Index z = i / span_[1].outputs, v = i % span_[1].outputs;
            // All of this plane or, where other phases read the same lines, a few for each in turn.
            const Index some = this->count_combinations() > 1 ? BLOCK : span_[1].outputs;
            const Index last = smaller(smaller(v + some, span_[1].outputs), v + lines.last - i);
            this->each_combination([&](Index c, const Phase& d, const Phase& h, const Phase& w) {
                if (z < d.count)
                    plane(Plane{image, z, d, h, w, combinations_[c]}, {v, smaller(last, h.count)});
            });
            i += last - v;
        }
        if (streams_) streamed();
    }

private:
    // Results that will not fit the caches, all their vectors at multiples of a vector's size.
    static bool streams(const Problem<T>& p) {
        Index all = p.y_batch | Index(reinterpret_cast<std::uintptr_t>(p.y) / sizeof(T));
        double samples = double(p.batch) * double(p.groups);
        for (int axis = 0; axis < AXES; ++axis) {
            all |= p.y_axis[axis];
            samples *= double(Span(p.axis[axis]).outputs) * double(p.axis[axis].phases);
        }
        return all % L == 0 && p.groups % L == 0 && samples * sizeof(T) >= STREAMED_BYTES;
    }

    // One output plane of an image, in one combination of phases.
    struct Plane {
        Index image, z;
        const Phase &d, &h, &w;
        const Combination<T>& c;
    };

    // The taps of a phase that lie inside the axis for its output `i`.
    Part inside(int axis, const Phase& phase, Index i) const {
        const Index at = phase.offset + i * span_[axis].stride;
        const Index size = problem_.axis[axis].input_size;
        const Index low = at < 0 ? ceil_div(-at, phase.dilation) : 0;
        const Index high = at < size ? (size - 1 - at) / phase.dilation + 1 : 0;
        return {smaller(low, phase.taps), larger(0, smaller(phase.taps, high))};
    }

    void plane(const Plane& p, Part lines) const {
        const bool square = p.h.taps == p.w.taps && p.h.dilation == span_[1].stride &&
                            p.w.dilation == span_[2].stride;
        const DepthwiseTile<T> tile = square ? depthwise_blocks<T>(p.w.taps) : nullptr;
        const Part high = within(problem_.axis[1], p.h), wide = within(problem_.axis[2], p.w);
        const Index last = smaller(lines.last, high.last);
        const Part planes = inside(0, p.d, p.z);
        const bool blocks = tile && planes.first < planes.last && wide.last - wide.first >= PIXELS &&
                            last - larger(lines.first, high.first) >= BLOCK;
        for (Index v = lines.first; v < lines.last;) {
            if (!blocks || v < high.first || v >= last) {
                line(p, v++, {0, p.w.count});
                continue;
            }
            const Index from = smaller(v, last - BLOCK);  // the last lines once more, rather than few
            for (; v < from + BLOCK; ++v) {
                line(p, v, {0, wide.first});
                line(p, v, {wide.last, p.w.count});
            }
            block(p, tile, from, wide);
        }
    }

    // What the tables' offsets of an output sample begin from, and where it is written.
    const T* source(const Plane& p, Index v, Index i) const {
        const Index at[] = {p.z, v, i};
        const T* x = problem_.x + p.image * problem_.x_batch;
        for (int axis = 0; axis < AXES; ++axis)
            x += (span_[axis].base + at[axis] * span_[axis].stride) * problem_.x_axis[axis];
        return x;
    }
    T* target(const Plane& p, Index v, Index i) const {
        return problem_.y + p.image * problem_.y_batch +
               (p.d.start + p.z * p.d.step) * problem_.y_axis[0] +
               (p.h.start + v * p.h.step) * problem_.y_axis[1] +
               (p.w.start + i * p.w.step) * problem_.y_axis[2];
    }

    // Pixels of a line. Those whose taps along it all lie inside stand together, others one by one.
    void line(const Plane& p, Index v, Part pixels) const {
        const Part together = within(problem_.axis[2], p.w);
        const Part planes = inside(0, p.d, p.z), lines = inside(1, p.h, v);
        for (Index i = pixels.first; i < pixels.last;) {
            const bool some = i >= together.first && i < together.last;
            const Index count =
                some ? smaller(ACCUMULATORS / 2, smaller(together.last, pixels.last) - i) : 1;
            const Window window{planes, lines, inside(2, p.w, i)};
            const Index wide = problem_.groups >= 2 * L ? 2 : 1;
            all_channels(depths(p, v, i), window, p.c, 1, wide,
                         [&](Index vectors) { return depthwise_tiles<T>(count, vectors); });
            i += count;
        }
    }

    // BLOCK lines, the pixels whose taps all lie inside.
    void block(const Plane& p, DepthwiseTile<T> tile, Index v, Part pixels) const {
        const Window window{inside(0, p.d, p.z), {0, p.h.taps}, {0, p.w.taps}};
        for (Index i = pixels.first; i < pixels.last; i += PIXELS) {
            const Index from = smaller(i, pixels.last - PIXELS);
            all_channels(depths(p, v, from), window, p.c, BLOCK, 1,
                         [&](Index) { return tile; });
        }
    }

    Depths<T> depths(const Plane& p, Index v, Index i) const {
        Depths<T> made{};
        made.x = source(p, v, i);
        made.step = span_[2].stride * problem_.x_axis[2];
        made.line = span_[1].stride * problem_.x_axis[1];
        made.weights = p.c.weights;
        made.channels = problem_.groups;
        made.y = target(p, v, i);
        made.y_step = p.w.step * problem_.y_axis[2];
        made.y_line = p.h.step * problem_.y_axis[1];
        return made;
    }

    // The taps that some pixels read.
    struct Window {
        Part planes, lines, taps;
    };

    // All channels of `tall` lines, `wide` vectors of them at a time. The last vectors reach back over
    // channels that are done, and do them again.
    template <class Tiles>
    void all_channels(const Depths<T>& depths, const Window& window, const Combination<T>& c,
                      Index tall, Index wide, Tiles tiles) const {
        const Index channels = problem_.groups;
        const Index whole = channels / (wide * L) * wide * L, rest = channels - whole;
        some_channels(depths, window, c, tall, tiles(wide), {0, whole});
        if (!rest) return;
        const Index left = smaller(wide, ceil_div(rest, L));
        some_channels(depths, window, c, tall, tiles(left), {channels - left * L, channels});
    }
    void some_channels(Depths<T> depths, const Window& window, const Combination<T>& c, Index tall,
                       DepthwiseTile<T> tile, Part channels) const {
        const Part planes = window.planes, lines = window.lines, taps = window.taps;
        if (planes.first >= planes.last || lines.first >= lines.last || taps.first >= taps.last)
            return tile(depths, channels.first, channels.last);
        const T* const x = depths.x;
        // What the next tile reads from memory: as many lines below the last as this one has.
        const Index last = ((planes.last - 1) * c.taps[1] + lines.last - 1) * c.taps[2] + taps.last - 1;
        depths.next = x + c.offsets[last] + tall * depths.line;
        depths.stream = streams_ && planes.last - planes.first == 1 && in_one_run(c, lines, taps);
        each_run(c, planes, lines, taps, [&](Part run) {
            depths.x = x;
            depths.offsets = c.offsets + run.first;
            depths.taps = run.last - run.first;
            depths.weights = c.weights + run.first * problem_.groups;
            tile(depths, channels.first, channels.last);
            depths.add = true;
            depths.next = nullptr;
        });
    }

    // Whether the taps of a plane stand together in the tables, few enough for one sum.
    static bool in_one_run(const Combination<T>& c, Part lines, Part taps) {
        return taps.last - taps.first == c.taps[2] &&
               (lines.last - lines.first) * c.taps[2] <= LONGEST_SUM;
    }

    // Calls f with stretches of taps that stand together in the tables.
    template <class F>
    void each_run(const Combination<T>& c, Part planes, Part lines, Part taps, F f) const {
        const Index along = c.taps[2];
        const bool whole = in_one_run(c, lines, taps);
        for (Index a = planes.first; a < planes.last; ++a) {
            const Index plane = a * c.taps[1];
            if (whole) {
                f(Part{(plane + lines.first) * along, (plane + lines.last) * along});
                continue;
            }
            const Index runs = ceil_div(taps.last - taps.first, LONGEST_SUM);
            for (Index b = lines.first; b < lines.last; ++b)
                for (Index r = 0; r < runs; ++r) {
                    const Part run = part(taps.last - taps.first, runs, r);
                    const Index from = (plane + b) * along + taps.first;
                    f(Part{from + run.first, from + run.last});
                }
        }
    }
};

}  // namespace linconv::LINCONV_TARGET
