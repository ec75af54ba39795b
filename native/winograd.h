// Winograd: fewer products for short kernels of many channels (points.h tells how), along the two last
// axes. With stride two, even and odd samples are channels of their own, and the kernels on them are
// half as long. For each of the 4 x 4 pairs of points the products are summed over channels by the
// tiles of "pixels", with tiles of the transform in the place of pixels.
#pragma once

#include "lattice.h"
#include "points.h"
#include "tiles.h"

namespace linconv::LINCONV_TARGET {

template <class T>
class Winograd : public Lattice<T> {
    static constexpr int L = Lanes<T>::count;
    static constexpr Index MOST_TAPS = 3, MOST_STRIDE = 2;
    static constexpr int PLANES = POINTS * POINTS;
    static constexpr Index TILES = 64, WIDE = 16;  // of a task: in all, and across
    using V = Vector<T>;

    using Lattice<T>::problem_, Lattice<T>::combinations_;

    // A task: tiles of one image and group.
    struct Area {
        Index image, group;
        Part down, across;
        Index high() const { return down.last - down.first; }
        Index wide() const { return across.last - across.first; }
    };
    // A combination of phases.
    struct Pair {
        const Phase &down, &across;
    };

    const Phase& deep_;
    const Side high_, wide_;
    Index vectors_, pairs_;     // of output channels; two are computed at once
    Index residues_;            // input channels of the transform for each of the input
    Index channels_;            // input channels that are transformed at once
    Index depth_;               // samples of a tile at one pair of points
    Index parts_down_ = 1, parts_across_ = 1;  // of the tiles of an image
    Index packed_ = 0, waiting_ = 0;      // samples of a task: its input, and its outputs for a pair
    Index in_plane_ = 0, out_plane_ = 0;  // samples of all its tiles at one pair of points
    mutable int lost_ = 0;

public:
    static bool takes(const Problem<T>& p) {
        const Axis& deep = p.axis[0];
        if (deep.phases != 1 || deep.phase->count != 1 || deep.phase->taps != 1) return false;
        for (int i = 1; i < AXES; ++i) {
            const Axis& axis = p.axis[i];
            if (axis.stride > MOST_STRIDE || axis.phases > MOST_STRIDE) return false;
            if (axis.stride > 1 && axis.phases > 1) return false;
            if (ceil_div(most_taps(axis), axis.stride) < 2) return false;
            for (Index j = 0; j < axis.phases; ++j) {
                const Phase& phase = axis.phase[j];
                if (phase.taps < 1 || phase.taps > MOST_TAPS * axis.stride) return false;
                if (phase.taps > 1 && phase.dilation != 1) return false;
            }
        }
        return true;
    }

    Winograd(const Problem<T>& problem, int threads)
        : Lattice<T>(problem),
          deep_(problem.axis[0].phase[0]),
          high_(problem.axis[1]),
          wide_(problem.axis[2]),
          vectors_(ceil_div(problem.out_channels, L)),
          pairs_(ceil_div(vectors_, 2)),
          residues_(problem.axis[1].stride * problem.axis[2].stride),
          channels_(smaller(problem.in_channels, LONGEST_SUM / residues_)),
          depth_(channels_ * residues_) {
        parts_across_ = ceil_div(wide_.tiles, WIDE);
        const Index across = ceil_div(wide_.tiles, parts_across_);
        const Index wanted = TASKS_PER_THREAD * threads;
        Index down = larger(1, TILES / larger(1, across));
        parts_down_ = ceil_div(high_.tiles, down);
        for (; threads > 1 && down > 1 && tasks() < wanted; parts_down_ = ceil_div(high_.tiles, down))
            down /= 2;
        down = ceil_div(high_.tiles, larger(1, parts_down_));
        packed_ = odd_lines(high_.read(down) * wide_.read(across) * channels_ + L);
        in_plane_ = odd_lines(down * across * depth_ + L);
        out_plane_ = odd_lines(down * across * vectors_ * L);
        waiting_ = down * high_.step * across * wide_.step * 2 * L;
    }

    Index tasks() const { return problem_.batch * problem_.groups * parts_down_ * parts_across_; }
    Index thread_bytes() const {
        return (packed_ + PLANES * (in_plane_ + out_plane_) + waiting_) * sizeof(T);
    }
    Index shared_bytes() const {
        const Index kernels = this->count_combinations() * problem_.groups;
        return this->table_bytes() + kernels * PLANES * point_samples() * Index(sizeof(T));
    }
    void prepare(char* memory) {
        T* weights = this->enter_combinations(memory);
        for (Index i = 0; i < this->count_combinations(); ++i) {
            combinations_[i].weights = weights;
            weights += problem_.groups * PLANES * point_samples();
        }
    }

