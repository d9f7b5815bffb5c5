/* encoder_numpy.py for one session, in one call: its thirty small products take numpy longer to begin than to do. The names are
encoder_numpy.py's. */
#include "product.h"

/* Twice the sigmoid of twice `half`. */
INLINE float doubled_sigmoid(float half) {
    float e = exponent(-2.0f * fabsf(half));
    return (half < 0 ? 2.0f * e : 2.0f) / (1.0f + e);
}

/* Rows with a root mean square of one. */
INLINE void normalise(float *to, const float *from, int64_t length) {
    for (int64_t row = 0; row < length; row++, to += DIM, from += DIM) {
        float shrink = 1.0f / sqrtf(sum_of_products(from, from, DIM) / DIM + __FLT_EPSILON__);
        for (int at = 0; at < DIM; at++) to[at] = from[at] * shrink;
    }
}

INLINE void softmax(float *x, int64_t count) {
    float largest = x[0], sum = 0.0f;
    for (int64_t at = 1; at < count; at++) largest = x[at] > largest ? x[at] : largest;
#pragma omp simd reduction(+ : sum)
    for (int64_t at = 0; at < count; at++) sum += x[at] = exponent(x[at] - largest);
    for (int64_t at = 0; at < count; at++) x[at] /= sum;
}

/* The mean of the first `count` of `values`, weighted by how near their `keys` are to `query`; `logits` becomes the weights. */
INLINE void attention(float *to, const float *query, const float *keys, const float *values, int64_t stride, int64_t value_stride,
                      int64_t count, int64_t width, const float *relative, float *logits) {
    for (int64_t at = 0; at < count; at++) logits[at] = sum_of_products(query, keys + at * stride, width) + relative[count - 1 - at];
    softmax(logits, count);
    memset(to, 0, width * sizeof(float));
    for (int64_t at = 0; at < count; at++)
        for (int64_t of = 0; of < width; of++) to[of] += logits[at] * values[at * value_stride + of];
}

INLINE void layer(const Encoder *e, const Layer *l, float *x, float *a, float *mixed, float *logits) {
    int64_t length = e->length, width = DIM / e->heads;
    normalise(a, x, length);
    product(mixed, a, l->attend, l->attend_bias, length, DIM, 4 * DIM);
    for (int64_t row = 0; row < length; row++)
        for (int64_t head = 0; head < e->heads; head++) {
            const float *query = mixed + row * 4 * DIM + head * width;
            attention(a + row * DIM + head * width, query, mixed + DIM + head * width, mixed + 2 * DIM + head * width, 4 * DIM,
                      4 * DIM, row + 1, width, e->relative + head * e->max_length, logits);
        }
    float *seen = mixed + length * 4 * DIM; /* mixed has room for five times DIM */
    product(seen, a, l->out, l->out_bias, length, DIM, DIM);
    for (int64_t row = 0; row < length; row++)
        for (int at = 0; at < DIM; at++)
            x[row * DIM + at] += seen[row * DIM + at] * doubled_sigmoid(mixed[row * 4 * DIM + 3 * DIM + at]);
    normalise(a, x, length);
    product(mixed, a, l->feed, l->feed_bias, length, DIM, 5 * DIM);
    float *fed = mixed + length * 5 * DIM;
    for (int64_t row = 0; row < length; row++) {
        const float *up = mixed + row * 5 * DIM, *swish = up + 2 * DIM;
        for (int at = 0; at < 2 * DIM; at++) fed[row * 2 * DIM + at] = doubled_sigmoid(0.5f * swish[at]) * swish[at] * up[at];
    }
    product(a, fed, l->feed_out, l->feed_out_bias, length, 2 * DIM, DIM);
    for (int64_t row = 0; row < length; row++)
        for (int at = 0; at < DIM; at++)
            x[row * DIM + at] += a[row * DIM + at] * doubled_sigmoid(mixed[row * 5 * DIM + 4 * DIM + at]);
}

INLINE void encode_on(Encoder *e) {
    int64_t length = e->length;
    float *raw = e->scratch, *x = raw + length * DIM, *a = x + length * DIM, *mixed = a + length * DIM;
    float *logits = mixed + length * 7 * DIM;
    for (int64_t row = 0; row < length; row++)
        for (int at = 0; at < DIM; at++) {
            raw[row * DIM + at] = e->vectors[(int64_t)e->rows[row] * DIM + at] * e->scale;
            x[row * DIM + at] = raw[row * DIM + at] + e->position[row * DIM + at];
        }
    for (int64_t at = 0; at < e->layer_count; at++) layer(e, e->layers + at, x, a, mixed, logits);
    normalise(a, x, length);
    product(mixed, a, e->pool, e->pool_bias, length, DIM, 2 * DIM);
    attention(e->query, mixed + (length - 1) * 2 * DIM + DIM, mixed, raw, 2 * DIM, DIM, length, DIM, e->relative, logits);
    for (int at = 0; at < DIM; at++) e->query[at] += e->residual[at] * a[(length - 1) * DIM + at];
    float norm = sqrtf(sum_of_products(e->query, e->query, DIM));
    for (int at = 0; at < DIM; at++) e->query[at] /= norm > 1e-12f ? norm : 1e-12f;
}

BY_PROCESSOR(encode, Encoder)
