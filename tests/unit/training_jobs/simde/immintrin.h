/* Stands in for the compiler's header: SIMDe computes each intrinsic in portable C, so a kernel for VNNI runs on any processor. */
#pragma once
#define SIMDE_NO_NATIVE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

/* SIMDe 0.8.2 lacks this intrinsic. */
static inline int32_t _mm512_reduce_add_epi32(__m512i lanes) {
    int32_t of[16], sum = 0;
    memcpy(of, &lanes, sizeof of);
    for (int at = 0; at < 16; at++) sum += of[at];
    return sum;
}

/* Removes __attribute__((target(...))) from the kernel's functions. Without it the compiler would use AVX-512 in them. */
#define target(...)
