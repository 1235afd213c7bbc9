/* SPDX-License-Identifier: MIT */
#include "ops/opcodes.h"

#include <math.h>

#include "base/compiler.h"
#include "kernels/contract.h"
#include "ops/functions.h"
#include "ops/loops.h"

typedef const void *const *operands;

/* A function that computes `expr` of x, z and w, the elements of a, b and c, of type T, into y, of
   type R. */
#define LOOP(name, R, T, inputs, expr)                                                             \
    static int name(const fl_kernels *kernels, void *out, operands in, size_t n)                   \
    {                                                                                              \
        R *y = out;                                                                                \
        (void)kernels;                                                                             \
        inputs;                                                                                    \
        FL_EACH(n)                                                                                 \
        y[i] = (R)(expr);                                                                          \
        return FL_OK;                                                                              \
    }
#define ONE(T) const T *a = in[0]
#define TWO(T)                                                                                     \
    ONE(T);                                                                                        \
    const T *b = in[1]
#define THREE(T)                                                                                   \
    TWO(T);                                                                                        \
    const T *c = in[2]
#define FLOAT1(name, expr) LOOP(name, float, float, ONE(float), expr)
#define FLOAT2(name, expr) LOOP(name, float, float, TWO(float), expr)
#define INT1(name, expr) LOOP(name, int64_t, int64_t, ONE(int64_t), expr)
#define INT2(name, expr) LOOP(name, int64_t, int64_t, TWO(int64_t), expr)
#define U(x) ((uint64_t)(x))

/* ---- arithmetic ---- */

/* fmodf is exact, so the C library's has the same bits everywhere. A remainder of 0 has b's sign.
 */
FL_INLINE float modulo_of(float p, float q)
{
    const float r = fmodf(p, q);
    return r == 0.0f                  ? copysignf(0.0f, q)
           : (r < 0.0f) != (q < 0.0f) ? (float)((double)r + (double)q)
                                      : r;
}

FLOAT2(add_f, a[i] + b[i])
FLOAT2(sub_f, a[i] - b[i])
FLOAT2(mul_f, a[i] * b[i])
FLOAT2(div_f, a[i] / b[i])
FLOAT2(fmod_f, fmodf(a[i], b[i]))
FLOAT2(mod_f, modulo_of(a[i], b[i]))
FLOAT2(min_f, a[i] < b[i] || a[i] != a[i] ? a[i] : b[i])
FLOAT2(max_f, a[i] > b[i] || a[i] != a[i] ? a[i] : b[i])
FLOAT1(neg_f, -a[i])
FLOAT1(abs_f, fabsf(a[i]))
FLOAT1(sqrt_f, sqrtf(a[i]))
FLOAT1(reciprocal_f, 1.0f / a[i])
FLOAT1(sign_f, a[i] > 0.0f ? 1.0f : a[i] < 0.0f ? -1.0f : a[i] == 0.0f ? 0.0f : a[i])
FLOAT1(relu_f, a[i] <= 0.0f ? 0.0f : a[i])
/* Of a negative number the complement is shifted, since C leaves the sign's bits open. */
FL_INLINE int64_t shifted_right(int64_t p, int64_t q)
{
    const uint64_t sign = p < 0 ? UINT64_MAX : 0, rest = U(p) ^ sign;
    return (int64_t)((U(q) < 64 ? rest >> (q & 63) : 0) ^ sign);
}
INT2(add_i, U(a[i]) + U(b[i]))
INT2(sub_i, U(a[i]) - U(b[i]))
INT2(mul_i, U(a[i]) * U(b[i]))
INT2(min_i, a[i] < b[i] ? a[i] : b[i])
INT2(max_i, a[i] > b[i] ? a[i] : b[i])
INT1(neg_i, -U(a[i]))
INT1(abs_i, a[i] < 0 ? -U(a[i]) : U(a[i]))
INT1(sign_i, (a[i] > 0) - (a[i] < 0))
INT1(relu_i, a[i] > 0 ? a[i] : 0)
INT2(bit_and_i, a[i] & b[i])
INT2(bit_or_i, a[i] | b[i])
INT2(bit_xor_i, a[i] ^ b[i])
INT1(bit_not_i, ~a[i])
INT2(shift_left_i, U(b[i]) < 64 ? U(a[i]) << (b[i] & 63) : 0)
INT2(shift_right_i, shifted_right(a[i], b[i]))
INT1(wrap_int8_i, (int8_t)(a[i] & 0xff))
INT1(wrap_int16_i, (int16_t)(a[i] & 0xffff))
INT1(wrap_int32_i, (int32_t)(a[i] & 0xffffffff))
INT1(wrap_uint8_i, a[i] & 0xff)
INT1(wrap_uint16_i, a[i] & 0xffff)
INT1(wrap_uint32_i, a[i] & 0xffffffff)