    // The kernels' values at all points: of one combination, group and pair of vectors.
    Index shared_tasks() const { return this->count_combinations() * problem_.groups * pairs_; }
    void share(Index number, char*) const {
        const Problem<T>& p = problem_;
        const Index group = number / pairs_ % p.groups, combination = number / pairs_ / p.groups;
        const Part vectors = part(vectors_, pairs_, number % pairs_);
        const Pair pair = this->pair(combination);
        for (Index c = 0; c < p.in_channels; ++c)
            for (Index h = 0; h < high_.present(pair.down, 0); ++h)
                for (Index w = 0; w < wide_.present(pair.across, 0); ++w)
                    for (Index v = vectors.first; v < vectors.last; ++v) {
                        V taps[MOST_TAPS][MOST_TAPS] = {};
                        gather(taps, pair, group, v * L, c, h, w);
                        enter(taps, pair, combination, group, vectors, v, c, h, w);
                    }
    }

    void run(Index number, char* scratch) const {
        const Problem<T>& p = problem_;
        const Area area = decode(number);
        T* const packed = reinterpret_cast<T*>(scratch);
        T* const in = packed + packed_;
        T* const out = in + PLANES * in_plane_;
        T* const waiting = out + PLANES * out_plane_;
        constexpr Write writes[] = {outputs<2, 2>, outputs<2, 3>, outputs<3, 2>, outputs<3, 3>};
        const Write write = writes[2 * (high_.step - 2) + wide_.step - 2];
        V check{};
        for (Index i = 0; i < this->count_combinations(); ++i) {
            for (Index c = 0; c < p.in_channels; c += channels_) {
                const Part channels{c, smaller(p.in_channels, c + channels_)};
                if (i == 0 || channels_ < p.in_channels) {
                    pack(packed, area, channels);
                    transform(packed, in, area, channels.last - channels.first);
                }
                multiply(in, out, i, area, channels);
            }
            for (Index j = 0; j < pairs_; ++j) {
                const Part vectors = part(vectors_, pairs_, j);
                write(*this, out + vectors.first * L, waiting, area, vectors);
                scatter(waiting, pair(i), area, vectors, check);
            }
        }
        for (int lane = 0; lane < L; ++lane)
            if (!(check[lane] == T(0))) {
#pragma omp atomic write
                lost_ = 1;
            }
    }

    // A transform carries a NaN to all outputs of its tile, where a window would not.
    bool lost() const { return lost_; }

private:
    using Write = void (*)(const Winograd&, const T*, T*, const Area&, Part);

    Pair pair(Index combination) const {
        const Axis &high = problem_.axis[1], &wide = problem_.axis[2];
        return {high.phase[combination / wide.phases], wide.phase[combination % wide.phases]};
    }

    // Planes an odd number of cache lines long do not fall onto the same places of the cache.
    static Index odd_lines(Index samples) {
        constexpr Index cache_line = 64 / sizeof(T);
        return (ceil_div(samples, cache_line) | 1) * cache_line;
    }

    Area decode(Index number) const {
        const Index across = number % parts_across_;
        number /= parts_across_;
        const Index down = number % parts_down_;
        number /= parts_down_;
        return {number / problem_.groups, number % problem_.groups,
                part(high_.tiles, parts_down_, down), part(wide_.tiles, parts_across_, across)};
    }

    // The kernels' values: by group, pair of points, block of input channels, pair of vectors; then
    // residues and channels as they lie in a tile.
    Index point_samples() const { return residues_ * problem_.in_channels * vectors_ * L; }
    T* weights(Index combination, Index group, int point, Part channels, Part vectors) const {
        const Index before = channels.first * vectors_ +
                             (channels.last - channels.first) * vectors.first;
        return const_cast<T*>(combinations_[combination].weights) +
               (group * PLANES + point) * point_samples() + residues_ * before * L;
    }

