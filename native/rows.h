// Rows: vectors across the last axis. Lines of the input are first copied, a band at a time, into a
// cache-sized buffer: zeros around, every stride-th sample side by side; from there on every tap is
// a contiguous load. Any layout; at home with few channels, large kernels and depthwise layers. With
// one output channel and stride 1, lines.h does the same with less copying.
#pragma once

#include "lattice.h"
#include "shapes.h"
#include "tiles.h"

namespace linconv::LINCONV_TARGET {

template <class T>
class Rows : public Lattice<T> {
    static constexpr int L = Lanes<T>::count;
    // Tiles of channels, of separate lines, of lines whose windows overlap, of one long line.
    enum class Kind { channels, lines, shared, wrapped };
    // Packed lines that a tile of SHARED lines may read (not use) where a band has fewer.
    static constexpr Index SPARE_LINES = SHARED;
    static constexpr Index SHORT_LINE = 192;  // bytes

    using Lattice<T>::problem_, Lattice<T>::span_, Lattice<T>::bands_;
    using Lattice<T>::channel_parts_, Lattice<T>::combinations_;
    using Lattice<T>::ahead, Lattice<T>::first, Lattice<T>::needed;

    Kind kind_;
    int tall_ = 1, wide_ = 1;  // of a tile: channels or lines, vectors
    Index unit_ = L;           // samples that one step along the width takes
    Index pitch_, line_, plane_, volume_;  // samples: a row, a line, a plane, a channel
    Index out_pitch_ = 0;                  // of the lines that wait to be interleaved; 0: none do

public:
    Rows(const Problem<T>& problem, int threads) : Lattice<T>(problem) {
        choose_tile();
        const Phase& first = problem.axis[2].phase[0];
        const bool waits = problem.axis[2].phases > 1 || first.step * problem.y_axis[2] != 1;
        bands_ = cut_bands(span_, problem.in_channels, widest(waits), unit_, step(),
                           [&](Index width) { return line_samples(width) * Index(sizeof(T)); });
        cut_for_threads(bands_, span_, problem.batch * problem.groups, threads);
        line_ = line_samples(bands_.longest[2]);
        pitch_ = line_ / span_[2].stride;
        plane_ = line_ * larger(1, span_[1].needed(bands_.longest[1]));
        volume_ = odd_lines<T>(plane_ * larger(1, span_[0].needed(bands_.longest[0])));
        if (waits) out_pitch_ = ceil_div(bands_.longest[2], unit_) * unit_;
        this->cut_channels(tiles(), threads);
    }

    Index thread_bytes() const {
        const Index rows = kind_ == Kind::channels ? problem_.out_channels : tall_;
        const Index waiting = rows * problem_.axis[2].phases * out_pitch_;
        return (bands_.channels * volume_ + SPARE_LINES * line_ + waiting + 8 * L) * sizeof(T);
    }
    Index shared_bytes() const {
        Index bytes = this->table_bytes();
        this->each_combination([&](Index, const Phase& d, const Phase& h, const Phase& w) {
            const Index all = d.taps * h.taps * w.taps;
            bytes += (bands_.channels * all + w.taps + L) * sizeof(int);
            bytes += kernels() * problem_.in_channels * all * sizeof(T);
        });
        return bytes;
    }

    // Fills the tables that all threads read: offsets of taps, and weights in the tiles' order.
    void prepare(char* memory) {
        T* weights = this->enter_combinations(memory);
        this->each_combination([&](Index i, const Phase& d, const Phase& h, const Phase& w) {
            combinations_[i].weights = weights;
            weights = fill_weights(weights, d, h, w);
        });
        int* offsets = reinterpret_cast<int*>(weights);
        this->each_combination([&](Index i, const Phase& d, const Phase& h, const Phase& w) {
            offsets = fill_offsets(combinations_[i], d, h, w, offsets);
        });
    }

    void run(Index number, char* scratch) const {
        const Task task = this->decode(number);
        const Part lines = task.band[1];
        T* packed = reinterpret_cast<T*>(scratch);
        T* waiting = packed + bands_.channels * volume_ + SPARE_LINES * line_;
        const bool fetches = this->fetches(task);
        const Index tiles = ceil_div(task.band[2].last - task.band[2].first, wide_ * unit_) *
                            (task.band[0].last - task.band[0].first);
        for (Index c = 0; c < problem_.in_channels; c += bands_.channels) {
            const Part channels{c, smaller(problem_.in_channels, c + bands_.channels)};
            // Lines are packed just before they are read, but short ones of many channels all at
            // once: memory gives long stretches faster.
            const bool at_once = problem_.in_channels > 1 &&
                                 needed(task.band, 2) * Index(sizeof(T)) < SHORT_LINE;
            Index ready = 0;
            for (Index v = lines.first; v < lines.last; v += step()) {
                const Index last = smaller(lines.last, v + step());
                const Index reached = span_[1].needed((at_once ? lines.last : last) - lines.first);
                pack(packed, task, channels, {ready, reached});
                ready = larger(ready, reached);
                Ahead ahead;
                if (fetches)
                    ahead = this->lines_ahead(
                        task, {ready, ready + (last - v) * span_[1].stride}, tiles);
                compute(packed, waiting, task, channels, {v, last}, ahead);
            }
        }
    }

private:
    Index kernels() const { return problem_.groups * problem_.out_channels; }

