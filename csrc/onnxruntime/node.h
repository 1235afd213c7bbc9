/* SPDX-License-Identifier: MIT */
/* A node of a graph, as its attributes describe it, before its weights are known. */
#ifndef FL_ORT_NODE_H
#define FL_ORT_NODE_H

#include "fastlstm.h"
#include "onnxruntime/message.h"

/* The last is ONNX Runtime's own, an LSTM: DynamicQuantizeLSTM. */
enum { FL_ORT_LSTM, FL_ORT_GRU, FL_ORT_RNN, FL_ORT_QUANTIZED, FL_ORT_KINDS };

/* The numbers of a node's inputs: those of all kinds, then those that an LSTM has beside, then
   those of a quantised one. */
enum {
    FL_X,
    FL_W,
    FL_R,
    FL_B,
    FL_LENGTHS,
    FL_H0,
    FL_C0,
    FL_P,
    FL_W_SCALE,
    FL_W_ZERO,
    FL_R_SCALE,
    FL_R_ZERO
};

typedef struct fl_ort_kind {
    const char *name;
    size_t gates, inputs, outputs;
    size_t activations;   /* of a direction */
    size_t order[4];      /* for each gate in PyTorch's order, its number in ONNX's */
    const char *usual[3]; /* the activations of a direction that names none */
} fl_ort_kind;

extern const fl_ort_kind fl_ort_kinds[FL_ORT_KINDS];

typedef struct fl_ort_node {
    const fl_ort_kind *kind;
    const fl_kernels *kernels; /* what its network is to run on */
    int input_bits;            /* of the codes of X, 8 or 16, if its weights are codes */
    char name[64];             /* the node's own; "..." if it is longer */
    size_t dirs;               /* D */
    int64_t hidden;            /* H; 0: not said */
    int type;                  /* of its numbers: ORT_TYPE_FLOAT or ORT_TYPE_FLOAT16 */
    int layout;                /* 1: the batch comes first */
    fl_config config; /* cell, layers, dirs, reverse, format and variant, but for peepholes and
                         sizes, which follow from the weights */
} fl_ort_node;

/* Begins a message with the kind and the name of the node. */
fl_message fl_ort_about(const fl_ort_node *node);

/* Sets all of *node from the attributes, but for kernels and input_bits, which become 0. texts: the
   table has attribute_texts; without it a node that names its activations is refused, since the
   names cannot be read. A status if the node cannot be run. */
OrtStatus *fl_ort_read_node(const fl_ort_api *api, int texts, const fl_ort_kind *kind,
                            const OrtKernelInfo *info, fl_ort_node *node);

#endif
