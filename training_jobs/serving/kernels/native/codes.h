/* Products of int8 codes, as scan.c and blend.c compute them. */
#pragma once
#include "common.h"

#define AHEAD 8192 /* bytes: hardware prefetches no further than the end of a page */
#define SOON 12    /* rows: reading one that is not in the cache takes as long as so many products */

INLINE void prefetch(const int8_t *code) {
    for (int at = 0; at < DIM; at += 64) __builtin_prefetch(code + at);
}

/* query_codes() of scan.py */
INLINE float query_codes(const float *query, int8_t *codes) {
    float largest = 1e-30f;
    for (int at = 0; at < DIM; at++) largest = fabsf(query[at]) > largest ? fabsf(query[at]) : largest;
    float step = largest / 127.0f;
    for (int at = 0; at < DIM; at++) codes[at] = (int8_t)rintf(query[at] / step);
    return step;
}

INLINE int32_t dot_of_words(const int8_t *code, const void *query) {
    int32_t sum = 0;
    for (int at = 0; at < DIM; at++) sum += code[at] * ((const int16_t *)query)[at];
    return sum;
}

/* VNNI multiplies unsigned by signed bytes, in one instruction, which GCC finds by itself from 12 on only. */
#if defined(__x86_64__) && DIM % 64 == 0
#define BYTES
#include <immintrin.h>
#ifndef HAS_VNNI
#define HAS_VNNI (HAS_AVX512 && __builtin_cpu_supports("avx512vnni"))
#endif
#define VNNI __attribute__((target("avx512vnni,avx512bw,avx512dq,avx512vl,fma")))

/* The codes are raised by 128: the sum is greater by 128 times the sum of the query's codes. */
VNNI INLINE int32_t dot_of_bytes(const int8_t *code, const void *query) {
    __m512i sum = _mm512_setzero_si512(), sign = _mm512_set1_epi8(-128);
    for (int at = 0; at < DIM; at += 64) {
        __m512i byte = _mm512_xor_si512(sign, _mm512_loadu_si512(code + at));
        sum = _mm512_dpbusd_epi32(sum, byte, _mm512_loadu_si512((const int8_t *)query + at));
    }
    return _mm512_reduce_add_epi32(sum);
}
#endif
