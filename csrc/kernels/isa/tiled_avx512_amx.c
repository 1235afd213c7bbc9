/* SPDX-License-Identifier: MIT */
/*
 * The gemms of FL_INT8 and FL_BFLOAT16 by Intel's AMX: tdpbsud, of codes with a sign and the
 * panels' without one, and tdpbf16ps, whose order of sums bfloat16.h describes. A CPU has eight
 * tiles of 16 rows of 64 bytes. A panel's 16 lines of one vector are a tile as they lie, and so are
 * 16 rows of codes. Of 17 to 32 rows two tiles are multiplied by two vectors at a time:
 *
 *                    B 6     B 7               of up to 16 rows one tile by all vectors:
 *           A 4      0       1
 *           A 5      2       3                 A 4   times   6 7 6 7   gives   0 1 2 3
 *
 * so each tile that is loaded serves two products, or is used while the next one is loaded. Of
 * numbers in several parts a tile of weights stays for its products with all parts of the rows.
 *
 * The tiles of a thread are configured, for a number of rows, when a kernel needs other rows than
 * the one before, and are given up when the thread leaves the call (fl_kernels.leave): another
 * library on the thread may configure them in its own way.
 *
 * The instructions are inline assembly, in this order, since compilers do not agree on what the
 * intrinsic functions read and write: gcc 12's _tile_loadconfig reads 8 bytes of 64 as far as the
 * compiler knows. No compiler uses tiles of its own accord.
 */
#if !defined(__AVX512F__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__) ||                   \
    !defined(__AVX512BW__)
#error "compile this file with kernels_avx512.c's flags"
#endif
#define FL_DOT_PRODUCTS 1
#include "kernels/simd/vec_avx512.h"

#include "kernels/bfloat16.h"
#include "kernels/isa/int8_avx512_vnni.h"

void fl_avx512_amx_gemm_int8(const fl_gemm *g);
void fl_avx512_amx_gemm_bfloat16(const fl_gemm *g);
void fl_avx512_amx_split_row(void *to, const float *x, size_t n, int parts, float bound);
void fl_avx512_amx_split_lines(void *panel, const float *x, size_t row, size_t n, size_t vectors,
                               int parts, float bound);
void fl_avx512_amx_leave(void);
double fl_avx512_amx_probe_int8(size_t n);
double fl_avx512_amx_probe_bfloat16(size_t n);
void fl_avx512_amx_lstm_int8(const fl_step *s);
void fl_avx512_amx_gru_int8(const fl_step *s);

enum { ROWS = FL_TILED_ROWS, WIDTH = 64 /* bytes of a row */ };

#define LOAD(tile, at, row)                                                                        \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"(at), "r"(row) : "memory")
#define STORE(tile, at, row)                                                                       \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" : : "r"(at), "r"(row) : "memory")
#define ZERO(tile) __asm__ volatile("tilezero %%tmm" #tile :)
#define MULTIPLY(sum, a, b)                                                                        \
    do {                                                                                           \
        if (format == FL_INT8)                                                                     \
            __asm__ volatile("tdpbsud %%tmm" #b ", %%tmm" #a ", %%tmm" #sum :);                    \
        else                                                                                       \
            __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sum :);                  \
    } while (0)

/* Clears the upper parts of the vector registers where a function is done with them. Compilers do
   so themselves, but gcc not with -Os, which this file is compiled with; code without AVX after it
   then waits 150 ns for each number that it loads (Emerald Rapids). */
#define NO_UPPER_PARTS()                                                                           \
    __asm__ volatile("vzeroupper" ::                                                               \
                         : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",       \
                           "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",    \
                           "xmm15")

/* What this thread's tiles are configured for; 0: not at all. */
static _Thread_local unsigned char configured;

/* Tiles 0 .. rows_end - 1, those of sums and of the rows, get `rows` rows, the others 16. rows_end
   is 6 or 7. */
static void configure(size_t rows, int rows_end)
{
    const unsigned char wanted = (unsigned char)(rows + (rows_end == 7 ? 32 : 0));
    if (configured == wanted)
        return;
    struct {
        uint8_t palette, start, zeros[14];
        uint16_t width[16];
        uint8_t rows[16];
    } tiles = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        tiles.width[i] = WIDTH;
        tiles.rows[i] = (uint8_t)(i < rows_end ? rows : ROWS);
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(tiles));
    NO_UPPER_PARTS();
    configured = wanted;
}

