// Pixels: vectors across output channels. A band of the input is first copied so that the channels
// of a pixel lie together, zeros around; every sample is then multiplied with a vector of weights.
// Any layout; at home with many channels, channels last most of all.
#pragma once

#include "lattice.h"
#include "tiles.h"

namespace linconv::LINCONV_TARGET {

template <class T>
class Pixels : public Lattice<T> {
    static constexpr int L = Lanes<T>::count;

    using Lattice<T>::problem_, Lattice<T>::span_, Lattice<T>::bands_;
    using Lattice<T>::channel_parts_, Lattice<T>::combinations_;
    using Lattice<T>::ahead, Lattice<T>::first, Lattice<T>::needed;

    Index depth_, line_, plane_;  // samples: a packed pixel, a line, a plane
    Index vectors_, tiles_;       // that the output channels of a group take
    bool waits_;                  // whether a finished line waits to be turned

public:
    Pixels(const Problem<T>& problem, int threads) : Lattice<T>(problem) {
        const bool alone = span_[0].outputs * span_[1].outputs == 1;
        bands_ = cut_bands(span_, problem.in_channels, alone ? 4096 : 512, 1, 1, [&](Index width) {
            return larger(1, span_[2].needed(width)) * Index(sizeof(T));
        });
        bands_.channels = smaller(bands_.channels, LONGEST_SUM);
        vectors_ = ceil_div(problem.out_channels, L);
        tiles_ = ceil_div(vectors_, 2);
        cut_for_threads(bands_, span_, problem.batch * problem.groups, threads);
        this->cut_channels(tiles_, threads);
        depth_ = bands_.channels;
        line_ = depth_ * larger(1, span_[2].needed(bands_.longest[2]));
        plane_ = line_ * larger(1, span_[1].needed(bands_.longest[1]));
        waits_ = problem.y_channel != 1;
    }

    Index thread_bytes() const {
        return (packed_samples() + (waits_ ? bands_.longest[2] * 2 * L : 0)) * sizeof(T);
    }
    Index shared_bytes() const {
        Index bytes = this->table_bytes();
        this->each_combination([&](Index, const Phase& d, const Phase& h, const Phase& w) {
            const Index taps = d.taps * h.taps * w.taps;
            bytes += taps * sizeof(int);
            bytes += problem_.groups * vectors_ * L * problem_.in_channels * taps * sizeof(T);
        });
        return bytes;
    }

    void prepare(char* memory) {
        T* weights = this->enter_combinations(memory);
        this->each_combination([&](Index i, const Phase& d, const Phase& h, const Phase& w) {
            combinations_[i].weights = weights;
            weights += problem_.groups * vectors_ * L * problem_.in_channels * d.taps * h.taps * w.taps;
        });
        this->enter_offsets(reinterpret_cast<int*>(weights), plane_, line_, depth_);
    }
    Index shared_tasks() const { return problem_.groups * tiles_; }
    void share(Index number, char*) const {
        this->each_combination([&](Index i, const Phase& d, const Phase& h, const Phase& w) {
            fill_weights(combinations_[i], number / tiles_, number % tiles_, d, h, w);
        });
    }

    void run(Index number, char* scratch) const {
        const Problem<T>& p = problem_;
        const Task task = this->decode(number);
        T* packed = reinterpret_cast<T*>(scratch);
        T* waiting = packed + packed_samples();
        const Part chosen = part(tiles_, channel_parts_, task.part);
        const T* x = p.x + task.image * p.x_batch + task.group * p.in_channels * p.x_channel;
        for (Index c = 0; c < p.in_channels; c += depth_) {
            const Part channels{c, smaller(p.in_channels, c + depth_)};
            const Index start = first(task.band, 2), count = needed(task.band, 2);
            this->each_line(x + c * p.x_channel, task.band, {0, needed(task.band, 1)},
                            [&](Index d, Index h, const T* line) {
                pack_pixels(packed + d * plane_ + h * line_, depth_, count,
                            channels.last - channels.first, line, p.x_channel, p.x_axis[2],
                            p.axis[2].input_size, start);
            });
            this->each_combination([&](Index i, const Phase& d, const Phase& h, const Phase& w) {
                for (Index t = chosen.first; t < chosen.last; ++t)
                    compute(packed, waiting, task, channels, d, h, w, combinations_[i], t);
            });
        }
    }

private:
    Index packed_samples() const { return plane_ * larger(1, span_[0].needed(bands_.longest[0])); }

