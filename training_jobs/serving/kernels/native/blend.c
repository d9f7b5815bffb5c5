/* blend.py for one session: the scores of its candidates, and the best of them by their exact vectors. The names are blend.py's. */
#include "codes.h"

enum { FREE, EXCLUDED, TAKEN };

INLINE float dot_of_codes(const int8_t *code, const int8_t *query) {
    int32_t sum = 0;
    for (int at = 0; at < DIM; at++) sum += code[at] * (int16_t)query[at];
    return (float)sum;
}

INLINE float score_of(const Blend *b, int64_t row, float probability) {
    float score = (1.0f - b->knn_weight) * probability + b->popularity[row] + b->knn_weight * b->votes_of[row];
    return score > b->floor_of[row] ? score : b->floor_of[row];
}

/* Adds a candidate to the pool, and returns the pool's new size. */
INLINE int64_t take(const Blend *b, int64_t pool, int64_t row) {
    if (b->state[row] != FREE || b->out_of_stock[row]) return pool;
    b->state[row] = TAKEN;
    b->pool[pool] = row;
    return pool + 1;
}

INLINE void blend_on(Blend *b) {
    float steepness = b->steepness, by_total = (float)(1.0 / b->total);
    int64_t count = 0, pool = 0, popular = b->popular < b->in_stock ? b->popular : b->in_stock;
    for (int64_t at = 0; at < b->vote_count; at++) b->votes_of[b->voted[at]] = (float)b->votes[at];
    for (int64_t at = 0; at < b->floor_count; at++) b->floor_of[b->floored[at]] = b->floors[at];
    for (int64_t at = 0; at < b->excluded_count; at++) b->state[b->excluded[at]] = EXCLUDED;

    if (b->only_count < 0) {
        for (int64_t at = 0; at < b->near_count; at++) pool = take(b, pool, b->near[at]);
        for (int64_t at = 0; at < popular; at++) pool = take(b, pool, b->by_popularity[at]);
        for (int64_t at = 0; at < b->floor_count; at++) pool = take(b, pool, b->floored[at]);
        for (int64_t at = 0; at < b->vote_count; at++) pool = take(b, pool, b->voted[at]);
    } else {
        for (int64_t at = 0; at < b->only_count; at++) pool = take(b, pool, b->only[at]);
    }
    int8_t query[DIM];
    float step = query_codes(b->query, query);
    int every = pool <= b->kept;
    for (int64_t at = 0; at < pool; at++) {
        int64_t row = b->pool[at];
        float probability = 0.0f;
        if (at + SOON < pool) {
            int64_t soon = b->pool[at + SOON];
            prefetch(b->codes + soon * DIM);
            __builtin_prefetch(b->scales + soon);
            __builtin_prefetch(b->popularity + soon);
            __builtin_prefetch(b->votes_of + soon);
            __builtin_prefetch(b->floor_of + soon);
            __builtin_prefetch(b->unknown + soon);
        }
        if (!every && !b->unknown[row]) {
            float cosine = dot_of_codes(b->codes + row * DIM, query) * (b->scales[row] * step);
            probability = exponent((cosine - b->largest) * steepness) * by_total;
        }
        b->keys[at] = b->order[at] = key_of(score_of(b, row, probability), row);
    }
    int64_t least = every ? INT64_MIN : value_at(b->order, pool, b->kept - 1);
    for (int64_t at = 0; at < pool; at++)
        if (b->keys[at] >= least) b->rows[count++] = b->pool[at];
        else b->state[b->pool[at]] = FREE;

    /* The softmax's sum gets the true terms of those that weigh most in it. */
    double change = 0.0;
    for (int64_t at = 0; at < count; at++) {
        int64_t row = b->rows[at];
        if (at + SOON / 4 < count)
            for (int line = 0; line < DIM; line += 16) __builtin_prefetch(b->vectors + b->rows[at + SOON / 4] * DIM + line);
        b->cosine_of[row] = sum_of_products(b->vectors + row * DIM, b->query, DIM);
    }
    for (int64_t at = 0; at < b->near_count; at++) {
        int64_t row = b->near[at];
        if (b->state[row] == FREE) continue;
        float exact = b->state[row] == TAKEN ? b->cosine_of[row] : sum_of_products(b->vectors + row * DIM, b->query, DIM);
        change += exponent((exact - b->largest) * steepness) - exponent((b->near_cosines[at] - b->largest) * steepness);
    }
    by_total = (float)(1.0 / (b->total + change));
    for (int64_t at = 0; at < count; at++) {
        int64_t row = b->rows[at];
        float probability = b->unknown[row] ? 0.0f : exponent((b->cosine_of[row] - b->largest) * steepness) * by_total;
        b->cosine_of[row] = probability;
        b->keys[at] = key_of(score_of(b, row, probability), row);
    }
    sort(b->keys, count);
    for (int64_t at = 0; at < count; at++) {
        int64_t row = b->rows[at] = number_of(b->keys[at]);
        b->probability[at] = b->cosine_of[row];
        b->scores[at] = score_of(b, row, b->probability[at]);
        b->votes_at[at] = b->votes_of[row];
        b->floors_at[at] = b->floor_of[row];
    }
    for (int64_t at = 0; at < count; at++) b->state[b->rows[at]] = FREE;
    for (int64_t at = 0; at < b->vote_count; at++) b->votes_of[b->voted[at]] = 0.0f;
    for (int64_t at = 0; at < b->floor_count; at++) b->floor_of[b->floored[at]] = 0.0f;
    for (int64_t at = 0; at < b->excluded_count; at++) b->state[b->excluded[at]] = FREE;
    b->count = count;
}

BY_PROCESSOR(blend, Blend)
