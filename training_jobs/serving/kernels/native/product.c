/* A product of a few rows with a matrix, as encode.c and rank.c are made of. */
#include "product.h"

#define ROWS 4  /* done together, so that the matrix is read once for them */

INLINE void tile(float *to, const float *from, const float *matrix, const float *bias, int rows, int columns, int in, int out) {
    float sums[ROWS][TILE];
    for (int row = 0; row < rows; row++)
        for (int at = 0; at < columns; at++) sums[row][at] = bias[at];
    for (int from_at = 0; from_at < in; from_at++)
#pragma GCC unroll 4
        for (int row = 0; row < rows; row++)
            for (int at = 0; at < columns; at++) sums[row][at] += from[row * in + from_at] * matrix[from_at * columns + at];
    for (int row = 0; row < rows; row++) memcpy(to + row * out, sums[row], columns * sizeof(float));
}

/* With counts that the compiler knows, the loops above have no remainders. */
INLINE void columns_of(float *to, const float *from, const float *matrix, const float *bias, int64_t length, int columns, int in,
                       int out) {
    for (; length >= ROWS; length -= ROWS, to += ROWS * out, from += ROWS * in) tile(to, from, matrix, bias, ROWS, columns, in, out);
    if (length == 3) tile(to, from, matrix, bias, 3, columns, in, out);
    if (length == 2) tile(to, from, matrix, bias, 2, columns, in, out);
    if (length == 1) tile(to, from, matrix, bias, 1, columns, in, out);
}

INLINE void product_on(float *to, const float *from, const float *matrix, const float *bias, int64_t length, int in, int out) {
    int at = 0;
    for (; at + TILE <= out; at += TILE) columns_of(to + at, from, matrix + at * in, bias + at, length, TILE, in, out);
    for (int64_t row = 0; at < out && row < length; row++)
        tile(to + row * out + at, from + row * in, matrix + at * in, bias + at, 1, out - at, in, out);
}

#ifdef __x86_64__
WITH_AVX512 static void product_with_avx512(float *to, const float *from, const float *matrix, const float *bias, int64_t length,
                                            int in, int out) {
    product_on(to, from, matrix, bias, length, in, out);
}
WITH_AVX2 static void product_with_avx2(float *to, const float *from, const float *matrix, const float *bias, int64_t length,
                                        int in, int out) {
    product_on(to, from, matrix, bias, length, in, out);
}
#endif

void product(float *to, const float *from, const float *matrix, const float *bias, int64_t length, int in, int out) {
#ifdef __x86_64__
    if (HAS_AVX512) product_with_avx512(to, from, matrix, bias, length, in, out);
    else if (HAS_AVX2) product_with_avx2(to, from, matrix, bias, length, in, out);
    else
#endif
        product_on(to, from, matrix, bias, length, in, out);
}
