/* SPDX-License-Identifier: MIT */
#include "onnxruntime/node.h"

#include <math.h>
#include <string.h>

const fl_ort_kind fl_ort_kinds[FL_ORT_KINDS] = {
    {"LSTM", 4, 8, 3, 3, {0, 2, 3, 1}, {"Sigmoid", "Tanh", "Tanh"}},
    {"GRU", 3, 6, 2, 2, {1, 0, 2}, {"Sigmoid", "Tanh"}},
    {"RNN", 1, 6, 2, 1, {0}, {"Tanh"}},
    {"DynamicQuantizeLSTM", 4, 12, 3, 3, {0, 2, 3, 1}, {"Sigmoid", "Tanh", "Tanh"}},
};

/* An activation by ONNX's name. takes: how many of alpha and beta it takes from the attributes;
   those it does not take, and those that are not given, are as they stand here, as ONNX Runtime has
   them: 0 for some, where ONNX's own operators of these names have 1. */
typedef struct named {
    const char *name;
    int takes;
    fl_activation activation;
} named;

static const named activations[] = {
    {"Sigmoid", 0, {FL_SIGMOID, 0, 0}},
    {"Tanh", 0, {FL_SCALED_TANH, 1, 1}},
    {"Relu", 0, {FL_THRESHOLDED_RELU, 0, 0}},
    {"Affine", 2, {FL_AFFINE, 0, 0}},
    {"LeakyRelu", 1, {FL_LEAKY_RELU, 0.01f, 0}},
    {"ThresholdedRelu", 1, {FL_THRESHOLDED_RELU, 0, 0}},
    {"ScaledTanh", 2, {FL_SCALED_TANH, 0, 0}},
    {"HardSigmoid", 2, {FL_HARD_SIGMOID, 0.2f, 0.5f}},
    {"Elu", 1, {FL_ELU, 1, 1}},
    {"Softsign", 0, {FL_SOFTSIGN, 0, 0}},
    {"Softplus", 0, {FL_SOFTPLUS, 0, 0}},
};

enum { MOST_ACTIVATIONS = 6 };

/* Numbers of one attribute, which activations take in turn. */
typedef struct numbers {
    float value[MOST_ACTIVATIONS];
    size_t count, taken;
} numbers;

static int same_word(const char *one, const char *other)
{
    for (;; one++, other++) {
        const int a = *one >= 'A' && *one <= 'Z' ? *one + 32 : *one;
        const int b = *other >= 'A' && *other <= 'Z' ? *other + 32 : *other;
        if (a != b)
            return 0;
        if (!a)
            return 1;
    }
}

fl_message fl_ort_about(const fl_ort_node *node)
{
    fl_message m = {.length = 0};
    fl_message_add(&m, "fastlstm: ");
    fl_message_add(&m, node->kind->name);
    fl_message_add(&m, " node '");
    fl_message_add(&m, node->name);
    fl_message_add(&m, "': ");
    return m;
}

static OrtStatus *refuse(const fl_ort_api *api, const fl_ort_node *node, const char *one,
                         const char *word, const char *other)
{
    fl_message m = fl_ort_about(node);
    fl_message_add(&m, one);
    fl_message_add(&m, word);
    fl_message_add(&m, other);
    return fl_message_status(api, ORT_NOT_IMPLEMENTED, &m);
}

/* Did a function succeed? Its status is given back. */
static int went_well(const fl_ort_api *api, OrtStatus *status)
{
    if (status)
        api->release_status(status);
    return !status;
}

/* The attributes of a node while they are read. */
typedef struct reader {
    const fl_ort_api *api;
    const OrtKernelInfo *info;
    const char *wrong; /* an attribute that is of another type than it should be, or NULL */
} reader;

/* Does the node have an attribute? Of one of another type there are no numbers, but that is no
   failure. */
static int has(reader *r, const char *name)
{
    size_t count = 0;
    return went_well(r->api, r->api->attribute_floats(r->info, name, NULL, &count));
}

/* Answers whether an attribute has been read, by `status`. One that is there and has not been read
   becomes r->wrong. */
