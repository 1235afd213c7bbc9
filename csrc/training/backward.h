/* SPDX-License-Identifier: MIT */
/* backward.c implements fl_backward, which fastlstm.h declares. This folder computes gradients from
   a tape; it knows no instruction set, and nothing of how the forward call was divided. */
#ifndef FL_BACKWARD_H
#define FL_BACKWARD_H

#include "fastlstm.h"

#endif
