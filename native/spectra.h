// Spectra: transforms along the last axis, direct sums along the others. A long kernel along a line
// becomes one product per frequency, and a two-dimensional one a short sum of such products: far
// fewer multiplications than taps. Eight or more lines are transformed at once, one per lane.
#pragma once

#include <cmath>
#include <cstring>

#include "lattice.h"

namespace linconv::LINCONV_TARGET {

// Real transforms of length 2 * half, a power of two, of as many lines as a vector has lanes.
template <class T>
class Transform {
    using V = Vector<T>;
    Index half_;
    const T* roots_;  // cosine and sine of 2 pi k / (2 half), for k below half

public:
    Transform(Index half, const T* roots) : half_(half), roots_(roots) {}

    static void fill(T* roots, Index half) {
        for (Index k = 0; k < half; ++k) {
            const double angle = 3.14159265358979323846 * double(k) / double(half);
            roots[2 * k] = T(std::cos(angle));
            roots[2 * k + 1] = T(std::sin(angle));
        }
    }

    // Complex transform (Stockham, radix 2) of real and imaginary parts; the result is in `a` or in
    // `b`, which is returned. `sign` is -1 forward and 1 backward; nothing is scaled.
    V* complex(V* a, V* b, T sign) const {
        for (Index length = half_ / 2, stride = 1; length; length /= 2, stride *= 2) {
            for (Index p = 0; p < length; ++p) {
                const T c = roots_[4 * p * stride], s = sign * roots_[4 * p * stride + 1];
                const V* from = a + 2 * p * stride;
                const V* other = from + 2 * length * stride;
                V* sum = b + 4 * p * stride;
                V* difference = sum + 2 * stride;
                for (Index q = 0; q < 2 * stride; q += 2) {
                    const V re = from[q] - other[q], im = from[q + 1] - other[q + 1];
                    sum[q] = from[q] + other[q];
                    sum[q + 1] = from[q + 1] + other[q + 1];
                    difference[q] = c * re - s * im;
                    difference[q + 1] = c * im + s * re;
                }
            }
            V* const done = b;
            b = a;
            a = done;
        }
        return a;
    }

    // Forward: samples 2 j and 2 j + 1 as real and imaginary part of z[j]; f(k, re, im) receives
    // the spectrum, k = 0 ... half.
    template <class F>
    void forward(V* z, V* work, F f) const {
        const V* t = complex(z, work, T(-1));
        const T h = T(0.5);
        f(0, t[0] + t[1], V{});
        f(half_, t[0] - t[1], V{});
        for (Index k = 1; k < half_; ++k) {
            const V *a = t + 2 * k, *b = t + 2 * (half_ - k);
            const V even_re = h * (a[0] + b[0]), even_im = h * (a[1] - b[1]);
            const V odd_re = h * (a[1] + b[1]), odd_im = h * (b[0] - a[0]);
            const T c = roots_[2 * k], s = -roots_[2 * k + 1];
            f(k, even_re + c * odd_re - s * odd_im, even_im + c * odd_im + s * odd_re);
        }
    }

    // Backward: f(k, re, im) gives the spectrum; returns z, times half.
    template <class F>
    V* backward(V* z, V* work, F f) const {
        const T h = T(0.5);
        for (Index k = 0; k < half_; ++k) {
            V re, im, re_n, im_n;
            f(k, re, im);
            f(half_ - k, re_n, im_n);
            const V even_re = h * (re + re_n), even_im = h * (im - im_n);
            const V d_re = h * (re - re_n), d_im = h * (im + im_n);
            const T c = roots_[2 * k], s = roots_[2 * k + 1];
            const V odd_re = c * d_re - s * d_im, odd_im = c * d_im + s * d_re;
            z[2 * k] = even_re - odd_im;
            z[2 * k + 1] = even_im + odd_re;
        }
        return complex(z, work, T(1));
    }
};

template <class T>
class Spectra : public Lattice<T> {
    static constexpr int L = Lanes<T>::count;
    static constexpr int WIDE = ACCUMULATORS / 3;  // vectors of lines in registers
    using V = Vector<T>;

