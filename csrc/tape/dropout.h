/* SPDX-License-Identifier: MIT */
/* dropout.c implements fl_dropout, which fastlstm.h declares: masks that follow from a counter. */
#ifndef FL_DROPOUT_H
#define FL_DROPOUT_H

#include "fastlstm.h"

#endif
