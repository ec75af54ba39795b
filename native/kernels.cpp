// The paths of one target: this file is compiled once for each instruction set.
#include "arena.h"
#include "depthwise.h"
#include "lines.h"
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

// A part of a problem: some outputs of every axis, each of which has a single phase.
template <class T>
struct Box {
    Phase phase[AXES];
    Problem<T> problem;
    Box(const Problem<T>& whole, const Part* outputs) : problem(whole) {
        for (int a = 0; a < AXES; ++a) {
            phase[a] = whole.axis[a].phase[0];
            phase[a].start += outputs[a].first * phase[a].step;
            phase[a].offset += outputs[a].first * whole.axis[a].stride;
            phase[a].count = outputs[a].last - outputs[a].first;
            problem.axis[a].phase = &phase[a];
        }
    }
};

// Rows by whichever class fits.
template <class T>
void run_lines(const Problem<T>& problem, int threads) {
    if (Lines<T>::takes(problem))
        run_all<Lines<T>>(problem, threads);
    else
        run_all<Rows<T>>(problem, threads);  // takes everything
}

// The same; where it is worth it the outputs inside and the frame around them each by themselves.
template <class T>
void run_rows(const Problem<T>& problem, int threads) {
    if (!Lines<T>::takes(problem) || !Lines<T>::worth_a_frame(problem))
        return run_lines(problem, threads);
    Part all[AXES], in[AXES];
    for (int a = 0; a < AXES; ++a) {
        all[a] = {0, problem.axis[a].phase[0].count};
        in[a] = within(problem.axis[a], problem.axis[a].phase[0]);
    }
    run_lines(Box<T>(problem, in).problem, threads);
    for (int a = 0; a < AXES; ++a) {
        const Part sides[] = {{0, in[a].first}, {in[a].last, all[a].last}};
        for (const Part& side : sides) {
            if (side.first >= side.last) continue;
            all[a] = side;
            run_lines(Box<T>(problem, all).problem, threads);
        }
        all[a] = in[a];
    }
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
    if (done) return;
    run_rows(problem, threads);
}

template void correlate<float>(const Problem<float>&, Path, int);
template void correlate<double>(const Problem<double>&, Path, int);

}  // namespace linconv::LINCONV_TARGET
