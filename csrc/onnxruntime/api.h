/* SPDX-License-Identifier: MIT */
/*
 * What is used of ONNX Runtime's C API, declared here so that nothing of it is needed to build.
 *
 * The API is a table of functions to which each version of ONNX Runtime adds some at the end, and
 * whose order never changes. So an entry is known by its number, which a check below each compares.
 * The whole of it, and what each function does, is told in onnxruntime_c_api.h of
 * microsoft/onnxruntime. Its types keep their names; entries have shorter ones here.
 *
 * Functions that return an OrtStatus return NULL when all went well; a status that they return, or
 * that we make, says in words what did not. It belongs to whoever has got it.
 *
 * This folder is what ONNX Runtime sees: operators LSTM, GRU and RNN that stand for its own. It
 * knows calls and networks, and no Python.
 */
#ifndef FL_ORT_API_H
#define FL_ORT_API_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && !defined(_WIN64)
#define FL_ORT __stdcall
#else
#define FL_ORT
#endif

/* The oldest version of the API that has what is used, that of ONNX Runtime 1.17, and the one that
   can read an attribute that is a list of strings, that of 1.25. */
enum { FL_ORT_VERSION = 17, FL_ORT_TEXTS_VERSION = 25 };

typedef struct OrtStatus OrtStatus;
typedef struct OrtValue OrtValue;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtCustomOpDomain OrtCustomOpDomain;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorTypeAndShapeInfo;
typedef struct OrtTypeInfo OrtTypeInfo;
typedef struct OrtAllocator OrtAllocator;
typedef struct OrtKernelInfo OrtKernelInfo;
typedef struct OrtKernelContext OrtKernelContext;
typedef struct OrtCustomOp OrtCustomOp;

/* Some values of ONNX Runtime's enums. */
enum { ORT_FAIL = 1, ORT_INVALID_ARGUMENT = 2, ORT_NOT_IMPLEMENTED = 9 };
enum {
    ORT_TYPE_ANY = 0,
    ORT_TYPE_FLOAT = 1,
    ORT_TYPE_UINT8 = 2,
    ORT_TYPE_INT8 = 3,
    ORT_TYPE_INT32 = 6,
    ORT_TYPE_FLOAT16 = 10
};
enum { ORT_REQUIRED = 0, ORT_OPTIONAL = 1 };

/* The table. gap_N is the unused entries before entry number N. Texts are strings, and their sizes
   count the 0 at the end; where `size` is too small, or the text is NULL, it becomes the size that
   is needed. */
typedef struct fl_ort_api {
    OrtStatus *(FL_ORT *create_status)(int code, const char *words);
    void *gap_26[25];
    OrtStatus *(FL_ORT *create_domain)(const char *name, OrtCustomOpDomain **domain);
    OrtStatus *(FL_ORT *domain_add)(OrtCustomOpDomain *domain, const OrtCustomOp *op);
    OrtStatus *(FL_ORT *add_domain)(OrtSessionOptions *options, OrtCustomOpDomain *domain);
    void *gap_51[22];
    OrtStatus *(FL_ORT *tensor_data)(OrtValue *value, void **data);
    void *gap_55[3];
    /* The shape stays the type's. NULL: it is no tensor. */
    OrtStatus *(FL_ORT *type_shape)(const OrtTypeInfo *type,
                                    const OrtTensorTypeAndShapeInfo **shape);
    void *gap_60[4];
    OrtStatus *(FL_ORT *get_type)(const OrtTensorTypeAndShapeInfo *shape, int *type);
    OrtStatus *(FL_ORT *get_axes)(const OrtTensorTypeAndShapeInfo *shape, size_t *axes);
    OrtStatus *(FL_ORT *get_sizes)(const OrtTensorTypeAndShapeInfo *shape, int64_t *size,
                                   size_t axes);
    void *gap_65[2];
    OrtStatus *(FL_ORT *tensor_shape)(const OrtValue *value, OrtTensorTypeAndShapeInfo **shape);
    void *gap_76[10];
    OrtStatus *(FL_ORT *allocator_free)(OrtAllocator *allocator, void *p);
    void *gap_78[1];
    OrtStatus *(FL_ORT *default_allocator)(OrtAllocator **allocator);
    void *gap_85[6];
    OrtStatus *(FL_ORT *attribute_float)(const OrtKernelInfo *info, const char *name, float *out);
    OrtStatus *(FL_ORT *attribute_int)(const OrtKernelInfo *info, const char *name, int64_t *out);
    OrtStatus *(FL_ORT *attribute_text)(const OrtKernelInfo *info, const char *name, char *out,
                                        size_t *size);
    OrtStatus *(FL_ORT *input_count)(const OrtKernelContext *context, size_t *count);
    OrtStatus *(FL_ORT *output_count)(const OrtKernelContext *context, size_t *count);
    /* An input or output that the node does not have is NULL. */
    OrtStatus *(FL_ORT *input)(const OrtKernelContext *context, size_t index,
                               const OrtValue **value);
    OrtStatus *(FL_ORT *output)(OrtKernelContext *context, size_t index, const int64_t *size,
                                size_t axes, OrtValue **value);
    void *gap_93[1];
    void(FL_ORT *release_status)(OrtStatus *status);
    void *gap_98[4];
    void(FL_ORT *release_type)(OrtTypeInfo *type);
    void(FL_ORT *release_shape)(OrtTensorTypeAndShapeInfo *shape);
    void *gap_162[62];
    OrtStatus *(FL_ORT *attribute_floats)(const OrtKernelInfo *info, const char *name, float *out,
                                          size_t *count);
    void *gap_230[67];
    OrtStatus *(FL_ORT *node_inputs)(const OrtKernelInfo *info, size_t *count);
    void *gap_232[1];
    OrtStatus *(FL_ORT *node_input_name)(const OrtKernelInfo *info, size_t index, char *out,
                                         size_t *size);
    void *gap_234[1];
    OrtStatus *(FL_ORT *node_input_type)(const OrtKernelInfo *info, size_t index,
                                         OrtTypeInfo **type);
    void *gap_237[2];
    OrtStatus *(FL_ORT *has_entry)(const OrtSessionOptions *options, const char *key, int *out);
    OrtStatus *(FL_ORT *get_entry)(const OrtSessionOptions *options, const char *key, char *out,
                                   size_t *size);
    void *gap_244[5];
    OrtStatus *(FL_ORT *node_name)(const OrtKernelInfo *info, char *out, size_t *size);
    void *gap_249[4];
    OrtStatus *(FL_ORT *constant_input)(const OrtKernelInfo *info, size_t index, int *is_constant,
                                        const OrtValue **value);
    void *gap_274[24];
    /* Calls work(arg, i) for i < count on the threads of the session, and returns when all have
       returned. batches = 0: as many as it likes. */
    OrtStatus *(FL_ORT *parallel_for)(const OrtKernelContext *context, void (*work)(void *, size_t),
                                      size_t count, size_t batches, void *arg);
    void *gap_417[142];
    /* From FL_ORT_TEXTS_VERSION on. The list and each text are the allocator's; no text: NULL. */
    OrtStatus *(FL_ORT *attribute_texts)(const OrtKernelInfo *info, const char *name,
                                         OrtAllocator *allocator, char ***out, size_t *count);
} fl_ort_api;