    // The longest stretch of a line in a band; lines that wait must fit the cache, too.
    Index widest(bool waits) const {
        if (span_[0].outputs * span_[1].outputs == 1) return 4096;
        const Index rows = kind_ == Kind::channels ? problem_.out_channels : tall_;
        const Index bytes = 2 * Index(sizeof(T)) * rows * problem_.axis[2].phases;
        return waits ? larger(4 * L, smaller(512, packed_bytes() / bytes)) : 1024;
    }
    // Output lines that one tile computes.
    Index step() const { return kind_ == Kind::shared || kind_ == Kind::lines ? tall_ : 1; }
    // Tiles that the output channels of a group are cut into.
    Index tiles() const {
        return ceil_div(problem_.out_channels, kind_ == Kind::channels ? tall_ : 1);
    }

    void choose_tile() {
        const Index width = smaller(512, span_[2].outputs);
        const Index vectors = ceil_div(width, L);
        const bool one = problem_.out_channels == 1;
        kind_ = one ? Kind::lines : Kind::channels;
        const Axis &down = problem_.axis[1], &across = problem_.axis[2];
        if (one && neighbouring(down, 3) && span_[1].outputs >= SHARED &&
            most_taps(across) <= LONGEST_SUM) {
            kind_ = Kind::shared;
        } else if (one && neighbouring(across, 2 * L) && span_[2].outputs >= 2 * SHARED * L) {
            kind_ = Kind::wrapped;
            unit_ = SHARED * L;
        }
        if (kind_ == Kind::shared || kind_ == Kind::wrapped) {
            tall_ = kind_ == Kind::shared ? SHARED : 1;
            wide_ = smaller(ACCUMULATORS / SHARED, ceil_div(width, unit_));
            return;
        }
        const Index n = one ? span_[1].outputs : problem_.out_channels;
        const Shape shape = best_shape(n, vectors, one);
        tall_ = shape.tall;
        wide_ = shape.wide;
    }

    // Samples of one packed line: a row for each residue of the stride.
    Index line_samples(Index width) const {
        const Index along = span_[2].reach / span_[2].stride + 1;
        const Index extra = kind_ == Kind::wrapped ? 2 * L : 0;
        const Index samples = ceil_div(width, unit_) * unit_ + along + extra;
        return span_[2].stride * odd_lines<T>(samples);
    }

    // Per group and tile of output channels, all taps of a channel, then of the next.
    T* fill_weights(T* to, const Phase& d, const Phase& h, const Phase& w) const {
        const Problem<T>& p = problem_;
        for (Index g = 0; g < p.groups; ++g)
            for (Index t = 0; t < tiles(); ++t)
                to = fill_taps(to, g, part(p.out_channels, tiles(), t), d, h, w);
        return to;
    }
    T* fill_taps(T* to, Index group, Part outs, const Phase& d, const Phase& h,
                 const Phase& w) const {
        const Problem<T>& p = problem_;
        const Index step = w.tap_step * p.kernel_axis[2];
        for (Index i = 0; i < p.in_channels; ++i)
            for (Index a = 0; a < d.taps; ++a)
                for (Index b = 0; b < h.taps; ++b) {
                    const T* from = this->kernel_at(group, outs.first, i, d, a, h, b, w, 0);
                    for (Index k = 0; k < w.taps; ++k, from += step)
                        for (Index o = 0; o < outs.last - outs.first; ++o)
                            *to++ = from[o * p.kernel_out];
                }
        return to;
    }

    // Where tap `t` lies within a packed line: in the row of its residue.
    Index within(const Phase& phase, Index t) const {
        const Index e = ahead(phase, 2, t);
        return e % span_[2].stride * pitch_ + e / span_[2].stride;
    }

