/* The inner loop of scan.py: one pass over the int8 codes of all items. compile.py compiles it for the dimension of one model.

It is bound by reading the codes, so what else is asked of every item costs next to nothing here: its cosine, the largest cosine of
each block of items, and the sum of exponents that the softmax is divided by. */
#include "common.h"

#define AHEAD 4096 /* bytes: hardware prefetches no further than the end of a page */

INLINE void prefetch(const int8_t *code) {
    for (int at = 0; at < DIM; at += 64) __builtin_prefetch(code + AHEAD + at);
}

INLINE int32_t dot_of_words(const int8_t *code, const void *query) {
    int32_t sum = 0;
    prefetch(code);
    for (int at = 0; at < DIM; at++) sum += code[at] * ((const int16_t *)query)[at];
    return sum;
}

/* With a count that the compiler knows, the loops below have no remainders. */
INLINE void block(Scan *s, int64_t begin, int count, int32_t (*dot)(const int8_t *, const void *), const void *query,
                  int32_t raised) {
    int32_t dots[BLOCK];
    float cosines[BLOCK], shown[BLOCK], steepness = s->steepness, sum = 0.0f, largest = s->largest, peak = -__FLT_MAX__;
    for (int at = 0; at < count; at++) dots[at] = dot(s->codes + (begin + at) * DIM, query) - raised;
    for (int at = 0; at < count; at++) cosines[at] = (float)dots[at] * (s->scales[begin + at] * s->step);
    for (int at = 0; at < count; at++) shown[at] = s->penalty ? cosines[at] + s->penalty[begin + at] : cosines[at];
#pragma omp simd reduction(max : peak, largest)
    for (int at = 0; at < count; at++) {
        peak = shown[at] > peak ? shown[at] : peak;
        largest = cosines[at] > largest ? cosines[at] : largest;
    }
#pragma omp simd reduction(+ : sum)
    for (int at = 0; at < count; at++) sum += exponent((cosines[at] - largest) * steepness);
    if (largest > s->largest) s->total *= exponent((s->largest - largest) * steepness);
    s->largest = largest;
    s->total += sum;
    s->peaks[begin / BLOCK] = peak;
    memcpy(s->cosines + begin, cosines, count * sizeof(float));
}

INLINE void pass(Scan *s, int32_t (*dot)(const int8_t *, const void *), const void *query, int32_t raised) {
    int64_t begin = 0;
    s->largest = -2.0f;
    s->total = 0.0;
    for (; begin + BLOCK <= s->items; begin += BLOCK) block(s, begin, BLOCK, dot, query, raised);
    if (begin < s->items) block(s, begin, (int)(s->items - begin), dot, query, raised);
}

INLINE void scan_words_on(Scan *s) {
    int16_t query[DIM];
    for (int at = 0; at < DIM; at++) query[at] = s->query[at];
    pass(s, dot_of_words, query, 0);
}

BY_PROCESSOR(scan_words, Scan)

/* VNNI multiplies unsigned by signed bytes, in one instruction, which GCC finds by itself from 12 on only. So the codes are raised
by 128, which `raised` takes off again. */
#if defined(__x86_64__) && DIM % 64 == 0
#include <immintrin.h>
#ifndef HAS_VNNI
#define HAS_VNNI (HAS_AVX512 && __builtin_cpu_supports("avx512vnni"))
#endif
#define VNNI __attribute__((target("avx512vnni,avx512bw,avx512dq,avx512vl,fma")))

VNNI INLINE int32_t dot_of_bytes(const int8_t *code, const void *query) {
    __m512i sum = _mm512_setzero_si512(), sign = _mm512_set1_epi8(-128);
    prefetch(code);
    for (int at = 0; at < DIM; at += 64) {
        __m512i byte = _mm512_xor_si512(sign, _mm512_loadu_si512(code + at));
        sum = _mm512_dpbusd_epi32(sum, byte, _mm512_loadu_si512((const int8_t *)query + at));
    }
    return _mm512_reduce_add_epi32(sum);
}

VNNI static void scan_bytes(Scan *s) {
    int32_t raised = 0;
    for (int at = 0; at < DIM; at++) raised += 128 * s->query[at];
    pass(s, dot_of_bytes, s->query, raised);
}

/* Fills what is not const. */
void scan(Scan *s) {
    if (HAS_VNNI) scan_bytes(s);
    else scan_words(s);
}
#else
void scan(Scan *s) { scan_words(s); }
#endif
