/* One step of a stack of banded Transformer blocks, compiled on the device for the sizes of one graph.

   The same numbers as the bundle's ONNX graph (deploy/step_graph.py), in the same layout of state
   (deploy/step_state.py), with what lies between two products kept in the processor's cache. Sizes are
   macros, so that every inner loop has a known length: the compiler is given -DDIM=48 and so on
   (runtime/native/library.py). Nothing is kept between two calls, so threads may call side by side.

   Shapes: T positions of the step, N = T + RIGHT, S = LEFT + N keys, WIDTH floats of a head. */

#include "vectors.h"

#define WIDTH (DIM / HEADS)
#define HALF (WIDTH / 2)
#define SPAN (LEFT + RIGHT)
#define ENOUGH (SPAN + LAYERS * RIGHT) /* positions from which on every key has been seen */

struct layer {
    float norm1[2][DIM];
    float qkv[DIM][3 * DIM], qkv_bias[3 * DIM];
    float out[DIM][DIM], out_bias[DIM];
    float norm2[2][DIM];
    float grow[DIM][FFN], grow_bias[FFN];
    float shrink[FFN][DIM], shrink_bias[DIM];
};

struct network {
#if CONTEXT
    float conv1[7][STEM1], conv1_bias[STEM1];
    float conv2[5 * STEM1][STEM2], conv2_bias[STEM2];
    float conv3[5 * STEM2][DIM], conv3_bias[DIM];
#else
    float enter[INPUTS][DIM], enter_bias[DIM];
#endif
    struct layer layers[LAYERS];
    float norm[2][DIM];
    float heads[DIM][ROUND(OUTPUTS)], heads_bias[ROUND(OUTPUTS)];
    float turns[2][LONGEST + (RIGHT ? RIGHT : 1)][HALF]; /* cosine and sine of n steps */
};

/* ---- attention of one row ---- */

static void turn(float *restrict x, const float *restrict cosine, const float *restrict sine)
{
    for (int h = 0; h < HEADS; h++, x += WIDTH)
        for (int i = 0; i < HALF; i += QUERIES) {
            lanes low = *(lanes *)(x + i), high = *(lanes *)(x + HALF + i);
            lanes c = *(const lanes *)(cosine + i), s = *(const lanes *)(sine + i);
            *(lanes *)(x + i) = low * c - high * s;
            *(lanes *)(x + HALF + i) = high * c + low * s;
        }
}

/* Scores of eight queries of one head, a query a lane; gives the highest of each. Query j sees the keys from
   `first + j` to `first + j + SPAN`, none before `hidden`: what must not count is 48 lower, as the graph's
   MASKED says. */
INLINE lanes compare(const float *q, int queries, const float *keys, int count, int first, int hidden, float *scores)
{
    float turned[WIDTH][QUERIES] = {{0}};
    for (int t = 0; t < queries; t++)
        for (int i = 0; i < WIDTH; i++) turned[i][t] = q[(long)t * 3 * DIM + i];
    ilanes place;
    for (int j = 0; j < QUERIES; j++) place[j] = first + j;
    lanes top = FILL(lanes, -1e30f);
    for (int s = 0; s < count; s += 4) { /* four keys at a time: a sum waits for the one before it */
        lanes score[4] = {0};
        const float *key[4];
        for (int e = 0; e < 4; e++) key[e] = keys + (long)(s + e < count ? s + e : count - 1) * WIDTH;
        for (int i = 0; i < WIDTH; i++) {
            lanes column = *(lanes *)turned[i];
            for (int e = 0; e < 4; e++) score[e] += key[e][i] * column;
        }
        for (int e = 0; e < 4 && s + e < count; e++) {
            int at = s + e;
            ilanes hide = (place > at) | (place < at - SPAN) | (at < hidden ? -1 : 0);
            score[e] += (lanes)(hide & (ilanes)FILL(lanes, -48.0f));
            top = PICK(lanes, ilanes, top > score[e], top, score[e]);
            *(lanes *)(scores + (long)at * QUERIES) = score[e];
        }
    }
    return top;
}