#define FL_ORT_ENTRY(name, number)                                                                 \
    _Static_assert(offsetof(fl_ort_api, name) == (number) * sizeof(void *), #name)
FL_ORT_ENTRY(create_domain, 26);
FL_ORT_ENTRY(tensor_data, 51);
FL_ORT_ENTRY(type_shape, 55);
FL_ORT_ENTRY(get_type, 60);
FL_ORT_ENTRY(tensor_shape, 65);
FL_ORT_ENTRY(allocator_free, 76);
FL_ORT_ENTRY(default_allocator, 78);
FL_ORT_ENTRY(attribute_float, 85);
FL_ORT_ENTRY(output, 91);
FL_ORT_ENTRY(release_status, 93);
FL_ORT_ENTRY(release_type, 98);
FL_ORT_ENTRY(attribute_floats, 162);
FL_ORT_ENTRY(node_inputs, 230);
FL_ORT_ENTRY(node_input_name, 232);
FL_ORT_ENTRY(node_input_type, 234);
FL_ORT_ENTRY(has_entry, 237);
FL_ORT_ENTRY(node_name, 244);
FL_ORT_ENTRY(constant_input, 249);
FL_ORT_ENTRY(parallel_for, 274);
FL_ORT_ENTRY(attribute_texts, 417);

/* What RegisterCustomOps gets, to ask for the table of a version. */
typedef struct OrtApiBase {
    const fl_ort_api *(FL_ORT *get_api)(uint32_t version); /* NULL: an older library */
    const char *(FL_ORT *version)(void);
} OrtApiBase;

/* A custom operator, as version 17 of the API has it. Functions that are not used are NULL. */
struct OrtCustomOp {
    uint32_t version;
    void *(FL_ORT *create)(const OrtCustomOp *, const fl_ort_api *, const OrtKernelInfo *);
    const char *(FL_ORT *name)(const OrtCustomOp *);
    const char *(FL_ORT *provider)(const OrtCustomOp *); /* NULL: the CPU */
    int(FL_ORT *input_type)(const OrtCustomOp *, size_t index);
    size_t(FL_ORT *inputs)(const OrtCustomOp *);
    int(FL_ORT *output_type)(const OrtCustomOp *, size_t index);
    size_t(FL_ORT *outputs)(const OrtCustomOp *);
    void(FL_ORT *compute)(void *kernel, OrtKernelContext *);
    void(FL_ORT *destroy)(void *kernel);
    int(FL_ORT *input_kind)(const OrtCustomOp *, size_t index);
    int(FL_ORT *output_kind)(const OrtCustomOp *, size_t index);
    int(FL_ORT *input_memory)(const OrtCustomOp *, size_t index);
    int(FL_ORT *variadic[4])(const OrtCustomOp *);
    OrtStatus *(FL_ORT *create_or_status)(const OrtCustomOp *, const fl_ort_api *,
                                          const OrtKernelInfo *, void **kernel);
    OrtStatus *(FL_ORT *compute_or_status)(void *kernel, OrtKernelContext *);
    OrtStatus *(FL_ORT *infer)(const OrtCustomOp *, void *context);
    int(FL_ORT *first_version)(const OrtCustomOp *);
    int(FL_ORT *last_version)(const OrtCustomOp *);
};

#endif
