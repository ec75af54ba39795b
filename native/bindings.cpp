// The only file with Python in it: arrays become pointers and strides, and the GIL is released.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "correlate.h"
#include "results.h"

namespace nb = nanobind;
using linconv::Index;

namespace {

using Input = nb::ndarray<nb::ro, nb::device::cpu>;
using Output = nb::ndarray<nb::device::cpu>;
using Numbers = std::vector<Index>;

// A problem without its arrays: made once per geometry, applied to many arrays.
class Plan {
    std::vector<linconv::Phase> phases_[linconv::AXES];
    linconv::Axis axis_[linconv::AXES];
    int ndim_;
    bool channels_last_, transposed_;
    Index groups_, in_channels_, out_channels_;  // per group, of the problem

public:
    // `axes` holds one (input_size, stride) per axis, `phases` eight numbers per phase and axis.
    Plan(const std::vector<Numbers>& axes, const std::vector<std::vector<Numbers>>& phases,
         Index groups, Index in_channels, Index out_channels, bool channels_last, bool transposed)
        : ndim_(int(axes.size())),
          channels_last_(channels_last),
          transposed_(transposed),
          groups_(groups),
          in_channels_(in_channels),
          out_channels_(out_channels) {
        if (ndim_ < 1 || ndim_ > linconv::AXES || phases.size() != axes.size())
            throw std::invalid_argument("a plan has one to three axes");
        const int missing = linconv::AXES - ndim_;
        for (int axis = 0; axis < linconv::AXES; ++axis) {
            std::vector<linconv::Phase>& own = phases_[axis];
            axis_[axis] = {1, 1, 1, nullptr};
            if (axis < missing) {
                own = {{0, 1, 1, 1, 0, 1, 0, 1}};
            } else {
                const Numbers& size = axes[axis - missing];
                for (const Numbers& p : phases[axis - missing])
                    own.push_back({p.at(0), p.at(1), p.at(2), p.at(3), p.at(4), p.at(5), p.at(6),
                                   p.at(7)});
                axis_[axis] = {size.at(0), size.at(1), Index(own.size()), nullptr};
            }
            axis_[axis].phase = own.data();
        }
    }
    Plan(const Plan&) = delete;  // axes point into the plan

    void run(int path, const Input& x, const Input& kernel, const Output& y) const {
        const nb::dlpack::dtype type = y.dtype();
        if (x.dtype() != type || kernel.dtype() != type)
            throw std::invalid_argument("all arrays must have one dtype");
        if (type == nb::dtype<float>()) return of<float>(path, x, kernel, y);
        if (type == nb::dtype<double>()) return of<double>(path, x, kernel, y);
        throw std::invalid_argument("the dtype must be float32 or float64");
    }

private:
    static void need(bool holds, const char* what, Index given, Index needed) {
        if (holds) return;
        throw std::invalid_argument("an array does not fit its plan: " + std::string(what) + " is " +
                                    std::to_string(given) + " where " + std::to_string(needed) +
                                    " is needed");
    }

