// What all targets share: scratch memory and the number of a thread. Defined in correlate.cpp.
#pragma once

#include "correlate.h"

namespace linconv {

// Memory of the calling thread, aligned to 64 bytes, valid until its next call.
char* scratch_memory(Index bytes);
int thread_number();  // within the running team

}  // namespace linconv