/* Eight queries of one head against their keys: scores, their softmax, and values by its weights. */
static void attend(const float *q, int queries, const float *keys, const float *values, int count, int first,
                   int hidden, float *out, float *scores)
{
    lanes top = compare(q, queries, keys, count, first, hidden, scores), sum = {0};
    for (int s = 0; s < count; s++) {
        lanes e = falling(*(lanes *)(scores + (long)s * QUERIES) - top);
        *(lanes *)(scores + (long)s * QUERIES) = e;
        sum += e;
    }
    sum = 1.0f / sum;
    for (int i = 0; i < WIDTH; i += LANES) {
        vec mixed[QUERIES] = {0};
        for (int s = 0; s < count; s++) {
            vec value = *(const vec *)(values + (long)s * WIDTH + i);
            for (int t = 0; t < QUERIES; t++) mixed[t] += scores[s * QUERIES + t] * value;
        }
        for (int t = 0; t < queries; t++) *(vec *)(out + (long)t * DIM + i) = mixed[t] * sum[t];
    }
}

/* Where the parts of a row of state begin. */
#define PHASE (1 + CONTEXT)
#define PENDING(l) (PHASE + WIDTH + (l) * RIGHT * DIM)
#define KEYS(l) (PENDING(LAYERS) + (l) * LEFT * DIM)
#define VALUES(l) (KEYS(LAYERS) + (l) * LEFT * DIM)
#define STATE VALUES(LAYERS)

/* Cosine and sine of the N positions of a row, and the phase of its next step. */
static void phases(const struct network *net, const float *old, int places, int tokens, float *cosine,
                   float *sine, float *new)
{
    float c[HALF], s[HALF];
    for (int i = 0; i < HALF; i++) {
        float x = old[i] + 1.0f, y = old[HALF + i], length = sqrtf(x * x + y * y);
        c[i] = x / length, s[i] = y / length;
    }
    for (int n = 0; n < places; n++)
        for (int i = 0; i < HALF; i++) {
            float x = net->turns[0][n][i], y = net->turns[1][n][i];
            cosine[n * HALF + i] = x * c[i] - y * s[i];
            sine[n * HALF + i] = x * s[i] + y * c[i];
        }
    for (int i = 0; i < HALF; i++) {
        float x = net->turns[0][tokens][i], y = net->turns[1][tokens][i];
        new[i] = x * c[i] - y * s[i] - 1.0f;
        new[HALF + i] = x * s[i] + y * c[i];
    }
}

#if CONTEXT
/* Places of the first and of the second convolution. */
#define PLACES1(T) (PATCH / 2 * (T) + (CONTEXT - 7) / 2 + 1)
#define PLACES2(T) ((PLACES1(T) - 5) / 2 + 1)
_Static_assert(PATCH == 8, "three convolutions of stride two");

/* Patch embedding: PATCH T samples behind the CONTEXT before them to T tokens. A window of places and channels
   lies in one piece, so that each convolution is a product whose rows overlap. */
static void enter(const struct network *net, const float *signal, const float *old, float *new, int tokens,
                  float *x, float *work)
{
    int places1 = PLACES1(tokens), places2 = PLACES2(tokens);
    float *joined = work, *first = joined + ROUND(CONTEXT + PATCH * tokens), *second = first + places1 * STEM1;
    memcpy(joined, old + 1, CONTEXT * sizeof(float));
    memcpy(joined + CONTEXT, signal, (long)PATCH * tokens * sizeof(float));
    memcpy(new + 1, joined + PATCH * tokens, CONTEXT * sizeof(float));
    product(joined, 2, places1, 7, net->conv1[0], STEM1, net->conv1_bias, first, STEM1);
    gelu(first, places1 * STEM1);
    product(first, 2 * STEM1, places2, 5 * STEM1, net->conv2[0], STEM2, net->conv2_bias, second, STEM2);
    gelu(second, places2 * STEM2);
    product(second, 2 * STEM2, tokens, 5 * STEM2, net->conv3[0], DIM, net->conv3_bias, x, DIM);
}
#define STEP PATCH
#define ENTRY(T) (ROUND(CONTEXT + PATCH * (T)) + PLACES1(T) * STEM1 + PLACES2(T) * STEM2)
#else
static void enter(const struct network *net, const float *beats, const float *old, float *new, int tokens,
                  float *x, float *work)
{
    (void)old, (void)new, (void)work;
    product(beats, INPUTS, tokens, INPUTS, net->enter[0], DIM, net->enter_bias, x, DIM);
}
#define STEP INPUTS
#define ENTRY(T) 0
#endif