    int* fill_offsets(Combination<T>& c, const Phase& d, const Phase& h, const Phase& w,
                      int* to) const {
        const bool shared = kind_ == Kind::shared, wrapped = kind_ == Kind::wrapped;
        const Index lines = shared ? 1 : h.taps;
        c.offsets = to;
        if (!c.all()) return to;  // a phase that sees no tap: its outputs are zero
        for (Index i = 0; i < bands_.channels; ++i)
            for (Index a = 0; a < d.taps; ++a)
                for (Index b = 0; b < lines; ++b) {
                    const Index at = i * volume_ + ahead(d, 0, a) * plane_ + ahead(h, 1, b) * line_;
                    if (shared || wrapped)
                        *to++ = int(at + (wrapped ? within(w, 0) : 0));
                    else
                        for (Index k = 0; k < w.taps; ++k) *to++ = int(at + within(w, k));
                }
        c.along = to;
        for (Index k = 0; k < (wrapped ? L : w.taps); ++k) *to++ = int(wrapped ? k : within(w, k));
        return to;
    }

    void pack(T* packed, const Task& task, Part channels, Part lines) const {
        const Problem<T>& p = problem_;
        const Index start = first(task.band, 2);
        const T* x = p.x + task.image * p.x_batch + task.group * p.in_channels * p.x_channel;
        for (Index c = channels.first; c < channels.last; ++c, packed += volume_)
            this->each_line(x + c * p.x_channel, task.band, lines,
                            [&](Index d, Index h, const T* line) {
                                pack_line(packed + d * plane_ + h * line_, pitch_, line,
                                          p.x_axis[2], p.axis[2].input_size, start,
                                          span_[2].stride);
                            });
    }

    // A few output lines: all planes of the band, all phases.
    void compute(const T* packed, T* waiting, const Task& task, Part channels, Part lines,
                 Ahead& ahead) const {
        const Problem<T>& p = problem_;
        const Part* band = task.band;
        const Combination<T>* combinations = combinations_;
        for (Index d = 0; d < p.axis[0].phases; ++d)
            for (Index h = 0; h < p.axis[1].phases; ++h, combinations += p.axis[2].phases) {
                const Phase &deep = p.axis[0].phase[d], &high = p.axis[1].phase[h];
                const Index last = smaller(lines.last, high.count);
                if (lines.first >= last) continue;
                for (Index z = band[0].first; z < smaller(band[0].last, deep.count); ++z) {
                    const T* x = packed + (z - band[0].first) * span_[0].stride * plane_ +
                                 (lines.first - band[1].first) * span_[1].stride * line_;
                    T* y = p.y + task.image * p.y_batch +
                           task.group * p.out_channels * p.y_channel +
                           (deep.start + z * deep.step) * p.y_axis[0] +
                           (high.start + lines.first * high.step) * p.y_axis[1];
                    phases(x, waiting, task, channels, last - lines.first, combinations, y,
                           high.step * p.y_axis[1], ahead);
                }
            }
    }

    // A few lines over the width of the band: all phases of the last axis, straight into the output
    // or, where its samples are not neighbours, by way of `waiting`.
    void phases(const T* x, T* waiting, const Task& task, Part channels, Index tall,
                const Combination<T>* combinations, T* y, Index line_step, Ahead& ahead) const {
        const Axis& axis = problem_.axis[2];
        const Part wide = task.band[2];
        const bool by_channels = kind_ == Kind::channels, adding = channels.first > 0;
        const Index pitch = by_channels ? problem_.y_channel : line_step;
        const Index rows = by_channels ? problem_.out_channels : tall;
        for (Index w = 0; w < axis.phases; ++w) {
            const Phase& phase = axis.phase[w];
            const Index count = smaller(wide.last, phase.count) - wide.first;
            if (count <= 0) continue;
            Out<T> out{y + phase.start + wide.first, pitch, count, adding};
            if (out_pitch_)
                out = {waiting + w * out_pitch_, axis.phases * out_pitch_, count, false};
            line(x, combinations[w], task, channels, tall, out, ahead);
        }
        if (!out_pitch_) return;
        const Part chosen = outs(part(tiles(), channel_parts_, task.part));
        for (Index r = 0; r < rows; ++r)
            if (!by_channels || (chosen.first <= r && r < chosen.last))
                interleave(y + r * pitch, problem_.y_axis[2], axis,
                           waiting + r * axis.phases * out_pitch_, out_pitch_, wide, adding);
    }

    // The output channels of some tiles.
    Part outs(Part tiles) const {
        const Pieces all(problem_.out_channels, kind_ == Kind::channels ? tall_ : 1);
        return {all.first(tiles.first), all.first(tiles.last)};
    }

