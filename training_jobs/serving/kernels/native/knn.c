/* knn.py's scorer for one session: the sessions most like it vote. The names are knn.py's. */
#include "common.h"

#define SOON 8 /* voters */

INLINE void vote(Knn *k, int32_t session, double weight, int32_t match) {
    const int32_t *items = k->session_items + k->session_offsets[session];
    int64_t count = k->session_offsets[session + 1] - k->session_offsets[session], met = 0;
    weight *= fmax(1.0 - k->position_decay * (double)(k->length - 1 - match), 0.0);
    while (met < count && items[met] != k->query[match]) met++;
    for (int64_t at = 0; at < count; at++) {
        int32_t item = items[at];
        double own = weight * k->idf[item];
        if (k->near_weights) own *= k->near_weights[at < met ? met - at : at - met];
        if (at < met) own *= k->backward_weight;
        int32_t slot = k->slot[item];
        if (slot < 0 || slot >= k->count || k->found[slot] != item) {
            slot = k->slot[item] = (int32_t)k->count++;
            k->found[slot] = item;
            k->votes[slot] = 0.0;
        }
        k->votes[slot] += own;
    }
}

INLINE void neighbours_vote_on(Knn *k) {
    int64_t touched = 0, least = INT64_MIN;
    for (int64_t place = 0; place < k->length; place++) {
        int32_t item = k->query[place];
        int again = 0;
        for (int64_t at = place + 1; at < k->length; at++) again |= k->query[at] == item;
        if (again) continue;
        int64_t begin = k->posting_offsets[item], end = k->posting_offsets[item + 1];
        end = end < begin + k->recent_sessions ? end : begin + k->recent_sessions;
        double weight = k->query_weights ? k->query_weights[k->length - 1 - place] : (double)(place + 1) / (double)k->length;
        for (int64_t at = begin; at < end; at++) {
            int32_t session = k->posting_sessions[at];
            if (k->similarity[session] == 0.0) k->touched[touched++] = session;
            k->similarity[session] += weight;
            k->match[session] = (int32_t)place;
        }
    }
    for (int64_t at = 0; at < touched; at++) {
        int32_t session = k->touched[at];
        double alike = k->similarity[session];
        k->similarity[session] = 0.0;
        k->alike[at] = alike * (k->freshness ? k->freshness[session] : 1.0);
        /* Among equals the sample of the index decides: the higher number wins. */
        k->partition[at] = k->order[at] = (int64_t)rint(alike * QUANTUM) * (k->sessions + 1) + session;
    }
    if (touched > k->neighbours) least = value_at(k->partition, touched, k->neighbours - 1);
    k->count = 0;
    int64_t voters = 0, *voter = k->partition;
    for (int64_t at = 0; at < touched; at++) {
        voter[voters] = at;
        voters += k->order[at] >= least;
    }
    /* A voter's offsets, its items and their weights are in no cache: each is read ahead for the voters that come soon. */
    for (int64_t at = 0; at < voters; at++) {
        if (at + 2 * SOON < voters) __builtin_prefetch(k->session_offsets + k->touched[voter[at + 2 * SOON]]);
        if (at + SOON < voters) __builtin_prefetch(k->session_items + k->session_offsets[k->touched[voter[at + SOON]]]);
        if (at + SOON / 2 < voters) {
            int32_t session = k->touched[voter[at + SOON / 2]];
            for (int64_t of = k->session_offsets[session]; of < k->session_offsets[session + 1]; of++) {
                __builtin_prefetch(k->idf + k->session_items[of]);
                __builtin_prefetch(k->slot + k->session_items[of]);
            }
        }
        int32_t session = k->touched[voter[at]];
        vote(k, session, k->alike[voter[at]], k->match[session]);
    }
    double total = 0.0;
    for (int64_t at = 0; at < k->count; at++) total += k->votes[at];
    if (total > 0.0)
        for (int64_t at = 0; at < k->count; at++) k->votes[at] /= total;
}

BY_PROCESSOR(neighbours_vote, Knn)
