/* SPDX-License-Identifier: MIT */
#include "onnxruntime/register.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/threads.h"
#include "onnxruntime/kernel.h"

/* ---- what ONNX Runtime asks of an operator ---- */

static const char *FL_ORT name_of(const OrtCustomOp *op) { return fl_ort_op_of(op)->kind->name; }

static const char *FL_ORT provider_of(const OrtCustomOp *op)
{
    (void)op;
    return NULL;
}

/* Nodes of DynamicQuantizeLSTM are described by ours; ONNX's operators have no inputs and outputs
   here, so that no types are asked of them. */
static int is_described(const OrtCustomOp *op)
{
    return fl_ort_op_of(op)->kind == &fl_ort_kinds[FL_ORT_QUANTIZED];
}

static size_t FL_ORT inputs_of(const OrtCustomOp *op)
{
    return is_described(op) ? fl_ort_op_of(op)->kind->inputs : 0;
}

static size_t FL_ORT outputs_of(const OrtCustomOp *op)
{
    return is_described(op) ? fl_ort_op_of(op)->kind->outputs : 0;
}

/* W, R and their zero points may be int8 or uint8. */
static int FL_ORT input_type(const OrtCustomOp *op, size_t index)
{
    (void)op;
    if (index == FL_LENGTHS)
        return ORT_TYPE_INT32;
    return index == FL_W || index == FL_R || index == FL_W_ZERO || index == FL_R_ZERO
               ? ORT_TYPE_ANY
               : ORT_TYPE_FLOAT;
}

static int FL_ORT output_type(const OrtCustomOp *op, size_t index)
{
    (void)op;
    (void)index;
    return ORT_TYPE_FLOAT;
}

static int FL_ORT input_kind(const OrtCustomOp *op, size_t index)
{
    (void)op;
    return index <= FL_R || index == FL_W_SCALE || index == FL_R_SCALE ? ORT_REQUIRED
                                                                       : ORT_OPTIONAL;
}

static int FL_ORT output_kind(const OrtCustomOp *op, size_t index)
{
    (void)op;
    (void)index;
    return ORT_OPTIONAL;
}

static int FL_ORT in_any_memory(const OrtCustomOp *op, size_t index)
{
    (void)op;
    (void)index;
    return 0;
}

static int FL_ORT first_version(const OrtCustomOp *op)
{
    (void)op;
    return 1;
}

/* No version is the last: this is larger than any. INT32_MAX itself would stand for first_version
   alone. */
static int FL_ORT last_version(const OrtCustomOp *op)
{
    (void)op;
    return INT32_MAX - 1;
}

/* ---- registrations ---- */

/*
 * The operators for one table, number of threads, instruction set and number of bits of codes of X.
 * Sessions may use them for as long as the process lives, so they are never freed; those of the
 * same four are made once.
 *
 * Their domain is "ai.onnx". ONNX Runtime looks kernels up under that name of ONNX's domain, which
 * is "" in nodes, and those of operators that are registered come before its own. It does not look
 * up descriptions of operators under that name. So ONNX's own say what a node must be like and
 * which shapes its outputs have; an operator of ours in the domain "" would be a description,
 * without shapes, and models that later nodes' shapes follow from could not be loaded.
 *
 * ONNX's description gives each RNN the attribute activations. Where that cannot be read RNN is
 * left to ONNX Runtime.
 */
typedef struct registration {
    struct registration *next;
    OrtCustomOpDomain *domain, *microsoft; /* "ai.onnx", and "com.microsoft" for ONNX Runtime's */
    fl_ort_op ops[FL_ORT_KINDS];
} registration;

static registration *registrations;
static atomic_flag busy = ATOMIC_FLAG_INIT;

static OrtStatus *make(const fl_ort_op *like, registration **made)
{
    const fl_ort_api *api = like->api;
    registration *r = fl_alloc(sizeof *r);
    if (!r)
        return api->create_status(ORT_FAIL, "fastlstm: no memory for its operators");
    r->domain = r->microsoft = NULL;
    OrtStatus *status = api->create_domain("ai.onnx", &r->domain);
    if (!status)
        status = api->create_domain("com.microsoft", &r->microsoft);
    for (size_t i = 0; i < FL_ORT_KINDS && !status; i++) {
        r->ops[i] = *like;
        r->ops[i].kind = &fl_ort_kinds[i];
        if (i != FL_ORT_RNN || like->texts)
            status =
                api->domain_add(i == FL_ORT_QUANTIZED ? r->microsoft : r->domain, &r->ops[i].base);
    }
    if (status)
        return status; /* the domains may have pointers into r: nothing is freed */
    r->next = registrations;
    *made = registrations = r;
    return NULL;
}