/* Floats of scratch memory for a group of so many rows. */
long scratch(int rows, int tokens)
{
    long places = tokens + RIGHT, keys = LEFT + places;
    long entry = ENTRY((long)tokens), attention = keys * (2 * DIM + QUERIES);
    long place = 3 * DIM + 3 * DIM + FFN + WIDTH + ROUND(OUTPUTS);
    return rows * places * place + (entry > attention ? entry : attention);
}

/* Attention of one row: queries, keys and values `qkv` (N, 3 DIM), rotated here; the new caches. */
static void mix(float *qkv, const float *old, float *new, int l, int tokens, const float *cosine,
                const float *sine, int seen, float *out, float *work)
{
    int places = tokens + RIGHT, count = LEFT + places;
    float *keys = work, *values = keys + (long)count * DIM, *scores = values + (long)count * DIM;
    for (int n = 0; n < places; n++) {
        turn(qkv + (long)n * 3 * DIM, cosine + n * HALF, sine + n * HALF);
        turn(qkv + (long)n * 3 * DIM + DIM, cosine + n * HALF, sine + n * HALF);
    }
    for (int h = 0; h < HEADS; h++) {
        float *k = keys + (long)h * count * WIDTH, *v = values + (long)h * count * WIDTH;
        memcpy(k, old + KEYS(l) + h * LEFT * WIDTH, LEFT * WIDTH * sizeof(float));
        memcpy(v, old + VALUES(l) + h * LEFT * WIDTH, LEFT * WIDTH * sizeof(float));
        for (int n = 0; n < places; n++) {
            memcpy(k + (LEFT + n) * WIDTH, qkv + (long)n * 3 * DIM + DIM + h * WIDTH, WIDTH * sizeof(float));
            memcpy(v + (LEFT + n) * WIDTH, qkv + (long)n * 3 * DIM + 2 * DIM + h * WIDTH, WIDTH * sizeof(float));
        }
        memcpy(new + KEYS(l) + h * LEFT * WIDTH, k + tokens * WIDTH, LEFT * WIDTH * sizeof(float));
        memcpy(new + VALUES(l) + h * LEFT * WIDTH, v + tokens * WIDTH, LEFT * WIDTH * sizeof(float));
        int hidden = SPAN + l * RIGHT - seen;
        for (int t = 0; t < tokens; t += QUERIES) {
            int queries = tokens - t < QUERIES ? tokens - t : QUERIES;
            /* a query that sees nothing yet is spread over all keys, as in the graph */
            int all = hidden > SPAN + t, from = all ? 0 : t;
            attend(qkv + (long)t * 3 * DIM + h * WIDTH, queries, k + from * WIDTH, v + from * WIDTH,
                   all ? count : queries + SPAN, t - from, hidden - from, out + (long)t * DIM + h * WIDTH, scores);
        }
    }
}

/* The second half of a block on y (rows, DIM), residual included. */
static void feed_forward(const struct layer *layer, float *y, int rows, float *h, float *wide)
{
    norm(y, rows, layer->norm2, h);
    product(h, DIM, rows, DIM, layer->grow[0], FFN, layer->grow_bias, wide, FFN);
    gelu(wide, rows * FFN);
    product(wide, FFN, rows, FFN, layer->shrink[0], DIM, layer->shrink_bias, h, DIM);
    add(y, h, rows * DIM);
}

