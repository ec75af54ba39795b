// Depthwise: vectors across the channels of a layer whose channels are filtered each by itself,
// channels last, at least a vector of them. Nothing is packed: samples are read where they lie, and
// taps outside the image are left out.
#pragma once

#include "lattice.h"
#include "tiles.h"

namespace linconv::LINCONV_TARGET {

template <class T>
class Depthwise : public Lattice<T> {
    static constexpr int L = Lanes<T>::count;
    static constexpr Index LINES = 8;                           // of a task
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
        for (Index i = lines.first; i < lines.last; ++i) {
            const Index z = i / span_[1].outputs, v = i % span_[1].outputs;
            this->each_combination([&](Index c, const Phase& d, const Phase& h, const Phase& w) {
                if (z < d.count && v < h.count) line(image, z, v, d, h, w, combinations_[c]);
            });
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

    // The taps of a phase that lie inside the axis for its output `i`.
    Part inside(int axis, const Phase& phase, Index i) const {
        const Index at = phase.offset + i * span_[axis].stride;
        const Index size = problem_.axis[axis].input_size;
        const Index low = at < 0 ? ceil_div(-at, phase.dilation) : 0;
        const Index high = at < size ? (size - 1 - at) / phase.dilation + 1 : 0;
        return {smaller(low, phase.taps), larger(0, smaller(phase.taps, high))};
    }

    void line(Index image, Index z, Index v, const Phase& d, const Phase& h, const Phase& w,
              const Combination<T>& c) const {
        const Problem<T>& p = problem_;
        const Index stride = span_[2].stride, size = p.axis[2].input_size;
        const Index ends = w.offset + (w.taps - 1) * w.dilation;  // sample of the last tap, output 0
        const T* x = p.x + image * p.x_batch + span_[2].base * p.x_axis[2] +
                     (span_[0].base + z * span_[0].stride) * p.x_axis[0] +
                     (span_[1].base + v * span_[1].stride) * p.x_axis[1];
        T* y = p.y + image * p.y_batch + (d.start + z * d.step) * p.y_axis[0] +
               (h.start + v * h.step) * p.y_axis[1] + w.start * p.y_axis[2];
        const Part planes = inside(0, d, z), lines = inside(1, h, v);
        // Pixels whose taps along the line all lie inside stand together; the others one by one.
        const Index first = w.offset < 0 ? smaller(w.count, ceil_div(-w.offset, stride)) : 0;
        const Index last = ends < size ? smaller(w.count, (size - 1 - ends) / stride + 1) : 0;
        for (Index i = 0; i < w.count;) {
            const bool whole = i >= first && i < last;
            const Index pixels = whole ? smaller(ACCUMULATORS / 2, last - i) : 1;
            pixels_of(x + i * stride * p.x_axis[2], y + i * w.step * p.y_axis[2], pixels,
                      w.step * p.y_axis[2], c, planes, lines, inside(2, w, i));
            i += pixels;
        }
    }

    // Some pixels with the same taps, all channels: two vectors of them at a time. The last vectors
    // reach back over channels that are done, and do them again.
    void pixels_of(const T* x, T* y, Index pixels, Index y_step, const Combination<T>& c, Part planes,
                   Part lines, Part taps) const {
        const Index channels = problem_.groups, wide = channels >= 2 * L ? 2 : 1;
        const Index whole = channels / (wide * L) * wide * L, rest = channels - whole;
        some_channels(x, y, pixels, y_step, c, planes, lines, taps, wide, {0, whole});
        if (!rest) return;
        const Index left = wide == 2 && rest > L ? 2 : 1;
        some_channels(x, y, pixels, y_step, c, planes, lines, taps, left,
                      {channels - left * L, channels});
    }
    void some_channels(const T* x, T* y, Index pixels, Index y_step, const Combination<T>& c,
                       Part planes, Part lines, Part taps, Index wide, Part channels) const {
        const Problem<T>& p = problem_;
        const auto tile = depthwise_tiles<T>(pixels, wide);
        Depths<T> depths{x,        span_[2].stride * p.x_axis[2], nullptr, 0, c.weights, p.groups, y,
                         y_step, nullptr,                       false,   false};
        if (planes.first >= planes.last || lines.first >= lines.last || taps.first >= taps.last)
            return tile(depths, channels.first, channels.last);
        // What the next line reads from memory: the line below the last.
        const Index last = ((planes.last - 1) * c.taps[1] + lines.last - 1) * c.taps[2] + taps.last - 1;
        depths.next = x + c.offsets[last] + span_[1].stride * p.x_axis[1];
        depths.stream = streams_ && planes.last - planes.first == 1 && in_one_run(c, lines, taps);
        each_run(c, planes, lines, taps, [&](Part run) {
            depths.offsets = c.offsets + run.first;
            depths.taps = run.last - run.first;
            depths.weights = c.weights + run.first * p.groups;
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
