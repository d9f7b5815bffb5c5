/* answer.py for one session, in one call. The names are answer.py's. */
#include "common.h"

/* floor_of() of returns.py */
static void floor_of(Answer *a) {
    Blend *b = a->blend;
    b->floor_count = 0;
    for (int64_t back = 0; back < RETURN_CLICKS && back < a->prefix_count; back++) {
        int64_t row = a->prefix[a->prefix_count - 1 - back], at = 0;
        while (at < b->floor_count && a->floored[at] != row) at++;
        if (at < b->floor_count) continue;
        a->floored[at] = row;
        a->floors[at] = a->return_floor[back];
        b->floor_count++;
    }
}

/* _between(): `others` are the places of the greatest logits in `keys`, in ascending order. */
static float between(int64_t place, const int64_t *others, const float *logits, int64_t count) {
    int64_t after = 0;
    while (after < count && others[after] < place) after++;
    if (after == 0) return logits[0] + (float)(others[0] - place);
    if (after == count) return logits[count - 1] - (float)(place - others[count - 1]);
    float part = (float)(place - others[after - 1]) / (float)(others[after] - others[after - 1]);
    return logits[after - 1] + part * (logits[after] - logits[after - 1]);
}

/* Gives the new ones of a shortlist the logits of their places. */
static void keep_places(float *logits, const int64_t *rows, int64_t count, const int8_t *new_items) {
    int64_t keys[SHORTLIST], others[SHORTLIST], known = 0;
    float sorted[SHORTLIST];
    for (int64_t at = 0; at < count; at++)
        if (!new_items[rows[at]]) others[known] = at, keys[known++] = key_of(logits[at], at);
    if (known == 0 || known == count) return;
    sort(keys, known);
    for (int64_t at = 0; at < known; at++) sorted[at] = logits[number_of(keys[at])];
    for (int64_t at = 0; at < count; at++)
        if (new_items[rows[at]]) logits[at] = between(at, others, sorted, known);
}

INLINE void order_by_ranker(Answer *a) {
    Blend *b = a->blend;
    Ranker *r = a->ranker;
    int64_t count = b->count < SHORTLIST ? b->count : SHORTLIST, keys[SHORTLIST], rows[SHORTLIST];
    float logits[SHORTLIST], total = 0.0f, largest, sum = 0.0f, least, next = (float)NEAR_ZERO;
    if (count == 0) return;
    r->click_count = a->prefix_count < CLICKS ? a->prefix_count : CLICKS;
    r->clicks = a->prefix + a->prefix_count - r->click_count;
    r->count = count;
    rank(r);
    for (int64_t at = 0; at < count; at++) {
        logits[at] = logf(b->scores[at] > (float)LEAST_SCORE ? b->scores[at] : (float)LEAST_SCORE) + r->raised[at];
        total += b->scores[at];
    }
    keep_places(logits, b->rows, count, a->new_items);
    largest = logits[0];
    for (int64_t at = 1; at < count; at++) largest = logits[at] > largest ? logits[at] : largest;
    for (int64_t at = 0; at < count; at++) {
        float below = logits[at] - largest;
        sum += logits[at] = exponent(below > (float)DEEPEST ? below : (float)DEEPEST);
    }
    for (int64_t at = 0; at < count; at++) {
        float score = logits[at] * (total / sum);
        if (a->floor_ranked && b->floors_at[at] > score) score = b->floors_at[at];
        rows[at] = b->rows[at];
        logits[at] = score;
        keys[at] = key_of(score, at);
    }
    sort(keys, count);
    for (int64_t at = 0; at < count; at++) {
        b->rows[at] = rows[number_of(keys[at])];
        b->scores[at] = logits[number_of(keys[at])];
    }

    /* behind() */
    least = (float)BELOW * b->scores[count - 1];
    for (int64_t at = count; at < b->count; at++) next = b->scores[at] > next ? b->scores[at] : next;
    least /= next;
    least = least < (float)NEAR_ZERO ? (float)NEAR_ZERO : least < 1.0f ? least : 1.0f;
    for (int64_t at = count; at < b->count; at++) b->scores[at] *= least;
}

INLINE void answer_on(Answer *a) {
    Encoder *e = a->encoder;
    Scan *s = a->scan;
    Knn *k = a->knn;
    Blend *b = a->blend;
    if (!a->own_query) {
        e->length = a->prefix_count < e->max_length ? a->prefix_count : e->max_length;
        e->rows = a->prefix + a->prefix_count - e->length;
        encode(e);
    }
    b->kept = (a->k > SHORTLIST ? a->k : SHORTLIST) + SPARE;
    s->count = b->only_count < 0 ? b->kept + b->excluded_count : 1;
    scan(s);
    k->count = 0;
    if (b->knn_weight > 0.0f) {
        k->length = a->prefix_count < a->last_items ? a->prefix_count : a->last_items;
        k->query = a->prefix + a->prefix_count - k->length;
        neighbours_vote(k);
    }
    floor_of(a);
    b->near_count = s->found;
    b->largest = s->largest;
    b->total = s->total;
    b->vote_count = k->count;
    b->popular = s->count;
    blend(b);
    if (a->ranker && !a->own_query) order_by_ranker(a);
}

BY_PROCESSOR(answer, Answer)
