/* scan.py for one query: a pass over the sketches of all items, and the int8 codes of the items that it finds. compile.py compiles it
for the dimension of one model. The names are scan.py's.

The pass is bound by reading, so what else is asked of every item costs little here: its cosine and its part of the sum of exponents
that the softmax is divided by. Sixteen items lie beside each other, four numbers of each, so that a sum of an item's products stays in
one lane of a register. */
#include "codes.h"
#include "product.h"

/* Of sums of products of two bits and eight. */
#if 3 * 127 * FIELDS * GROUPS < 32768
typedef int16_t Sum;
#else
typedef int32_t Sum;
#endif

static const float no_bias[DIM];

#define PAGE (16 * BLOCK) /* items: their cosines stay in the fastest cache */
#define NOTHING (-87.0f)  /* as an exponent */

/* least() of scan.py, of the cosines so far. Bins below `bin` are not counted: it only rises. */
typedef struct {
    int64_t above; /* cosines in `bin` and higher bins */
    int32_t bin, bins[BINS];
    float edge, least; /* no cosine of these bins is below `edge` */
} Cut;

/* Counts cosines of the rows found, from one of them on. */
INLINE void count_from(Cut *cut, const Scan *s, int64_t first, int64_t end) {
    for (int64_t at = first; at < end; at++) {
        if (s->cosines[at] < cut->edge) continue;
        int bin = (int)((s->cosines[at] + 2.0f) * PER_UNIT), shown = !s->hidden[s->rows[at]];
        bin = bin < 0 ? 0 : bin < BINS ? bin : BINS - 1;
        cut->bins[bin] += shown;
        cut->above += shown & (bin >= cut->bin);
    }
}

INLINE void raise(Cut *cut, int64_t count, float margin) {
    if (cut->above < count) return;
    while (cut->above - cut->bins[cut->bin] >= count) cut->above -= cut->bins[cut->bin++];
    float edge = (float)cut->bin / PER_UNIT - 2.0f;
    cut->least = edge - margin;
    cut->edge = edge - (float)ROUNDING;
}

static void clear(Cut *cut) {
    memset(cut, 0, sizeof *cut);
    cut->edge = cut->least = -__FLT_MAX__;
}

/* The sums of a block's products. */
INLINE void dots_of_words(int32_t *dots, const uint8_t *sketch, const void *query) {
    for (int at = 0; at < BLOCK; at += LANES, sketch += GROUPS * LANES * 4) {
        Sum sums[LANES * 4];
        memset(sums, 0, sizeof sums);
        for (int group = 0; group < GROUPS; group++) {
            __builtin_prefetch(sketch + group * LANES * 4 + AHEAD);
#pragma GCC unroll 4
            for (int field = 0; field < FIELDS; field++) {
                const int16_t *own = (const int16_t *)query + (field * GROUPS + group) * LANES * 4;
                for (int byte = 0; byte < LANES * 4; byte++)
                    sums[byte] += (Sum)((sketch[group * LANES * 4 + byte] >> 2 * field & 3) * own[byte]);
            }
        }
        for (int lane = 0; lane < LANES; lane++)
            dots[at + lane] = sums[4 * lane] + sums[4 * lane + 1] + sums[4 * lane + 2] + sums[4 * lane + 3];
    }
}

/* Appends the items whose cosines are at least `least`, and returns the new number of items found. */
INLINE int64_t append(const Scan *s, int64_t found, int64_t begin, const float *cosines, float least) {
    for (int at = 0; at < LANES; at++) {
        s->rows[found] = (int32_t)(begin + at);
        s->cosines[found] = cosines[at];
        found += cosines[at] >= least;
    }
    return found;
}

typedef struct {
    void (*dots)(int32_t *, const uint8_t *, const void *);
    int64_t (*append)(const Scan *, int64_t, int64_t, const float *, float);
    int32_t (*dot)(const int8_t *, const void *);
} Processor;

/* Of the rows found, keeps those whose cosines are at least `least`. */
INLINE void keep(Scan *s, float least) {
    int64_t kept = 0;
    for (int64_t at = 0; at < s->found; at++) {
        s->rows[kept] = s->rows[at];
        s->cosines[kept] = s->cosines[at];
        kept += s->cosines[at] >= least;
    }
    s->found = kept;
}