    // Where the weights of a group and a tile of output channels begin.
    Index weights_of(const Combination<T>& c, Index group, Index tile) const {
        const Index vectors = group * vectors_ + part(vectors_, tiles_, tile).first;
        return vectors * L * problem_.in_channels * c.all();
    }
    // Per group and tile: all taps of a block of input channels, then the next block; the weights of
    // a tile lie together as whole vectors.
    void fill_weights(const Combination<T>& c, Index g, Index t, const Phase& d, const Phase& h,
                      const Phase& w) const {
        const Problem<T>& p = problem_;
        T* to = const_cast<T*>(c.weights) + weights_of(c, g, t);
        const Part vectors = part(vectors_, tiles_, t);
        const Index from = vectors.first * L, width = (vectors.last - vectors.first) * L;
        const Index there = smaller(width, p.out_channels - from);
        for (Index block = 0; block < p.in_channels; block += depth_)
            for (Index a = 0; a < d.taps; ++a)
                for (Index b = 0; b < h.taps; ++b)
                    for (Index k = 0; k < w.taps; ++k)
                        for (Index i = block; i < smaller(p.in_channels, block + depth_);
                             ++i, to += width) {
                            const T* kernel = this->kernel_at(g, from, i, d, a, h, b, w, k);
                            for (Index o = 0; o < there; ++o) to[o] = kernel[o * p.kernel_out];
                            for (Index o = there; o < width; ++o) to[o] = T(0);
                        }
    }

    // All lines of one band, one combination of phases and one tile of output channels.
    void compute(const T* packed, T* waiting, const Task& task, Part channels, const Phase& d,
                 const Phase& h, const Phase& w, const Combination<T>& c, Index tile) const {
        const Problem<T>& p = problem_;
        const Part* band = task.band;
        const Index count = smaller(band[2].last, w.count) - band[2].first;
        if (count <= 0) return;
        const Part vectors = part(vectors_, tiles_, tile);
        const Index width = (vectors.last - vectors.first) * L, taps = c.all();
        const T* weights =
            c.weights + weights_of(c, task.group, tile) + channels.first * taps * width;
        const Index outs = smaller(width, p.out_channels - vectors.first * L);
        const bool add = channels.first > 0;
        const Index step = w.step * p.y_axis[2];
        const Index n = channels.last - channels.first;
        // A run of taps at a time: its weights stay in the first cache for all lines of the band,
        // or, where lines wait to be turned, for one.
        const Index runs = taps ? smaller(taps, ceil_div(taps * n, LONGEST_SUM)) : 1;
        const auto input = [&](Index z, Index v) {
            return packed + (z - band[0].first) * span_[0].stride * plane_ +
                   (v - band[1].first) * span_[1].stride * line_;
        };
        const auto output = [&](Index z, Index v) {
            return p.y + task.image * p.y_batch +
                   (task.group * p.out_channels + vectors.first * L) * p.y_channel +
                   (d.start + z * d.step) * p.y_axis[0] + (h.start + v * h.step) * p.y_axis[1] +
                   (w.start + band[2].first * w.step) * p.y_axis[2];
        };
        const Part planes{band[0].first, smaller(band[0].last, d.count)};
        const Part lines{band[1].first, smaller(band[1].last, h.count)};
        for (Index r = 0; r < runs && !waits_; ++r)
            for (Index z = planes.first; z < planes.last; ++z)
                for (Index v = lines.first; v < lines.last; ++v)
                    line(input(z, v), c, part(taps, runs, r), n, width, weights, count,
                         {output(z, v), step, outs, add || r > 0});
        for (Index z = planes.first; z < planes.last && waits_; ++z)
            for (Index v = lines.first; v < lines.last; ++v) {
                for (Index r = 0; r < runs; ++r)
                    line(input(z, v), c, part(taps, runs, r), n, width, weights, count,
                         {waiting, width, width, r > 0});
                turn(output(z, v), step, waiting, width, outs, count, add);
            }
    }

    // Writes a finished line of pixels to channels that lie apart.
    void turn(T* y, Index step, const T* waiting, Index width, Index outs, Index count,
              bool add) const {
        for (Index o = 0; o < outs; ++o, y += problem_.y_channel)
            for (Index i = 0; i < count; ++i)
                y[i * step] = add ? y[i * step] + waiting[i * width + o] : waiting[i * width + o];
    }

    // One line and one run of taps, tile after tile.
    void line(const T* x, const Combination<T>& c, Part run, Index depth, Index width,
              const T* weights, Index count, Out<T> out) const {
        const Index wide = width / L, step = span_[2].stride * depth_;
        const Pieces tiles(count, ACCUMULATORS / wide);
        for (Index i = 0; i < tiles.parts; ++i) {
            const Index pixels = tiles.size(i);
            pixels_tiles<T>(pixels, wide)(x, step, c.offsets + run.first, run.last - run.first,
                                          depth, weights + run.first * depth * width, out);
            x += pixels * step;
            out.y += pixels * out.pitch;
        }
    }
};

}  // namespace linconv::LINCONV_TARGET