    // One line (or `tall` lines) of one phase: all taps, in runs of bounded length.
    void line(const T* x, const Combination<T>& c, const Task& task, Part channels, Index tall,
              Out<T> out, Ahead& ahead) const {
        const Problem<T>& p = problem_;
        const Index all = c.all(), n = channels.last - channels.first;
        const T* weights = c.weights + task.group * p.out_channels * p.in_channels * all;
        const bool by_lines = kind_ == Kind::shared || kind_ == Kind::wrapped;
        if (!by_lines || !all) {
            const Index runs = larger(1, ceil_div(n * all, LONGEST_SUM));
            for (Index r = 0; r < runs; ++r, out.add = true) {
                const Part taps = part(n * all, runs, r);
                if (kind_ == Kind::channels)
                    by_channels(x, c, task, taps, weights, channels.first * all + taps.first, out);
                else
                    separate(x, c, taps, weights + channels.first * all + taps.first, tall, out, ahead);
            }
            return;
        }
        // A long kernel along one line: whole vectors of its taps are as many kernel lines.
        const bool wrapped = kind_ == Kind::wrapped;
        const Index kernels = n * c.taps[0] * (wrapped ? c.taps[1] : 1);
        const Index lines = wrapped ? c.taps[2] / L : c.taps[1];
        const Index along = wrapped ? L : c.taps[2], rest = wrapped ? c.taps[2] % L : 0;
        overlapping(x, {c.offsets, kernels, lines, along, rest, c.along, weights + channels.first * all},
                    tall, out, ahead);
    }

    // Kernels whose windows overlap, in runs of bounded length. A kernel longer than a run is cut
    // between its lines.
    void overlapping(const T* x, const Overlapping<T>& all, Index tall, Out<T> out,
                     Ahead& ahead) const {
        const Index taps = all.lines * all.taps + all.rest;
        if (all.count * taps <= LONGEST_SUM) return overlapping_run(x, 0, all, tall, out, ahead);
        const Index at_once = larger(1, LONGEST_SUM / taps);
        const Index cuts = larger(1, smaller(all.lines, ceil_div(taps, LONGEST_SUM)));
        Overlapping<T> run = all;
        for (Index k = 0; k < all.count; k += at_once)
            for (Index r = 0; r < cuts; ++r, out.add = true) {
                const Part lines = part(all.lines, cuts, r);
                run.bases = all.bases + k;
                run.count = smaller(at_once, all.count - k);
                run.lines = lines.last - lines.first;
                run.rest = r == cuts - 1 ? all.rest : 0;
                run.weights = all.weights + k * taps + lines.first * all.taps;
                overlapping_run(x, lines.first, run, tall, out, ahead);
            }
    }

    // Tiles of channels over a run of taps, which begins at tap `k` of all: what a stretch of the
    // line reads stays in the cache while the channels' weights pass by.
    void by_channels(const T* x, const Combination<T>& c, const Task& task, Part taps,
                     const T* weights, Index k, const Out<T>& out) const {
        const Index all = problem_.in_channels * c.all(), count = taps.last - taps.first;
        const Pieces across(ceil_div(out.count, L), wide_);
        const Pieces down(problem_.out_channels, tall_);
        const Part chosen = part(down.parts, channel_parts_, task.part);
        const int* offsets = c.offsets + taps.first;
        Out<T> tile = out;
        for (Index i = 0; i < across.parts; ++i) {
            const Index wide = across.size(i);
            Index o = down.first(chosen.first);
            for (Index t = chosen.first; t < chosen.last; ++t) {
                const Index tall = down.size(t);
                tile.y = out.y + (out.count - tile.count) + o * out.pitch;
                channels_tiles<T>(tall, wide)(x, offsets, count, weights + o * all + k * tall,
                                              tile);
                o += tall;
            }
            x += wide * L;
            tile.count -= wide * L;
        }
    }

    // Tiles of separate lines over a run of taps.
    void separate(const T* x, const Combination<T>& c, Part taps, const T* weights, Index tall,
                  Out<T> out, Ahead& ahead) const {
        const Pieces tiles(ceil_div(out.count, L), wide_);
        for (Index i = 0; i < tiles.parts; ++i) {
            const Index wide = tiles.size(i);
            lines_tiles<T>(tall, wide)(x, span_[1].stride * line_, c.offsets + taps.first,
                                       taps.last - taps.first, weights, out);
            ahead.fetch();
            x += wide * L;
            out.y += wide * L;
            out.count -= wide * L;
        }
    }

    // The same over one run, which begins at some kernel line.
    void overlapping_run(const T* x, Index first_line, const Overlapping<T>& run, Index tall,
                         Out<T> out, Ahead& ahead) const {
        const bool wrapped = kind_ == Kind::wrapped;
        const Index step = wrapped ? L : line_;
        const Pieces tiles(ceil_div(out.count, unit_), wide_);
        x += first_line * step;
        out.lines = tall;
        for (Index i = 0; i < tiles.parts; ++i) {
            const Index wide = tiles.size(i);
            overlapping_tiles<T>(SHARED, wide, wrapped, run.taps)(x, step, run, out);
            ahead.fetch();
            x += wide * unit_;
            out.y += wide * unit_;
            out.count -= wide * unit_;
        }
    }
};

}  // namespace linconv::LINCONV_TARGET
