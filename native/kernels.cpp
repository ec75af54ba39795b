// The paths of one target: this file is compiled once for each instruction set.
#include "arena.h"
#include "depthwise.h"
#include "pixels.h"
#include "rows.h"
#include "spectra.h"
#include "winograd.h"

namespace linconv::LINCONV_TARGET {
namespace {

// Runs all tasks of a path: tables once, then tasks as threads become free. Returns false where the
// result is lost, and another path must compute it.
template <class P, class T>
bool run_all(const Problem<T>& problem, int threads) {
    P path(problem, threads);
    const Index tasks = path.tasks();
    const int team = int(smaller(threads, larger(1, tasks)));
    const Index each = ceil_div(path.thread_bytes(), 4096) * 4096 + 64;
    const Index tables = ceil_div(path.shared_bytes(), 4096) * 4096;
    char* memory = scratch_memory(tables + team * each);
    path.prepare(memory);
    if (team == 1) {
        for (Index i = 0; i < path.shared_tasks(); ++i) path.share(i, memory + tables);
        for (Index task = 0; task < tasks; ++task) path.run(task, memory + tables);
        return !path.lost();
    }
    Index next = 0;
#pragma omp parallel num_threads(team)
    {
        char* own = memory + tables + thread_number() * each;
#pragma omp for
        for (Index i = 0; i < path.shared_tasks(); ++i) path.share(i, own);
        for (;;) {
            Index task;
#pragma omp atomic capture
            task = next++;
            if (task >= tasks) break;
            path.run(task, own);
        }
    }
    return !path.lost();
}

}  // namespace

template <class T>
void correlate(const Problem<T>& problem, Path path, int threads) {
    bool done = false;
    if (path == Path::pixels) done = run_all<Pixels<T>>(problem, threads);
    if (path == Path::channels && Depthwise<T>::takes(problem))
        done = run_all<Depthwise<T>>(problem, threads);
    if (path == Path::spectra && Spectra<T>::takes(problem))
        done = run_all<Spectra<T>>(problem, threads);
    if (path == Path::winograd && Winograd<T>::takes(problem))
        done = run_all<Winograd<T>>(problem, threads);
    if (!done) run_all<Rows<T>>(problem, threads);  // takes everything
}

template void correlate<float>(const Problem<float>&, Path, int);
template void correlate<double>(const Problem<double>&, Path, int);

}  // namespace linconv::LINCONV_TARGET
