// Chooses the instruction set and the number of threads, and hands a problem to its kernels.
#include "correlate.h"

#include <atomic>
#include <cstdlib>
#include <new>

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#define LINCONV_FORKS
#endif

#include "arena.h"

namespace linconv {

#define DECLARE(NAME)                                               \
    namespace NAME {                                                \
    template <class T>                                              \
    void correlate(const Problem<T>& problem, Path path, int threads); \
    }
DECLARE(baseline)
#ifdef LINCONV_X86
DECLARE(avx2)
DECLARE(avx512)
#endif

namespace {

constexpr Index KEPT_BYTES = Index(64) << 20;  // scratch memory kept between calls, by each thread
constexpr double LEAST_WORK = 100e3;           // products that are worth waking a thread for

struct Scratch {
    char* memory = nullptr;
    Index bytes = 0;
    void free() {
        std::free(memory);
        memory = nullptr;
        bytes = 0;
    }
    ~Scratch() { free(); }
};
thread_local Scratch scratch;

std::atomic<int> callers{0};  // calls at work now, from any thread

// In a process made by fork the threads of OpenMP are gone, and waiting for them would never end.
std::atomic<bool> forked{false};
#ifdef LINCONV_FORKS
const int at_fork = pthread_atfork(nullptr, nullptr, [] {
    forked = true;
    callers = 0;
});
#endif

struct Caller {
    int others = callers.fetch_add(1);
    ~Caller() {
        callers.fetch_sub(1);
        if (scratch.bytes > KEPT_BYTES) scratch.free();
    }
};

Target widest() {
#ifdef LINCONV_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
        return Target::avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Target::avx2;
#endif
    return Target::baseline;
}

std::atomic<Target> used{widest()};

template <class T>
double products(const Problem<T>& problem) {
    double all = double(problem.batch) * double(problem.groups) * double(problem.in_channels) *
                 double(problem.out_channels);
    for (const Axis& axis : problem.axis) {
        double along = 0;
        for (Index p = 0; p < axis.phases; ++p)
            along += double(axis.phase[p].count) * double(axis.phase[p].taps);
        all *= along;
    }
    return all;
}

}  // namespace

char* scratch_memory(Index bytes) {
    bytes = (bytes + 64) / 64 * 64;
    if (scratch.bytes < bytes) {
        scratch.free();
        scratch.memory = static_cast<char*>(std::aligned_alloc(64, std::size_t(bytes)));
        if (!scratch.memory) throw std::bad_alloc();
        scratch.bytes = bytes;
    }
    return scratch.memory;
}

int thread_number() {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

int threads_now() {
#ifdef _OPENMP
    return forked || omp_in_parallel() ? 1 : omp_get_max_threads();
#else
    return 1;
#endif
}

Target best_target() { return widest(); }

Target target_in_use() { return used; }

Target use_target(Target target) {
    const Target best = widest();
    used = int(target) < int(best) ? target : best;
    return used;
}

const char* target_name(Target target) {
    switch (target) {
        case Target::avx512: return "avx512";
        case Target::avx2: return "avx2";
        default: return "baseline";
    }
}

template <class T>
void correlate(const Problem<T>& problem, Path path) {
    // Calls from many threads at once already keep the cores busy: each then works alone.
    const Caller caller;
    const bool alone = caller.others == 0 && products(problem) >= LEAST_WORK;
    const int threads = alone ? threads_now() : 1;
#ifdef LINCONV_X86
    switch (used.load()) {
        case Target::avx512: return avx512::correlate(problem, path, threads);
        case Target::avx2: return avx2::correlate(problem, path, threads);
        default: break;
    }
#endif
    baseline::correlate(problem, path, threads);
}

template void correlate<float>(const Problem<float>&, Path);
template void correlate<double>(const Problem<double>&, Path);

}  // namespace linconv