FL_INLINE float cut(float x, float low, float high)
{
    const float y = x < low || low != low ? low : x;
    return y > high || high != high ? high : y;
}
LOOP(clip_f, float, float, THREE(float), cut(a[i], b[i], c[i]))

FL_INLINE int64_t cut_int(int64_t x, int64_t low, int64_t high)
{
    const int64_t y = x < low ? low : x;
    return y > high ? high : y;
}
LOOP(clip_i, int64_t, int64_t, THREE(int64_t), cut_int(a[i], b[i], c[i]))

/* Functions of integers that do not have a value for all of them: `expr` of p and q, with `fits`,
   and of two's complement for INT64_MIN / -1, whose quotient is q's negation. */
#define PARTIAL(name, fits, expr)                                                                  \
    static int name(const fl_kernels *kernels, void *out, operands in, size_t n)                   \
    {                                                                                              \
        const int64_t *a = in[0], *b = in[1];                                                      \
        int64_t *y = out;                                                                          \
        (void)kernels;                                                                             \
        for (size_t i = 0; i < n; i++) {                                                           \
            const int64_t p = a[i], q = b[i];                                                      \
            if (!(fits))                                                                           \
                return FL_BAD_VALUE;                                                               \
            y[i] = (int64_t)(expr);                                                                \
        }                                                                                          \
        return FL_OK;                                                                              \
    }
FL_INLINE int64_t modulo(int64_t p, int64_t q)
{
    const int64_t r = p % q;
    return r && (r < 0) != (q < 0) ? r + q : r;
}

static int64_t power(int64_t p, int64_t q)
{
    uint64_t y = 1, square = U(p);
    if (q < 0)
        return p == 1 ? 1 : p == -1 ? (q % 2 ? -1 : 1) : 0;
    for (; q; q >>= 1, square *= square)
        y *= q & 1 ? square : 1;
    return (int64_t)y;
}
PARTIAL(div_i, q != 0, q == -1 ? -U(p) : U(p / q))
PARTIAL(fmod_i, q != 0, q == -1 ? 0 : p % q)
PARTIAL(mod_i, q != 0, q == -1 ? 0 : modulo(p, q))
PARTIAL(pow_i, p != 0 || q >= 0, power(p, q))

/* ---- rounding ---- */

/* From 2^23 on all floats are whole. Results keep x's sign, also when they are 0. */
FL_INLINE float rounded(float x)
{
    const float b = fabsf(x), r = copysignf((b + 0x1p23f) - 0x1p23f, x);
    return b < 0x1p23f ? r : x;
}

FL_INLINE float floor_of(float x)
{
    const float r = rounded(x), less = r - 1.0f;
    return r > x ? less : r;
}
FLOAT1(round_f, rounded(a[i]))
FLOAT1(floor_f, floor_of(a[i]))
FLOAT1(ceil_f, -floor_of(-a[i]))

/* ---- functions ---- */