    using Lattice<T>::problem_, Lattice<T>::span_, Lattice<T>::bands_;
    using Lattice<T>::ahead, Lattice<T>::first, Lattice<T>::needed;

    const Phase &deep_, &high_, &wide_;
    Index length_ = 0, half_ = 0, valid_ = 0;  // of a transform: samples, half of them, those that do not wrap
    Index width_;                  // output samples of the last axis
    bool split_;                   // a single line: its stretches are transformed as lines
    Index lines_, planes_, out_lines_;  // of a packed band; lines fill whole vectors
    Index rows_;                        // kernel lines
    T* roots_ = nullptr;
    T* kernels_ = nullptr;
    mutable int lost_ = 0;

public:
    static bool takes(const Problem<T>& p) {
        for (const Axis& axis : p.axis)
            if (axis.stride != 1 || axis.phases != 1 || axis.phase->step != 1) return false;
        return true;
    }

    Spectra(const Problem<T>& problem, int threads)
        : Lattice<T>(problem),
          deep_(problem.axis[0].phase[0]),
          high_(problem.axis[1].phase[0]),
          wide_(problem.axis[2].phase[0]),
          width_(span_[2].outputs),
          rows_(deep_.taps * high_.taps) {
        choose_length();
        split_ = span_[0].outputs * span_[1].outputs == 1 && rows_ == 1;
        if (split_) {
            span_[1].outputs = ceil_div(width_, valid_);
            span_[2].outputs = smaller(width_, valid_);
        }
        bands_ = cut_bands(span_, problem.in_channels, valid_, valid_, L, [&](Index) {
            return (length_ + 2) * Index(sizeof(T));
        });
        cut_for_threads(bands_, span_, problem.batch * problem.groups, threads);
        lines_ = (ceil_div(span_[1].needed(bands_.longest[1]), L) + WIDE) * L;
        out_lines_ = ceil_div(bands_.longest[1], L) * L;
        planes_ = span_[0].needed(bands_.longest[0]);
    }

    Index thread_bytes() const {
        return (problem_.in_channels * planes_ * spectrum(lines_) + spectrum(out_lines_) +
                (2 * length_ + length_ + 8) * L) *
               sizeof(T);
    }
    Index shared_bytes() const {
        return (2 * half_ + problem_.groups * kernel_samples()) * sizeof(T) + 64;
    }

    void prepare(char* memory) {
        roots_ = reinterpret_cast<T*>(memory);
        kernels_ = roots_ + ceil_div(2 * half_, L) * L;
        Transform<T>::fill(roots_, half_);
    }

    // Spectra of one group's kernel lines, conjugate and scaled.
    Index shared_tasks() const { return problem_.groups; }
    void share(Index group, char* scratch) const {
        const Problem<T>& p = problem_;
        V* z = reinterpret_cast<V*>(scratch);
        T* const all = kernels_ + group * kernel_samples();
        const Transform<T> transform(half_, roots_);
        const Index step = wide_.tap_step * p.kernel_axis[2];
        const Index count = p.out_channels * p.in_channels * rows_;
        for (Index i = 0; i < count; i += L) {
            const Index lanes = smaller(L, count - i);
            std::memset(z, 0, length_ * sizeof(V));
            for (Index lane = 0; lane < lanes; ++lane) {
                const Index row = (i + lane) % rows_, pair = (i + lane) / rows_;
                const T* from = this->kernel_at(group, pair / p.in_channels, pair % p.in_channels,
                                                deep_, row / high_.taps, high_, row % high_.taps,
                                                wide_, 0);
                for (Index t = 0; t < wide_.taps; ++t)
                    reinterpret_cast<T*>(z + t * wide_.dilation)[lane] = from[t * step];
            }
            const T scale = T(1) / T(half_);
            transform.forward(z, z + length_, [&](Index k, V re, V im) {
                for (Index lane = 0; lane < lanes; ++lane) {
                    const Index row = (i + lane) % rows_, pair = (i + lane) / rows_;
                    T* to = all + ((pair * (half_ + 1) + k) * rows_ + row) * 2;
                    to[0] = scale * re[lane];
                    to[1] = -scale * im[lane];
                }
            });
        }
    }