/* Of the cosines below `least`. Two loops, because GCC's code for one with the condition takes several times as long. */
INLINE float sum_of_terms(const Scan *s, const float *cosines, int64_t count, float least) {
    float steepness = s->steepness, largest = s->largest, sum = 0.0f, above[PAGE];
    for (int64_t begin = 0; begin < count; begin += PAGE) {
        int some = count - begin < PAGE ? (int)(count - begin) : PAGE;
        for (int at = 0; at < some; at++) above[at] = cosines[begin + at] < least ? (cosines[begin + at] - largest) * steepness : NOTHING;
#pragma omp simd reduction(+ : sum)
        for (int at = 0; at < some; at++) sum += exponent(above[at]);
    }
    return sum;
}

INLINE void page(Scan *s, Cut *cut, int64_t begin, Processor on, const void *query, int32_t raised, float step) {
    int32_t dots[PAGE];
    float cosines[PAGE], largest = s->largest, least = cut->least;
    int count = s->items - begin < PAGE ? (int)(s->items - begin) : PAGE, blocks = (count + BLOCK - 1) / BLOCK;
    int64_t before = s->found, found = before;
    for (int at = 0; at < blocks; at++) {
        for (int ahead = 0; ahead < BLOCK; ahead += 16) __builtin_prefetch(s->sketch_scales + begin + PAGE + at * BLOCK + ahead);
        on.dots(dots + at * BLOCK, s->sketch + (begin + at * BLOCK) * GROUPS * 4, query);
    }
    for (int at = 0; at < count; at++) cosines[at] = (float)(2 * dots[at] - raised) * (s->sketch_scales[begin + at] * step);
    for (int at = count; at < blocks * BLOCK; at++) cosines[at] = -__FLT_MAX__;
#pragma omp simd reduction(max : largest)
    for (int at = 0; at < count; at++) largest = cosines[at] > largest ? cosines[at] : largest;
    s->total *= exponent((s->largest - largest) * s->steepness);
    s->largest = largest;
    for (int at = 0; at < count; at += LANES) found = on.append(s, found, begin + at, cosines + at, least);
    s->total += sum_of_terms(s, cosines, count, least);
    s->found = found < before + count ? found : before + count;
    count_from(cut, s, before, s->found);
    raise(cut, s->count, s->margin);
}

INLINE void pass(Scan *s, Processor on, const void *query, int32_t raised, float step) {
    Cut cut;
    clear(&cut);
    s->largest = -2.0f;
    s->total = 0.0;
    s->found = 0;
    for (int64_t begin = 0; begin < s->items; begin += PAGE) page(s, &cut, begin, on, query, raised, step);
    s->total += sum_of_terms(s, s->cosines, s->found, cut.least);
    keep(s, cut.least);
    int64_t zeros = s->zeros;
    if (cut.least <= 0.0f)
        for (int64_t at = 0; at < s->found; at++) zeros -= s->sketch_scales[s->rows[at]] == 0.0f;
    double exact = (double)zeros * exponent(-s->largest * s->steepness);
    double rest = (s->total - exact) * s->correction;
    s->total = (rest > 0.0 ? rest : 0.0) + exact;
}

/* The int8 cosines of the rows found, and of these rows the nearest. */
INLINE void refine(Scan *s, Processor on, const void *query, int32_t raised, float step) {
    Cut cut;
    float largest = -__FLT_MAX__, of_sketch = s->largest;
    clear(&cut);
    for (int64_t at = 0; at < s->found; at++) {
        int64_t row = s->rows[at];
        if (at + SOON < s->found) prefetch(s->codes + s->rows[at + SOON] * (int64_t)DIM);
        s->cosines[at] = (float)(on.dot(s->codes + row * DIM, query) - raised) * (s->scales[row] * step);
    }
#pragma omp simd reduction(max : largest)
    for (int64_t at = 0; at < s->found; at++) largest = s->cosines[at] > largest ? s->cosines[at] : largest;
    for (int64_t at = 0; at < s->found; at += BLOCK) {
        count_from(&cut, s, at, at + BLOCK < s->found ? at + BLOCK : s->found);
        raise(&cut, s->count, (float)ROUNDING);
    }
    s->largest = largest;
    s->total *= exp((double)((of_sketch - largest) * s->steepness));
    s->total += sum_of_terms(s, s->cosines, s->found, __FLT_MAX__);
    keep(s, cut.least);
}