void fl_avx512_amx_leave(void)
{
    if (configured)
        __asm__ volatile("tilerelease");
    configured = 0;
}

static double probe(const int format, size_t n)
{
    configure(ROWS, 6);
    for (size_t i = 0; i < n; i++) {
        MULTIPLY(0, 4, 6);
        MULTIPLY(1, 4, 7);
        MULTIPLY(2, 5, 6);
        MULTIPLY(3, 5, 7);
    }
    fl_avx512_amx_leave();
    return (double)n * 4 * ROWS * FL_LANES * 2 * WIDTH / (format == FL_INT8 ? 1 : 2);
}
double fl_avx512_amx_probe_int8(size_t n) { return probe(FL_INT8, n); }
double fl_avx512_amx_probe_bfloat16(size_t n) { return probe(FL_BFLOAT16, n); }

/* One or two tiles of rows, and one panel. All distances are in bytes. */
typedef struct product {
    size_t tiles;     /* of rows */
    size_t blocks;    /* tiles that follow one another in k */
    size_t parts;     /* of each number: 1 to 3 */
    const char *a[2]; /* where each tile of rows begins */
    const char *panel;
    const char *from[2]; /* what the sums start from; NULL: 0 */
    char *to[2];
    size_t a_row, a_part; /* from one row to the next, and of a row from part to part */
    size_t line, vector;  /* of the panel: from line to line of a tile, and from tile to tile
                             of its vectors */
    size_t from_row, to_row;
} product;

#define START(tile, t, v)                                                                          \
    if (w->from[0])                                                                                \
        LOAD(tile, w->from[t] + (v) * WIDTH, w->from_row);                                         \
    else                                                                                           \
        ZERO(tile)

/* Two tiles of rows and the vectors v .. v + W - 1 of V, W being 1 or 2. With the loops
   over the parts unrolled the code is twice as large and up to 5 % faster. */
FL_INLINE void two_tiles(const int format, const int W, size_t V, const product *w, size_t v)
{
    const size_t parts = format == FL_INT8 ? 1 : w->parts;
    const size_t part = V * w->vector,
                 block = format == FL_INT8 ? FL_TILE_LINES * w->line : part * parts;
    const char *a = w->a[0], *b = w->panel + v * w->vector;
    const ptrdiff_t second = w->a[1] - a;
    START(0, 0, v);
    START(2, 1, v);
    if (W == 2) {
        START(1, 0, v + 1);
        START(3, 1, v + 1);
    }
    for (size_t n = 0; n < w->blocks; n++, a += WIDTH, b += block)
        for (size_t j = parts; j-- > 0;) {
            const char *const weights = b + j * part;
            LOAD(6, weights, w->line);
            if (W == 2)
                LOAD(7, weights + w->vector, w->line);
            for (size_t i = parts - j; i-- > 0;) {
                const char *const rows = a + i * w->a_part;
                LOAD(4, rows, w->a_row);
                MULTIPLY(0, 4, 6);
                LOAD(5, rows + second, w->a_row);
                MULTIPLY(2, 5, 6);
                if (W == 2) {
                    MULTIPLY(1, 4, 7);
                    MULTIPLY(3, 5, 7);
                }
            }
        }
    char *const first = w->to[0] + v * WIDTH, *const other = w->to[1] + v * WIDTH;
    STORE(0, first, w->to_row);
    STORE(2, other, w->to_row);
    if (W == 2) {
        STORE(1, first + WIDTH, w->to_row);
        STORE(3, other + WIDTH, w->to_row);
    }
}