    // A transform carries a NaN to all samples of its line, where a window would not.
    bool lost() const { return lost_; }

    void run(Index number, char* scratch) const {
        const Problem<T>& p = problem_;
        const Task task = this->decode(number);
        T* in = reinterpret_cast<T*>(scratch);
        T* out = in + p.in_channels * planes_ * spectrum(lines_);
        V* work = reinterpret_cast<V*>(out + spectrum(out_lines_));
        const T* x = p.x + task.image * p.x_batch + task.group * p.in_channels * p.x_channel;
        for (Index c = 0; c < p.in_channels; ++c)
            transform_lines(x + c * p.x_channel, task, in + c * planes_ * spectrum(lines_), work);
        for (Index z = task.band[0].first; z < task.band[0].last; ++z)
            for (Index o = 0; o < p.out_channels; ++o) {
                const T* kernel = kernels_ + task.group * kernel_samples() +
                                  o * p.in_channels * (half_ + 1) * rows_ * 2;
                const T* plane =
                    in + (z - task.band[0].first) * span_[0].stride * spectrum(lines_);
                for (Index k = 0; k <= half_; ++k) products(plane, kernel, k, task, out);
                if (!finite(out, task)) {
#pragma omp atomic write
                    lost_ = 1;
                }
                write_lines(out, task, z, o, work);
            }
    }

private:
    // Samples of the spectra of some lines: by frequency, real parts of all lines, then imaginary.
    Index spectrum(Index lines) const { return (half_ + 1) * 2 * lines; }
    Index kernel_samples() const {
        return problem_.out_channels * problem_.in_channels * (half_ + 1) * rows_ * 2;
    }

    // The power of two with the least work per sample that does not wrap around.
    void choose_length() {
        double best = 0;
        for (Index length = 32; length <= larger(1024, 4 * span_[2].reach); length *= 2) {
            const Index valid = length - span_[2].reach + 1;
            if (valid < 1) continue;
            const double tiles = double(ceil_div(width_, valid));
            const double each = length * (4.0 * std::log2(double(length)) + 2.0 * double(rows_));
            if (best && tiles * each >= best) continue;
            best = tiles * each;
            length_ = length;
            valid_ = valid;
        }
        half_ = length_ / 2;
    }

    void transform_lines(const T* x, const Task& task, T* in, V* work) const {
        const Problem<T>& p = problem_;
        const Transform<T> transform(half_, roots_);
        T* packed = reinterpret_cast<T*>(work + 2 * length_);
        const Index start = first(task.band, 2), count = needed(task.band, 1);
        for (Index d = 0; d < planes_; ++d, in += spectrum(lines_)) {
            const Index z = first(task.band, 0) + d;
            if (d >= needed(task.band, 0)) break;
            for (Index h = 0; h < count; h += L) {
                for (Index lane = 0; lane < L; ++lane) {
                    const Index v = split_ ? span_[1].base : first(task.band, 1) + h + lane;
                    const bool inside = h + lane < count && z >= 0 && z < p.axis[0].input_size &&
                                        v >= 0 && v < p.axis[1].input_size;
                    const Index from = split_ ? start + (task.band[1].first + h + lane) * valid_
                                              : start;
                    pack_line(packed + lane * length_, length_,
                              inside ? x + z * p.x_axis[0] + v * p.x_axis[1] : nullptr, p.x_axis[2],
                              p.axis[2].input_size, from, Index(1));
                }
                T* turned = reinterpret_cast<T*>(work);
                for (Index j = 0; j < length_; ++j)
                    for (int lane = 0; lane < L; ++lane)
                        turned[j * L + lane] = packed[lane * length_ + j];
                transform.forward(work, work + length_, [&](Index k, V re, V im) {
                    store(in + 2 * k * lines_ + h, re);
                    store(in + (2 * k + 1) * lines_ + h, im);
                });
            }
        }
    }

