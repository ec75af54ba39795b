// Memory for large results. A new large array costs a page fault per page, often more than the
// convolution that fills it; so the last few that were let go are kept for the next ones.
#pragma once

#include "correlate.h"

namespace linconv {

constexpr Index KEPT_RESULT_BYTES = Index(64) << 20;  // kept in all, by the whole process

// Memory aligned to a cache line; throws std::bad_alloc.
void* take_result(Index bytes);
void give_result_back(void* memory, Index bytes) noexcept;

}  // namespace linconv