#define FUNCTION(name, call)                                                                       \
    static int name(const fl_kernels *kernels, void *y, operands in, size_t n)                     \
    {                                                                                              \
        (void)kernels;                                                                             \
        call;                                                                                      \
        return FL_OK;                                                                              \
    }
FUNCTION(exp_f, fl_exp(y, in[0], n))
FUNCTION(log_f, fl_log(y, in[0], n))
FUNCTION(erf_f, fl_erf(y, in[0], n))
FUNCTION(sin_f, fl_sin(y, in[0], n))
FUNCTION(cos_f, fl_cos(y, in[0], n))
FUNCTION(tan_f, fl_tan(y, in[0], n))
FUNCTION(sinh_f, fl_sinh(y, in[0], n))
FUNCTION(cosh_f, fl_cosh(y, in[0], n))
FUNCTION(asin_f, fl_asin(y, in[0], n))
FUNCTION(acos_f, fl_acos(y, in[0], n))
FUNCTION(atan_f, fl_atan(y, in[0], n))
FUNCTION(asinh_f, fl_asinh(y, in[0], n))
FUNCTION(acosh_f, fl_acosh(y, in[0], n))
FUNCTION(atanh_f, fl_atanh(y, in[0], n))
FUNCTION(pow_f, fl_pow(y, in[0], in[1], n))
FUNCTION(sigmoid_f, kernels->sigmoid(y, in[0], n))
FUNCTION(tanh_f, kernels->tanh(y, in[0], n))

/* ---- activations ---- */

static void activate(const fl_kernels *kernels, int function, float alpha, float beta, float *y,
                     const float *x, size_t n)
{
    const fl_activation f = {.function = function, .alpha = alpha, .beta = beta};
    float slope[FL_BLOCK]; /* not wanted */
    kernels->activate(&f, y, slope, x, n);
}
#define CONSTANT(i) (((const float *)in[i])[0])
FUNCTION(elu_f, activate(kernels, FL_ELU, CONSTANT(1), 1.0f, y, in[0], n))
FUNCTION(selu_f, activate(kernels, FL_ELU, CONSTANT(1), CONSTANT(2), y, in[0], n))
FUNCTION(hard_sigmoid_f, activate(kernels, FL_HARD_SIGMOID, CONSTANT(1), CONSTANT(2), y, in[0], n))
FUNCTION(softplus_f, activate(kernels, FL_SOFTPLUS, 0.0f, 0.0f, y, in[0], n))
FUNCTION(softsign_f, activate(kernels, FL_SOFTSIGN, 0.0f, 0.0f, y, in[0], n))
FUNCTION(silu_f, activate(kernels, FL_SILU, 0.0f, 0.0f, y, in[0], n))
FUNCTION(gelu_f, activate(kernels, FL_GELU, 0.0f, 0.0f, y, in[0], n))

FLOAT2(leaky_relu_f, a[i] < 0.0f ? b[i] * a[i] : a[i])
FLOAT2(thresholded_relu_f, a[i] <= b[i] ? 0.0f : a[i])
FLOAT1(hard_swish_f, a[i] * cut(a[i] * (1.0f / 6.0f) + 0.5f, 0.0f, 1.0f))

static int celu_f(const fl_kernels *kernels, void *out, operands in, size_t n)
{
    const float *a = in[0], alpha = CONSTANT(1);
    float t[FL_BLOCK] = {0}, *y = out;
    FL_EACH(n)
    t[i] = a[i] / alpha;
    activate(kernels, FL_ELU, 1.0f, alpha, t, t, n);
    FL_EACH(n)
    y[i] = a[i] > 0.0f ? a[i] : t[i];
    return FL_OK;
}