static int was_read(reader *r, const char *name, OrtStatus *status)
{
    if (went_well(r->api, status))
        return 1;
    if (has(r, name))
        r->wrong = name;
    return 0;
}

/* The value of an attribute, or `usual` if the node does not have it. */
static int64_t int_of(reader *r, const char *name, int64_t usual)
{
    int64_t value;
    return was_read(r, name, r->api->attribute_int(r->info, name, &value)) ? value : usual;
}

/* The numbers of an attribute, of which there are at most as many as activations. 0 if there are
   more. */
static int numbers_of(reader *r, const char *name, numbers *to)
{
    size_t count = 0;
    *to = (numbers){.count = 0};
    if (!went_well(r->api, r->api->attribute_floats(r->info, name, NULL, &count)) || !count)
        return 1;
    if (count > MOST_ACTIVATIONS ||
        !went_well(r->api, r->api->attribute_floats(r->info, name, to->value, &count)))
        return 0;
    to->count = count;
    return 1;
}

static void take(numbers *from, float *to)
{
    if (from->taken < from->count)
        *to = from->value[from->taken++];
}

/* The activation of a name; NULL if there is none. */
static const named *named_activation(const char *name)
{
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++)
        if (same_word(name, activations[i].name))
            return &activations[i];
    return NULL;
}

static int is_activation(const fl_activation *activation, const char *name)
{
    return memcmp(activation, &named_activation(name)->activation, sizeof *activation) == 0;
}

/* Sets the activations of all directions from their names, dirs * kind->activations of them, and
   the cell of an RNN. names: NULL for the usual ones. */
static OrtStatus *set_activations(reader *r, fl_ort_node *node, char **names)
{
    const fl_ort_kind *kind = node->kind;
    fl_variant *variant = &node->config.variant;
    numbers alpha, beta;
    int relu = kind->activations == 1;
    if (!numbers_of(r, "activation_alpha", &alpha) || !numbers_of(r, "activation_beta", &beta))
        return refuse(r->api, node, "activation_alpha or activation_beta has more than 6 numbers",
                      "", "");
    for (size_t i = 0; i < node->dirs * kind->activations; i++) {
        const char *usual = kind->usual[i % kind->activations];
        const char *name = names ? names[i] : usual;
        fl_activation *to = &variant->activation[i / kind->activations][i % kind->activations];
        const named *found = named_activation(name);
        if (!found)
            return refuse(r->api, node, "the activation '", name, "' is unknown");
        *to = found->activation;
        if (found->takes > 0)
            take(&alpha, &to->alpha);
        if (found->takes > 1)
            take(&beta, &to->beta);
        variant->differs |= !is_activation(to, usual);
        relu &= is_activation(to, "Relu");
    }
    if (relu) { /* only an activation that is not tanh has set `differs` if there is no clip */
        node->config.cell = FL_RNN_RELU;
        variant->differs = variant->clip != INFINITY;
    }
    return NULL;
}

/* The same with the names that the node has. */
static OrtStatus *read_activations(reader *r, int texts, fl_ort_node *node)
{
    const fl_ort_api *api = r->api;
    const size_t due = node->dirs * node->kind->activations;
    OrtAllocator *allocator;
    char **names = NULL;
    size_t count = 0;
    if (!texts && has(r, "activations"))
        return refuse(api, node, "its attribute activations can be read from onnxruntime 1.25 on",
                      "", "");
    if (!texts)
        return set_activations(r, node, NULL);
    OrtStatus *status = api->default_allocator(&allocator);
    if (status)
        return status;
    if (!was_read(r, "activations",
                  api->attribute_texts(r->info, "activations", allocator, &names, &count)) ||
        !count)
        return set_activations(r, node, NULL);
    /* ONNX's description of RNN gives it two, of which a node of one direction uses the first. */
    if (count == due || (node->kind->activations == 1 && count > due)) {
        status = set_activations(r, node, names);
    } else {
        fl_message m = fl_ort_about(node);
        fl_message_number(&m, (int64_t)count);
        fl_message_add(&m, " activations, ");
        fl_message_number(&m, (int64_t)due);
        fl_message_add(&m, " are due");
        status = fl_message_status(api, ORT_NOT_IMPLEMENTED, &m);
    }
    for (size_t i = 0; i < count; i++)
        (void)went_well(api, api->allocator_free(allocator, names[i]));
    (void)went_well(api, api->allocator_free(allocator, names));
    return status;
}