INLINE void scan_words_on(Scan *s) {
    int16_t words[DIM], spread[FIELDS * GROUPS * LANES * 4];
    int8_t codes[FIELDS * GROUPS * 4] = {0};
    int32_t raised = 0;
    float rotated[DIM], step;
    product(rotated, s->query, s->rotation, no_bias, 1, DIM, DIM);
    step = query_codes(rotated, codes);
    for (int at = 0; at < FIELDS * GROUPS * 4; at++) raised += 3 * codes[at];
    for (int at = 0; at < FIELDS * GROUPS * LANES * 4; at++) spread[at] = codes[at / (LANES * 4) * 4 + at % 4];
    pass(s, (Processor){dots_of_words, append, dot_of_words}, spread, raised, step);
    step = query_codes(s->query, codes);
    for (int at = 0; at < DIM; at++) words[at] = codes[at];
    refine(s, (Processor){dots_of_words, append, dot_of_words}, words, 0, step);
}

BY_PROCESSOR(scan_words, Scan)

#ifdef BYTES
/* The numbers of one field, left in their place in the byte: a sum of field f is greater by a factor of 4 to the f. */
VNNI INLINE __m512i field_of(__m512i bytes, int field) { return _mm512_and_si512(bytes, _mm512_set1_epi8((char)(3 << 2 * field))); }

VNNI INLINE __m512i sum_of_fields(const __m512i *sums) {
    __m512i sum = _mm512_add_epi32(sums[0], _mm512_srai_epi32(sums[1], 2));
    return _mm512_add_epi32(sum, _mm512_add_epi32(_mm512_srai_epi32(sums[2], 4), _mm512_srai_epi32(sums[3], 6)));
}

VNNI INLINE void dots_of_bytes(int32_t *dots, const uint8_t *sketch, const void *query) {
    for (int at = 0; at < BLOCK; at += 2 * LANES, sketch += GROUPS * LANES * 4) {
        __m512i sums[FIELDS], next[FIELDS];
        for (int field = 0; field < FIELDS; field++) sums[field] = next[field] = _mm512_setzero_si512();
        for (int group = 0; group < GROUPS; group++, sketch += LANES * 4) {
            const uint8_t *beside = sketch + GROUPS * LANES * 4;
            __m512i bytes = _mm512_loadu_si512(sketch), others = _mm512_loadu_si512(beside);
            __builtin_prefetch(sketch + AHEAD);
            __builtin_prefetch(beside + AHEAD);
#pragma GCC unroll 4
            for (int field = 0; field < FIELDS; field++) {
                int32_t four;
                memcpy(&four, (const int8_t *)query + (field * GROUPS + group) * 4, 4);
                __m512i own = _mm512_set1_epi32(four);
                sums[field] = _mm512_dpbusd_epi32(sums[field], field_of(bytes, field), own);
                next[field] = _mm512_dpbusd_epi32(next[field], field_of(others, field), own);
            }
        }
        _mm512_storeu_si512(dots + at, sum_of_fields(sums));
        _mm512_storeu_si512(dots + at + LANES, sum_of_fields(next));
    }
}

VNNI INLINE int64_t append_at_once(const Scan *s, int64_t found, int64_t begin, const float *cosines, float least) {
    __m512 lanes = _mm512_loadu_ps(cosines);
    __mmask16 chosen = _mm512_cmp_ps_mask(lanes, _mm512_set1_ps(least), _CMP_GE_OQ);
    if (chosen == 0) return found;
    static const int32_t numbers[LANES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    __m512i rows = _mm512_add_epi32(_mm512_set1_epi32((int32_t)begin), _mm512_loadu_si512(numbers));
    _mm512_storeu_si512(s->rows + found, _mm512_maskz_compress_epi32(chosen, rows));
    _mm512_storeu_ps(s->cosines + found, _mm512_maskz_compress_ps(chosen, lanes));
    return found + __builtin_popcount(chosen);
}

VNNI static void scan_bytes(Scan *s) {
    int8_t codes[FIELDS * GROUPS * 4] = {0};
    int32_t raised = 0;
    float rotated[DIM], step;
    product(rotated, s->query, s->rotation, no_bias, 1, DIM, DIM);
    step = query_codes(rotated, codes);
    for (int at = 0; at < FIELDS * GROUPS * 4; at++) raised += 3 * codes[at];
    pass(s, (Processor){dots_of_bytes, append_at_once, dot_of_bytes}, codes, raised, step);
    step = query_codes(s->query, codes);
    raised = 0;
    for (int at = 0; at < DIM; at++) raised += 128 * codes[at];
    refine(s, (Processor){dots_of_bytes, append_at_once, dot_of_bytes}, codes, raised, step);
}

/* Fills what is not const. */
void scan(Scan *s) {
    if (HAS_VNNI) scan_bytes(s);
    else scan_words(s);
}
#else
void scan(Scan *s) { scan_words(s); }
#endif
