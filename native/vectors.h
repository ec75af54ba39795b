// Vectors of the width of one instruction set, by the compiler's own vector types.
//
// Compiled once per target with LINCONV_TARGET (a namespace) and LINCONV_VECTOR_BYTES. Everything
// stays in that namespace: a function shared between targets could be linked from the wrong one.
#pragma once

#include "correlate.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

#define UNROLL _Pragma("GCC unroll 16")
#define INLINE __attribute__((always_inline))

namespace linconv::LINCONV_TARGET {

constexpr int VECTOR_BYTES = LINCONV_VECTOR_BYTES;
// Sums kept in registers by one tile; the rest hold what is multiplied.
constexpr int ACCUMULATORS = LINCONV_ACCUMULATORS;

template <class T>
struct Lanes {
    static constexpr int count = VECTOR_BYTES / sizeof(T);
    typedef T Vector __attribute__((vector_size(VECTOR_BYTES)));
    typedef T Loose __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));
};

template <class T>
using Vector = typename Lanes<T>::Vector;

template <class T>
inline Vector<T> load(const T* from) {
    return *reinterpret_cast<const typename Lanes<T>::Loose*>(from);
}

template <class T>
inline void store(T* to, Vector<T> value) {
    *reinterpret_cast<typename Lanes<T>::Loose*>(to) = value;
}

// Stores past the caches, to an address that is a multiple of a vector: a result that will not fit
// them is written without being read first. `streamed` makes such stores seen by other threads.
template <class T>
inline INLINE void stream(T* to, Vector<T> value) {
#if LINCONV_VECTOR_BYTES == 64 && defined(__AVX512F__)
    _mm512_stream_ps(reinterpret_cast<float*>(to), __m512(value));
#elif LINCONV_VECTOR_BYTES == 32 && defined(__AVX__)
    _mm256_stream_ps(reinterpret_cast<float*>(to), __m256(value));
#elif LINCONV_VECTOR_BYTES == 16 && defined(__SSE2__)
    _mm_stream_ps(reinterpret_cast<float*>(to), __m128(value));
#else
    store(to, value);
#endif
}
inline void streamed() {
#ifdef __SSE2__
    _mm_sfence();
#endif
}

inline Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }
inline Index smaller(Index a, Index b) { return a < b ? a : b; }
inline Index larger(Index a, Index b) { return a > b ? a : b; }

// Part `i` of `n` things cut into `parts` parts that differ by one at most.
struct Part {
    Index first, last;
};
inline Part part(Index n, Index parts, Index i) {
    const Index base = n / parts, rest = n % parts;
    const Index first = i * base + smaller(i, rest);
    return {first, first + base + (i < rest)};
}

// The same parts one after the other, with a single division.
struct Pieces {
    Index base, rest;
    Index parts;
    Pieces(Index n, Index longest) : parts(ceil_div(n, longest)) {
        base = parts ? n / parts : 0;
        rest = n - base * parts;
    }
    Index size(Index i) const { return base + (i < rest); }
    Index first(Index i) const { return i * base + smaller(i, rest); }
};

}  // namespace linconv::LINCONV_TARGET
