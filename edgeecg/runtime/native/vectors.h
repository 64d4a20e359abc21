/* Products, and what lies between them, on vectors as wide as the processor has. */

#include <math.h>
#include <string.h>

/* Columns of every matrix are whole lines of LINE floats. */
#define ROUND(n) (((n) + LINE - 1) / LINE * LINE)

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#if defined(__AVX512F__) || defined(__aarch64__)
#define TILE 8 /* rows of a product held in registers: 24 sums where there are 32 registers */
#else
#define TILE 4
#endif
_Static_assert(LINE % LANES == 0, "a line must be whole vectors");
#define QUERIES 8 /* that attend at a time, one a lane */

typedef float vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int ivec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef float lanes __attribute__((vector_size(QUERIES * 4), aligned(4), may_alias));
typedef int ilanes __attribute__((vector_size(QUERIES * 4), aligned(4), may_alias));

#define FILL(type, value) ((type){0} + (value))
#define PICK(type, whole, mask, yes, no) ((type)(((mask) & (whole)(yes)) | (~(mask) & (whole)(no))))
#define INLINE static inline __attribute__((always_inline))

/* ---- products ---- */

INLINE void tile(int rows, int wide, const float *a, int lda, int depth, const float *w, int ldw,
                 const float *bias, float *c, int ldc)
{
    vec sum[TILE][3];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < wide; v++) sum[r][v] = *(const vec *)(bias + v * LANES);
    for (int k = 0; k < depth; k++) {
        vec weight[3];
        for (int v = 0; v < wide; v++) weight[v] = *(const vec *)(w + (long)k * ldw + v * LANES);
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < wide; v++) sum[r][v] += a[(long)r * lda + k] * weight[v];
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < wide; v++) *(vec *)(c + (long)r * ldc + v * LANES) = sum[r][v];
}

INLINE void panel(int wide, const float *a, int lda, int rows, int depth, const float *w, int ldw,
                  const float *bias, float *c, int ldc)
{
    int r = 0;
    for (; r + TILE <= rows; r += TILE)
        tile(TILE, wide, a + (long)r * lda, lda, depth, w, ldw, bias, c + (long)r * ldc, ldc);
    for (; r + 2 <= rows; r += 2)
        tile(2, wide, a + (long)r * lda, lda, depth, w, ldw, bias, c + (long)r * ldc, ldc);
    if (r < rows) tile(1, wide, a + (long)r * lda, lda, depth, w, ldw, bias, c + (long)r * ldc, ldc);
}

/* c (rows, cols) = a (rows, depth) @ w (depth, cols) + bias; cols a multiple of LINE */
INLINE void product(const float *a, int lda, int rows, int depth, const float *w, int cols,
                    const float *bias, float *c, int ldc)
{
    int left = cols / LANES;
    for (int v = 0; left; ) {
        int wide = left == 4 || left == 2 ? 2 : left >= 3 ? 3 : 1, at = v * LANES;
        if (wide == 3) panel(3, a, lda, rows, depth, w + at, cols, bias + at, c + at, ldc);
        else if (wide == 2) panel(2, a, lda, rows, depth, w + at, cols, bias + at, c + at, ldc);
        else panel(1, a, lda, rows, depth, w + at, cols, bias + at, c + at, ldc);
        v += wide;
        left -= wide;
    }
}

/* ---- between the products ---- */

INLINE float total(vec x)
{
    float part[LANES];
    *(vec *)part = x;
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) part[i] += part[i + half];
    return part[0];
}

/* LayerNorm of (rows, DIM), with the epsilon that PyTorch has unasked */
static void norm(const float *x, int rows, const float scale[2][DIM], float *y)
{
    for (int r = 0; r < rows; r++, x += DIM, y += DIM) {
        vec sum = {0}, square = {0};
        for (int i = 0; i < DIM; i += LANES) sum += *(const vec *)(x + i);
        float mean = total(sum) / DIM;
        for (int i = 0; i < DIM; i += LANES) {
            vec away = *(const vec *)(x + i) - mean;
            square += away * away;
        }
        float gain = 1.0f / sqrtf(total(square) / DIM + 1e-5f);
        for (int i = 0; i < DIM; i += LANES)
            *(vec *)(y + i) = (*(const vec *)(x + i) - mean) * gain * *(const vec *)(scale[0] + i)
                              + *(const vec *)(scale[1] + i);
    }
}

/* x times the normal distribution up to it; the error function as a quotient of two polynomials, right to
   3e-7 of 1 (tests/runtime/native holds every output to ONNX Runtime's). */
static void gelu(float *x, int count)
{
    for (int i = 0; i < count; i += LANES) {
        vec v = *(vec *)(x + i), z = v * 0.70710678118654752f;
        z = PICK(vec, ivec, z > 3.925f, FILL(vec, 3.925f), z);
        z = PICK(vec, ivec, z < -3.925f, FILL(vec, -3.925f), z);
        vec q = z * z;
        vec p = -2.72614225801306e-10f * q + 2.77068142495902e-08f;
        p = p * q - 2.10102402082508e-06f;
        p = p * q - 5.69250639462346e-05f;
        p = p * q - 7.34990630326855e-04f;
        p = p * q - 2.95459980854025e-03f;
        p = p * q - 1.60960333262415e-02f;
        vec d = -1.45660718464996e-05f * q - 2.13374055278905e-04f;
        d = d * q - 1.68282697438203e-03f;
        d = d * q - 7.37332916720468e-03f;
        d = d * q - 1.42647390514189e-02f;
        *(vec *)(x + i) = v * (0.5f + 0.5f * z * p / d);
    }
}

/* exp of what is at most 0: 2^n times a polynomial of the rest */
INLINE lanes falling(lanes x)
{
    x = PICK(lanes, ilanes, x < -87.0f, FILL(lanes, -87.0f), x);
    lanes n = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: rounds to a whole number */
    ilanes exponent = (ilanes)n << 23;
    n -= 12582912.0f;
    x = x - n * 0.693359375f + n * 2.12194440e-4f;
    lanes p = 1.9875691500e-4f * x + 1.3981999507e-3f;
    p = p * x + 8.3334519073e-3f;
    p = p * x + 4.1665795894e-2f;
    p = p * x + 1.6666665459e-1f;
    p = p * x + 5.0000001201e-1f;
    p = p * x * x + x + 1.0f;
    return (lanes)((ilanes)p + exponent);
}

static void add(float *x, const float *y, int count)
{
    for (int i = 0; i < count; i += LANES) *(vec *)(x + i) += *(const vec *)(y + i);
}