/* The registration of operators that are like this one; its kind is not read. */
static OrtStatus *find_or_make(const fl_ort_op *like, registration **found)
{
    OrtStatus *status = NULL;
    while (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire))
        fl_pause();
    registration *r = registrations;
    while (r && (r->ops[0].api != like->api || r->ops[0].threads != like->threads ||
                 r->ops[0].kernels != like->kernels || r->ops[0].input_bits != like->input_bits))
        r = r->next;
    if (r)
        *found = r;
    else
        status = make(like, found);
    atomic_flag_clear_explicit(&busy, memory_order_release);
    return status;
}

/* The entry of a session's configuration; "" if there is none. */
static OrtStatus *entry(const fl_ort_api *api, const OrtSessionOptions *options, const char *key,
                        char *text, size_t size)
{
    int there = 0;
    *text = 0;
    OrtStatus *status = api->has_entry(options, key, &there);
    return status || !there ? status : api->get_entry(options, key, text, &size);
}

/* The number after "1." in the version of ONNX Runtime; 0 if it has another form. */
static uint32_t minor_version(const OrtApiBase *base)
{
    const char *text = base->version();
    uint32_t number = 0;
    if (!text || strncmp(text, "1.", 2))
        return text && *text > '1' && *text <= '9' ? UINT32_MAX : 0;
    for (text += 2; *text >= '0' && *text <= '9' && number < 100000; text++)
        number = number * 10 + (uint32_t)(*text - '0');
    return number;
}

OrtStatus *FL_ORT RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base)
{
    const uint32_t minor = minor_version(base);
    if (minor < FL_ORT_VERSION) {
        const fl_ort_api *oldest = base->get_api(1);
        return oldest ? oldest->create_status(ORT_NOT_IMPLEMENTED,
                                              "fastlstm needs onnxruntime 1.17 or newer")
                      : NULL;
    }
    const int texts = minor >= FL_ORT_TEXTS_VERSION;
    const fl_ort_api *api = base->get_api(texts ? FL_ORT_TEXTS_VERSION : FL_ORT_VERSION);
    fl_ort_op op = {
        .base = {.version = FL_ORT_VERSION,
                 .name = name_of,
                 .provider = provider_of,
                 .input_type = input_type,
                 .inputs = inputs_of,
                 .output_type = output_type,
                 .outputs = outputs_of,
                 .input_kind = input_kind,
                 .output_kind = output_kind,
                 .input_memory = in_any_memory,
                 .destroy = fl_ort_kernel_destroy,
                 .create_or_status = fl_ort_kernel_create,
                 .compute_or_status = fl_ort_kernel_compute,
                 .first_version = first_version,
                 .last_version = last_version},
        .api = api,
        .texts = texts,
    };
    char threads[16], isa[32], quantized[8];
    registration *found = NULL;
    OrtStatus *status = entry(api, options, "fastlstm.threads", threads, sizeof threads);
    if (!status)
        status = entry(api, options, "fastlstm.isa", isa, sizeof isa);
    if (!status)
        status = entry(api, options, "fastlstm.quantized", quantized, sizeof quantized);
    if (status)
        return status;
    for (const char *at = threads; *at >= '0' && *at <= '9' && op.threads < 1024; at++)
        op.threads = op.threads * 10 + (size_t)(*at - '0');
    op.threads = op.threads ? op.threads : fl_cpus();
    op.input_bits = strcmp(quantized, "16") ? 8 : 16;
    for (int i = fl_isa_count() - 1; i >= 0; i--)
        if (fl_isa_runnable(i) && (!*isa || !strcmp(isa, fl_isa_name(i))))
            op.kernels = fl_isa_kernels(i);
    if (!op.kernels)
        return api->create_status(ORT_INVALID_ARGUMENT,
                                  "fastlstm.isa is no instruction set that runs here");
    status = find_or_make(&op, &found);
    if (!status)
        status = api->add_domain(options, found->domain);
    if (status || (strcmp(quantized, "8") && strcmp(quantized, "16")))
        return status;
    return api->add_domain(options, found->microsoft);
}
