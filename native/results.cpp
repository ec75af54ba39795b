// A short list of blocks, the last given back first.
#include "results.h"

#include <cstdlib>
#include <mutex>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#define LINCONV_FORKS
#endif

namespace linconv {

namespace {

constexpr int MOST = 8;
constexpr Index HUGE_PAGE = Index(2) << 20;

struct Block {
    void* memory;
    Index bytes;
};

std::mutex guard;
Block kept[MOST];
int count = 0;
Index kept_bytes = 0;

#ifdef LINCONV_FORKS
// A fork waits until the list is whole, so that the new process finds it unlocked.
const int at_fork = pthread_atfork([] { guard.lock(); }, [] { guard.unlock(); },
                                   [] { guard.unlock(); });
#endif

void* fresh(Index bytes) {
    const Index alignment = bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : 64;
    const Index rounded = (bytes + alignment - 1) / alignment * alignment;
    void* const memory = std::aligned_alloc(std::size_t(alignment), std::size_t(rounded));
    if (!memory) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (alignment == HUGE_PAGE) madvise(memory, std::size_t(rounded), MADV_HUGEPAGE);
#endif
    return memory;
}

}  // namespace

void* take_result(Index bytes) {
    {
        const std::lock_guard<std::mutex> hold(guard);
        for (int i = count - 1; i >= 0; --i) {
            if (kept[i].bytes != bytes) continue;
            void* const memory = kept[i].memory;
            for (int j = i + 1; j < count; ++j) kept[j - 1] = kept[j];
            --count;
            kept_bytes -= bytes;
            return memory;
        }
    }
    return fresh(bytes);
}

void give_result_back(void* memory, Index bytes) noexcept {
    if (bytes > KEPT_RESULT_BYTES) return std::free(memory);
    const std::lock_guard<std::mutex> hold(guard);
    while (count && (count == MOST || kept_bytes + bytes > KEPT_RESULT_BYTES)) {
        kept_bytes -= kept[0].bytes;
        std::free(kept[0].memory);
        for (int j = 1; j < count; ++j) kept[j - 1] = kept[j];
        --count;
    }
    kept[count++] = {memory, bytes};
    kept_bytes += bytes;
}

}  // namespace linconv
