/* The calls from Python into the compiled kernels: header.py reads this file.

Each function answers one session. It reads what is const and fills the rest of its struct.
Capitals are constants of answer.py, knn.py, ranker.py, returns.py and scan.py, and header.py's of a sketch's layout; compile.py passes them to the compiler. DIM is the length of an item's vector. */
#pragma once
#include <stdint.h>

typedef struct {
    const uint8_t *sketch;                /* [blocks of BLOCK items][BLOCK / LANES][GROUPS][LANES][4], FIELDS numbers in a byte */
    const int8_t *codes, *hidden;         /* [items][DIM], [items] */
    const float *sketch_scales, *scales;  /* [items] */
    const float *query, *rotation;        /* [DIM], [DIM][DIM] */
    int64_t items, zeros, count;
    float margin, steepness;
    double correction;
    int32_t *rows;  /* [items + LANES], the first `found` of them, in ascending order */
    float *cosines; /* theirs */
    int64_t found;
    float largest; /* of the cosines found */
    double total;  /* of exp((cosine - largest) * steepness) over all items */
} Scan;

/* Find the items that are nearest to a vector. */
void scan(Scan *scan);

typedef struct {
    const float *vectors, *scales, *popularity;        /* [items][DIM], [items], [items] */
    const int8_t *codes, *unknown, *out_of_stock;      /* [items][DIM], [items], [items] */
    const int64_t *by_popularity;                      /* [in_stock] */
    int64_t in_stock;
    float steepness;
    float *votes_of, *floor_of, *cosine_of; /* [items]: the first two are zero before and after */
    int8_t *state;                          /* [items]: zero before and after */
    int64_t *pool, *keys, *order;           /* [items] */
    const float *query;                     /* [DIM] */
    const int32_t *near;                               /* [items], the first `near_count` of them */
    const int64_t *voted, *floored, *excluded, *only; /* [items], the first of them as counted */
    const float *near_cosines, *floors;
    const double *votes;
    int64_t near_count, vote_count, floor_count, excluded_count, only_count, popular, kept; /* no `only` if that is negative */
    float largest, knn_weight;
    double total;
    int64_t *rows; /* [items], the first `count` of them, and so on */
    float *scores, *probability, *votes_at, *floors_at;
    int64_t count;
} Blend;

/* Score the candidates of a session, and sort the best. */
void blend(Blend *blend);

typedef struct {
    const float *attend, *attend_bias, *out, *out_bias, *feed, *feed_bias, *feed_out, *feed_out_bias; /* FusedLayer */
} Layer;

typedef struct {
    const Layer *layers;
    const float *pool, *pool_bias, *residual, *position;
    const float *relative; /* [heads][max_length]: what attention adds to a logit, by distance */
    int64_t layer_count, heads, max_length;
    const float *vectors; /* [items][DIM] */
    const int32_t *rows;  /* [max_length], the first `length` of them */
    int64_t length;
    float scale;
    float *scratch; /* [max_length][10 * DIM + 1] */
    float *query;   /* [DIM] */
} Encoder;

/* Encode a session into its unit vector `query`. */
void encode(Encoder *encoder);

typedef struct {
    const int32_t *posting_sessions, *session_items;
    const int64_t *posting_offsets, *session_offsets;
    const float *idf;                           /* [items] */
    const double *freshness;                    /* [sessions], or null */
    const double *query_weights, *near_weights; /* by age and by distance, or null */
    int64_t sessions, recent_sessions, neighbours;
    double position_decay, backward_weight;
    double *similarity; /* [sessions]: zero before and after */
    int32_t *match;     /* [sessions] */
    int32_t *slot;      /* [items] */
    int32_t *touched;   /* [last_items * recent_sessions] */
    int64_t *order, *partition; /* as many */
    double *alike;              /* as many */
    const int32_t *query;       /* [last_items], the first `length` of them */
    int64_t length;
    int64_t *found; /* [items]: the first `count` have a vote */
    double *votes;  /* [items]: theirs, with a sum of 1 */
    int64_t count;
} Knn;

/* Let the sessions that are most like this one vote for items. */
void neighbours_vote(Knn *knn);

typedef struct {
    const float *candidate, *context, *first_bias, *second, *second_bias, *out; /* [FEATURES, CONTEXT or hidden][hidden] */
    int64_t hidden;
    const float *vectors, *facts; /* [items][DIM], [items][3] */
    const int32_t *clicks;        /* [CLICKS]: the session's last `click_count` */
    int64_t click_count;
    const int64_t *rows;              /* [SHORTLIST], the first `count` of them, and so on */
    const float *probability, *votes; /* [SHORTLIST] */
    int64_t count;
    float *scratch; /* [SHORTLIST][FEATURES + 2 * hidden] and [hidden] */
    float *raised;  /* [SHORTLIST]: how much each candidate's logit rises */
} Ranker;

/* Judge a shortlist by the ranker's network. */
void rank(Ranker *ranker);

typedef struct {
    Encoder *encoder; /* what one step finds, the next one reads: compiled.py gives them the same arrays */
    Scan *scan;
    Knn *knn;
    Blend *blend;
    Ranker *ranker;            /* or null */
    const int8_t *new_items;   /* [items] */
    const float *return_floor; /* [RETURN_CLICKS] */
    int64_t last_items, floor_ranked;
    const int32_t *prefix; /* the session's last `prefix_count` clicks */
    int64_t prefix_count, k, own_query; /* with `own_query`, it is in the encoder's `query` already */
    int64_t *floored; /* [RETURN_CLICKS] */
    float *floors;    /* [RETURN_CLICKS] */
} Answer;

/* Answer a session: the best items are those of `blend`, whose `excluded` and `only` are given. */
void answer(Answer *answer);