/* Sets dirs and the direction. */
static OrtStatus *read_direction(reader *r, fl_ort_node *node)
{
    static const char *const words[] = {"forward", "reverse", "bidirectional"};
    char direction[16] = "forward";
    size_t size = 0, which = 0;
    if (was_read(r, "direction", r->api->attribute_text(r->info, "direction", NULL, &size))) {
        if (size > sizeof direction)
            memcpy(direction, "one too long", 13);
        else if (!went_well(r->api, r->api->attribute_text(r->info, "direction", direction, &size)))
            r->wrong = "direction";
    }
    while (which < 3 && strcmp(direction, words[which]))
        which++;
    if (which == 3)
        return refuse(r->api, node, "the direction '", direction, "' is unknown");
    node->dirs = node->config.dirs = which == 2 ? 2 : 1;
    node->config.reverse = which == 1;
    return NULL;
}

/* Sets the cell, and what else is numbers. */
static OrtStatus *read_numbers(reader *r, fl_ort_node *node)
{
    const fl_ort_kind *kind = node->kind;
    fl_variant *variant = &node->config.variant;
    const int lstm = kind->gates == 4, gru = kind == &fl_ort_kinds[FL_ORT_GRU];
    const int after = gru && int_of(r, "linear_before_reset", 0) != 0;
    node->config.cell = lstm ? FL_LSTM : !gru ? FL_RNN_TANH : after ? FL_GRU : FL_GRU_BEFORE;
    node->hidden = int_of(r, "hidden_size", 0);
    if (node->hidden < 0)
        return refuse(r->api, node, "hidden_size is negative", "", "");
    const int64_t layout = int_of(r, "layout", 0);
    if (layout != 0 && layout != 1)
        return refuse(r->api, node, "layout is neither 0 nor 1", "", "");
    node->layout = (int)layout;
    variant->input_forget = lstm && int_of(r, "input_forget", 0) != 0;
    variant->clip = INFINITY;
    float clip;
    if (was_read(r, "clip", r->api->attribute_float(r->info, "clip", &clip))) {
        if (!(clip > 0))
            return refuse(r->api, node, "clip is not greater than 0", "", "");
        variant->clip = clip;
    }
    variant->differs = variant->clip != INFINITY || variant->input_forget;
    return NULL;
}

/* Sets the type, that of X, which ONNX has all of a node's numbers be of. */
static OrtStatus *read_type(reader *r, fl_ort_node *node)
{
    const OrtTensorTypeAndShapeInfo *shape = NULL;
    OrtTypeInfo *type = NULL;
    int element = 0;
    OrtStatus *status = r->api->node_input_type(r->info, FL_X, &type);
    if (!status)
        status = r->api->type_shape(type, &shape);
    if (!status && shape)
        status = r->api->get_type(shape, &element);
    if (type)
        r->api->release_type(type);
    node->type = element;
    if (status || element == ORT_TYPE_FLOAT || element == ORT_TYPE_FLOAT16)
        return status;
    return refuse(r->api, node, "its numbers are neither float32 nor float16", "", "");
}

OrtStatus *fl_ort_read_node(const fl_ort_api *api, int texts, const fl_ort_kind *kind,
                            const OrtKernelInfo *info, fl_ort_node *node)
{
    reader r = {.api = api, .info = info};
    size_t size = sizeof node->name;
    *node = (fl_ort_node){.kind = kind, .config = {.format = FL_FLOAT32, .layers = 1}};
    if (!went_well(api, api->node_name(info, node->name, &size)))
        memcpy(node->name, "...", 4); /* it is too long */
    OrtStatus *status = read_type(&r, node);
    if (!status)
        status = read_direction(&r, node);
    if (!status)
        status = read_numbers(&r, node);
    if (!status)
        status = read_activations(&r, texts, node);
    if (!status && r.wrong)
        status =
            refuse(api, node, "the attribute ", r.wrong, " is of another type than it should be");
    return status;
}
