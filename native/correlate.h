// Correlation on a lattice: what linconv's native engine computes, with raw pointers and strides.
//
// For every output phase (one per axis: a convolution has a single one, the transpose of a strided
// convolution as many as its stride) and every output sample i of that phase
//
//     y[o, start + step * i] = sum over c, t of kernel[o, c, first_tap + tap_step * t]
//                                             * x[c, stride * i + offset + dilation * t]
//
// where x is zero outside its axes. Sizes, phases and offsets come from the caller: nothing here
// knows a padding convention. No Python in this file.
#pragma once

#include <cstddef>
#include <cstdint>

namespace linconv {

using Index = std::ptrdiff_t;
constexpr int AXES = 3;

// The output samples start, start + step, ... of one axis, and the part of the kernel they see.
struct Phase {
    Index start, step, count;
    Index taps, first_tap, tap_step;
    Index offset, dilation;
};

struct Axis {
    Index input_size;
    Index stride;  // input samples from one output sample of a phase to the next
    Index phases;
    const Phase* phase;
};

// Strides are in samples, and of either sign. Channels are counted per group.
template <class T>
struct Problem {
    const T* x;
    Index x_batch, x_channel, x_axis[AXES];
    const T* kernel;
    Index kernel_group, kernel_out, kernel_in, kernel_axis[AXES];
    T* y;
    Index y_batch, y_channel, y_axis[AXES];
    Index batch, groups, in_channels, out_channels;
    Axis axis[AXES];
};

// The ways to compute it. All give the same numbers up to rounding.
enum class Path : int {
    rows = 0,      // vectors across the last axis; any layout, few channels at home
    pixels = 1,    // vectors across output channels; any layout, many channels at home
    channels = 2,  // vectors across the channels of a depthwise layer, channels last
    spectra = 3,   // transforms along the last axis, stride 1: long kernels
    winograd = 4,  // fewer products: two axes, short kernels, many channels
};

// Instruction sets, narrowest first; the same sources are compiled for each.
enum class Target : int { baseline = 0, avx2 = 1, avx512 = 2 };

Target best_target();               // the widest that this processor and this build have
Target target_in_use();
Target use_target(Target target);  // or the widest there is; returns what is used from now on
const char* target_name(Target target);
int threads_now();                  // threads that a large call from this thread would use

// Computes y; throws std::bad_alloc before any of it is written.
template <class T>
void correlate(const Problem<T>& problem, Path path);

}  // namespace linconv