    // The taps on residues h and w of a vector of output channels and one input channel.
    void gather(V (&taps)[MOST_TAPS][MOST_TAPS], const Pair& pair, Index group, Index out, Index c,
                Index h, Index w) const {
        const Problem<T>& p = problem_;
        const Index down = high_.axis.stride, across = wide_.axis.stride;
        const Index lanes = smaller(L, p.out_channels - out);
        for (Index a = h; a < pair.down.taps; a += down)
            for (Index b = w; b < pair.across.taps; b += across) {
                const T* from = this->kernel_at(group, out, c, deep_, 0, pair.down, a, pair.across, b);
                V& to = taps[a / down][b / across];
                if (p.kernel_out == 1 && lanes == L)
                    to = load(from);
                else
                    for (Index lane = 0; lane < lanes; ++lane) to[lane] = from[lane * p.kernel_out];
            }
    }

    void enter(const V (&taps)[MOST_TAPS][MOST_TAPS], const Pair& pair, Index combination, Index group,
               Part vectors, Index vector, Index c, Index h, Index w) const {
        V rows[MOST_TAPS][POINTS], all[POINTS];
        for (int a = 0; a < MOST_TAPS; ++a)
            values(rows[a], taps[a][0], taps[a][1], taps[a][2], wide_.taps);
        const Index block = c / channels_ * channels_;
        const Part channels{block, smaller(problem_.in_channels, block + channels_)};
        const Index n = channels.last - channels.first, width = (vectors.last - vectors.first) * L;
        for (int q = 0; q < POINTS; ++q) {
            const Index present = wide_.present(pair.across, q);
            if (w >= present) continue;
            values(all, rows[0][q], rows[1][q], rows[2][q], high_.taps);
            const Index at = ((h * present + w) * n + c - block) * width + (vector - vectors.first) * L;
            for (int r = 0; r < POINTS; ++r)
                if (h < high_.present(pair.down, r))
                    store(weights(combination, group, r * POINTS + q, channels, vectors) + at, all[r]);
        }
    }

    // What the tiles of a task read, the channels of a pixel side by side.
    void pack(T* packed, const Area& area, Part channels) const {
        const Problem<T>& p = problem_;
        const Index n = channels.last - channels.first, z = deep_.offset;
        const Index lines = high_.read(area.high()), pixels = wide_.read(area.wide());
        const Index top = high_.base + high_.axis.stride * high_.step * area.down.first;
        const Index left = wide_.base + wide_.axis.stride * wide_.step * area.across.first;
        const T* x = p.x + area.image * p.x_batch + z * p.x_axis[0] +
                     (area.group * p.in_channels + channels.first) * p.x_channel;
        for (Index v = top; v < top + lines; ++v, packed += pixels * n) {
            const bool inside = z >= 0 && z < p.axis[0].input_size && v >= 0 &&
                                v < high_.axis.input_size;
            pack_pixels(packed, n, pixels, n, inside ? x + v * p.x_axis[1] : nullptr, p.x_channel,
                        p.x_axis[2], wide_.axis.input_size, left);
        }
    }

    // All tiles of a task at all points. A vector that is cut short is completed by what follows.
    void transform(const T* packed, T* in, const Area& area, Index n) const {
        const Index down = high_.axis.stride, across = wide_.axis.stride;
        const Index line = wide_.read(area.wide()) * n;
        for (Index v = 0; v < area.high(); ++v)
            for (Index i = 0; i < area.wide(); ++i, in += depth_)
                for (Index h = 0; h < high_.present(0); ++h)
                    for (Index w = 0; w < wide_.present(0); ++w) {
                        const T* from = packed + (v * high_.step * down + h) * line +
                                        (i * wide_.step * across + w) * n;
                        Index at[POINTS];  // where these residues lie, for each point of the width
                        for (int q = 0; q < POINTS; ++q) {
                            const Index present = wide_.present(q);
                            at[q] = w < present ? (h * present + w) * n : -1;
                        }
                        tile(from, down * line, across * n, n, in, at, h < high_.present(INFINITE));
                    }
    }
    void tile(const T* from, Index line, Index pixel, Index n, T* in, const Index (&at)[POINTS],
              bool whole) const {
        for (Index c = 0; c < n; c += L) {
            V d[POINTS][POINTS];
            UNROLL for (int r = 0; r < POINTS; ++r) {
                UNROLL for (int q = 0; q < POINTS; ++q) d[r][q] = load(from + r * line + q * pixel + c);
                differences(d[r][0], d[r][1], d[r][2], d[r][3]);
            }
            UNROLL for (int q = 0; q < POINTS; ++q) {
                differences(d[0][q], d[1][q], d[2][q], d[3][q]);
                if (at[q] < 0) continue;
                T* const to = in + at[q] + c + q * in_plane_;
                UNROLL for (int r = 0; r < POINTS - 1; ++r) store(to + r * POINTS * in_plane_, d[r][q]);
                if (whole) store(to + INFINITE * POINTS * in_plane_, d[INFINITE][q]);
            }
        }
    }

