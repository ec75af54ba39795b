// Depthwise: vectors across the channels of a layer whose channels are filtered each by itself,
// channels last. Every pixel of a packed band holds the same block of channels.
#pragma once

#include "pixels.h"

namespace linconv::LINCONV_TARGET {

template <class T>
class Depthwise : public Lattice<T> {
    static constexpr int L = Lanes<T>::count;
    static constexpr Index BLOCK = 4 * L;  // channels that are packed at once

    using Lattice<T>::problem_, Lattice<T>::span_, Lattice<T>::bands_;
    using Lattice<T>::channel_parts_, Lattice<T>::combinations_;
    using Lattice<T>::ahead, Lattice<T>::first, Lattice<T>::needed;

    Index depth_, blocks_, padded_;  // channels: of a block; blocks; all, in whole blocks
    Index line_, plane_;

public:
    Depthwise(const Problem<T>& problem, int threads) : Lattice<T>(problem) {
        blocks_ = ceil_div(problem.groups, BLOCK);
        depth_ = ceil_div(ceil_div(problem.groups, blocks_), L) * L;
        padded_ = blocks_ * depth_;
        const bool alone = span_[0].outputs * span_[1].outputs == 1;
        bands_ = cut_bands(span_, depth_, alone ? 4096 : 512, 1, 1, [&](Index width) {
            return larger(1, span_[2].needed(width)) * Index(sizeof(T));
        });
        cut_for_threads(bands_, span_, problem.batch * blocks_, threads);
        line_ = depth_ * larger(1, span_[2].needed(bands_.longest[2]));
        plane_ = line_ * larger(1, span_[1].needed(bands_.longest[1]));
    }

    Index tasks() const { return problem_.batch * blocks_ * bands_.count(); }
    Index thread_bytes() const {
        return plane_ * larger(1, span_[0].needed(bands_.longest[0])) * sizeof(T);
    }
    Index shared_bytes() const {
        Index bytes = this->table_bytes();
        this->each_combination([&](Index, const Phase& d, const Phase& h, const Phase& w) {
            bytes += d.taps * h.taps * w.taps * (sizeof(int) + padded_ * sizeof(T));
        });
        return bytes;
    }

    void prepare(char* memory) {
        T* weights = this->enter_combinations(memory);
        this->each_combination([&](Index i, const Phase& d, const Phase& h, const Phase& w) {
            combinations_[i].weights = weights;
            for (Index a = 0; a < d.taps; ++a)
                for (Index b = 0; b < h.taps; ++b)
                    for (Index k = 0; k < w.taps; ++k, weights += padded_)
                        for (Index c = 0; c < padded_; ++c)
                            weights[c] = c < problem_.groups
                                             ? *this->kernel_at(c, 0, 0, d, a, h, b, w, k)
                                             : T(0);
        });
        this->enter_offsets(reinterpret_cast<int*>(weights), plane_, line_, depth_);
    }

    void run(Index number, char* scratch) const {
        const Problem<T>& p = problem_;
        const Task task = this->decode(number, blocks_);
        T* packed = reinterpret_cast<T*>(scratch);
        const Index channel = task.group * depth_;
        const Index there = smaller(depth_, p.groups - channel);
        const T* x = p.x + task.image * p.x_batch + channel * p.x_channel;
        const Index start = first(task.band, 2), count = needed(task.band, 2);
        this->each_line(x, task.band, {0, needed(task.band, 1)},
                            [&](Index d, Index h, const T* line) {
            pack_pixels(packed + d * plane_ + h * line_, depth_, count, there, line, p.x_channel,
                        p.x_axis[2], p.axis[2].input_size, start);
        });
        this->each_combination([&](Index i, const Phase& d, const Phase& h, const Phase& w) {
            compute(packed, task, channel, there, d, h, w, combinations_[i]);
        });
    }

private:
    void compute(const T* packed, const Task& task, Index channel, Index there, const Phase& d,
                 const Phase& h, const Phase& w, const Combination<T>& c) const {
        const Problem<T>& p = problem_;
        const Part* band = task.band;
        const Index count = smaller(band[2].last, w.count) - band[2].first;
        for (Index z = band[0].first; z < smaller(band[0].last, d.count); ++z)
            for (Index v = band[1].first; v < smaller(band[1].last, h.count); ++v) {
                const T* x = packed + (z - band[0].first) * span_[0].stride * plane_ +
                             (v - band[1].first) * span_[1].stride * line_;
                T* y = p.y + task.image * p.y_batch + channel * p.y_channel +
                       (d.start + z * d.step) * p.y_axis[0] +
                       (h.start + v * h.step) * p.y_axis[1] +
                       (w.start + band[2].first * w.step) * p.y_axis[2];
                for (Index k = 0; k < there; k += 2 * L)
                    line(x + k, c, channel + k, count,
                         {y + k, w.step * p.y_axis[2], there - k, false});
            }
    }

    // One line of two vectors of channels (or of one, the last).
    void line(const T* x, const Combination<T>& c, Index channel, Index count, Out<T> out) const {
        const int wide = out.count > L ? 2 : 1;
        const Index most = wide == 1 ? ACCUMULATORS : ACCUMULATORS / 2;
        const Index tiles = ceil_div(count, most), taps = c.all();
        const Index runs = larger(1, ceil_div(taps, LONGEST_SUM));
        const Index step = span_[2].stride * depth_;
        for (Index r = 0; r < runs; ++r, out.add = true) {
            const Part run = part(taps, runs, r);
            for (Index i = 0; i < tiles; ++i) {
                const Part pixels = part(count, tiles, i);
                depthwise_tiles<T>(pixels.last - pixels.first, wide)(
                    x + pixels.first * step, step, c.offsets + run.first, run.last - run.first,
                    c.weights + run.first * padded_ + channel, padded_,
                    {out.y + pixels.first * out.pitch, out.pitch, out.count, out.add});
            }
        }
    }
};

}  // namespace linconv::LINCONV_TARGET
