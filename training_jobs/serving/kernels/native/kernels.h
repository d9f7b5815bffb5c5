/* The calls from Python into the compiled kernels: header.py reads this file.

Each function answers one session. It reads what is const and fills the rest of its struct.
Capitals are constants of ranker.py and scan.py; compile.py passes them to the compiler. DIM is the length of an item's vector. */
#pragma once
#include <stdint.h>

typedef struct {
    const int8_t *codes, *query;   /* [items][DIM], [DIM] */
    const float *scales, *penalty; /* [items]; the penalty is 0 or far below any cosine. Null if all items compete. */
    int64_t items;
    float step, steepness;
    float *cosines, *peaks; /* [items], [blocks of BLOCK items] */
    float largest;          /* of all cosines, with and without a penalty */
    double total;           /* of exp((cosine - largest) * steepness) */
} Scan;

/* Compute the cosines of all items in one pass over their codes. */
void scan(Scan *scan);

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
