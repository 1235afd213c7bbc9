/* SPDX-License-Identifier: MIT */
/* dropout.c implements fl_dropout, which fastlstm.h declares: dropout whose masks are a hash of the
   element's position. */
#ifndef FL_DROPOUT_H
#define FL_DROPOUT_H

#include "fastlstm.h"

#endif
