/* What the others share: which processor it is, exponents, sums of products. */
#pragma once
#include <math.h>
#include <string.h>
#include "kernels.h"

#define INLINE static inline __attribute__((always_inline))

/* A function `name` that runs `name`_on, compiled for what the processor turns out to have. Tests define the HAS_. */
#ifdef __x86_64__
#ifndef HAS_AVX512
#define HAS_AVX512 \
    (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
#endif
#ifndef HAS_AVX2
#define HAS_AVX2 (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#endif
#define WITH_AVX512 __attribute__((target("avx512bw,avx512dq,avx512vl,fma")))
#define WITH_AVX2 __attribute__((target("avx2,fma")))
#define BY_PROCESSOR(name, type)                                              \
    WITH_AVX512 static void name##_with_avx512(type *of) { name##_on(of); }   \
    WITH_AVX2 static void name##_with_avx2(type *of) { name##_on(of); }       \
    void name(type *of) {                                                     \
        if (HAS_AVX512) name##_with_avx512(of);                               \
        else if (HAS_AVX2) name##_with_avx2(of);                              \
        else name##_on(of);                                                   \
    }
#else
#define BY_PROCESSOR(name, type) \
    void name(type *of) { name##_on(of); }
#endif

/* For x <= 0, within 1e-6 of the true value; below -87 it stays at what it is there. */
INLINE float exponent(float x) {
    float power = x * 1.44269504f;
    power = power < -125.0f ? -125.0f : power;
    int32_t whole = (int32_t)(power - 0.5f);
    float rest = (power - (float)whole) * 0.69314718f;
    float sum = rest * (1.0f / 720) + 1.0f / 120;
    sum = 1.0f + rest * (1.0f + rest * (1.0f / 2 + rest * (1.0f / 6 + rest * (1.0f / 24 + rest * sum))));
    int32_t bits = (whole + 127) << 23;
    float two_to_whole;
    memcpy(&two_to_whole, &bits, sizeof bits);
    return sum * two_to_whole;
}

INLINE float sum_of_products(const float *left, const float *right, int64_t count) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t at = 0; at < count; at++) sum += left[at] * right[at];
    return sum;
}

/* The value that stands at `place` when they are sorted, the greatest first. They are moved about. */
INLINE int64_t value_at(int64_t *values, int64_t count, int64_t place) {
    int64_t low = 0, high = count - 1;
    while (low < high) {
        int64_t a = values[low], b = values[(low + high) / 2], c = values[high];
        int64_t pivot = a > b ? (b > c ? b : a > c ? c : a) : (a > c ? a : b > c ? c : b);
        int64_t left = low - 1, right = high + 1;
        for (;;) {
            while (values[++left] > pivot) {}
            while (values[--right] < pivot) {}
            if (left >= right) break;
            int64_t swapped = values[left];
            values[left] = values[right];
            values[right] = swapped;
        }
        if (place <= right) high = right;
        else low = right + 1;
    }
    return values[place];
}

/* A key has the order of its value. Among equals the lower number is first when the greatest is. */
INLINE int64_t key_of(float value, int64_t number) {
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits ^= bits >> 31 & INT32_MAX;
    return (int64_t)((uint64_t)(uint32_t)bits << 32 | (UINT32_MAX - (uint32_t)number));
}

INLINE int64_t number_of(int64_t key) { return UINT32_MAX - (key & UINT32_MAX); }

/* Sorts keys, the greatest first. */
INLINE void sort(int64_t *keys, int64_t count) {
    for (int64_t gap = count / 2; gap > 0; gap = gap == 2 ? 1 : gap * 5 / 11)
        for (int64_t at = gap; at < count; at++) {
            int64_t key = keys[at], to = at;
            for (; to >= gap && keys[to - gap] < key; to -= gap) keys[to] = keys[to - gap];
            keys[to] = key;
        }
}