    template <class T>
    void of(int path, const Input& x, const Input& kernel, const Output& y) const {
        const std::size_t rank = std::size_t(ndim_) + 2;
        if (x.ndim() != rank || kernel.ndim() != rank || y.ndim() != rank)
            throw std::invalid_argument("arrays must have a batch and a channel axis");
        const int channel = channels_last_ ? ndim_ + 1 : 1, spatial = channels_last_ ? 1 : 2;
        const Index ins = groups_ * in_channels_, outs = groups_ * out_channels_;
        need(x.shape(0) == y.shape(0), "the batch of y", Index(y.shape(0)), Index(x.shape(0)));
        need(Index(x.shape(channel)) == ins, "channels of x", Index(x.shape(channel)), ins);
        need(Index(y.shape(channel)) == outs, "channels of y", Index(y.shape(channel)), outs);
        linconv::Problem<T> p;
        p.x = static_cast<const T*>(x.data());
        p.kernel = static_cast<const T*>(kernel.data());
        p.y = static_cast<T*>(y.data());
        p.batch = Index(x.shape(0));
        p.groups = groups_;
        p.in_channels = in_channels_;
        p.out_channels = out_channels_;
        p.x_batch = x.stride(0);
        p.y_batch = y.stride(0);
        p.x_channel = x.stride(channel);
        p.y_channel = y.stride(channel);
        // Kernels are stored (*size, in, out) or (out, in, *size), of the convolution.
        const Index out = kernel.stride(channels_last_ ? ndim_ + 1 : 0);
        const Index in = kernel.stride(channels_last_ ? ndim_ : 1);
        const Index per_group = transposed_ ? out_channels_ : in_channels_;
        const Index kernels = transposed_ ? ins : outs;
        const int out_axis = channels_last_ ? ndim_ + 1 : 0, in_axis = channels_last_ ? ndim_ : 1;
        need(Index(kernel.shape(out_axis)) == kernels, "output channels of the kernel",
             Index(kernel.shape(out_axis)), kernels);
        need(Index(kernel.shape(in_axis)) == per_group, "input channels of the kernel",
             Index(kernel.shape(in_axis)), per_group);
        p.kernel_out = transposed_ ? in : out;
        p.kernel_in = transposed_ ? out : in;
        p.kernel_group = out * (transposed_ ? in_channels_ : out_channels_);
        const int missing = linconv::AXES - ndim_, first_tap = channels_last_ ? 0 : 2;
        for (int axis = 0; axis < linconv::AXES; ++axis) {
            const int own = axis - missing;
            p.axis[axis] = axis_[axis];
            p.x_axis[axis] = own < 0 ? 0 : x.stride(spatial + own);
            p.y_axis[axis] = own < 0 ? 0 : y.stride(spatial + own);
            p.kernel_axis[axis] = own < 0 ? 0 : kernel.stride(first_tap + own);
            if (own < 0) continue;
            const Index size = Index(x.shape(spatial + own)), wanted = axis_[axis].input_size;
            need(size == wanted, "samples of x along an axis", size, wanted);
            for (const linconv::Phase& phase : phases_[axis]) {
                const Index last = phase.start + (phase.count - 1) * phase.step;
                const Index written = Index(y.shape(spatial + own));
                need(!phase.count || last < written, "samples of y along an axis", written, last + 1);
                const Index end = phase.first_tap + (phase.taps - 1) * phase.tap_step;
                const Index most = end > phase.first_tap ? end : phase.first_tap;
                const Index taps = Index(kernel.shape(first_tap + own));
                need(!phase.taps || most < taps, "taps of the kernel along an axis", taps, most + 1);
            }
        }
        nb::gil_scoped_release released;
        linconv::correlate<T>(p, linconv::Path(path));
    }
};

// A new array whose memory returns to `results.cpp` when it is let go.
struct Memory {
    void* memory;
    Index bytes;
};

template <class T>
nb::object new_result(const std::vector<std::size_t>& shape) {
    std::size_t bytes = sizeof(T);
    for (const std::size_t n : shape) bytes *= n;
    Memory* const own = new Memory{nullptr, Index(bytes)};
    nb::capsule owner(own, [](void* given) noexcept {
        Memory* const own = static_cast<Memory*>(given);
        if (own->memory) linconv::give_result_back(own->memory, own->bytes);
        delete own;
    });
    own->memory = linconv::take_result(own->bytes);
    nb::ndarray<nb::numpy, T> array(own->memory, shape.size(), shape.data(), owner);
    return nb::cast(std::move(array));
}

nb::object empty(const std::vector<std::size_t>& shape, bool wide) {
    return wide ? new_result<double>(shape) : new_result<float>(shape);
}

}  // namespace

NB_MODULE(_native, m) {
    // Plans are kept by caches that live as long as the interpreter: no leak, and nothing to say.
    nb::set_leak_warnings(false);
    nb::class_<Plan>(m, "Plan")
        .def(nb::init<const std::vector<Numbers>&, const std::vector<std::vector<Numbers>>&, Index,
                      Index, Index, bool, bool>())
        .def("run", &Plan::run, nb::arg().noconvert(), nb::arg().noconvert(),
             nb::arg().noconvert(), nb::arg().noconvert());
    m.def("empty", &empty);
    m.def("target", [] { return linconv::target_name(linconv::target_in_use()); });
    m.def("best_target", [] { return linconv::target_name(linconv::best_target()); });
    m.def("use_target", [](int target) {
        return linconv::target_name(linconv::use_target(linconv::Target(target)));
    });
    m.def("threads", &linconv::threads_now);
}