/* The weights' tile of a vector and part; and all products of a vector where there are two or three
   parts, the rows' in tiles 4, 5 and 6. */
#define WEIGHTS(tile, v, p) LOAD(tile, b + (p) * part + (v) * w->vector, w->line)
#define ALL_PARTS(v)                                                                               \
    if (parts == 3) {                                                                              \
        WEIGHTS(7, v, 2);                                                                          \
        MULTIPLY(v, 4, 7);                                                                         \
    }                                                                                              \
    WEIGHTS(7, v, 1);                                                                              \
    if (parts == 3)                                                                                \
        MULTIPLY(v, 5, 7);                                                                         \
    MULTIPLY(v, 4, 7);                                                                             \
    WEIGHTS(7, v, 0);                                                                              \
    if (parts == 3)                                                                                \
        MULTIPLY(v, 6, 7);                                                                         \
    MULTIPLY(v, 5, 7);                                                                             \
    MULTIPLY(v, 4, 7)

/* One tile of rows and all V vectors, 3 or 4. */
FL_INLINE void one_tile(const int format, size_t V, const product *w)
{
    const size_t parts = format == FL_INT8 ? 1 : w->parts;
    const size_t part = V * w->vector,
                 block = format == FL_INT8 ? FL_TILE_LINES * w->line : part * parts;
    const char *a = w->a[0], *b = w->panel;
    START(0, 0, 0);
    START(1, 0, 1);
    START(2, 0, 2);
    if (V == 4) {
        START(3, 0, 3);
    }
    for (size_t n = 0; n < w->blocks; n++, a += WIDTH, b += block) {
        LOAD(4, a, w->a_row);
        if (parts == 1) {
            WEIGHTS(6, 0, 0);
            MULTIPLY(0, 4, 6);
            WEIGHTS(7, 1, 0);
            MULTIPLY(1, 4, 7);
            WEIGHTS(6, 2, 0);
            MULTIPLY(2, 4, 6);
            if (V == 4) {
                WEIGHTS(7, 3, 0);
                MULTIPLY(3, 4, 7);
            }
            continue;
        }
        LOAD(5, a + w->a_part, w->a_row);
        if (parts == 3)
            LOAD(6, a + 2 * w->a_part, w->a_row);
        ALL_PARTS(0);
        ALL_PARTS(1);
        ALL_PARTS(2);
        if (V == 4) {
            ALL_PARTS(3);
        }
    }
    STORE(0, w->to[0], w->to_row);
    STORE(1, w->to[0] + WIDTH, w->to_row);
    STORE(2, w->to[0] + 2 * WIDTH, w->to_row);
    if (V == 4)
        STORE(3, w->to[0] + 3 * WIDTH, w->to_row);
}

FL_INLINE void multiply(const int format, size_t V, const product *w)
{
    if (w->tiles == 1) {
        one_tile(format, V, w);
        return;
    }
    two_tiles(format, 2, V, w, 0);
    if (V == 4)
        two_tiles(format, 2, V, w, 2);
    else
        two_tiles(format, 1, V, w, 2);
}

/*
 * Rows in blocks of nearly equal size, of at most `most` rows. All tiles have the same number of
 * rows, `rows`, so that they are configured once: the second tile of a block ends with the block
 * and may begin with one or two rows of the first, which are then computed twice.
 */
typedef struct blocks {
    size_t count, tiles, rows;
} blocks;

static blocks divide(size_t rows, size_t most)
{
    blocks b = {.count = fl_ceil_div(rows, most)};
    b.rows = fl_ceil_div(rows, b.count);
    b.tiles = fl_ceil_div(b.rows, ROWS);
    b.rows = fl_ceil_div(b.rows, b.tiles);
    return b;
}

/* Sums of codes that wait for their end: those of rows r0 .. r1 - 1 of panel p. Row r's are number
   r - first, or from row `later` on number ROWS + r - second. */
typedef struct waiting {
    vi sums[2 * ROWS][FL_NV];
    size_t p, r0, r1, first, second, later;
} waiting;

