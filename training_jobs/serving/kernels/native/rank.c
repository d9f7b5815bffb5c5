/* ranker.py for one shortlist: the candidates' features and the network, whose names and order are ranker.py's. */
#include "product.h"

#define OWN (3 + 2 * PLACES)

_Static_assert(FEATURES == 10 + OWN && CONTEXT == 10, "rank() fills the features that ranker.py lists");

typedef struct {
    int items;
    int32_t item[CLICKS];
    float own[CLICKS][OWN], context[CONTEXT];
} Session;

/* _session_features */
static void look_back(const int32_t *clicks, int n, Session *s) {
    int times[CLICKS], place[CLICKS], again[CLICKS];
    s->items = 0;
    for (int at = 0; at < n; at++) {
        int of = 0;
        while (of < s->items && s->item[of] != clicks[at]) of++;
        again[at] = of < s->items;
        if (!again[at]) s->item[s->items++] = clicks[at], times[of] = 0;
        times[of]++;
        place[of] = at;
    }
    memset(s->own, 0, sizeof s->own);
    for (int of = 0; of < s->items; of++) {
        int back = n - 1 - place[of];
        s->own[of][0] = 1.0f;
        s->own[of][1 + 2 * (back < PLACES - 1 ? back : PLACES - 1) + (times[of] > 1)] = 1.0f;
        s->own[of][OWN - 2] = (float)times[of];
        s->own[of][OWN - 1] = 1.0f / (float)(1 + back);
    }
    memset(s->context, 0, sizeof s->context);
    s->context[0] = logf((float)n);
    s->context[1] = logf((float)s->items);
    s->context[2] = (float)s->items / (float)n;
    for (int back = 1; back <= 4 && back <= n; back++) s->context[2 + back] = (float)again[n - back];
    for (int back = 1; back <= 3 && back <= n - 1; back++) s->context[6 + back] = (float)(clicks[n - back] == clicks[n - back - 1]);
}

/* 1 for the greatest, 1/2 for the second; equals share the better place. */
INLINE float reciprocal_place(const float *values, int64_t count, float value) {
    int32_t greater = 0;
#pragma omp simd reduction(+ : greater)
    for (int64_t at = 0; at < count; at++) greater += values[at] > value;
    return 1.0f / (1.0f + (float)greater);
}

INLINE void rank_on(Ranker *r) {
    float *features = r->scratch, *first = features + r->count * FEATURES, *second = first + r->count * r->hidden;
    float *bias = second + r->count * r->hidden, least = (float)LEAST;
    int64_t recent = r->click_count < NEAR ? r->click_count : NEAR;
    const int32_t *near = r->clicks + r->click_count - recent;
    Session session;
    look_back(r->clicks, (int)r->click_count, &session);

    memset(features, 0, r->count * FEATURES * sizeof(float));
    for (int64_t at = 0; at < r->count; at++) {
        float *to = features + at * FEATURES, cosine = 0.0f, largest = -2.0f, sum = 0.0f;
        for (int64_t of = 0; of < recent; of++) {
            cosine = sum_of_products(r->vectors + r->rows[at] * DIM, r->vectors + (int64_t)near[of] * DIM, DIM);
            largest = cosine > largest ? cosine : largest;
            sum += cosine;
        }
        to[0] = logf(r->probability[at] > least ? r->probability[at] : least);
        to[1] = logf(r->votes[at] > least ? r->votes[at] : least);
        to[2] = cosine;
        to[3] = largest;
        to[4] = sum / (float)recent;
        memcpy(to + 5, r->facts + r->rows[at] * 3, 3 * sizeof(float));
        to[8] = reciprocal_place(r->probability, r->count, r->probability[at]);
        to[9] = reciprocal_place(r->votes, r->count, r->votes[at]);
        for (int of = 0; of < session.items; of++)
            if (session.item[of] == r->rows[at]) memcpy(to + 10, session.own[of], sizeof session.own[of]);
    }

    int hidden = (int)r->hidden;
    product(bias, session.context, r->context, r->first_bias, 1, CONTEXT, hidden);
    product(first, features, r->candidate, bias, r->count, FEATURES, hidden);
    for (int64_t at = 0; at < r->count * hidden; at++) first[at] = first[at] > 0.0f ? first[at] : 0.0f;
    product(second, first, r->second, r->second_bias, r->count, hidden, hidden);
    for (int64_t at = 0; at < r->count * hidden; at++) second[at] = second[at] > 0.0f ? second[at] : 0.0f;
    for (int64_t at = 0; at < r->count; at++) r->raised[at] = sum_of_products(second + at * hidden, r->out, hidden);
}

BY_PROCESSOR(rank, Ranker)