    // One frequency of all lines of a plane: the sum over channels and kernel lines.
    void products(const T* in, const T* kernel, Index k, const Task& task, T* out) const {
        const Index count = task.band[1].last - task.band[1].first;
        const Pieces pieces(ceil_div(count, L), WIDE);
        Index h = 0;
        for (Index i = 0; i < pieces.parts; ++i) {
            const Index wide = pieces.size(i);
            sums_[wide - 1](*this, in + 2 * k * lines_ + h, kernel + 2 * k * rows_,
                            out + 2 * k * out_lines_ + h);
            h += wide * L;
        }
    }

    template <int W>
    static void sums(const Spectra& s, const T* in, const T* kernel, T* out) {
        V re[W] = {}, im[W] = {};
        for (Index c = 0; c < s.problem_.in_channels; ++c) {
            const T* weights = kernel;
            for (Index a = 0; a < s.deep_.taps; ++a) {
                const T* line = in + s.ahead(s.deep_, 0, a) * s.spectrum(s.lines_);
                for (Index b = 0; b < s.high_.taps; ++b, weights += 2, line += s.high_.dilation) {
                    UNROLL for (int w = 0; w < W; ++w) {
                        const V x = load(line + w * L), y = load(line + s.lines_ + w * L);
                        re[w] += weights[0] * x;
                        im[w] += weights[0] * y;
                        re[w] -= weights[1] * y;
                        im[w] += weights[1] * x;
                    }
                }
            }
            in += s.planes_ * s.spectrum(s.lines_);
            kernel += (s.half_ + 1) * s.rows_ * 2;
        }
        UNROLL for (int w = 0; w < W; ++w) {
            store(out + w * L, re[w]);
            store(out + s.out_lines_ + w * L, im[w]);
        }
    }
    using Sums = void (*)(const Spectra&, const T*, const T*, T*);
    static constexpr Sums sums_[8] = {sums<1>, sums<2>, sums<3>, sums<4>,
                                      sums<5>, sums<6>, sums<7>, sums<8>};

    // The sums of all lines: finite where all that was transformed is.
    bool finite(const T* out, const Task& task) const {
        for (Index h = 0; h < task.band[1].last - task.band[1].first; ++h)
            if (!(out[h] - out[h] == T(0))) return false;
        return true;
    }

    void write_lines(const T* out, const Task& task, Index z, Index o, V* work) const {
        const Problem<T>& p = problem_;
        const Transform<T> transform(half_, roots_);
        const Index count = task.band[1].last - task.band[1].first;
        const Index step = wide_.step * p.y_axis[2];
        T* y = p.y + task.image * p.y_batch + (task.group * p.out_channels + o) * p.y_channel +
               (deep_.start + z * deep_.step) * p.y_axis[0] + wide_.start * p.y_axis[2];
        for (Index h = 0; h < count; h += L) {
            const V* turned = transform.backward(work, work + length_, [&](Index k, V& re, V& im) {
                re = load(out + 2 * k * out_lines_ + h);
                im = load(out + (2 * k + 1) * out_lines_ + h);
            });
            const T* samples = reinterpret_cast<const T*>(turned);
            for (Index lane = 0; lane < smaller(L, count - h); ++lane) {
                const Index line = task.band[1].first + h + lane;
                const Index from = split_ ? line * valid_ : task.band[2].first;
                const Index n = split_ ? smaller(valid_, width_ - from)
                                       : task.band[2].last - task.band[2].first;
                T* to = y + from * step +
                        (high_.start + (split_ ? 0 : line * high_.step)) * p.y_axis[1];
                for (Index i = 0; i < n; ++i) to[i * step] = samples[i * L + lane];
            }
        }
    }
};

}  // namespace linconv::LINCONV_TARGET