static void finish(const waiting *w, fl_tiled_end *end, const void *args)
{
    if (w->r0 < w->later)
        end(args, w->sums + (w->r0 - w->first), w->p, w->r0, w->later - w->r0);
    if (w->later < w->r1)
        end(args, w->sums + ROWS + (w->later - w->second), w->p, w->later, w->r1 - w->later);
}

/*
 * The sums of panels p0 .. p1 - 1 and all rows of g, whose `panel` is panel 0. Those of a block go
 * through memory to `end`, which makes floats or new states of them, after the products of the next
 * block have begun: so it does not wait for the tiles. Of codes of 16 bits the two tiles are the
 * first and the second bytes of the same rows. If such a block is a row short, its tiles take a row
 * of the next block too, or of the one before.
 */
static void sum_codes(const fl_gemm *g, size_t p0, size_t p1, fl_tiled_end *end, const void *args)
{
    waiting two[2], *now = two, *before = two + 1;
    const size_t V = g->vectors, wide = g->codes.bits == 16, row = g->codes.row;
    const size_t lines = fl_format_lines(FL_INT8, g->k);
    const blocks b = divide(g->rows, wide ? ROWS : 2 * ROWS);
    const char *const at = g->codes.at;
    product w = {.tiles = wide ? 2 : b.tiles,
                 .blocks = fl_ceil_div(lines, FL_TILE_LINES),
                 .a_row = row,
                 .line = V * WIDTH,
                 .vector = WIDTH,
                 .to_row = FL_NV * WIDTH};
    configure(b.rows, 6);
    before->r0 = before->r1 = before->later = 0;
    for (size_t i = p0; i < p1; i++) {
        const size_t p = g->descending ? p0 + p1 - 1 - i : i;
        w.panel = (const char *)g->panel + p * g->panel_bytes;
        for (size_t n = 0; n < b.count; n++) {
            now->p = p;
            now->r0 = g->rows * n / b.count;
            now->r1 = g->rows * (n + 1) / b.count;
            now->first = now->r0 + b.rows > g->rows ? g->rows - b.rows : now->r0;
            now->second = now->r1 - b.rows;
            now->later = now->r1 - now->first > b.rows ? now->first + b.rows : now->r1;
            w.a[0] = at + now->first * row;
            w.a[1] = wide ? w.a[0] + lines * 4 : at + now->second * row;
            w.to[0] = (char *)now->sums;
            w.to[1] = (char *)(now->sums + ROWS);
            multiply(FL_INT8, V, &w);
            finish(before, end, args);
            waiting *const other = before;
            before = now;
            now = other;
        }
    }
    finish(before, end, args);
}

void fl_avx512_amx_gemm_int8(const fl_gemm *g)
{
    sum_codes(g, 0, g->panels, fl_avx512_vnni_gemm_ends, g);
}

static void step_codes(const fl_step *s, size_t vectors, fl_tiled_end *end)
{
    const fl_gemm g = {.rows = s->rows,
                       .vectors = vectors,
                       .k = s->k,
                       .descending = s->descending,
                       .panel = s->panel,
                       .panel_bytes = s->panel_bytes,
                       .codes = s->codes};
    sum_codes(&g, s->p0, s->p1, end, s);
    NO_UPPER_PARTS();
}
void fl_avx512_amx_lstm_int8(const fl_step *s) { step_codes(s, 4, fl_avx512_vnni_lstm_ends); }
void fl_avx512_amx_gru_int8(const fl_step *s) { step_codes(s, 3, fl_avx512_vnni_gru_ends); }

/* The sums are in c from first to last, where the gemm leaves them. Both tiles of a block are
   loaded before one is stored, so rows that are in both are right. */