    // At each pair of points, the sums over channels: pixels are tiles.
    void multiply(const T* in, T* out, Index combination, const Area& area, Part channels) const {
        const int nowhere = 0;
        const Pair pair = this->pair(combination);
        const Index n = channels.last - channels.first, tiles = area.high() * area.wide();
        for (int point = 0; point < PLANES; ++point, in += in_plane_, out += out_plane_) {
            const Index depth = n * high_.present(pair.down, point / POINTS) *
                                wide_.present(pair.across, point % POINTS);
            for (Index i = 0; i < pairs_; ++i) {
                const Part vectors = part(vectors_, pairs_, i);
                const Index wide = vectors.last - vectors.first, pitch = vectors_ * L;
                const T* kernel = weights(combination, area.group, point, channels, vectors);
                const T* x = in;
                T* y = out + vectors.first * L;
                const Pieces pieces(tiles, ACCUMULATORS / wide);
                for (Index j = 0; j < pieces.parts; ++j) {
                    const Index some = pieces.size(j);
                    pixels_tiles<T>(some, wide)(x, depth_, &nowhere, 1, depth, kernel,
                                                {y, pitch, wide * L, channels.first > 0});
                    x += some * depth_;
                    y += some * pitch;
                }
            }
        }
    }

    // The outputs of all tiles, of one or two vectors of channels, as lines of pixels.
    template <int H, int W>
    static void outputs(const Winograd& s, const T* out, T* waiting, const Area& area, Part vectors) {
        const Index width = (vectors.last - vectors.first) * L, pitch = area.wide() * W * width;
        for (Index v = 0; v < area.high(); ++v, waiting += H * pitch)
            for (Index i = 0; i < area.wide(); ++i, out += s.vectors_ * L)
                for (Index c = 0; c < width; c += L) {
                    V rows[POINTS][POINTS], y[POINTS];
                    UNROLL for (int r = 0; r < POINTS; ++r) {
                        const T* from = out + r * POINTS * s.out_plane_ + c;
                        recover<W>(rows[r], load(from), load(from + s.out_plane_),
                                   load(from + 2 * s.out_plane_), load(from + 3 * s.out_plane_));
                    }
                    UNROLL for (int q = 0; q < W; ++q) {
                        recover<H>(y, rows[0][q], rows[1][q], rows[2][q], rows[3][q]);
                        UNROLL for (int r = 0; r < H; ++r)
                            store(waiting + r * pitch + (i * W + q) * width + c, y[r]);
                    }
                }
    }

    // Writes finished lines where they belong; `check` stays zero while all of them are numbers.
    void scatter(const T* waiting, const Pair& pair, const Area& area, Part vectors, V& check) const {
        const Problem<T>& p = problem_;
        const Index width = (vectors.last - vectors.first) * L;
        const Index outs = smaller(width, p.out_channels - vectors.first * L);
        const Index from_line = area.down.first * high_.step - high_.shift(pair.down);
        const Index from_pixel = area.across.first * wide_.step - wide_.shift(pair.across);
        const Index pixels = area.wide() * wide_.step;
        const Index first = larger(0, -from_pixel);
        const Index last = smaller(pixels, pair.across.count - from_pixel);
        const Index step = pair.across.step * p.y_axis[2];
        T* const y = p.y + area.image * p.y_batch + deep_.start * p.y_axis[0] +
                     (area.group * p.out_channels + vectors.first * L) * p.y_channel +
                     pair.across.start * p.y_axis[2] + from_pixel * step;
        for (Index i = 0; i < area.high() * high_.step; ++i, waiting += pixels * width) {
            const Index line = from_line + i;
            if (line < 0 || line >= pair.down.count) continue;
            T* const to = y + (pair.down.start + line * pair.down.step) * p.y_axis[1];
            for (Index j = first * width; j < last * width; j += L)
                check += T(0) * load(waiting + j);
            if (p.y_channel == 1) {
                for (Index j = first; j < last; ++j) copy(to + j * step, waiting + j * width, outs);
                continue;
            }
            for (Index o = 0; o < outs; ++o)
                for (Index j = first; j < last; ++j)
                    to[o * p.y_channel + j * step] = waiting[j * width + o];
        }
    }
};

}  // namespace linconv::LINCONV_TARGET