static int gelu_tanh_f(const fl_kernels *kernels, void *out, operands in, size_t n)
{
    const float *a = in[0];
    float t[FL_BLOCK] = {0}, *y = out;
    FL_EACH(n)
    t[i] = 0x1.988454p-1f * (a[i] + 0.044715f * (a[i] * a[i] * a[i])); /* sqrt(2 / pi) */
    kernels->tanh(t, t, n);
    FL_EACH(n)
    y[i] = 0.5f * a[i] * (1.0f + t[i]);
    return FL_OK;
}

static int mish_f(const fl_kernels *kernels, void *out, operands in, size_t n)
{
    const float *a = in[0];
    float t[FL_BLOCK], *y = out;
    activate(kernels, FL_SOFTPLUS, 0.0f, 0.0f, t, a, n);
    kernels->tanh(t, t, n);
    FL_EACH(n)
    y[i] = a[i] * t[i];
    return FL_OK;
}

/* ---- bool ---- */

typedef uint8_t truth;

#define COMPARISON(name, op)                                                                       \
    LOOP(name##_f, truth, float, TWO(float), a[i] op b[i])                                         \
    LOOP(name##_i, truth, int64_t, TWO(int64_t), a[i] op b[i])
COMPARISON(equal, ==)
COMPARISON(less, <)
COMPARISON(less_equal, <=)
COMPARISON(greater, >)
COMPARISON(greater_equal, >=)
LOOP(equal_b, truth, truth, TWO(truth), a[i] == b[i])
LOOP(and_b, truth, truth, TWO(truth), a[i] & b[i])
LOOP(or_b, truth, truth, TWO(truth), a[i] | b[i])
LOOP(xor_b, truth, truth, TWO(truth), a[i] ^ b[i])
LOOP(not_b, truth, truth, ONE(truth), a[i] ^ 1)
LOOP(isnan_f, truth, float, ONE(float), a[i] != a[i])
LOOP(isinf_f, truth, float, ONE(float), fabsf(a[i]) == INFINITY)

#define CHOICE(name, T)                                                                            \
    static int name(const fl_kernels *kernels, void *out, operands in, size_t n)                   \
    {                                                                                              \
        const truth *a = in[0];                                                                    \
        const T *b = in[1], *c = in[2];                                                            \
        T *y = out;                                                                                \
        (void)kernels;                                                                             \
        FL_EACH(n)                                                                                 \
        {                                                                                          \
            const T yes = b[i], no = c[i];                                                         \
            y[i] = a[i] ? yes : no;                                                                \
        }                                                                                          \
        return FL_OK;                                                                              \
    }
CHOICE(where_f, float)
CHOICE(where_i, int64_t)
CHOICE(where_b, truth)

/* ---- casts ---- */

FL_INLINE int64_t int_of(float x)
{
    if (x >= 0x1p63f)
        return INT64_MAX;
    return x >= -0x1p63f ? (int64_t)x : x != x ? 0 : INT64_MIN;
}
LOOP(f_to_f, float, float, ONE(float), a[i])
LOOP(i_to_f, float, int64_t, ONE(int64_t), a[i])
LOOP(b_to_f, float, truth, ONE(truth), a[i])
LOOP(f_to_i, int64_t, float, ONE(float), int_of(a[i]))
LOOP(i_to_i, int64_t, int64_t, ONE(int64_t), a[i])
LOOP(b_to_i, int64_t, truth, ONE(truth), a[i])
LOOP(f_to_b, truth, float, ONE(float), a[i] != 0.0f)
LOOP(i_to_b, truth, int64_t, ONE(int64_t), a[i] != 0)
LOOP(b_to_b, truth, truth, ONE(truth), a[i])

/* ---- the list ---- */

#define SAME FL_TYPES

const fl_opcode fl_opcodes[FL_OPCODES] = {
    [FL_OP_ADD] = {2, 0, SAME, 0.2, {add_f, add_i}},
    [FL_OP_SUB] = {2, 0, SAME, 0.2, {sub_f, sub_i}},
    [FL_OP_MUL] = {2, 0, SAME, 0.2, {mul_f, mul_i}},
    [FL_OP_DIV] = {2, 0, SAME, 1.0, {div_f, div_i}},
    [FL_OP_MOD] = {2, 0, SAME, 8.0, {mod_f, mod_i}},
    [FL_OP_FMOD] = {2, 0, SAME, 8.0, {fmod_f, fmod_i}},
    [FL_OP_MIN] = {2, 0, SAME, 0.3, {min_f, min_i}},
    [FL_OP_MAX] = {2, 0, SAME, 0.3, {max_f, max_i}},
    [FL_OP_POW] = {2, 0, SAME, 10.0, {pow_f, pow_i}},
    [FL_OP_NEG] = {1, 0, SAME, 0.2, {neg_f, neg_i}},
    [FL_OP_ABS] = {1, 0, SAME, 0.2, {abs_f, abs_i}},
    [FL_OP_SIGN] = {1, 0, SAME, 0.4, {sign_f, sign_i}},
    [FL_OP_RELU] = {1, 0, SAME, 0.2, {relu_f, relu_i}},
    [FL_OP_CLIP] = {3, 0, SAME, 0.4, {clip_f, clip_i}},
    [FL_OP_EXP] = {1, 0, SAME, 2.5, {exp_f}},
    [FL_OP_LOG] = {1, 0, SAME, 4.0, {log_f}},
    [FL_OP_ERF] = {1, 0, SAME, 6.0, {erf_f}},
    [FL_OP_SIN] = {1, 0, SAME, 5.0, {sin_f}},
    [FL_OP_COS] = {1, 0, SAME, 5.0, {cos_f}},
    [FL_OP_SQRT] = {1, 0, SAME, 1.0, {sqrt_f}},
    [FL_OP_RECIPROCAL] = {1, 0, SAME, 1.0, {reciprocal_f}},
    [FL_OP_FLOOR] = {1, 0, SAME, 0.6, {floor_f}},
    [FL_OP_CEIL] = {1, 0, SAME, 0.6, {ceil_f}},
    [FL_OP_ROUND] = {1, 0, SAME, 0.5, {round_f}},
    [FL_OP_SIGMOID] = {1, 0, SAME, 0.8, {sigmoid_f}},
    [FL_OP_TANH] = {1, 0, SAME, 0.8, {tanh_f}},
    [FL_OP_ELU] = {2, 1, SAME, 1.5, {elu_f}},
    [FL_OP_SELU] = {3, 2, SAME, 1.5, {selu_f}},
    [FL_OP_HARD_SIGMOID] = {3, 2, SAME, 0.5, {hard_sigmoid_f}},
    [FL_OP_SOFTPLUS] = {1, 0, SAME, 2.0, {softplus_f}},
    [FL_OP_SOFTSIGN] = {1, 0, SAME, 1.0, {softsign_f}},
    [FL_OP_SILU] = {1, 0, SAME, 1.5, {silu_f}},
    [FL_OP_GELU] = {1, 0, SAME, 2.0, {gelu_f}},
    [FL_OP_CELU] = {2, 1, SAME, 2.0, {celu_f}},
    [FL_OP_HARD_SWISH] = {1, 0, SAME, 0.6, {hard_swish_f}},
    [FL_OP_GELU_TANH] = {1, 0, SAME, 1.5, {gelu_tanh_f}},
    [FL_OP_MISH] = {1, 0, SAME, 3.0, {mish_f}},
    [FL_OP_LEAKY_RELU] = {2, 0, SAME, 0.3, {leaky_relu_f}},
    [FL_OP_THRESHOLDED_RELU] = {2, 0, SAME, 0.3, {thresholded_relu_f}},
    [FL_OP_EQUAL] = {2, 0, FL_BOOL, 0.3, {equal_f, equal_i, equal_b}},
    [FL_OP_LESS] = {2, 0, FL_BOOL, 0.3, {less_f, less_i}},
    [FL_OP_LESS_EQUAL] = {2, 0, FL_BOOL, 0.3, {less_equal_f, less_equal_i}},
    [FL_OP_GREATER] = {2, 0, FL_BOOL, 0.3, {greater_f, greater_i}},
    [FL_OP_GREATER_EQUAL] = {2, 0, FL_BOOL, 0.3, {greater_equal_f, greater_equal_i}},
    [FL_OP_AND] = {2, 0, FL_BOOL, 0.1, {NULL, NULL, and_b}},
    [FL_OP_OR] = {2, 0, FL_BOOL, 0.1, {NULL, NULL, or_b}},
    [FL_OP_XOR] = {2, 0, FL_BOOL, 0.1, {NULL, NULL, xor_b}},
    [FL_OP_NOT] = {1, 0, FL_BOOL, 0.1, {NULL, NULL, not_b}},
    [FL_OP_WHERE] = {3, 0, SAME, 0.4, {where_f, where_i, where_b}},
    [FL_OP_ISNAN] = {1, 0, FL_BOOL, 0.3, {isnan_f}},
    [FL_OP_ISINF] = {1, 0, FL_BOOL, 0.3, {isinf_f}},
    [FL_OP_CAST_FLOAT] = {1, 0, FL_F32, 0.5, {f_to_f, i_to_f, b_to_f}},
    [FL_OP_CAST_INT] = {1, 0, FL_I64, 1.0, {f_to_i, i_to_i, b_to_i}},
    [FL_OP_CAST_BOOL] = {1, 0, FL_BOOL, 0.3, {f_to_b, i_to_b, b_to_b}},
    [FL_OP_BIT_AND] = {2, 0, SAME, 0.2, {NULL, bit_and_i}},
    [FL_OP_BIT_OR] = {2, 0, SAME, 0.2, {NULL, bit_or_i}},
    [FL_OP_BIT_XOR] = {2, 0, SAME, 0.2, {NULL, bit_xor_i}},
    [FL_OP_BIT_NOT] = {1, 0, SAME, 0.2, {NULL, bit_not_i}},
    [FL_OP_SHIFT_LEFT] = {2, 0, SAME, 0.8, {NULL, shift_left_i}},
    [FL_OP_SHIFT_RIGHT] = {2, 0, SAME, 0.8, {NULL, shift_right_i}},
    [FL_OP_WRAP_INT8] = {1, 0, SAME, 0.3, {NULL, wrap_int8_i}},
    [FL_OP_WRAP_INT16] = {1, 0, SAME, 0.3, {NULL, wrap_int16_i}},
    [FL_OP_WRAP_INT32] = {1, 0, SAME, 0.3, {NULL, wrap_int32_i}},
    [FL_OP_WRAP_UINT8] = {1, 0, SAME, 0.3, {NULL, wrap_uint8_i}},
    [FL_OP_WRAP_UINT16] = {1, 0, SAME, 0.3, {NULL, wrap_uint16_i}},
    [FL_OP_WRAP_UINT32] = {1, 0, SAME, 0.3, {NULL, wrap_uint32_i}},
    [FL_OP_TAN] = {1, 0, SAME, 10.0, {tan_f}},
    [FL_OP_SINH] = {1, 0, SAME, 6.0, {sinh_f}},
    [FL_OP_COSH] = {1, 0, SAME, 6.0, {cosh_f}},
    [FL_OP_ASIN] = {1, 0, SAME, 12.0, {asin_f}},
    [FL_OP_ACOS] = {1, 0, SAME, 12.0, {acos_f}},
    [FL_OP_ATAN] = {1, 0, SAME, 8.0, {atan_f}},
    [FL_OP_ASINH] = {1, 0, SAME, 8.0, {asinh_f}},
    [FL_OP_ACOSH] = {1, 0, SAME, 8.0, {acosh_f}},
    [FL_OP_ATANH] = {1, 0, SAME, 8.0, {atanh_f}},
};