void fl_avx512_amx_gemm_bfloat16(const fl_gemm *g)
{
    const size_t V = g->vectors, row = g->codes.row;
    const blocks b = divide(g->rows, 2 * ROWS);
    const char *const at = g->codes.at;
    product w = {.tiles = b.tiles,
                 .blocks = fl_ceil_div(g->k, FL_PIECE),
                 .parts = (size_t)fl_parts(&g->codes),
                 .a_row = row,
                 .a_part = fl_part_bytes(g->k),
                 .line = WIDTH,
                 .vector = FL_TILE_LINES * WIDTH,
                 .from_row = g->add ? g->c_row * sizeof(float) : 0,
                 .to_row = g->c_row * sizeof(float)};
    configure(b.rows, b.tiles == 1 && w.parts == 3 ? 7 : 6);
    for (size_t i = 0; i < g->panels; i++) {
        const size_t p = g->descending ? g->panels - 1 - i : i;
        w.panel = (const char *)g->panel + p * g->panel_bytes;
        for (size_t n = 0; n < b.count; n++) {
            const size_t r0 = g->rows * n / b.count, end = g->rows * (n + 1) / b.count;
            for (int t = 0; t < 2; t++) {
                const size_t r = t ? end - b.rows : r0;
                const char *init = (const char *)(g->init ? g->init + p * V * FL_LANES : NULL);
                w.a[t] = at + r * row;
                w.to[t] = (char *)(g->c + p * g->c_panel + r * g->c_row);
                w.from[t] = g->add ? w.to[t] : init;
            }
            multiply(FL_BFLOAT16, V, &w);
        }
    }
}

/* The next part of x, as vf_take_usual or fl_take_part gives it. */
FL_INLINE vf take(int usual, vf *x, int parts, float bound)
{
    if (usual)
        return vf_take_usual(x, vf_set1(bound));
    fl_words words = (fl_words)*x;
    const vf taken = (vf)fl_take_part(&words, parts > 1, bound);
    *x = (vf)words;
    return taken;
}

FL_INLINE void split_row(void *row, const float *x, size_t n, const int parts, float bound)
{
    const size_t end = fl_ceil_div(n, FL_PIECE) * FL_PIECE;
    uint16_t *to = row;
    for (size_t i = 0; i < end; i += FL_LANES, to += FL_LANES) {
        const size_t left = i < n ? n - i : 0;
        vf rest = left >= FL_LANES ? vf_loadu(x + i) : left ? vf_loadn(x + i, left) : vf_set1(0);
        const int usual = vf_all_usual(rest);
        FL_FOR (part, parts)
            vf_store_upper(to + (size_t)part * end, take(usual, &rest, parts, bound));
    }
}

/* Training splits each row of gradients twice, so the number of parts is a constant here. */
void fl_avx512_amx_split_row(void *row, const float *x, size_t n, int parts, float bound)
{
    if (parts == 1)
        split_row(row, x, n, 1, bound);
    else if (parts == 2)
        split_row(row, x, n, 2, bound);
    else
        split_row(row, x, n, 3, bound);
    NO_UPPER_PARTS();
}

void fl_avx512_amx_split_lines(void *panel, const float *x, size_t row, size_t n, size_t vectors,
                               int parts, float bound)
{
    const size_t tile = FL_TILE_LINES * FL_LANES, part = vectors * tile; /* words */
    uint32_t *block = panel;
    for (size_t k0 = 0; k0 < n; k0 += FL_PIECE, block += part * (size_t)parts)
        for (size_t v = 0; v < vectors; v++)
            for (size_t line = 0; line < FL_TILE_LINES; line++) {
                const size_t k = k0 + 2 * line;
                const float *from = x + k * row + v * FL_LANES;
                vf even = k < n ? vf_load(from) : vf_set1(0);
                vf odd = k + 1 < n ? vf_load(from + row) : vf_set1(0);
                const int usual = vf_all_usual(even) && vf_all_usual(odd);
                uint32_t *to = block + v * tile + line * FL_LANES;
                for (int i = 0; i < parts; i++, to += part) {
                    const fl_words low = (fl_words)take(usual, &even, parts, bound);
                    const fl_words pair = low >> 16 | (fl_words)take(usual, &odd, parts, bound);
                    memcpy(to, &pair, sizeof pair);
                }
            }
    NO_UPPER_PARTS();
}