/* Positions seen before, of which no more than ENOUGH matter; a state from elsewhere may say anything. */
static int counted(float seen)
{
    return seen < ENOUGH ? (seen > -1e6f ? (int)floorf(seen) : -1000000) : ENOUGH;
}

/* All layers for a group of rows. */
static void group(const struct network *net, int rows, int tokens, const float *input, const float *old,
                  float *heads, float *embedding, float *new, float *work)
{
    int places = tokens + RIGHT, n = rows * places, m = rows * tokens;
    float *x = work, *h = x + n * DIM, *y = h + n * DIM, *qkv = y + n * DIM, *wide = qkv + n * 3 * DIM;
    float *cosine = wide + n * FFN, *sine = cosine + n * HALF, *out = sine + n * HALF;
    float *rest = out + n * ROUND(OUTPUTS);
    for (int r = 0; r < rows; r++) {
        const float *was = old + (long)r * STATE;
        float *is = new + (long)r * STATE, count = was[0] + tokens;
        is[0] = count > ENOUGH ? ENOUGH : count; /* what is no number stays none */
        phases(net, was + PHASE, places, tokens, cosine + r * places * HALF, sine + r * places * HALF, is + PHASE);
        enter(net, input + (long)r * tokens * STEP, was, is, tokens, x + (r * places + RIGHT) * DIM, rest);
    }
    for (int l = 0; l < LAYERS; l++) {
        const struct layer *layer = net->layers + l;
        for (int r = 0; r < rows; r++) {
            float *row = x + (long)r * places * DIM;
            memcpy(row, old + (long)r * STATE + PENDING(l), RIGHT * DIM * sizeof(float));
            memcpy(new + (long)r * STATE + PENDING(l), row + tokens * DIM, RIGHT * DIM * sizeof(float));
        }
        norm(x, n, layer->norm1, h);
        product(h, DIM, n, DIM, layer->qkv[0], 3 * DIM, layer->qkv_bias, qkv, 3 * DIM);
        for (int r = 0; r < rows; r++)
            mix(qkv + (long)r * places * 3 * DIM, old + (long)r * STATE, new + (long)r * STATE, l, tokens,
                cosine + r * places * HALF, sine + r * places * HALF, counted(old[(long)r * STATE]),
                h + (long)r * tokens * DIM, rest);
        product(h, DIM, m, DIM, layer->out[0], DIM, layer->out_bias, y, DIM);
        for (int r = 0; r < rows; r++) add(y + r * tokens * DIM, x + r * places * DIM, tokens * DIM);
        feed_forward(layer, y, m, h, wide);
        for (int r = 0; r < rows; r++)
            memcpy(x + (r * places + RIGHT) * DIM, y + r * tokens * DIM, tokens * DIM * sizeof(float));
    }
    norm(y, m, net->norm, embedding);
    product(embedding, DIM, m, DIM, net->heads[0], ROUND(OUTPUTS), net->heads_bias, out, ROUND(OUTPUTS));
    for (int r = 0; r < m; r++) memcpy(heads + (long)r * OUTPUTS, out + r * ROUND(OUTPUTS), OUTPUTS * sizeof(float));
}

/* What Python calls: `rows` rows, `together` at a time. */
void step(const struct network *net, int rows, int together, int tokens, const float *input,
          const float *state, float *heads, float *embedding, float *next, float *work)
{
    for (int r = 0; r < rows; r += together) {
        int few = rows - r < together ? rows - r : together;
        group(net, few, tokens, input + (long)r * tokens * STEP, state + (long)r * STATE,
              heads + (long)r * tokens * OUTPUTS, embedding + (long)r * tokens * DIM, next + (long)r * STATE, work);
    }
}

long floats(void) { return sizeof(struct network) / sizeof(float); }
long state_floats(void) { return STATE; }
int vector(void) { return LANES; }
